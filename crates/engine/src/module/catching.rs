//! Exceptions in their older form, for Singlepass, which has none: what can throw is called through an adapter ([`Adapter`]), which
//! gives back the exception that the call ended in, and the code goes on where that is caught.
//!
//! ```text
//! try bt             block bt
//!   call f             block (p*) -> ()
//! catch x                i32.const f  call (adapter: catches)  local.tee e  br_if 0  br 1
//!   B          =>      end
//! end                  block
//!                        local.get e  call (adapter: matches x)  i32.eqz  br_if 0  B  br 1
//!                      end
//!                      local.get e  call (adapter: throws)  unreachable
//!                    end
//! ```
//!
//! Here `bt` takes `p*`. A `catch_all` has no block of its own, and nothing behind it. What a function does not catch itself goes on
//! to the next `try` around it, and at last out of the function. Exceptions that are delegated do so where that leads.

use wasm_encoder::{BlockType, Encode, Instruction};
use wasmer_compiler::wasmparser::{self, BinaryReaderError, Operator, OperatorsReader};
use wasmer_types::{FunctionType, Type};

use super::adapter::Adapter;
use super::adapter_body::{View, as_integer, narrow};
use super::legacy::{THROW, TRY, Try, anonymous, branch, named, tries};
use super::skeleton::Skeleton;
use super::temporaries::Temporaries;
use super::types::Types;

/// Where an exception goes on.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// The label of a block, behind which its handlers are.
    label: u32,
    /// The local in which they look for it.
    exception: u32,
}

/// Where exceptions go that nothing in a block catches.
#[derive(Clone, Copy)]
enum Next {
    /// Where those of the block around it do.
    Around,
    To(Target),
    /// Out of the function.
    Out,
}

/// A block of the older form. Labels are counted from the function's, which is 0.
struct Frame {
    /// What a branch to it goes to.
    label: u32,
    next: Next,
    /// It is a `try` with clauses: the local with its exception.
    exception: Option<u32>,
    /// The handler of a tag has begun, in a block of its own.
    is_tagged: bool,
    /// A handler has begun.
    is_caught: bool,
}

/// A body that is being rewritten, operator by operator.
pub(super) struct Catching<'a> {
    skeleton: &'a Skeleton,
    tries: Vec<Try>,
    /// How many of them have begun.
    begun: usize,
    frames: Vec<Frame>,
    /// The label of the innermost block.
    innermost: u32,
    /// Locals for exceptions, by how many tries are around those that have them.
    exceptions: Vec<u32>,
    /// The adapters that are called.
    pub(super) adapters: Vec<u32>,
}

/// Whether a body can throw or catch an exception: a quick look.
pub(super) fn may_throw(body: &[u8]) -> bool {
    body.iter().any(|byte| matches!(*byte, TRY | THROW))
}

impl<'a> Catching<'a> {
    /// Reads through a valid body.
    pub(super) fn of(
        skeleton: &'a Skeleton,
        operators: OperatorsReader<'_>,
    ) -> Result<Self, BinaryReaderError> {
        let mut catching = Self {
            skeleton,
            tries: tries(operators)?,
            begun: 0,
            frames: Vec::new(),
            innermost: 0,
            exceptions: Vec::new(),
            adapters: Vec::new(),
        };
        catching.open(0, Next::Around);
        Ok(catching)
    }

