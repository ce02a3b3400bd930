//! Throwing at a call site of WebAssembly code.
//!
//! What an import throws must be seen by the handlers of the frames that called it. The unwinder
//! cannot walk from native code into those frames: between them is a dynamic trampoline, for which
//! wasmer publishes no unwind information. So nobody throws from behind the trampoline: it returns,
//! which restores its caller's registers, but to [`resume`], which throws as if the call itself
//! were one of wasmer's `throw`.
//!
//! Cranelift gives every function that calls a frame record: the caller's frame pointer, then the
//! return address, and the frame register points at it. Whether a dynamic trampoline begins that way
//! is looked at before handlers are relied on ([`works`]), and every frame before it is changed
//! ([`check`]).

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::OnceLock;

use wasmer_types::FunctionType;
use wasmer_vm::StoreObjects;

use super::callee::Raised;
use crate::features;

/// An exception on its way from the host to WebAssembly's handlers.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    store: NonNull<StoreObjects>,
    exnref: u32,
}

impl InFlight {
    /// The exception with this number in the store of a group.
    pub(super) fn new(store: &StoreObjects, exnref: u32) -> Self {
        Self {
            store: NonNull::from(store),
            exnref,
        }
    }

    /// How a host function ends that throws it; it must end thus at once.
    pub fn raise(self) -> Raised {
        landing::raise(self);
        Raised::Exception
    }

    /// Leaves the frames above, up to a handler; a trap where there is none.
    ///
    /// # Safety
    /// On the WebAssembly stack of a call into the exception's group, with no destructor in the
    /// frames up to WebAssembly's.
    #[cfg(not(direct_throw))]
    unsafe fn throw(self) -> ! {
        // SAFETY: the group, which owns the store, is alive while one of its functions runs.
        let store = unsafe { self.store.as_ref() };
        // SAFETY: the caller's promise.
        unsafe { wasmer_vm::libcalls::throw(store, self.exnref) }
    }
}

/// Whether exceptions that imports throw can reach handlers; asked of the first trampoline there is.
pub(super) fn works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let refused = crate::tier::kit(&FunctionType::new([], []))
            .map_err(|error| error.to_string())
            .and_then(|kit| {
                let code = kit.dynamic_trampoline().cast::<[u8; PROLOGUE.len()]>();
                // SAFETY: compiled code that the kit keeps; no trampoline is shorter.
                begins_with_record(&unsafe { code.read_unaligned() })
            });
        if let Err(reason) = &refused {
            features::off(
                "catching in WebAssembly what imports throw",
                reason.as_str(),
            );
        }
        refused.is_ok()
    })
}

/// `push rbp; mov rbp, rsp`
#[cfg(target_arch = "x86_64")]
const PROLOGUE: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];

/// `stp x29, x30, [sp, #-16]!; mov x29, sp`
#[cfg(target_arch = "aarch64")]
const PROLOGUE: [u8; 8] = [0xfd, 0x7b, 0xbf, 0xa9, 0xfd, 0x03, 0x00, 0x91];

fn begins_with_record(code: &[u8; PROLOGUE.len()]) -> Result<(), String> {
    if *code == PROLOGUE {
        return Ok(());
    }
    Err(format!(
        "a trampoline of Cranelift begins with {}, and not with a frame record",
        hex::encode(code)
    ))
}

/// Whether `frame` can be that of a trampoline that runs on this stack: aligned there, called by a frame
/// farther up, from code that is none of a library's.
pub(super) fn check(
    frame: *const Frame,
    stack: &Range<usize>,
    is_native: impl Fn(usize) -> bool,
) -> Result<(), &'static str> {
    let is_record = |at: usize| {
        at.is_multiple_of(align_of::<Frame>())
            && stack.contains(&at)
            && stack.contains(&(at + size_of::<Frame>() - 1))
    };
    if !is_record(frame as usize) {
        return Err("the frame of an import's trampoline is not on the stack of its call");
    }
    // SAFETY: within the stack, which can be read, and aligned.
    let Frame {
        caller,
        return_address,
    } = unsafe { frame.read_volatile() };
    if caller as usize <= frame as usize || !is_record(caller as usize) {
        return Err("the frame of an import's trampoline has no caller");
    }
    if return_address == 0 || is_native(return_address) {
        return Err("the trampoline of an import does not return to compiled code");
    }
    Ok(())
}

/// A frame record; the same on x86-64 (`push rbp; mov rbp, rsp`) and aarch64 (`stp x29, x30`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Frame {
    caller: *mut Frame,
    return_address: usize,
}

pub(super) use landing::{forget, throw_behind};

mod landing {
    use std::arch::naked_asm;
    use std::cell::Cell;

    use super::{Frame, InFlight};

    thread_local! {
        /// What [`resume`] throws.
        static EXCEPTION: Cell<Option<InFlight>> = const { Cell::new(None) };
        /// The call site where.
        static CALL_SITE: Cell<usize> = const { Cell::new(0) };
    }

