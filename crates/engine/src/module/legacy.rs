//! Exceptions in their older form ("Legacy Exception Handling", an addendum to the specification), as `try_table`.
//!
//! ```text
//! try bt             block bt
//!   A                  block (p*) -> (t2* exnref)
//! catch x1               block (p*) -> (t1*)
//!   B          =>          try_table bt (catch x1 0) (catch_ref x2 1) A end
//! catch x2                 br 2
//!   C                    end B br 1
//!   rethrow 0          end local.set e  C  local.get e throw_ref
//! end                end
//! ```
//!
//! Here `bt` takes `p*`, and the tags carry `t1*` and `t2*`. A `try` that ends in `delegate l` gets the clauses that its
//! exceptions meet behind `l`: those of the tries in whose bodies `l` lies, up to one that takes everything. Where there is
//! none, they leave the function behind all its handlers: its body lies in a block, behind which a `throw_ref` is.

use std::borrow::Cow;

use wasm_encoder::{Catch, Encode, Instruction};
use wasmer_compiler::wasmparser::{BinaryReaderError, BlockType, Operator, OperatorsReader};
use wasmer_types::{FunctionType, Type};

use super::signature::encoded;
use super::skeleton::Skeleton;
use super::temporaries::Temporaries;
use super::types::Types;

/// The clauses and the delegates of a body, counted while it is validated: each delegate may have to have all clauses around it.
#[derive(Default)]
pub(super) struct Growth {
    clauses: usize,
    delegates: usize,
}

/// A lowered function may take so many times its bytes, and so many more.
const GROWTH: usize = 16;
const GROWTH_FLOOR: usize = 64 << 10;

impl Growth {
    /// The next operator's first byte.
    pub(super) fn operator(&mut self, opcode: u8) {
        match opcode {
            CATCH | CATCH_ALL => self.clauses += 1,
            DELEGATE => self.delegates += 1,
            _ => {}
        }
    }

    /// Whether a body of that size stays within bounds.
    pub(super) fn is_bounded(&self, size: usize) -> bool {
        self.clauses.saturating_mul(self.delegates) <= size.saturating_mul(GROWTH) + GROWTH_FLOOR
    }
}

/// Whether a body can have a `try`: a quick look.
pub(super) fn may_try(body: &[u8]) -> bool {
    body.contains(&TRY)
}

/// The opcode of `try`.
pub(super) const TRY: u8 = 0x06;
pub(super) const CATCH: u8 = 0x07;
pub(super) const THROW: u8 = 0x08;
const DELEGATE: u8 = 0x18;
const CATCH_ALL: u8 = 0x19;

/// A `try` of a body.
#[derive(Default)]
pub(super) struct Try {
    pub(super) clauses: Vec<Clause>,
    /// It ends in a `delegate` of this depth.
    pub(super) delegate: Option<u32>,
}

#[derive(Clone, Copy)]
pub(super) struct Clause {
    /// `None` for `catch_all`.
    tag: Option<u32>,
    /// Something in the handler throws the exception again.
    rethrown: bool,
}

/// A clause that is in force.
#[derive(Clone, Copy)]
struct Handler {
    clause: Clause,
    /// The label of the handler.
    label: u32,
}

/// A block of the older form. Labels are counted from the function's, which is 0.
struct Frame {
    /// What a branch to it goes to.
    label: u32,
    /// Those of a `try`, while its body lasts.
    handlers: Vec<Handler>,
    /// The `try` of whose clauses this is the body or a handler.
    of: Option<usize>,
    /// How many of its clauses have begun.
    begun: usize,
    /// The local with the exception that its handler has.
    exception: Option<u32>,
}

/// A body that is being rewritten, operator by operator.
pub(super) struct Legacy<'a> {
    skeleton: &'a Skeleton,
    tries: Vec<Try>,
    /// How many of them have begun.
    begun: usize,
    frames: Vec<Frame>,
    /// The label of the innermost block.
    innermost: u32,
    /// There is a way out of the function behind all handlers.
    escapes: bool,
    /// Locals for exceptions.
    exceptions: Vec<u32>,
}

/// The label of the block around a body in which something delegates.
const OUTSIDE: u32 = 1;

impl<'a> Legacy<'a> {
    /// Reads through a valid body; `None` if it has no `try`.
    pub(super) fn of(
        skeleton: &'a Skeleton,
        operators: OperatorsReader<'_>,
    ) -> Result<Option<Self>, BinaryReaderError> {
        let tries = tries(operators)?;
        if tries.is_empty() {
            return Ok(None);
        }
        let escapes = tries.iter().any(|one| one.delegate.is_some());
        let mut legacy = Self {
            skeleton,
            tries,
            begun: 0,
            frames: Vec::new(),
            innermost: if escapes { OUTSIDE } else { 0 },
            escapes,
            exceptions: Vec::new(),
        };
        legacy.open(0);
        Ok(Some(legacy))
    }

    /// What comes before the first operator.
    pub(super) fn prologue(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.escapes {
            Instruction::Block(single(Type::ExceptionRef)).encode(&mut bytes);
        }
        bytes
    }

