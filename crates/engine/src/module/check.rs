//! A function body, validated: which compiler can have it, and what handlers of exceptions it has.

use wasmer_compiler::wasmparser::{
    BinaryReader, BinaryReaderError, BlockType, FuncToValidate, FuncValidatorAllocations, Operator,
    OperatorsReader, ValType, ValidatorResources,
};

use super::adapter::Adapter;
use super::legacy::{CATCH, Growth, THROW, TRY};
use super::signature::THUNKS;
use super::skeleton::Skeleton;
use crate::error::CompileError;

/// The compiler a body's baseline code must come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyTier {
    /// Singlepass can compile it, and its slot's convention is the common one, or a thunk's (`tier/thunks.rs`).
    Singlepass,
    /// SIMD, exceptions in their newer form, or a signature that the two compilers pass differently.
    Cranelift,
}

/// What validation finds out about a body.
#[derive(Clone, Copy)]
pub struct CheckedBody {
    /// Where it must be compiled.
    pub tier: BodyTier,
    /// Which handlers of exceptions it has.
    pub handlers: Handlers,
}

/// The forms of exceptions' handlers that are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handlers {
    /// `try`, of the older form.
    pub legacy: bool,
    /// `try_table` or `throw_ref`.
    pub standard: bool,
}

impl Handlers {
    /// Whether there are any.
    pub fn any(self) -> bool {
        self.legacy || self.standard
    }

    /// Those of both.
    pub fn and(self, other: Self) -> Self {
        Self {
            legacy: self.legacy || other.legacy,
            standard: self.standard || other.standard,
        }
    }

    /// V8 14 refuses a module with both forms, older ones run it: what becomes of it is up to the engine of Node.
    ///
    /// # Errors
    /// There are both.
    pub fn check(self) -> Result<Self, CompileError> {
        if self.legacy && self.standard {
            let text = "legacy and new exception handling instructions in one module";
            return Err(CompileError::unsupported(text));
        }
        Ok(self)
    }

    fn of(operator: &Operator<'_>) -> Self {
        Self {
            legacy: matches!(operator, Operator::Try { .. }),
            standard: matches!(operator, Operator::TryTable { .. } | Operator::ThrowRef),
        }
    }
}

/// Validates one body.
///
/// `offset` is the position of `body` in the module, for error messages.
///
/// # Errors
/// The validator's error, with the offset in the module; a function that would grow out of bounds when it is lowered.
pub fn check_body(
    skeleton: &Skeleton,
    to_validate: FuncToValidate<ValidatorResources>,
    allocations: FuncValidatorAllocations,
    body: &[u8],
    offset: u64,
) -> Result<(CheckedBody, FuncValidatorAllocations), CompileError> {
    let type_index = to_validate.ty;
    let mut validator = to_validate.into_validator(allocations);
    let mut reader = reader(body, offset);
    let mut singlepass =
        skeleton.is_plain_type(type_index) || (THUNKS && skeleton.is_adaptable_type(type_index));
    for _ in 0..reader.read_var_u32()? {
        let at = reader.original_position();
        let count = reader.read_var_u32()?;
        let ty: ValType = reader.read()?;
        validator.define_locals(at, count, ty)?;
        singlepass &= singlepass_value(ty);
    }
    let mut handlers = Handlers::default();
    let mut tries = false;
    let mut growth = Growth::default();
    while !reader.eof() {
        let at = reader.original_position();
        let opcode = body[(at - offset) as usize];
        growth.operator(opcode);
        let mut questionable = None;
        if matches!(opcode, TRY | THROW_REF | TRY_TABLE) || singlepass && is_questionable(opcode) {
            questionable = Some(reader.peek_operator(&validator.visitor(at))?);
        }
        // Without an `Operator` between reading and validating, which takes as long as either.
        reader.visit_operator(&mut validator.visitor(at))??;
        if let Some(operator) = questionable {
            tries |= opcode == TRY;
            singlepass = singlepass && singlepass_operator(skeleton, &operator, opcode, tries);
            handlers = handlers.and(Handlers::of(&operator));
        }
    }
    reader.finish_expression(&validator.visitor(reader.original_position()))?;
    let tier = if singlepass {
        BodyTier::Singlepass
    } else {
        BodyTier::Cranelift
    };
    if !growth.is_bounded(body.len()) {
        return Err(CompileError::Unsupported {
            feature: "a function with so many handlers of exceptions around each other".to_owned(),
            offset: Some(offset),
        });
    }
    let checked = CheckedBody { tier, handlers };
    Ok((checked, validator.into_allocations()))
}

