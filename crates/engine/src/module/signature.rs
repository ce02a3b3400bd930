//! Signatures: their text form, and which of them both compilers pass alike.

use wasmer_compiler::wasmparser::{FuncType, ValType};
use wasmer_compiler::wptype_to_type;
use wasmer_types::{FunctionType, Type, WasmResult};

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

/// The validator's type as wasmer has it.
///
/// # Errors
/// wasmer has no such value.
pub fn function_type(ty: &FuncType) -> WasmResult<FunctionType> {
    let values = |types: &[ValType]| {
        let types = types.iter().map(|ty| wptype_to_type(*ty));
        types.collect::<WasmResult<Vec<_>>>()
    };
    let params = values(ty.params())?;
    Ok(FunctionType::new(params, values(ty.results())?))
}

/// A value type as modules are written.
pub fn encoded(ty: Type) -> wasm_encoder::ValType {
    use wasm_encoder::ValType;

    match ty {
        Type::I32 => ValType::I32,
        Type::I64 => ValType::I64,
        Type::F32 => ValType::F32,
        Type::F64 => ValType::F64,
        Type::V128 => ValType::V128,
        Type::ExternRef => ValType::EXTERNREF,
        Type::FuncRef => ValType::FUNCREF,
        Type::ExceptionRef => ValType::EXNREF,
    }
}

/// The types of integers in the place of floats.
pub(super) fn as_integers(types: &[Type]) -> Vec<Type> {
    let integer = |ty: &Type| match ty {
        Type::F32 => Type::I32,
        Type::F64 => Type::I64,
        other => *other,
    };
    types.iter().map(integer).collect()
}

/// Whether Singlepass and Cranelift pass this signature in the same places (x86-64, seen in every
/// mixture of tiers, `tests/engine/tiers.rs`): integers and references only, and at most two results.
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

/// Whether a function of Singlepass' may have floats in its type: there is code between it and its callers (`tier/thunks.rs`).
pub const THUNKS: bool = cfg!(all(
    target_arch = "x86_64",
    target_os = "linux",
    target_env = "gnu"
));

/// The same rule as [`is_plain`], in the validator's types.
pub(super) fn is_plain_func(ty: &FuncType) -> bool {
    ty.params().iter().chain(ty.results()).all(is_plain_value)
        && ty.results().len() <= 2
        && ty.results() != [ValType::I32, ValType::I32]
}

pub(super) fn is_plain_value(ty: &ValType) -> bool {
    is_scalar(ty) && !matches!(ty, ValType::F32 | ValType::F64)
}

/// How many parameters, floats among them, Singlepass' trampolines of imports take: all that a function may have, but on ARM64.
const CONVERTIBLE_PARAMETERS: usize = if cfg!(target_arch = "aarch64") {
    7
} else {
    1000
};

/// Whether Singlepass can call an import of this type itself: numbers and references, and at most one
/// result, which is no float. Its import trampolines convert float parameters to the common
/// convention, but take a float result from an integer register.
///
/// It makes trampolines for every import that is declared, called or not, and one with v128
/// or two results ends the whole compile ("No register available", a panic), as does on ARM64 one that converts
/// more parameters than there are registers: see [`super::Skeleton::donor`].
pub(super) fn is_importable(ty: &FuncType) -> bool {
    let converts = !ty.params().iter().all(is_plain_value);
    ty.params().iter().all(is_scalar)
        && (!converts || ty.params().len() <= CONVERTIBLE_PARAMETERS)
        && ty.results().len() <= 1
        && ty.results().iter().all(is_plain_value)
}

/// Whether Singlepass knows such values.
pub(super) fn is_scalar(ty: &ValType) -> bool {
    match ty {
        ValType::V128 => false,
        ValType::Ref(ty) => ty.is_extern_ref() || ty.is_func_ref(),
        _ => true,
    }
}
