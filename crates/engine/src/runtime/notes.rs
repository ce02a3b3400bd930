//! What a thread notes while it runs WebAssembly: where a call failed, for [`super::frames`] to walk its stack.

use std::cell::{Cell, Ref, RefCell};

use backtrace::Backtrace;
use wasmer_compiler::FRAME_INFO;
use wasmer_types::TrapCode;
use wasmer_vm::Trap;

/// Where a call failed.
pub(super) enum Failure {
    /// It has no frames of interest.
    Nowhere,
    /// The import threw that it waited for.
    Waiting,
    /// At an instruction, whose frame the stack shows.
    Fault(Registers, TrapCode),
    /// At an instruction of which only this much is known.
    At(usize, TrapCode),
    /// What wasmer found, the innermost first, with the code of the trap at the first address.
    Walked(Vec<usize>, Option<TrapCode>),
}

impl Failure {
    fn of(trap: &Trap, fault: Registers) -> Self {
        match trap {
            Trap::User(_) => Self::Waiting,
            Trap::Wasm {
                pc,
                backtrace,
                signal_trap,
            } => {
                let code = code(trap).unwrap_or(TrapCode::StackOverflow);
                // LLVM's unwinder, which musl's builds have, may not get beyond the signal's frame.
                let mut frames = backtrace.frames().iter();
                let is_walked = frames.any(|frame| frame.ip() as usize == *pc);
                if *signal_trap == Some(TrapCode::StackOverflow) || !is_walked {
                    if fault.pc == *pc {
                        Self::Fault(fault, code)
                    } else {
                        Self::At(*pc, code)
                    }
                } else {
                    Self::of_backtrace(backtrace, Some((*pc, code)))
                }
            }
            Trap::Lib { backtrace, .. } | Trap::OOM { backtrace } => {
                Self::of_backtrace(backtrace, None)
            }
            // Not an error, or one that got its frames when the import threw it.
            Trap::UncaughtException { .. } => Self::Nowhere,
        }
    }

    fn of_backtrace(backtrace: &Backtrace, trap: Option<(usize, TrapCode)>) -> Self {
        let addresses = backtrace.frames().iter().map(|frame| frame.ip() as usize);
        let mut addresses: Vec<_> = addresses.collect();
        if let Some((at, _)) = trap
            && let Some(first) = addresses.iter().position(|address| *address == at)
        {
            addresses.drain(..first);
        }
        Self::Walked(addresses, trap.map(|(_, code)| code))
    }
}

/// The registers of a fault.
#[derive(Clone, Copy, Default)]
pub(super) struct Registers {
    pub(super) pc: usize,
    /// Where calls leave their return address.
    #[cfg(target_arch = "x86_64")]
    pub(super) stack: usize,
    pub(super) frame: usize,
    /// As above.
    #[cfg(target_arch = "aarch64")]
    pub(super) link: usize,
}

/// A call that failed.
pub(super) struct Failed {
    pub(super) how: Failure,
    /// Where the zone of its stack begins.
    pub(super) start: usize,
    /// The frame that called the import that threw.
    pub(super) host: usize,
}

/// What a thread notes while it runs WebAssembly.
pub(super) struct Notes {
    fault: Cell<Registers>,
    /// Whether the last call failed, and none has begun since.
    failed: Cell<bool>,
    failure: RefCell<Failed>,
}

impl Notes {
    pub(super) const fn new() -> Self {
        Self {
            fault: Cell::new(Registers {
                pc: 0,
                #[cfg(target_arch = "x86_64")]
                stack: 0,
                frame: 0,
                #[cfg(target_arch = "aarch64")]
                link: 0,
            }),
            failed: Cell::new(false),
            failure: RefCell::new(Failed {
                how: Failure::Nowhere,
                start: 0,
                host: 0,
            }),
        }
    }

    /// From the signal handler.
    #[cfg(target_os = "linux")]
    pub(super) fn fault(&self, registers: Registers) {
        self.fault.set(registers);
    }

    /// The stack of the call that failed is another's from now on.
    #[inline]
    pub(super) fn forget(&self) {
        self.failed.set(false);
    }

    /// A call failed, which has the stack whose zone begins at `start`, with a frame at `host` that called an import; `None`:
    /// nothing was called.
    #[cold]
    pub(super) fn fail(&self, trap: Option<&Trap>, start: usize, host: usize) {
        let how = trap.map_or(Failure::Nowhere, |trap| {
            Failure::of(trap, self.fault.take())
        });
        self.failed.set(true);
        self.failure.replace(Failed { how, start, host });
    }

    /// The call that failed, if it is the last that was made.
    pub(super) fn failed(&self) -> Option<Ref<'_, Failed>> {
        self.failed.get().then(|| self.failure.borrow())
    }
}

/// The code of what the module's own code or a library function of the engine ended with.
pub(super) fn code(trap: &Trap) -> Option<TrapCode> {
    match trap {
        // A stack overflow hits the guard page at an instruction that may also be a memory access.
        Trap::Wasm {
            signal_trap: Some(TrapCode::StackOverflow),
            ..
        } => Some(TrapCode::StackOverflow),
        Trap::Wasm {
            pc, signal_trap, ..
        } => FRAME_INFO
            .read()
            .ok()
            .and_then(|frames| frames.lookup_trap_info(*pc))
            .map(|info| info.trap_code)
            .or(*signal_trap),
        Trap::Lib { trap_code, .. } => Some(*trap_code),
        _ => None,
    }
}