/// Whether a valid body has a handler of exceptions.
///
/// # Errors
/// The body is not valid.
pub fn has_handler(body: &[u8]) -> Result<bool, BinaryReaderError> {
    let mut reader = reader(body, 0);
    for _ in 0..reader.read_var_u32()? {
        reader.read_var_u32()?;
        reader.read::<ValType>()?;
    }
    let mut operators = OperatorsReader::new(reader);
    while !operators.eof() {
        if Handlers::of(&operators.read()?).any() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads a body with the proposals that the engine has.
pub(super) fn reader(body: &[u8], offset: u64) -> BinaryReader<'_> {
    let mut reader = BinaryReader::new(body, offset);
    reader.set_features(super::wasm_features());
    reader
}

/// Singlepass (wasmer 7.4) has no v128 and no exception references.
fn singlepass_value(ty: ValType) -> bool {
    match ty {
        ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 => true,
        ValType::V128 => false,
        ValType::Ref(ty) => ty.is_extern_ref() || ty.is_func_ref(),
    }
}

fn singlepass_block(skeleton: &Skeleton, ty: BlockType) -> bool {
    match ty {
        BlockType::Empty => true,
        BlockType::Type(ty) => singlepass_value(ty),
        BlockType::FuncType(index) => skeleton.is_scalar_type(index),
    }
}

const THROW_REF: u8 = 0x0a;
const TRY_TABLE: u8 = 0x1f;
const F64_PROMOTE_F32: u8 = 0xbb;
const SIMD_PREFIX: u8 = 0xfd;
const ATOMICS_PREFIX: u8 = 0xfe;

/// Whether Singlepass may have nothing for an operator with this first byte: [`singlepass_operator`] knows.
fn is_questionable(opcode: u8) -> bool {
    match opcode {
        TRY | CATCH | THROW | THROW_REF | TRY_TABLE => true,
        // Blocks, calls, a typed select, globals, a null reference.
        2..=4 | 0x10 | 0x11 | 0x1c | 0x23 | 0x24 | 0xd0 => true,
        SIMD_PREFIX | ATOMICS_PREFIX => true,
        F64_PROMOTE_F32 => cfg!(target_arch = "aarch64"),
        _ => false,
    }
}

/// The proposals behind these prefixes and opcodes are those that Singlepass answers with "not
/// yet implemented", and the atomic operators; the calls are those whose signature it would pass
/// in its own convention, and no adapter can.
///
/// Singlepass 7.4.2 on x86-64 gets atomic operators wrong: it pushes a register over operands that
/// lie on the stack, retries a read-modify-write with the modified operand, reads and writes
/// narrow constants unmasked, and stores and fences without ordering (`__test__/atomics.test.js`).
/// On ARM64 it stores the lower half of a promoted float (`__test__/operators.test.js`).
fn singlepass_operator(
    skeleton: &Skeleton,
    operator: &Operator<'_>,
    opcode: u8,
    tries: bool,
) -> bool {
    if matches!(opcode, SIMD_PREFIX | ATOMICS_PREFIX | F64_PROMOTE_F32) {
        return false;
    }
    let is_called = |ty| !tries || skeleton.is_catchable_type(ty);
    match *operator {
        Operator::TryTable { .. } | Operator::ThrowRef => false,
        Operator::Try { blockty } => {
            skeleton.adapter(Adapter::Throws).is_some() && singlepass_block(skeleton, blockty)
        }
        Operator::Catch { tag_index } | Operator::Throw { tag_index } => {
            skeleton.is_catchable_tag(tag_index)
        }
        Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
            singlepass_block(skeleton, blockty)
        }
        Operator::Call { function_index } => {
            let ty = skeleton.function_type_index(function_index);
            let passes = match skeleton.local_index(function_index) {
                Some(_) => skeleton.is_plain_type(ty) || skeleton.is_adaptable_type(ty),
                None => skeleton.reaches_import(function_index),
            };
            passes && is_called(ty)
        }
        Operator::CallIndirect { type_index: ty, .. } => {
            (skeleton.is_plain_type(ty) || skeleton.is_adaptable_type(ty)) && is_called(ty)
        }
        Operator::GlobalGet { global_index } | Operator::GlobalSet { global_index } => {
            skeleton.is_scalar_global(global_index)
        }
        Operator::TypedSelect { ty } => singlepass_value(ty),
        Operator::RefNull { hty } => {
            use wasmer_compiler::wasmparser::HeapType;
            hty == HeapType::EXTERN || hty == HeapType::FUNC
        }
        _ => true,
    }
}
