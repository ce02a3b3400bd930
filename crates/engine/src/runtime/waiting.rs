//! Where a call of WebAssembly waits for the host, for [`super::scan`] to look at what it holds.

use std::arch::asm;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;

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
pub(super) fn stack_pointer() -> usize {
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

/// The registers that a called function keeps for its caller.
pub(super) struct Saved(UnsafeCell<[usize; REGISTERS]>);

impl Saved {
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new([0; REGISTERS]))
    }

    /// Notes what they hold now.
    #[inline(always)]
    pub(super) fn save(&self) {
        // SAFETY: the array has room for them, and nobody else refers to it.
        unsafe { save_registers!(self.0.get()) };
    }

    /// Where they were noted.
    pub(super) fn range(&self) -> Range<usize> {
        let start = self.0.get() as usize;
        start..start + size_of::<[usize; REGISTERS]>()
    }
}

/// Where a call of WebAssembly waits for the host.
pub(super) struct Waiting {
    /// Where its stack was, 0 while it does not wait.
    pointer: Cell<usize>,
    registers: Saved,
}

impl Waiting {
    pub(super) const fn new() -> Self {
        Self {
            pointer: Cell::new(0),
            registers: Saved::new(),
        }
    }

    /// From here on. Inlined, so that what the compiler has saved of its caller's registers is on the
    /// stack for as long as the caller has not returned, and above the pointer.
    #[inline(always)]
    pub(super) fn begin(&self) {
        self.registers.save();
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

    /// Where its stack was, 0 if it does not wait.
    pub(super) fn pointer(&self) -> usize {
        self.pointer.get()
    }

    /// Where its registers were noted then.
    pub(super) fn registers(&self) -> Range<usize> {
        self.registers.range()
    }
}
