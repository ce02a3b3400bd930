//! Which WebAssembly frames were on a thread's stacks when something failed.
//!
//! Nothing is walked when a call fails, because most of what is thrown has no stack, and what has one
//! shows ten frames of it. Where the call failed is noted, and [`CallStack::trace`] goes from there as far
//! as it is asked to. It finds addresses only; `tier` knows what they stand for. Both compilers keep
//! a chain of frame pointers (Cranelift in every function that calls another), so that walking costs
//! next to nothing. Where wasmer took a backtrace anyway, that is used.
//!
//! The stack of a call that failed is walked after that ended: nobody else gets it before this thread
//! calls again, which forgets the note, and wasmer's handlers write to its first few hundred bytes
//! only, where this library's own frames were. Those of outer calls, which wait for an import to
//! return, are untouched.
//!
//! A trampoline whose return address `unwind` changed is not walked: what it throws was noted before,
//! and it returns before anything else of WebAssembly runs.
//!
//! Invariant: what is read lies within one stack, above its zone, and is aligned.
//!
//! Invariant: no more frames are looked at than are asked for, but those of this library and the
//! trampolines' around each call's.

#[cfg(test)]
use std::cell::Cell;
use std::iter;

use wasmer_types::TrapCode;

use super::notes::{Failure, Registers};
use super::stack::{ActiveCall, CallStack, STACK, WasmThread, ZONE};
use crate::module::Site;
use crate::tier::{Position, is_adapter, position, record_distance};

/// The innermost first; all but perhaps the first are return addresses.
type Addresses<'call> = Box<dyn Iterator<Item = usize> + 'call>;

/// The first `limit` frames of a call, as positions in modules; `trap` is the code of the trap at the
/// first address.
fn positions(addresses: Addresses<'_>, trap: Option<TrapCode>, limit: usize) -> Vec<Position> {
    let all = addresses.enumerate();
    let all = all.filter(|(_, address)| !is_adapter(*address));
    let all = all.map(|(index, address)| {
        let trap = trap.filter(|_| index == 0);
        (address > 0).then(|| position(address, trap)).flatten()
    });
    // Above them are trampolines and library functions, below them the trampoline of the call.
    all.skip_while(Option::is_none)
        .map_while(|position| position)
        .take(limit)
        .collect()
}

impl CallStack {
    /// The frames of the call that failed, if it is the last that was made.
    fn failed(&self, limit: usize) -> Option<Vec<Position>> {
        let failed = self.notes.failed()?;
        let stack = Stack::new(failed.start);
        let (addresses, trap): (Addresses<'_>, _) = match &failed.how {
            Failure::Nowhere => (Box::new(iter::empty()), None),
            Failure::Waiting => (Box::new(stack.chain(failed.host, 0)), None),
            Failure::Fault(registers, code) => {
                (Box::new(stack.after_fault(*registers)), Some(*code))
            }
            Failure::At(pc, code) => (Box::new(iter::once(*pc)), Some(*code)),
            Failure::Walked(addresses, code) => (Box::new(addresses.iter().copied()), *code),
        };
        Some(positions(addresses, trap, limit))
    }

    /// The frames of the call that failed, unless another was made since, and of those around it or
    /// under way, which wait for the host; innermost first. At most `limit` frames, and as many as
    /// `calls` have.
    pub(super) fn trace(&self, limit: usize, calls: usize) -> Vec<Vec<Position>> {
        let mut left = limit;
        let mut trace: Vec<_> = self.failed(left).into_iter().collect();
        left -= trace.iter().map(Vec::len).sum::<usize>();
        for entry in self.entries() {
            if left == 0 || trace.len() >= calls {
                break;
            }
            let frames = positions(waiting(entry), None, left);
            left -= frames.len();
            trace.push(frames);
        }
        trace
    }
}

impl WasmThread {
    /// Has [`Self::trace`] begin with the calls under way, which all wait for the host.
    pub fn note_callers(self) {
        // SAFETY: this thread's, which is alive.
        let zone = unsafe { &*self.zone() };
        zone.notes.forget();
    }

