//! What the stacks of this thread hold, word by word.
//!
//! A call into WebAssembly runs on a stack of its own; its imports run on the host's, below the
//! frame that entered. What its frames hold while it waits for an import is on its stack, above where
//! that was when the host was called, or in the registers that were noted then ([`Waiting`]).
//!
//! Where WebAssembly waits for anything else (the length of a memory), nothing was noted: then all of
//! its stack is looked at, and the host's as far as native code may have saved registers there.

use std::arch::asm;
use std::cell::{Cell, UnsafeCell};

use super::stack::{self, Activation};

/// How many registers a called function keeps for its caller.
const REGISTERS: usize = if cfg!(target_arch = "x86_64") { 8 } else { 11 };

/// Stores them.
#[cfg(target_arch = "x86_64")]
macro_rules! save_registers {
    ($to:expr) => {
        asm!(
            "mov [{to}], rbx",
            "mov [{to} + 8], rbp",
            "mov [{to} + 16], r12",
            "mov [{to} + 24], r13",
            "mov [{to} + 32], r14",
            "mov [{to} + 40], r15",
            // Windows has a called function keep these, too.
            "mov [{to} + 48], rdi",
            "mov [{to} + 56], rsi",
            to = in(reg) $to,
            options(nostack, preserves_flags),
        )
    };
}

/// As above.
#[cfg(target_arch = "aarch64")]
macro_rules! save_registers {
    ($to:expr) => {
        asm!(
            "stp x19, x20, [{to}]",
            "stp x21, x22, [{to}, #16]",
            "stp x23, x24, [{to}, #32]",
            "stp x25, x26, [{to}, #48]",
            "stp x27, x28, [{to}, #64]",
            "str x29, [{to}, #80]",
            to = in(reg) $to,
            options(nostack, preserves_flags),
        )
    };
}

/// The stack pointer.
#[inline(always)]
fn stack_pointer() -> usize {
    let pointer: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads a register.
    unsafe {
        asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads a register.
    unsafe {
        asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}

/// Where a call of WebAssembly waits for the host.
pub(super) struct Waiting {
    /// Where its stack was, 0 while it does not wait.
    pointer: Cell<usize>,
    registers: UnsafeCell<[usize; REGISTERS]>,
}

impl Waiting {
    pub(super) const fn new() -> Self {
        Self {
            pointer: Cell::new(0),
            registers: UnsafeCell::new([0; REGISTERS]),
        }
    }

    /// From here on. Inlined, so that what the compiler has saved of its caller's registers is on the
    /// stack for as long as the caller has not returned, and above the pointer.
    #[inline(always)]
    pub(super) fn begin(&self) {
        // SAFETY: the array has room for them, and nobody else refers to it.
        unsafe { save_registers!(self.registers.get()) };
        self.pointer.set(stack_pointer());
    }

    /// As if it had begun with the stack there.
    #[cfg(test)]
    pub(super) fn wait_at(&self, pointer: usize) {
        self.pointer.set(pointer);
    }

    #[inline(always)]
    pub(super) fn end(&self) {
        self.pointer.set(0);
    }
}

/// What a word that is looked for is like.
pub(super) trait Word: Copy {}

impl Word for u32 {}
impl Word for u64 {}

/// Calls `visit` with every word that a frame of WebAssembly may hold, and with others; how many
/// words that were.
#[inline(never)]
pub(super) fn each_word<W: Word>(visit: &mut impl FnMut(W)) -> usize {
    let registers = UnsafeCell::new([0_usize; REGISTERS]);
    // SAFETY: the array has room for them.
    unsafe { save_registers!(registers.get()) };
    let mut seen = registers_in(&registers, visit);
    // Everything that this function's callers saved lies above.
    let here = stack_pointer();
    let mut host = here;
    let mut innermost = true;
    stack::each_activation(|activation| {
        let Activation {
            entry,
            waiting,
            stack,
        } = activation;
        let pointer = waiting.pointer.get();
        if innermost && stack.contains(&here) {
            seen += words(here, stack.end, visit);
        } else if stack.contains(&pointer) {
            seen += registers_in(&waiting.registers, visit);
            seen += words(pointer, stack.end, visit);
        } else {
            seen += words(stack.start, stack.end, visit);
            seen += words(host, entry, visit);
        }
        host = entry;
        innermost = false;
    });
    seen
}

fn registers_in<W: Word>(
    registers: &UnsafeCell<[usize; REGISTERS]>,
    visit: &mut impl FnMut(W),
) -> usize {
    let start = registers.get() as usize;
    words(start, start + size_of::<[usize; REGISTERS]>(), visit)
}

fn words<W: Word>(start: usize, end: usize, visit: &mut impl FnMut(W)) -> usize {
    let start = start.next_multiple_of(size_of::<W>());
    for address in (start..end).step_by(size_of::<W>()) {
        // SAFETY: mapped and readable: registers that were stored, or a part of a stack of this
        // thread outside its guard zone, whose end is that of a page, or an aligned frame's.
        // Volatile, because it is other functions' frames.
        visit(unsafe { std::ptr::with_exposed_provenance::<W>(address).read_volatile() });
    }
    end.saturating_sub(start) / size_of::<W>()
}