    /// What takes the place of the next operator, which is no call; `None` if nothing does.
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
                self.open(self.innermost, Next::Around);
                return Ok(None);
            }
            Operator::Try { blockty } => self.begin(*blockty, types, temporaries, &mut bytes),
            Operator::Catch { tag_index } => self.catch(Some(*tag_index), types, &mut bytes),
            Operator::CatchAll => self.catch(None, types, &mut bytes),
            Operator::Delegate { .. } | Operator::End => self.end(types, &mut bytes),
            Operator::Throw { tag_index } => {
                let (carried, _) = self
                    .skeleton
                    .values(self.skeleton.tag_type_index(*tag_index));
                if let Some((to, _)) = carried.first().and_then(|ty| as_integer(*ty)) {
                    to.encode(&mut bytes);
                }
                self.call(Adapter::Makes { tag: *tag_index }, types, &mut bytes);
                self.throw(types, &mut bytes);
            }
            Operator::Rethrow { relative_depth } => {
                let frame = self.frame(*relative_depth);
                if let Some(exception) = frame.and_then(|frame| frame.exception) {
                    Instruction::LocalGet(exception).encode(&mut bytes);
                }
                self.throw(types, &mut bytes);
            }
            _ => {
                let is_branch = branch(operator, |depth| self.label(depth), &mut bytes)?;
                return Ok(is_branch.then_some(bytes));
            }
        }
        Ok(Some(bytes))
    }

    /// Where an exception goes on that is thrown here; `None`: out of the function.
    pub(super) fn target(&self) -> Option<Target> {
        self.target_from(self.frames.len())
    }

    /// Behind a call through an adapter that catches: goes where exceptions go on, if that is one. Nothing else is kept of it.
    pub(super) fn check(&self, target: Target, bytes: &mut Vec<u8>) {
        Instruction::LocalTee(target.exception).encode(bytes);
        Instruction::BrIf(self.innermost - target.label).encode(bytes);
    }

    fn target_from(&self, frames: usize) -> Option<Target> {
        let mut around = self.frames[..frames].iter().rev();
        around.find_map(|frame| match frame.next {
            Next::Around => None,
            Next::To(target) => Some(Some(target)),
            Next::Out => Some(None),
        })?
    }

    fn open(&mut self, label: u32, next: Next) {
        self.frames.push(Frame {
            label,
            next,
            exception: None,
            is_tagged: false,
            is_caught: false,
        });
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

    fn begin(
        &mut self,
        ty: wasmparser::BlockType,
        types: &mut Types,
        temporaries: &mut Temporaries,
        bytes: &mut Vec<u8>,
    ) {
        let index = self.begun;
        self.begun += 1;
        Instruction::Block(named(ty, types)).encode(bytes);
        self.innermost += 1;
        let label = self.innermost;
        let Some(Try { clauses, delegate }) = self.tries.get(index) else {
            return;
        };
        if clauses.is_empty() {
            let next = match delegate {
                None => Next::Around,
                Some(depth) => {
                    let around = self.frames.len().saturating_sub(*depth as usize);
                    self.target_from(around).map_or(Next::Out, Next::To)
                }
            };
            self.open(label, next);
            return;
        }
        let parameters = match ty {
            wasmparser::BlockType::FuncType(ty) => self.skeleton.values(ty).0,
            wasmparser::BlockType::Empty | wasmparser::BlockType::Type(_) => Vec::new(),
        };
        let ty = FunctionType::new(parameters, []);
        Instruction::Block(anonymous(ty, types)).encode(bytes);
        self.innermost += 1;
        let around = self.frames.iter();
        let around = around.filter(|frame| frame.exception.is_some()).count();
        if around == self.exceptions.len() {
            self.exceptions.push(temporaries.keep(Type::I32));
        }
        let exception = self.exceptions[around];
        let target = Target {
            label: self.innermost,
            exception,
        };
        self.frames.push(Frame {
            label,
            next: Next::To(target),
            exception: Some(exception),
            is_tagged: false,
            is_caught: false,
        });
    }

    /// The end of a `try`'s body, or of a handler of a tag, which no other handler of the `try` sees.
    fn leave(&mut self, bytes: &mut Vec<u8>) {
        if let Some(frame) = self.frames.last_mut() {
            Instruction::Br(self.innermost - frame.label).encode(bytes);
            Instruction::End.encode(bytes);
            self.innermost -= 1;
            frame.next = Next::Around;
            frame.is_tagged = false;
            frame.is_caught = true;
        }
    }

    fn catch(&mut self, tag: Option<u32>, types: &mut Types, bytes: &mut Vec<u8>) {
        self.leave(bytes);
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let (Some(tag), Some(exception)) = (tag, frame.exception) else {
            return;
        };
        frame.is_tagged = true;
        self.innermost += 1;
        Instruction::Block(BlockType::Empty).encode(bytes);
        Instruction::LocalGet(exception).encode(bytes);
        self.call(Adapter::Matches { tag }, types, bytes);
        Instruction::I32Eqz.encode(bytes);
        Instruction::BrIf(0).encode(bytes);
        let (carried, _) = self.skeleton.values(self.skeleton.tag_type_index(tag));
        for ty in carried {
            narrow(ty, bytes);
        }
    }

    fn end(&mut self, types: &mut Types, bytes: &mut Vec<u8>) {
        if self.frames.last().is_some_and(|frame| frame.is_tagged) {
            self.leave(bytes);
            if let Some(exception) = self.frames.last().and_then(|frame| frame.exception) {
                Instruction::LocalGet(exception).encode(bytes);
            }
            self.throw(types, bytes);
        }
        Instruction::End.encode(bytes);
        self.frames.pop();
        self.innermost = self.innermost.saturating_sub(1);
    }

    /// The exception that lies on the stack goes where it goes from here.
    fn throw(&mut self, types: &mut Types, bytes: &mut Vec<u8>) {
        if let Some(target) = self.target() {
            Instruction::LocalSet(target.exception).encode(bytes);
            Instruction::Br(self.innermost - target.label).encode(bytes);
        } else {
            self.call(Adapter::Throws, types, bytes);
            Instruction::Unreachable.encode(bytes);
        }
    }

    fn call(&mut self, adapter: Adapter, types: &mut Types, bytes: &mut Vec<u8>) {
        call(self.skeleton, adapter, types, &mut self.adapters, bytes);
    }
}

/// Calls an adapter, whose arguments lie on the stack, and remembers it in `called`.
pub(super) fn call(
    skeleton: &Skeleton,
    adapter: Adapter,
    types: &mut Types,
    called: &mut Vec<u32>,
    bytes: &mut Vec<u8>,
) {
    let Some(number) = skeleton.adapter(adapter) else {
        // Bodies that would call what there is not are Cranelift's (`check_body`).
        Instruction::Unreachable.encode(bytes);
        return;
    };
    if !called.contains(&number) {
        called.push(number);
    }
    let entry = skeleton.local_function_count() as u32 + number;
    Instruction::I32Const(entry as i32).encode(bytes);
    Instruction::CallIndirect {
        type_index: types.name_other(adapter.type_for(View::Callers, skeleton)),
        table_index: types.table(skeleton.hidden_table()),
    }
    .encode(bytes);
}
