//! Host functions: what WebAssembly calls when it calls an import.

use std::any::Any;
use std::cell::Cell;

use wasmer_types::RawValue;
use wasmer_vm::{
    VMDynamicFunctionContext, VMFunctionBody, VMFunctionContext, on_host_stack, raise_user_trap,
};

use super::callee::{Callee, Raised};
use super::stack::WasmThread;
use super::unwind::{self, Frame};
use crate::features;

/// A host function's context; compiled code reaches it as its `vmctx`.
///
/// Invariant: its address does not change while any store can call it.
pub(super) struct HostFunction {
    dynamic: VMDynamicFunctionContext<Host>,
}

struct Host {
    callee: Box<dyn Callee>,
    /// Calls under way.
    running: Cell<u32>,
    /// The group's.
    thread: WasmThread,
}

impl HostFunction {
    pub(super) fn new(callee: Box<dyn Callee>) -> Box<Self> {
        Box::new(Self {
            dynamic: VMDynamicFunctionContext {
                address: (entry as *const ()).cast::<VMFunctionBody>(),
                ctx: Host {
                    callee,
                    running: Cell::new(0),
                    thread: WasmThread::current(),
                },
            },
        })
    }

    /// Whether a call of it is under way.
    pub(super) fn is_running(&self) -> bool {
        self.dynamic.ctx.running.get() > 0
    }

    pub(super) fn context(self: &mut Box<Self>) -> VMFunctionContext {
        VMFunctionContext {
            host_env: (&raw mut self.dynamic).cast(),
        }
    }
}

/// Marks a `VMFunction` as the host's: wasmer takes unit data for a WebAssembly function's.
pub(super) fn host_data() -> Box<dyn Any> {
    struct Host;
    Box::new(Host)
}

/// Called by the dynamic trampolines, on the WebAssembly stack: adds the trampoline's frame to the
/// arguments of [`enter`].
///
/// # Safety
/// As [`enter`].
#[unsafe(naked)]
unsafe extern "C" fn entry(context: *mut VMDynamicFunctionContext<Host>, values: *mut RawValue) {
    #[cfg(target_arch = "x86_64")]
    std::arch::naked_asm!("mov rdx, rbp", "jmp {enter}", enter = sym enter);
    #[cfg(target_arch = "aarch64")]
    std::arch::naked_asm!("mov x2, x29", "b {enter}", enter = sym enter);
}

/// # Safety
/// `context` must be what [`HostFunction::context`] gave out, `values` as [`Callee::call`] wants it,
/// `frame` that of the dynamic trampoline that called.
unsafe extern "C" fn enter(
    context: *mut VMDynamicFunctionContext<Host>,
    values: *mut RawValue,
    frame: *mut Frame,
) {
    // SAFETY: the trampoline passes the context that `HostFunction::context` gave out, alive by its
    // invariant.
    let host = unsafe { &(*context).ctx };
    // SAFETY: a group is used by one thread, so it is this one's.
    let zone = unsafe { &*host.thread.zone() };
    zone.calls_host(frame as usize);
    host.running.set(host.running.get() + 1);
    let outcome = on_host_stack(|| {
        // SAFETY: the trampoline's value array has room for parameters and results.
        unsafe { host.callee.call(values) }
    });
    host.running.set(host.running.get() - 1);
    match outcome {
        Ok(()) => zone.host_returned(),
        Err(Raised::Exception) => {
            zone.host_returned();
            match zone.check_frame(frame) {
                // SAFETY: `frame` is the trampoline's, which called this function.
                Ok(()) => unsafe { unwind::throw_behind(frame) },
                // SAFETY: as below.
                Err(lost) => unsafe { lose(lost) },
            }
        }
        Err(Raised::Pending) => {
            let raised = Box::new(Raised::Pending);
            // SAFETY: dynamic trampolines only run on the WebAssembly stack, and no destructor is
            // left in this frame: `outcome` is plain data.
            unsafe { raise_user_trap(raised) }
        }
    }
}

/// What an import threw cannot be thrown where it was called.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Lost(&'static str);

/// Leaves WebAssembly by a trap in the place of an exception.
///
/// # Safety
/// On the WebAssembly stack, with no destructor left in the frames up to the trampoline's.
#[cold]
unsafe fn lose(reason: &'static str) -> ! {
    unwind::forget();
    features::off("catching in WebAssembly what imports throw", reason);
    let lost = Box::new(Lost(reason));
    // SAFETY: the caller's promise.
    unsafe { raise_user_trap(lost) }
}
