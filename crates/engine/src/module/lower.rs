//! A function body on its way to the baseline tier: validated, then lowered when it is compiled.
//!
//! A donor holds some of the module's functions and nothing else, so a body may not name
//! another local function by index. `call f` becomes `i32.const f; call_indirect` through the
//! hidden table (whose entry `f` points at the slot of local function `f`), `ref.func f` becomes
//! `i32.const f; table.get`. Types are named as the donor declares them ([`Types`]). Everything else is copied byte for byte.

use std::ops::Range;

use wasm_encoder::{Encode, Instruction};
use wasmer_compiler::wasmparser::{
    BinaryReader, BinaryReaderError, BlockType, FuncToValidate, FuncValidatorAllocations, Operator,
    OperatorsReader, TryTable, ValType, ValidatorResources,
};

use wasmer_types::Type;

use super::compared;
use super::legacy::{Growth, Legacy, TRY, may_try};
use super::origin::{BodyOrigin, BodyOriginBuilder};
use super::signature::as_integers;
use super::skeleton::Skeleton;
use super::temporaries::Temporaries;
use super::types::Types;
use crate::error::CompileError;

/// The compiler a body's baseline code must come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyTier {
    /// Singlepass can compile it and its slot's convention is the common one.
    Singlepass,
    /// SIMD, exceptions, or a signature that the two compilers pass differently.
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

/// So many of the functions that a body calls are remembered.
const CALLEES: usize = 64;

