//! Host functions: what WebAssembly calls when it calls an import.

use std::any::Any;

use wasmer_types::RawValue;
use wasmer_vm::{
    VMDynamicFunctionContext, VMFunctionBody, VMFunctionContext, on_host_stack, raise_user_trap,
};

/// The host's side of an imported function.
pub trait Callee {
    /// `values` holds the arguments on the way in and the results on the way out. Runs on the
    /// host's stack and must not unwind.
    ///
    /// # Errors
    /// [`Raised`] when the host threw: the WebAssembly frames above are then left.
    ///
    /// # Safety
    /// `values` must have room for the larger of the signature's parameters and results.
    unsafe fn call(&self, values: *mut RawValue) -> Result<(), Raised>;
}

/// The host threw; its exception is pending in the environment.
#[derive(Debug, thiserror::Error)]
#[error("the host's exception is pending")]
pub struct Raised;

/// A host function's context; compiled code reaches it as its `vmctx`.
///
/// Invariant: its address does not change while any store can call it.
pub(super) struct HostFunction {
    dynamic: VMDynamicFunctionContext<Box<dyn Callee>>,
}

impl HostFunction {
    pub(super) fn new(callee: Box<dyn Callee>) -> Box<Self> {
        Box::new(Self {
            dynamic: VMDynamicFunctionContext {
                address: (enter as *const ()).cast::<VMFunctionBody>(),
                ctx: callee,
            },
        })
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

/// Called by the dynamic trampolines, on the WebAssembly stack.
unsafe extern "C" fn enter(
    context: *mut VMDynamicFunctionContext<Box<dyn Callee>>,
    values: *mut RawValue,
) {
    let outcome = on_host_stack(|| {
        // SAFETY: the trampoline passes the context that `HostFunction::context` gave out, alive
        // by its invariant.
        let callee = unsafe { &(*context).ctx };
        // SAFETY: the trampoline's value array has room for parameters and results.
        unsafe { callee.call(values) }
    });
    if outcome.is_err() {
        let raised = Box::new(Raised);
        // SAFETY: dynamic trampolines only run on the WebAssembly stack, and no destructor is
        // left in this frame: `outcome` is plain data.
        unsafe { raise_user_trap(raised) }
    }
}
