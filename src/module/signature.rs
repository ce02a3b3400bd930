//! Signatures: their text form, and which of them both compilers pass alike.

use wasmer_types::{FunctionType, Type};

/// The letter of a value type in a signature's text, as the JavaScript side reads it.
pub fn letter(ty: Type) -> char {
    match ty {
        Type::I32 => 'i',
        Type::I64 => 'I',
        Type::F32 => 'f',
        Type::F64 => 'd',
        Type::V128 => 'v',
        Type::ExternRef => 'r',
        Type::FuncRef => 'c',
        Type::ExceptionRef => 'x',
    }
}

/// The inverse of [`letter`].
pub fn type_of_letter(letter: char) -> Option<Type> {
    Some(match letter {
        'i' => Type::I32,
        'I' => Type::I64,
        'f' => Type::F32,
        'd' => Type::F64,
        'v' => Type::V128,
        'r' => Type::ExternRef,
        'c' => Type::FuncRef,
        'x' => Type::ExceptionRef,
        _ => return None,
    })
}

/// `params:results`, one letter a value.
pub fn signature_text(ty: &FunctionType) -> String {
    let params = ty.params().iter().map(|ty| letter(*ty));
    let results = ty.results().iter().map(|ty| letter(*ty));
    params.chain(std::iter::once(':')).chain(results).collect()
}

/// Whether Singlepass and Cranelift pass this signature in the same places (x86-64, seen in every
/// mixture of tiers, `tests/tiers.rs`): integers and references only, and at most two results.
///
/// Not two i32 results: Cranelift packs them into one register (wasmer's `ReturnAbi::PackedPair`),
/// Singlepass takes two.
pub fn is_plain(ty: &FunctionType) -> bool {
    let plain = |ty: &Type| matches!(ty, Type::I32 | Type::I64 | Type::ExternRef | Type::FuncRef);
    let results = ty.results();
    ty.params().iter().all(plain)
        && results.iter().all(plain)
        && results.len() <= 2
        && results != [Type::I32, Type::I32]
}
