//! What the stacks of this thread hold, word by word.
//!
//! A call into WebAssembly runs on a stack of its own; its imports run on the host's, below the
//! frame that entered. What its frames hold while it waits for an import is on its stack, above where
//! that was when the host was called, or in the registers that were noted then ([`super::waiting`]).
//!
//! Where WebAssembly waits for anything else (the length of a memory), nothing was noted: then all of
//! its stack is looked at, and the host's as far as native code may have saved registers there.

use std::ops::Range;

use super::stack::{self, Activation};
use super::waiting::{Saved, stack_pointer};

/// What a word that is looked for is like.
pub(super) trait Word: Copy {}

impl Word for u32 {}
impl Word for u64 {}

/// Calls `visit` with every word that a frame of WebAssembly may hold, and with others; how many
/// words that were.
#[inline(never)]
pub(super) fn each_word<W: Word>(visit: &mut impl FnMut(W)) -> usize {
    let registers = Saved::new();
    registers.save();
    let mut seen = words(registers.range(), visit);
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
        let pointer = waiting.pointer();
        if innermost && stack.contains(&here) {
            seen += words(here..stack.end, visit);
        } else if stack.contains(&pointer) {
            seen += words(waiting.registers(), visit);
            seen += words(pointer..stack.end, visit);
        } else {
            seen += words(stack, visit);
            seen += words(host..entry, visit);
        }
        host = entry;
        innermost = false;
    });
    seen
}

fn words<W: Word>(range: Range<usize>, visit: &mut impl FnMut(W)) -> usize {
    let Range { start, end } = range;
    let start = start.next_multiple_of(size_of::<W>());
    for address in (start..end).step_by(size_of::<W>()) {
        // SAFETY: mapped and readable: registers that were stored, or a part of a stack of this
        // thread outside its guard zone, whose end is that of a page, or an aligned frame's.
        // Volatile, because it is other functions' frames.
        visit(unsafe { std::ptr::with_exposed_provenance::<W>(address).read_volatile() });
    }
    end.saturating_sub(start) / size_of::<W>()
}
