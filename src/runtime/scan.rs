//! What the stacks of this thread hold, word by word.
//!
//! A call into WebAssembly runs on a stack of its own; its imports run on the host's, below the
//! frame that entered. So what frames of WebAssembly hold is on the stacks of the calls under way,
//! and, where native code saved registers for them, on the host's between the first call and the
//! last one (or here).

use std::arch::asm;

use super::stack::{self, Activation};

/// The registers that a called function keeps for its caller.
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

/// Calls `visit` with every word that a frame of WebAssembly may hold, and with others.
#[inline(never)]
pub(super) fn each_word(visit: &mut dyn FnMut(u32)) {
    let mut registers = [0_usize; 11];
    // SAFETY: the array has room for them.
    unsafe { save_registers!(registers.as_mut_ptr()) };
    for register in std::hint::black_box(registers) {
        visit(register as u32);
    }
    // Everything that this function's callers saved lies above.
    let here = stack_pointer();
    let mut host = here;
    let mut outermost = 0;
    for (nth, activation) in stack::activations().enumerate() {
        let Activation { entry, stack } = activation;
        if nth == 0 && stack.contains(&here) {
            words(here, stack.end, visit);
            host = entry;
        } else {
            words(stack.start, stack.end, visit);
        }
        outermost = entry;
    }
    if outermost > host {
        words(host, outermost, visit);
    }
}

fn words(start: usize, end: usize, visit: &mut dyn FnMut(u32)) {
    const STEP: usize = size_of::<u32>();
    for address in (start.next_multiple_of(STEP)..end).step_by(STEP) {
        // SAFETY: mapped and readable: a part of a stack of this thread outside its guard zone.
        // Volatile, because it is other functions' frames.
        visit(unsafe { std::ptr::with_exposed_provenance::<u32>(address).read_volatile() });
    }
}