/// A body that is rewritten for a donor.
pub struct LoweredBody {
    /// Locals and operators, without the size prefix.
    pub bytes: Vec<u8>,
    /// The way back.
    pub origin: BodyOrigin,
    /// The local functions that it calls by name, in the order of their first calls.
    pub callees: Vec<u32>,
    /// The adapters that it calls.
    pub adapters: Vec<u32>,
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
    let mut singlepass = skeleton.is_plain_type(type_index);
    for _ in 0..reader.read_var_u32()? {
        let at = reader.original_position();
        let count = reader.read_var_u32()?;
        let ty: ValType = reader.read()?;
        validator.define_locals(at, count, ty)?;
        singlepass &= singlepass_value(ty);
    }
    let mut handlers = Handlers::default();
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
            singlepass = singlepass && singlepass_operator(skeleton, &operator, opcode);
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

/// Lowers the body of a valid local function for a compiler; `offset` is its position in the module.
///
/// # Errors
/// The body is not valid.
pub fn lower_body(
    skeleton: &Skeleton,
    types: &mut Types,
    tier: BodyTier,
    local: u32,
    body: &[u8],
    offset: u64,
) -> Result<LoweredBody, BinaryReaderError> {
    let mut lowering = Lowering::new(skeleton, types, local);
    lowering.donor = true;
    lowering.adapts = tier == BodyTier::Singlepass;
    let legacy = tier == BodyTier::Cranelift && may_try(body);
    lowering.lower(legacy, body, offset)
}

/// Whether [`lower_whole`] changes a body with this operator.
pub(super) fn is_changed(operator: &Operator<'_>) -> bool {
    matches!(operator, Operator::Try { .. }) || compared::is_extended(operator)
}

/// As [`lower_body`], for the optimizing tier: nothing is changed but what [`is_changed`] names.
///
/// # Errors
/// As there.
pub(super) fn lower_whole(
    skeleton: &Skeleton,
    types: &mut Types,
    local: u32,
    body: &[u8],
    offset: u64,
) -> Result<LoweredBody, BinaryReaderError> {
    Lowering::new(skeleton, types, local).lower(may_try(body), body, offset)
}

/// The body of the adapter to a type, for calls through a table: see [`Skeleton::adapter`].
pub fn adapter_body(skeleton: &Skeleton, types: &mut Types, ty: u32, table: u32) -> Vec<u8> {
    let (parameters, results) = skeleton.values(ty);
    // No locals.
    let mut body = vec![0];
    for (index, ty) in (0..).zip(&parameters) {
        Instruction::LocalGet(index).encode(&mut body);
        if let Some((_, back)) = as_integer(*ty) {
            back.encode(&mut body);
        }
    }
    Instruction::LocalGet(parameters.len() as u32).encode(&mut body);
    Instruction::CallIndirect {
        type_index: types.name(ty),
        table_index: table,
    }
    .encode(&mut body);
    for ty in results {
        if let Some((to, _)) = as_integer(ty) {
            to.encode(&mut body);
        }
    }
    Instruction::End.encode(&mut body);
    body
}

/// The integer with the bits of a float; how it becomes one, and how it becomes the float again.
fn as_integer(ty: Type) -> Option<(Instruction<'static>, Instruction<'static>)> {
    match ty {
        Type::F32 => Some((
            Instruction::I32ReinterpretF32,
            Instruction::F32ReinterpretI32,
        )),
        Type::F64 => Some((
            Instruction::I64ReinterpretF64,
            Instruction::F64ReinterpretI64,
        )),
        _ => None,
    }
}

fn reader(body: &[u8], offset: u64) -> BinaryReader<'_> {
    let mut reader = BinaryReader::new(body, offset);
    reader.set_features(super::wasm_features());
    reader
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

enum Replacement {
    /// A local function and its type, as the donor names it.
    Call(u32, u32),
    /// A call of an adapter. What is called lies on the stack, unless it is a local function.
    Adapted {
        ty: u32,
        adapter: u32,
        local: Option<u32>,
    },
    Ref(u32),
    /// What lies behind an opcode of one byte: a type.
    Type(u32),
    /// Likewise, a block's.
    BlockType(u32),
    /// Other instructions.
    Instructions(Vec<u8>),
    /// Instructions before it.
    Before(Vec<u8>),
}

impl Replacement {
    /// The bytes of an instruction that it takes the place of.
    fn range(&self, whole: Range<usize>, body: &[u8]) -> (usize, usize) {
        match self {
            Self::Call(..) | Self::Adapted { .. } | Self::Ref(_) | Self::Instructions(_) => {
                (whole.start, whole.end)
            }
            Self::Type(_) | Self::BlockType(_) => {
                let start = whole.start + 1;
                let length = body[start..].iter().take_while(|byte| *byte & 0x80 != 0);
                (start, start + length.count() + 1)
            }
            Self::Before(_) => (whole.start, whole.start),
        }
    }
}

/// A body that is being rewritten.
struct Lowering<'a> {
    skeleton: &'a Skeleton,
    types: &'a mut Types,
    /// Other functions of the module are elsewhere, and its types have other names.
    donor: bool,
    /// Calls of what has floats in its type go through adapters.
    adapts: bool,
    temporaries: Temporaries,
    callees: Vec<u32>,
    adapters: Vec<u32>,
}

impl<'a> Lowering<'a> {
    /// Of a local function, for no donor.
    fn new(skeleton: &'a Skeleton, types: &'a mut Types, local: u32) -> Self {
        Self {
            skeleton,
            types,
            donor: false,
            adapts: false,
            temporaries: Temporaries::new(skeleton.parameter_count(local)),
            callees: Vec::new(),
            adapters: Vec::new(),
        }
    }