    /// The frames of the call that failed, unless another was made since, and of the calls under way,
    /// innermost first: at most `limit` frames, of at most `calls` calls.
    pub fn trace(self, limit: usize, calls: usize) -> Vec<Vec<Position>> {
        // SAFETY: this thread's, which is alive.
        let zone = unsafe { &*self.zone() };
        zone.trace(limit, calls)
    }

    /// The instruction that failed last, where its trap codes do not say what it is.
    pub fn failed_site(self) -> Option<Site> {
        // SAFETY: this thread's, which is alive.
        let zone = unsafe { &*self.zone() };
        zone.failed(1)?.pop()?.site
    }
}

/// The frames of a call that waits for the host.
fn waiting(entry: &ActiveCall) -> Addresses<'static> {
    Box::new(Stack::new(entry.start()).chain(entry.host(), 0))
}

#[cfg(test)]
thread_local! {
    /// Words that were read of stacks.
    pub(super) static READS: Cell<usize> = const { Cell::new(0) };
}

/// One WebAssembly stack that nobody runs on.
#[derive(Clone)]
struct Stack {
    /// The first byte that may be read, and the first that may not.
    range: std::ops::Range<usize>,
}

impl Stack {
    fn new(start: usize) -> Self {
        let range = if start == 0 {
            0..0
        } else {
            start + ZONE..start + STACK
        };
        Self { range }
    }

    fn read(&self, at: usize) -> Option<usize> {
        let word = size_of::<usize>();
        if !at.is_multiple_of(word) || !self.range.contains(&at) {
            return None;
        }
        #[cfg(test)]
        READS.set(READS.get() + 1);
        // SAFETY: within the stack, which is never unmapped, and aligned (the invariant).
        Some(unsafe { (at as *const usize).read_volatile() })
    }

    /// The return addresses behind a frame pointer, which is that of a function of this library, or of the one that calls at
    /// `inside`.
    fn chain(self, frame: usize, inside: usize) -> impl Iterator<Item = usize> {
        let mut next = Some((frame, inside));
        iter::from_fn(move || {
            let (frame, inside) = next?;
            let record = frame.checked_add(record_distance(inside))?;
            let (outer, address) = (self.read(record)?, self.read(record + size_of::<usize>())?);
            next = (outer > frame).then_some((outer, address));
            Some(address)
        })
    }

    /// A function that overflowed the stack did so in its prologue, or in the call of another: its
    /// own frame pointer may not be set yet.
    #[cfg(target_arch = "x86_64")]
    fn after_fault(self, fault: Registers) -> impl Iterator<Item = usize> {
        let entered = position(fault.pc, Some(TrapCode::StackOverflow)).map(|found| found.entry);
        let caller = match entered.map(|entry| fault.pc.wrapping_sub(entry)) {
            // At `push rbp`, and behind it.
            Some(0) => self.read(fault.stack),
            Some(1) => self.read(fault.stack + size_of::<usize>()),
            _ => None,
        };
        iter::once(fault.pc)
            .chain(caller)
            .chain(self.chain(fault.frame, 0))
    }

    /// As above; the return address is in its register, and the frame pointer the caller's, until the prologue, of two or three
    /// instructions, is over.
    #[cfg(target_arch = "aarch64")]
    fn after_fault(self, fault: Registers) -> impl Iterator<Item = usize> {
        let entered = position(fault.pc, Some(TrapCode::StackOverflow)).map(|found| found.entry);
        // As if it were a return address.
        let inside = fault.pc + 4;
        let prologue = if record_distance(inside) == 0 { 8 } else { 12 };
        let in_prologue = entered.is_some_and(|entry| fault.pc.wrapping_sub(entry) < prologue);
        let caller = in_prologue.then_some(fault.link);
        iter::once(fault.pc)
            .chain(caller)
            .chain(self.chain(fault.frame, caller.unwrap_or(inside)))
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn after_fault(self, fault: Registers) -> impl Iterator<Item = usize> {
        iter::once(fault.pc)
    }
}
