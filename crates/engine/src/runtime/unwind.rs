//! Throwing at a call site of WebAssembly code.
//!
//! What an import throws must be seen by the handlers of the frames that called it. The unwinder
//! cannot walk from native code into those frames: between them is a dynamic trampoline, for which
//! wasmer publishes no unwind information. So nobody throws from behind the trampoline: it returns,
//! which restores its caller's registers, but to [`resume`], which throws as if the call itself
//! were one of wasmer's `throw`.
//!
//! Cranelift gives every function that calls a frame record: the caller's frame pointer, then the
//! return address, and the frame register points at it.

use std::ptr::NonNull;

use wasmer_vm::StoreObjects;

use super::callee::Raised;

/// Whether WebAssembly handlers catch anything: wasmer unwinds on Unix only.
pub const CATCHES: bool = cfg!(unix);

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
    #[cfg(unix)]
    unsafe fn throw(self) -> ! {
        // SAFETY: the group, which owns the store, is alive while one of its functions runs.
        let store = unsafe { self.store.as_ref() };
        // SAFETY: the caller's promise.
        unsafe { wasmer_vm::libcalls::throw(store, self.exnref) }
    }
}

/// A frame record; the same on x86-64 (`push rbp; mov rbp, rsp`) and aarch64 (`stp x29, x30`).
#[repr(C)]
pub(super) struct Frame {
    caller: *mut Frame,
    return_address: usize,
}

pub(super) use landing::throw_behind;

#[cfg(unix)]
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

    /// Leaves by unwinding, or by a trap where nobody catches.
    unsafe extern "C-unwind" fn throw_pending() -> ! {
        let Some(exception) = EXCEPTION.take() else {
            std::process::abort()
        };
        // SAFETY: called in the place of an import's, on the WebAssembly stack of a group whose
        // exception it is, with no destructor left in this frame.
        unsafe { exception.throw() }
    }
}

/// Where wasmer cannot unwind, no handler sees anything, so nothing is thrown at a call site.
#[cfg(not(unix))]
mod landing {
    use super::{Frame, InFlight};

    /// Never called: [`super::CATCHES`].
    pub fn raise(_: InFlight) {}

    /// As above.
    pub unsafe fn throw_behind(_: *mut Frame) {
        std::process::abort()
    }
}
