//! A (validated) function body on its way to a compiler: lowered.
//!
//! A donor holds some of the module's functions and nothing else, so a body may not name
//! another local function by index. `call f` becomes `i32.const f; call_indirect` through the
//! hidden table (whose entry `f` points at the slot of local function `f`), `ref.func f` becomes
//! `i32.const f; table.get`. Types are named as the donor declares them ([`Types`]). Everything else is copied byte for byte.

use std::ops::Range;

use wasm_encoder::{Encode, Instruction};
use wasmer_compiler::wasmparser::{
    BinaryReaderError, BlockType, Operator, OperatorsReader, TryTable, ValType,
};
use wasmer_types::Type;

use super::adapter::Adapter;
use super::adapter_body::{as_integer, narrow};
use super::catching::{self, Catching, Target};
use super::check::{BodyTier, reader};
use super::compared;
use super::legacy::{Legacy, may_try};
use super::origin::{BodyOrigin, BodyOriginBuilder};
use super::signature::as_integers;
use super::skeleton::Skeleton;
use super::temporaries::Temporaries;
use super::types::Types;

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
    let exceptions = match tier {
        BodyTier::Cranelift if may_try(body) => Exceptions::Cranelift,
        BodyTier::Singlepass if lowering.throws() && catching::may_throw(body) => {
            Exceptions::Singlepass
        }
        _ => Exceptions::None,
    };
    lowering.lower(exceptions, body, offset)
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
    let exceptions = if may_try(body) {
        Exceptions::Cranelift
    } else {
        Exceptions::None
    };
    Lowering::new(skeleton, types, local).lower(exceptions, body, offset)
}

/// For which compiler exceptions in their older form are rewritten, if there may be some.
enum Exceptions {
    None,
    Cranelift,
    Singlepass,
}

/// What is called.
#[derive(Clone, Copy)]
enum Callee {
    Local(u32),
    Import,
    /// What lies on the stack says where in a table.
    Table,
}