    /// What takes the place of the next operator; `None` if nothing does.
    pub(super) fn replacement(
        &mut self,
        operator: &Operator<'_>,
        types: &mut Types,
        temporaries: &mut Temporaries,
    ) -> Result<Option<Vec<u8>>, BinaryReaderError> {
        let mut bytes = Vec::new();
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                self.innermost += 1;
                self.open(self.innermost);
                return Ok(None);
            }
            Operator::Try { blockty } => self.begin(*blockty, types, &mut bytes),
            Operator::Catch { .. } | Operator::CatchAll => self.catch(temporaries, &mut bytes),
            Operator::Delegate { .. } => {
                Instruction::End.encode(&mut bytes);
                self.close();
            }
            Operator::End => {
                self.close();
                if !self.frames.is_empty() || !self.escapes {
                    return Ok(None);
                }
                for instruction in [
                    Instruction::Return,
                    Instruction::End,
                    Instruction::ThrowRef,
                    Instruction::End,
                ] {
                    instruction.encode(&mut bytes);
                }
            }
            Operator::Rethrow { relative_depth } => {
                let frame = self.frame(*relative_depth);
                if let Some(local) = frame.and_then(|frame| frame.exception) {
                    Instruction::LocalGet(local).encode(&mut bytes);
                }
                Instruction::ThrowRef.encode(&mut bytes);
            }
            _ => {
                let is_branch = branch(operator, |depth| self.label(depth), &mut bytes)?;
                return Ok(is_branch.then_some(bytes));
            }
        }
        Ok(Some(bytes))
    }

    fn open(&mut self, label: u32) {
        self.frames.push(Frame {
            label,
            handlers: Vec::new(),
            of: None,
            begun: 0,
            exception: None,
        });
    }

    fn close(&mut self) {
        self.frames.pop();
        self.innermost = self.innermost.saturating_sub(1);
    }

    /// The block that many blocks out.
    fn frame(&self, depth: u32) -> Option<&Frame> {
        let index = self.frames.len().checked_sub(depth as usize + 1)?;
        self.frames.get(index)
    }

    /// The depth in the new form.
    fn label(&self, depth: u32) -> u32 {
        self.frame(depth)
            .map_or(depth, |frame| self.innermost - frame.label)
    }

    fn begin(&mut self, ty: BlockType, types: &mut Types, bytes: &mut Vec<u8>) {
        let index = self.begun;
        self.begun += 1;
        let Some(Try { clauses, delegate }) = self.tries.get(index) else {
            return;
        };
        let around = self.innermost;
        let block = named(ty, types);
        let count = clauses.len() as u32;
        let mut handlers: Vec<Handler> = Vec::with_capacity(clauses.len());
        if count > 0 {
            Instruction::Block(block).encode(bytes);
            let (parameters, _) = self.values(ty);
            for (position, clause) in clauses.iter().enumerate().rev() {
                let mut results = clause.tag.map_or_else(Vec::new, |tag| {
                    let (carried, _) = self.skeleton.values(self.skeleton.tag_type_index(tag));
                    carried
                });
                results.extend(clause.rethrown.then_some(Type::ExceptionRef));
                let ty = FunctionType::new(parameters.clone(), results);
                Instruction::Block(anonymous(ty, types)).encode(bytes);
                handlers.push(Handler {
                    clause: *clause,
                    label: around + 1 + count - position as u32,
                });
            }
            handlers.reverse();
            self.innermost = around + 1 + count;
        } else if let Some(depth) = delegate {
            handlers = self.delegated(*depth);
        }
        if handlers.is_empty() {
            Instruction::Block(block).encode(bytes);
        } else {
            let catches: Vec<_> = handlers
                .iter()
                .map(|handler| self.catches(handler))
                .collect();
            Instruction::TryTable(block, Cow::Owned(catches)).encode(bytes);
        }
        self.innermost += 1;
        self.frames.push(Frame {
            label: around + 1,
            handlers,
            of: Some(index),
            begun: 0,
            exception: None,
        });
    }

    /// The clause of a `try_table` in the innermost block.
    fn catches(&self, handler: &Handler) -> Catch {
        let label = self.innermost - handler.label;
        let Clause { tag, rethrown } = handler.clause;
        match (tag, rethrown) {
            (Some(tag), false) => Catch::One { tag, label },
            (Some(tag), true) => Catch::OneRef { tag, label },
            (None, false) => Catch::All { label },
            (None, true) => Catch::AllRef { label },
        }
    }

    /// What exceptions meet that are delegated to the block `depth` blocks out. None where that is what they meet anyway.
    fn delegated(&self, depth: u32) -> Vec<Handler> {
        let target = self.frames.len().saturating_sub(depth as usize + 1);
        let (outer, skipped) = self.frames.split_at(target + 1);
        let mut handlers: Vec<Handler> = Vec::new();
        if skipped.iter().all(|frame| frame.handlers.is_empty()) {
            return handlers;
        }
        for handler in outer.iter().rev().flat_map(|frame| &frame.handlers) {
            let tag = handler.clause.tag;
            if handlers.iter().all(|known| known.clause.tag != tag) {
                handlers.push(*handler);
            }
            if tag.is_none() {
                return handlers;
            }
        }
        handlers.push(Handler {
            clause: Clause {
                tag: None,
                rethrown: true,
            },
            label: OUTSIDE,
        });
        handlers
    }

    fn catch(&mut self, temporaries: &mut Temporaries, bytes: &mut Vec<u8>) {
        let kept = self.frames.iter().rev().skip(1);
        let kept = kept.filter(|frame| frame.exception.is_some()).count();
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let clauses = frame.of.and_then(|of| self.tries.get(of));
        let clause = clauses.and_then(|one| one.clauses.get(frame.begun));
        if frame.begun == 0 {
            // Of the `try_table`.
            Instruction::End.encode(bytes);
            self.innermost -= 1;
        }
        Instruction::Br(self.innermost - frame.label).encode(bytes);
        Instruction::End.encode(bytes);
        self.innermost -= 1;
        frame.handlers.clear();
        frame.begun += 1;
        frame.exception = None;
        if clause.is_some_and(|clause| clause.rethrown) {
            if kept == self.exceptions.len() {
                let types = vec![Type::ExceptionRef; kept + 1];
                self.exceptions = temporaries.take(&types);
            }
            frame.exception = Some(self.exceptions[kept]);
            Instruction::LocalSet(self.exceptions[kept]).encode(bytes);
        }
    }

    fn values(&self, ty: BlockType) -> (Vec<Type>, Vec<Type>) {
        match ty {
            BlockType::FuncType(ty) => self.skeleton.values(ty),
            // A single result is nothing that a clause has to pass on.
            BlockType::Empty | BlockType::Type(_) => (Vec::new(), Vec::new()),
        }
    }
}

