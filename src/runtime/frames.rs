//! Which WebAssembly frames were on a thread's stacks when something failed.
//!
//! Only addresses are noted here; `tier` knows what they stand for. Both compilers keep a chain of
//! frame pointers (Cranelift in every function that calls another), so that walking costs next to
//! nothing. Where wasmer took a backtrace anyway, that is used.
//!
//! A stack is walked after its call ended: nobody else gets it before this thread calls again, and
//! wasmer's handlers write to its first few hundred bytes only, where this library's own frames
//! were. Those of outer calls, which wait for an import to return, are untouched.
//!
//! A trampoline whose return address `unwind` changed is not walked: what it throws was noted before,
//! and it returns before anything else of WebAssembly runs.
//!
//! Invariant: what is read lies within one stack, above its zone, and is aligned.

use std::cell::{Cell, RefCell};

use backtrace::Backtrace;
use wasmer_types::TrapCode;
use wasmer_vm::Trap;

use super::stack::{Entry, STACK, ZONE, Zone};
use crate::tier::{Position, position};

/// Frames of one call into WebAssembly, innermost first.
#[derive(Default)]
pub struct Frames {
    /// Return addresses, all but perhaps the first.
    addresses: Vec<usize>,
    /// The code of the trap at the first address.
    trap: Option<TrapCode>,
}

impl Frames {
    /// The first `limit` of them, as positions in modules.
    pub fn positions(&self, limit: usize) -> Vec<Position> {
        let all = self.addresses.iter().enumerate().map(|(index, address)| {
            let trap = self.trap.filter(|_| index == 0);
            (*address > 0).then(|| position(*address, trap)).flatten()
        });
        // Above them are trampolines and library functions, below them the trampoline of the call.
        all.skip_while(Option::is_none)
            .map_while(|position| position)
            .take(limit)
            .collect()
    }

    fn of_backtrace(backtrace: &Backtrace, trap: Option<(usize, TrapCode)>) -> Self {
        let addresses = backtrace.frames().iter().map(|frame| frame.ip() as usize);
        let mut addresses: Vec<_> = addresses.collect();
        if let Some((at, _)) = trap
            && let Some(first) = addresses.iter().position(|address| *address == at)
        {
            addresses.drain(..first);
        }
        Self {
            addresses,
            trap: trap.map(|(_, code)| code),
        }
    }
}

/// The registers of a fault.
#[derive(Clone, Copy, Default)]
pub(super) struct Registers {
    pub(super) pc: usize,
    pub(super) stack: usize,
    pub(super) frame: usize,
    /// Where calls leave their return address.
    #[cfg(target_arch = "aarch64")]
    pub(super) link: usize,
}

/// What a thread notes while it runs WebAssembly.
pub(super) struct Notes {
    fault: Cell<Registers>,
    trace: RefCell<Vec<Frames>>,
}

impl Notes {
    pub(super) const fn new() -> Self {
        Self {
            fault: Cell::new(Registers {
                pc: 0,
                stack: 0,
                frame: 0,
                #[cfg(target_arch = "aarch64")]
                link: 0,
            }),
            trace: RefCell::new(Vec::new()),
        }
    }

    /// From the signal handler.
    #[cfg(target_os = "linux")]
    pub(super) fn fault(&self, registers: Registers) {
        self.fault.set(registers);
    }

    /// The calls' frames of what was recorded last, innermost first.
    pub(super) fn trace(&self, limit: usize) -> Vec<Vec<Position>> {
        let trace = self.trace.borrow();
        trace.iter().map(|frames| frames.positions(limit)).collect()
    }
}

impl Zone {
    /// At the end of a call: notes where it failed, and what is around it.
    #[cold]
    pub(super) fn record(&self, trap: &Trap) {
        let mut entries = self.entries();
        let failed = entries.next().map(|entry| self.innermost(entry, trap));
        // The others wait for the host to return.
        let trace = failed.into_iter().chain(entries.map(waiting)).collect();
        self.notes.trace.replace(trace);
    }

    /// While the host runs: notes what called it.
    #[cold]
    pub(super) fn record_waiting(&self) {
        self.notes
            .trace
            .replace(self.entries().map(waiting).collect());
    }

    fn innermost(&self, entry: &Entry, trap: &Trap) -> Frames {
        let stack = Stack::new(entry.start());
        match trap {
            Trap::User(_) => waiting(entry),
            Trap::Wasm {
                pc,
                backtrace,
                signal_trap,
            } => {
                let code = super::trap::code(trap).unwrap_or(TrapCode::StackOverflow);
                if *signal_trap == Some(TrapCode::StackOverflow) || backtrace.frames().is_empty() {
                    let fault = self.notes.fault.take();
                    let addresses = if fault.pc == *pc {
                        stack.after_fault(fault)
                    } else {
                        vec![*pc]
                    };
                    return Frames {
                        addresses,
                        trap: Some(code),
                    };
                }
                Frames::of_backtrace(backtrace, Some((*pc, code)))
            }
            Trap::Lib { backtrace, .. } | Trap::OOM { backtrace } => {
                Frames::of_backtrace(backtrace, None)
            }
            // Not an error, or one that got its frames when the import threw it.
            Trap::UncaughtException { .. } => Frames::default(),
        }
    }
}

/// The frames of a call that waits for the host.
fn waiting(entry: &Entry) -> Frames {
    Stack::new(entry.start()).walk(entry.host())
}

/// One WebAssembly stack that nobody runs on.
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
        // SAFETY: within the stack, which is never unmapped, and aligned (the invariant).
        Some(unsafe { (at as *const usize).read_volatile() })
    }

    /// The return addresses behind a frame pointer.
    fn walk(&self, frame: usize) -> Frames {
        let mut addresses = Vec::new();
        self.chain(frame, &mut addresses);
        Frames {
            addresses,
            trap: None,
        }
    }

    fn chain(&self, mut frame: usize, addresses: &mut Vec<usize>) {
        while let (Some(outer), Some(address)) =
            (self.read(frame), self.read(frame + size_of::<usize>()))
        {
            addresses.push(address);
            if outer <= frame {
                break;
            }
            frame = outer;
        }
    }

    /// A function that overflowed the stack did so in its prologue, or in the call of another: its
    /// own frame pointer may not be set yet.
    #[cfg(target_arch = "x86_64")]
    fn after_fault(&self, fault: Registers) -> Vec<usize> {
        let mut addresses = vec![fault.pc];
        let entered = position(fault.pc, Some(TrapCode::StackOverflow)).map(|found| found.entry);
        match entered.map(|entry| fault.pc.wrapping_sub(entry)) {
            // At `push rbp`, and behind it.
            Some(0) => addresses.extend(self.read(fault.stack)),
            Some(1) => addresses.extend(self.read(fault.stack + size_of::<usize>())),
            _ => {}
        }
        self.chain(fault.frame, &mut addresses);
        addresses
    }

    /// As above; the return address is in its register until the prologue stored the pair.
    #[cfg(target_arch = "aarch64")]
    fn after_fault(&self, fault: Registers) -> Vec<usize> {
        let mut addresses = vec![fault.pc];
        let entered = position(fault.pc, Some(TrapCode::StackOverflow)).map(|found| found.entry);
        if entered.is_some_and(|entry| fault.pc.wrapping_sub(entry) < 8) {
            addresses.push(fault.link);
        }
        self.chain(fault.frame, &mut addresses);
        addresses
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn after_fault(&self, fault: Registers) -> Vec<usize> {
        vec![fault.pc]
    }
}