enum Replacement {
    /// A local function and its type, as the donor names it.
    Call(u32, u32),
    /// A type and a table, likewise.
    CallIndirect(u32, u32),
    /// A call of an adapter to what is of that type; where exceptions go on that it catches.
    Adapted {
        adapter: Adapter,
        ty: u32,
        callee: Callee,
        target: Option<Target>,
    },
    Ref(u32),
    /// What lies behind an opcode of one byte: a block's type.
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
            Self::Call(..)
            | Self::CallIndirect(..)
            | Self::Adapted { .. }
            | Self::Ref(_)
            | Self::Instructions(_) => (whole.start, whole.end),
            Self::BlockType(_) => {
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
    catching: Option<Catching<'a>>,
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
            catching: None,
            callees: Vec::new(),
            adapters: Vec::new(),
        }
    }

    /// Whether there are adapters for exceptions.
    fn throws(&self) -> bool {
        self.skeleton.adapter(Adapter::Throws).is_some()
    }

    fn lower(
        mut self,
        exceptions: Exceptions,
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
        let mut legacy = None;
        match exceptions {
            Exceptions::None => {}
            Exceptions::Cranelift => legacy = Legacy::of(self.skeleton, operators.clone())?,
            Exceptions::Singlepass => {
                self.catching = Some(Catching::of(self.skeleton, operators.clone())?);
            }
        }
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
            let instructions = match (&mut legacy, &mut self.catching) {
                (Some(legacy), _) => legacy.replacement(&operator, types, temporaries)?,
                (None, Some(catching)) => catching.replacement(&operator, types, temporaries)?,
                (None, None) => None,
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
        if let Some(catching) = self.catching {
            self.adapters.extend(catching.adapters);
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
                    return self.import_adapted(function_index, ty).or_else(|| {
                        self.types.call_import(function_index);
                        None
                    });
                };
                if self.callees.len() < CALLEES && !self.callees.contains(&local) {
                    self.callees.push(local);
                }
                let adapted = self.adapted(ty, skeleton.hidden_table(), Callee::Local(local));
                Some(adapted.unwrap_or_else(|| Replacement::Call(local, self.types.name(ty))))
            }
            Operator::RefFunc { function_index } => {
                self.types.keep_numbers();
                skeleton.local_index(function_index).map(Replacement::Ref)
            }
            Operator::TableGet { .. }
            | Operator::TableSet { .. }
            | Operator::TableSize { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. } => {
                self.types.keep_numbers();
                None
            }
            Operator::CallIndirect {
                type_index,
                table_index,
            } => {
                if let Some(adapted) = self.adapted(type_index, table_index, Callee::Table) {
                    return Some(adapted);
                }
                let (ty, table) = (self.types.name(type_index), self.types.table(table_index));
                let is_same = (ty, table) == (type_index, table_index);
                (!is_same).then_some(Replacement::CallIndirect(ty, table))
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

    /// Where exceptions go on that a call throws here, if that is in this function.
    fn target(&self) -> Option<Target> {
        self.catching.as_ref().and_then(Catching::target)
    }

    fn import_adapted(&self, function: u32, ty: u32) -> Option<Replacement> {
        let target = self.target();
        let adapter = match target {
            Some(_) => Adapter::CatchesImport { function },
            None if self.adapts && !self.skeleton.passes_import(function) => {
                Adapter::FloatsImport { function }
            }
            None => return None,
        };
        Some(Replacement::Adapted {
            adapter,
            ty,
            callee: Callee::Import,
            target,
        })
    }

    fn adapted(&self, ty: u32, table: u32, callee: Callee) -> Option<Replacement> {
        let target = self.target();
        let adapter = match target {
            Some(_) => Adapter::Catches { ty, table },
            None if self.adapts && self.skeleton.is_adaptable_type(ty) => {
                Adapter::Floats { ty, table }
            }
            None => return None,
        };
        Some(Replacement::Adapted {
            adapter,
            ty,
            callee,
            target,
        })
    }

    fn encode(&mut self, replacement: &Replacement, bytes: &mut Vec<u8>) {
        let hidden = self.skeleton.hidden_table();
        match *replacement {
            Replacement::Call(local, type_index) => {
                Instruction::I32Const(local as i32).encode(bytes);
                Instruction::CallIndirect {
                    type_index,
                    table_index: self.types.table(hidden),
                }
                .encode(bytes);
            }
            Replacement::CallIndirect(type_index, table_index) => Instruction::CallIndirect {
                type_index,
                table_index,
            }
            .encode(bytes),
            Replacement::Adapted {
                adapter,
                ty,
                callee,
                target,
            } => self.encode_adapted(adapter, ty, callee, target, bytes),
            Replacement::Ref(local) => {
                Instruction::I32Const(local as i32).encode(bytes);
                Instruction::TableGet(hidden).encode(bytes);
            }
            Replacement::BlockType(ty) => i64::from(ty).encode(bytes),
            Replacement::Instructions(ref instructions) | Replacement::Before(ref instructions) => {
                bytes.extend_from_slice(instructions)
            }
        }
    }

    /// Floats on the stack become integers: all above the first one are kept in locals meanwhile.
    fn encode_adapted(
        &mut self,
        adapter: Adapter,
        ty: u32,
        callee: Callee,
        target: Option<Target>,
        bytes: &mut Vec<u8>,
    ) {
        let (parameters, results) = self.skeleton.values(ty);
        let float = |ty: &Type| as_integer(*ty).is_some();
        if let Some(first) = parameters.iter().position(float) {
            let moved = &parameters[first..];
            let mut kept = as_integers(moved);
            let place = matches!(callee, Callee::Table);
            kept.extend(place.then_some(Type::I32));
            let temporaries = self.temporaries.take(&kept);
            if let (true, Some(index)) = (place, temporaries.last()) {
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
        }
        if let Callee::Local(local) = callee {
            Instruction::I32Const(local as i32).encode(bytes);
        }
        catching::call(
            self.skeleton,
            adapter,
            self.types,
            &mut self.adapters,
            bytes,
        );
        if let (Some(catching), Some(target)) = (&self.catching, target) {
            catching.check(target, bytes);
            for ty in results {
                narrow(ty, bytes);
            }
            return;
        }
        for ty in results {
            if let Some((_, back)) = as_integer(ty) {
                back.encode(bytes);
            }
        }
    }
}