    /// `legacy`: there may be exceptions in their older form.
    fn lower(
        mut self,
        legacy: bool,
        body: &[u8],
        offset: u64,
    ) -> Result<LoweredBody, BinaryReaderError> {
        let mut reader = reader(body, offset);
        for _ in 0..reader.read_var_u32()? {
            self.temporaries.behind(reader.read_var_u32()?);
            reader.read::<ValType>()?;
        }
        let mut operators = OperatorsReader::new(reader);
        let declared = (operators.original_position() - offset) as usize;
        let mut legacy = if legacy {
            Legacy::of(self.skeleton, operators.clone())?
        } else {
            None
        };
        let mut code = Vec::with_capacity(body.len() + body.len() / 4);
        let mut copied = declared;
        let mut replaced = Vec::new();
        let mut origin = BodyOriginBuilder::default();
        if let Some(legacy) = &legacy {
            code = legacy.prologue();
            replaced.push((0, 0, code.len()));
        }
        while !operators.eof() {
            let start = (operators.original_position() - offset) as usize;
            let operator = operators.read()?;
            origin.operator(start, &operator, body[start]);
            let end = (operators.original_position() - offset) as usize;
            let (types, temporaries) = (&mut *self.types, &mut self.temporaries);
            let instructions = match &mut legacy {
                Some(legacy) => legacy.replacement(&operator, types, temporaries)?,
                None => None,
            };
            let replacement = instructions.map(Replacement::Instructions);
            if let Some(replacement) = replacement.or_else(|| self.replacement(&operator)) {
                let (from, to) = replacement.range(start..end, body);
                code.extend_from_slice(&body[copied..from]);
                let before = code.len();
                self.encode(&replacement, &mut code);
                replaced.push((from - copied, to - from, code.len() - before));
                copied = to;
            }
        }
        code.extend_from_slice(&body[copied..]);
        let locals = self.temporaries.declare(&body[..declared]);
        origin.replaced(0, declared, locals.len());
        for (kept, old, new) in replaced {
            origin.replaced(kept, old, new);
        }
        Ok(LoweredBody {
            bytes: [locals, code].concat(),
            origin: origin.finish(offset as u32),
            callees: self.callees,
            adapters: self.adapters,
        })
    }

    fn replacement(&mut self, operator: &Operator<'_>) -> Option<Replacement> {
        if let Some(extension) = compared::extension(operator, &mut self.temporaries) {
            return Some(Replacement::Before(extension));
        }
        if !self.donor {
            return None;
        }
        let skeleton = self.skeleton;
        let mut named = |ty, replacement: fn(u32) -> Replacement| {
            let name = self.types.name(ty);
            (name != ty).then(|| replacement(name))
        };
        match *operator {
            Operator::Call { function_index } => {
                let ty = skeleton.function_type_index(function_index);
                let Some(local) = skeleton.local_index(function_index) else {
                    self.types.call_import(function_index);
                    return None;
                };
                if self.callees.len() < CALLEES && !self.callees.contains(&local) {
                    self.callees.push(local);
                }
                let adapted = self.adapted(ty, skeleton.hidden_table(), Some(local));
                Some(adapted.unwrap_or_else(|| Replacement::Call(local, self.types.name(ty))))
            }
            Operator::RefFunc { function_index } => {
                skeleton.local_index(function_index).map(Replacement::Ref)
            }
            Operator::CallIndirect {
                type_index,
                table_index,
            } => {
                if let Some(adapted) = self.adapted(type_index, table_index, None) {
                    return Some(adapted);
                }
                let name = self.types.name(type_index);
                (name != type_index).then_some(Replacement::Type(name))
            }
            Operator::Block { blockty }
            | Operator::Loop { blockty }
            | Operator::If { blockty }
            | Operator::TryTable {
                try_table: TryTable { ty: blockty, .. },
            } => match blockty {
                BlockType::FuncType(ty) => named(ty, Replacement::BlockType),
                BlockType::Empty | BlockType::Type(_) => None,
            },
            _ => None,
        }
    }

    fn adapted(&self, ty: u32, table: u32, local: Option<u32>) -> Option<Replacement> {
        let adapter = self.skeleton.adapter(ty, table).filter(|_| self.adapts)?;
        Some(Replacement::Adapted { ty, adapter, local })
    }