/// A branch, with the depths that `label` gives for its own; whether it is one.
pub(super) fn branch(
    operator: &Operator<'_>,
    label: impl Fn(u32) -> u32,
    bytes: &mut Vec<u8>,
) -> Result<bool, BinaryReaderError> {
    match operator {
        Operator::Br { relative_depth } => Instruction::Br(label(*relative_depth)).encode(bytes),
        Operator::BrIf { relative_depth } => {
            Instruction::BrIf(label(*relative_depth)).encode(bytes);
        }
        Operator::BrTable { targets } => {
            let labels = targets.targets().collect::<Result<Vec<_>, _>>()?;
            let labels: Vec<_> = labels.into_iter().map(&label).collect();
            Instruction::BrTable(labels.into(), label(targets.default())).encode(bytes);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The tries of a body, in the order in which they begin.
pub(super) fn tries(mut operators: OperatorsReader<'_>) -> Result<Vec<Try>, BinaryReaderError> {
    let mut tries: Vec<Try> = Vec::new();
    // By the blocks that are open, the try that it is.
    let mut open = vec![None];
    while !operators.eof() {
        let clause = match operators.read()? {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. } => {
                open.push(None);
                continue;
            }
            Operator::Try { .. } => {
                open.push(Some(tries.len()));
                tries.push(Try::default());
                continue;
            }
            Operator::End => {
                open.pop();
                continue;
            }
            Operator::Delegate { relative_depth } => {
                if let Some(Some(index)) = open.pop() {
                    tries[index].delegate = Some(relative_depth);
                }
                continue;
            }
            Operator::Rethrow { relative_depth } => {
                let mut around = open.iter().rev().skip(relative_depth as usize);
                if let Some(Some(index)) = around.next()
                    && let Some(clause) = tries[*index].clauses.last_mut()
                {
                    clause.rethrown = true;
                }
                continue;
            }
            Operator::Catch { tag_index } => Some(tag_index),
            Operator::CatchAll => None,
            _ => continue,
        };
        if let Some(Some(index)) = open.last() {
            tries[*index].clauses.push(Clause {
                tag: clause,
                rethrown: false,
            });
        }
    }
    Ok(tries)
}

/// The type of a block that has one result.
pub(super) fn single(ty: Type) -> wasm_encoder::BlockType {
    wasm_encoder::BlockType::Result(encoded(ty))
}

/// A block type of the module's.
pub(super) fn named(ty: BlockType, types: &mut Types) -> wasm_encoder::BlockType {
    match ty {
        BlockType::Empty => wasm_encoder::BlockType::Empty,
        BlockType::FuncType(ty) => wasm_encoder::BlockType::FunctionType(types.name(ty)),
        BlockType::Type(ty) => {
            wasmer_compiler::wptype_to_type(ty).map_or(wasm_encoder::BlockType::Empty, single)
        }
    }
}

/// A block type that the module may not have.
pub(super) fn anonymous(ty: FunctionType, types: &mut Types) -> wasm_encoder::BlockType {
    match (ty.params(), ty.results()) {
        ([], []) => wasm_encoder::BlockType::Empty,
        ([], [result]) => single(*result),
        _ => wasm_encoder::BlockType::FunctionType(types.name_other(ty)),
    }
}
