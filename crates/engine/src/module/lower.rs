//! Lowering of one function body for the baseline tier, fused with its validation.
//!
//! A donor holds a chunk of the module's functions and nothing else, so a body may not name
//! another local function by index. `call f` becomes `i32.const f; call_indirect` through the
//! hidden table (whose entry `f` points at the slot of local function `f`), `ref.func f` becomes
//! `i32.const f; table.get`. Everything else is copied byte for byte.

use wasm_encoder::Encode;
use wasmer_compiler::wasmparser::{
    BinaryReader, BinaryReaderError, BlockType, FuncToValidate, FuncValidatorAllocations, Operator,
    OperatorsReader, ValType, ValidatorResources,
};

use super::origin::{BodyOrigin, BodyOriginBuilder};
use super::skeleton::Skeleton;

/// The compiler a body's baseline code must come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyTier {
    /// Singlepass can compile it and its slot's convention is the common one.
    Singlepass,
    /// SIMD, exceptions, or a signature that the two compilers pass differently.
    Cranelift,
}

/// A validated body, rewritten for a donor.
pub struct LoweredBody {
    /// Locals and operators, without the size prefix.
    pub bytes: Vec<u8>,
    /// Where it must be compiled.
    pub tier: BodyTier,
    /// The way back.
    pub origin: BodyOrigin,
    /// Whether it has a handler of exceptions.
    pub catches: bool,
}

/// Validates and lowers one body.
///
/// `offset` is the position of `body` in the module, for error messages.
///
/// # Errors
/// The validator's error, with the offset in the module.
pub fn lower_body(
    skeleton: &Skeleton,
    to_validate: FuncToValidate<ValidatorResources>,
    allocations: FuncValidatorAllocations,
    body: &[u8],
    offset: u64,
) -> Result<(LoweredBody, FuncValidatorAllocations), BinaryReaderError> {
    let type_index = to_validate.ty;
    let mut validator = to_validate.into_validator(allocations);
    let mut reader = BinaryReader::new(body, offset);
    reader.set_features(super::wasm_features());

    let mut singlepass = skeleton.is_plain_type(type_index) && skeleton.has_singlepass_imports();
    for _ in 0..reader.read_var_u32()? {
        let at = reader.original_position();
        let count = reader.read_var_u32()?;
        let ty: ValType = reader.read()?;
        validator.define_locals(at, count, ty)?;
        singlepass &= singlepass_value(ty);
    }

    let mut operators = OperatorsReader::new(reader);
    let mut bytes = Vec::with_capacity(body.len() + body.len() / 4);
    let mut copied = 0;
    let mut origin = BodyOriginBuilder::default();
    let mut catches = false;
    while !operators.eof() {
        let at = operators.original_position();
        let start = (at - offset) as usize;
        let operator = operators.read()?;
        validator.op(at, &operator)?;
        singlepass = singlepass && singlepass_operator(skeleton, &operator, body[start]);
        origin.operator(start, &operator, body[start]);
        catches |= matches!(operator, Operator::TryTable { .. });
        let replacement = match operator {
            Operator::Call { function_index } => {
                skeleton
                    .local_index(function_index)
                    .map(|local| Replacement::Call {
                        local,
                        function_index,
                    })
            }
            Operator::RefFunc { function_index } => {
                skeleton.local_index(function_index).map(Replacement::Ref)
            }
            _ => None,
        };
        if let Some(replacement) = replacement {
            bytes.extend_from_slice(&body[copied..start]);
            let before = bytes.len();
            replacement.encode(skeleton, &mut bytes);
            let end = (operators.original_position() - offset) as usize;
            origin.replaced(start - copied, end - start, bytes.len() - before);
            copied = end;
        }
    }
    operators.finish()?;
    bytes.extend_from_slice(&body[copied..]);

    let tier = if singlepass {
        BodyTier::Singlepass
    } else {
        BodyTier::Cranelift
    };
    let origin = origin.finish(offset as u32);
    let lowered = LoweredBody {
        bytes,
        tier,
        origin,
        catches,
    };
    Ok((lowered, validator.into_allocations()))
}

/// Whether a valid body has a handler of exceptions.
///
/// # Errors
/// The body is not valid.
pub fn has_handler(body: &[u8]) -> Result<bool, BinaryReaderError> {
    let mut reader = BinaryReader::new(body, 0);
    reader.set_features(super::wasm_features());
    for _ in 0..reader.read_var_u32()? {
        reader.read_var_u32()?;
        reader.read::<ValType>()?;
    }
    let mut operators = OperatorsReader::new(reader);
    while !operators.eof() {
        if matches!(operators.read()?, Operator::TryTable { .. }) {
            return Ok(true);
        }
    }
    Ok(false)
}

enum Replacement {
    Call { local: u32, function_index: u32 },
    Ref(u32),
}

impl Replacement {
    fn encode(&self, skeleton: &Skeleton, bytes: &mut Vec<u8>) {
        use wasm_encoder::Instruction;
        match *self {
            Self::Call {
                local,
                function_index,
            } => {
                Instruction::I32Const(local as i32).encode(bytes);
                Instruction::CallIndirect {
                    type_index: skeleton.function_type_index(function_index),
                    table_index: skeleton.hidden_table(),
                }
                .encode(bytes);
            }
            Self::Ref(local) => {
                Instruction::I32Const(local as i32).encode(bytes);
                Instruction::TableGet(skeleton.hidden_table()).encode(bytes);
            }
        }
    }
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

/// The proposals behind these prefixes and opcodes are those that Singlepass answers with "not
/// yet implemented", and the atomic operators; the calls are those whose signature it would pass
/// in its own convention.
///
/// Singlepass 7.4.2 on x86-64 gets atomic operators wrong: it pushes a register over operands that
/// lie on the stack, retries a read-modify-write with the modified operand, reads and writes
/// narrow constants unmasked, and stores and fences without ordering (`__test__/atomics.test.js`).
fn singlepass_operator(skeleton: &Skeleton, operator: &Operator<'_>, opcode: u8) -> bool {
    const SIMD_PREFIX: u8 = 0xfd;
    const ATOMICS_PREFIX: u8 = 0xfe;
    if matches!(opcode, SIMD_PREFIX | ATOMICS_PREFIX) {
        return false;
    }
    match *operator {
        Operator::TryTable { .. } | Operator::Throw { .. } | Operator::ThrowRef => false,
        Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
            singlepass_block(skeleton, blockty)
        }
        Operator::Call { function_index } => {
            let ty = skeleton.function_type_index(function_index);
            // Imports are called through Singlepass' import trampolines, which convert.
            match skeleton.local_index(function_index) {
                Some(_) => skeleton.is_plain_type(ty),
                None => skeleton.is_importable_type(ty),
            }
        }
        Operator::CallIndirect { type_index, .. } => skeleton.is_plain_type(type_index),
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