    fn encode(&mut self, replacement: &Replacement, bytes: &mut Vec<u8>) {
        let hidden = self.skeleton.hidden_table();
        match *replacement {
            Replacement::Call(local, type_index) => {
                Instruction::I32Const(local as i32).encode(bytes);
                Instruction::CallIndirect {
                    type_index,
                    table_index: hidden,
                }
                .encode(bytes);
            }
            Replacement::Adapted { ty, adapter, local } => {
                self.encode_adapted(ty, adapter, local, bytes)
            }
            Replacement::Ref(local) => {
                Instruction::I32Const(local as i32).encode(bytes);
                Instruction::TableGet(hidden).encode(bytes);
            }
            Replacement::Type(ty) => ty.encode(bytes),
            Replacement::BlockType(ty) => i64::from(ty).encode(bytes),
            Replacement::Instructions(ref instructions) | Replacement::Before(ref instructions) => {
                bytes.extend_from_slice(instructions)
            }
        }
    }

    /// Floats on the stack become integers: all above the first one are kept in locals meanwhile.
    fn encode_adapted(&mut self, ty: u32, adapter: u32, local: Option<u32>, bytes: &mut Vec<u8>) {
        let (parameters, results) = self.skeleton.values(ty);
        let first = parameters
            .iter()
            .position(|ty| as_integer(*ty).is_some())
            .unwrap_or(parameters.len());
        let moved = &parameters[first..];
        let mut kept = as_integers(moved);
        kept.extend(local.is_none().then_some(Type::I32));
        let temporaries = self.temporaries.take(&kept);
        if let (None, Some(index)) = (local, temporaries.last()) {
            Instruction::LocalSet(*index).encode(bytes);
        }
        for (ty, temporary) in moved.iter().zip(&temporaries).rev() {
            if let Some((to, _)) = as_integer(*ty) {
                to.encode(bytes);
            }
            Instruction::LocalSet(*temporary).encode(bytes);
        }
        for temporary in &temporaries {
            Instruction::LocalGet(*temporary).encode(bytes);
        }
        if let Some(local) = local {
            Instruction::I32Const(local as i32).encode(bytes);
        }
        if !self.adapters.contains(&adapter) {
            self.adapters.push(adapter);
        }
        let entry = self.skeleton.local_function_count() as u32 + adapter;
        Instruction::I32Const(entry as i32).encode(bytes);
        Instruction::CallIndirect {
            type_index: self.types.name_adapter(ty),
            table_index: self.skeleton.hidden_table(),
        }
        .encode(bytes);
        for ty in results {
            if let Some((_, back)) = as_integer(ty) {
                back.encode(bytes);
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

const THROW_REF: u8 = 0x0a;
const TRY_TABLE: u8 = 0x1f;
const F64_PROMOTE_F32: u8 = 0xbb;
const SIMD_PREFIX: u8 = 0xfd;
const ATOMICS_PREFIX: u8 = 0xfe;

/// Whether Singlepass may have nothing for an operator with this first byte: [`singlepass_operator`] knows.
fn is_questionable(opcode: u8) -> bool {
    match opcode {
        // Blocks, exceptions, calls, a typed select, globals, a null reference.
        2..=4 | TRY | 8 | THROW_REF | TRY_TABLE | 0x10 | 0x11 | 0x1c | 0x23 | 0x24 | 0xd0 => true,
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
fn singlepass_operator(skeleton: &Skeleton, operator: &Operator<'_>, opcode: u8) -> bool {
    if matches!(opcode, SIMD_PREFIX | ATOMICS_PREFIX | F64_PROMOTE_F32) {
        return false;
    }
    match *operator {
        Operator::Try { .. }
        | Operator::TryTable { .. }
        | Operator::Throw { .. }
        | Operator::ThrowRef => false,
        Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
            singlepass_block(skeleton, blockty)
        }
        Operator::Call { function_index } => {
            let ty = skeleton.function_type_index(function_index);
            // Imports are called through Singlepass' import trampolines, which convert.
            match skeleton.local_index(function_index) {
                Some(_) => skeleton.is_plain_type(ty) || skeleton.is_adaptable_type(ty),
                None => skeleton.is_importable_type(ty),
            }
        }
        Operator::CallIndirect { type_index, .. } => {
            skeleton.is_plain_type(type_index) || skeleton.is_adaptable_type(type_index)
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