    /// The next [`throw_behind`] of this thread throws it.
    pub fn raise(exception: InFlight) {
        EXCEPTION.set(Some(exception));
    }

    /// Nothing is thrown after all.
    #[cold]
    pub fn forget() {
        EXCEPTION.set(None);
    }

    /// Throws what was raised as soon as the function of `frame` has returned.
    ///
    /// # Safety
    /// `frame` must be that of a function that Cranelift compiled and that is running, called by
    /// code with unwind information or a call trampoline, and nothing of WebAssembly may run before
    /// it returns.
    #[cold]
    pub unsafe fn throw_behind(frame: *mut Frame) {
        // SAFETY: the caller's promise.
        let frame = unsafe { &mut *frame };
        CALL_SITE.set(frame.return_address);
        frame.return_address = resume as *const () as usize;
    }

    /// Entered by a return: the registers are those of the call site's frame after the call. Goes
    /// on as if the call site had called [`throw_pending`].
    #[cfg(target_arch = "x86_64")]
    #[unsafe(naked)]
    unsafe extern "C-unwind" fn resume() {
        naked_asm!(
            // Room for the return address, and the stack aligned for a call.
            "sub rsp, 16",
            "call {call_site}",
            "add rsp, 8",
            "mov [rsp], rax",
            "jmp {throw}",
            call_site = sym call_site,
            throw = sym throw_pending,
        )
    }

    /// As above.
    #[cfg(target_arch = "aarch64")]
    #[unsafe(naked)]
    unsafe extern "C-unwind" fn resume() {
        naked_asm!(
            "bl {call_site}",
            "mov x30, x0",
            "b {throw}",
            call_site = sym call_site,
            throw = sym throw_pending,
        )
    }

    extern "C" fn call_site() -> usize {
        CALL_SITE.get()
    }

    /// Leaves by [`throw_of`](super::super::throw::throw_of).
    #[cfg(direct_throw)]
    #[unsafe(naked)]
    unsafe extern "C-unwind" fn throw_pending() -> ! {
        naked_asm!(
            // The stack aligned for a call.
            "sub rsp, 8",
            "call {take}",
            "add rsp, 8",
            "mov rdi, rax",
            "mov rsi, rdx",
            "jmp {throw}",
            take = sym take,
            throw = sym super::super::throw::throw_of,
        )
    }

    /// An exception in two registers.
    #[cfg(direct_throw)]
    #[repr(C)]
    struct Pending {
        store: *const wasmer_vm::StoreObjects,
        exnref: usize,
    }

    #[cfg(direct_throw)]
    extern "C" fn take() -> Pending {
        let Some(exception) = EXCEPTION.take() else {
            std::process::abort()
        };
        Pending {
            store: exception.store.as_ptr(),
            exnref: exception.exnref as usize,
        }
    }

    /// Leaves by unwinding, or by a trap where nobody catches.
    #[cfg(not(direct_throw))]
    unsafe extern "C-unwind" fn throw_pending() -> ! {
        let Some(exception) = EXCEPTION.take() else {
            std::process::abort()
        };
        // SAFETY: called in the place of an import's, on the WebAssembly stack of a group whose
        // exception it is, with no destructor left in this frame.
        unsafe { exception.throw() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trampoline_without_a_frame_record_is_not_relied_on() {
        assert!(works());
        assert_eq!(begins_with_record(&PROLOGUE), Ok(()));
        let mut other = PROLOGUE;
        other[1] ^= 1;
        let refused = begins_with_record(&other).expect_err("another prologue");
        assert!(refused.contains(&hex::encode(other)), "{refused}");
    }

    #[test]
    fn no_frame_is_changed_that_is_not_a_trampolines() {
        const NATIVE: usize = 7;
        let end = Frame {
            caller: std::ptr::null_mut(),
            return_address: 1,
        };
        let mut stack = [end; 4];
        let at = |index: usize| (&raw const stack[index]).cast_mut();
        let (first, last) = (at(1), at(3));
        let range = at(1) as usize..at(3) as usize + size_of::<Frame>();
        stack[1].caller = last;
        let checked = |frame| check(frame, &range, |at| at == NATIVE);
        assert_eq!(checked(first), Ok(()));
        for outside in [
            first.wrapping_sub(1),
            last.wrapping_add(1),
            first.wrapping_byte_add(1),
            std::ptr::null_mut(),
        ] {
            assert!(checked(outside).is_err(), "{outside:?}");
        }
        for caller in [
            first,
            last.wrapping_add(1),
            last.wrapping_byte_add(4),
            std::ptr::null_mut(),
        ] {
            stack[1].caller = caller;
            assert!(checked(first).is_err(), "a caller at {caller:?}");
        }
        stack[1].caller = last;
        for return_address in [0, NATIVE] {
            stack[1].return_address = return_address;
            assert!(checked(first).is_err(), "a return to {return_address}");
        }
    }
}
