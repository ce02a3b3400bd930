//! Entering WebAssembly.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

use wasmer_types::RawValue;
use wasmer_vm::{Trap, VMCallerCheckedAnyfunc, VMConfig, VMFunctionBody, wasmer_call_trampoline};

/// WebAssembly runs on stacks of its own; V8's default stack is about 1 MiB, and baseline frames
/// are some three times as large as V8's.
const CONFIG: VMConfig = VMConfig {
    wasm_stack_size: Some(4 << 20),
};

/// Calls a function; `values` holds the arguments on the way in and the results on the way out.
///
/// # Errors
/// The trap, or what the host raised.
///
/// # Safety
/// `anyfunc` must be alive, on this thread, and stay so during the call; `values` must have room
/// for the larger of its parameters and results, and hold its parameters.
pub unsafe fn call(
    anyfunc: NonNull<VMCallerCheckedAnyfunc>,
    values: *mut RawValue,
) -> Result<(), Trap> {
    let anyfunc = anyfunc.as_ptr();
    // SAFETY: alive by the caller's promise; another thread may swap the body at any time.
    let slot = unsafe { &raw mut (*anyfunc).func_ptr };
    // SAFETY: an aligned, live pointer that is only written through `AtomicPtr`.
    let body = unsafe { AtomicPtr::from_ptr(slot.cast::<*mut VMFunctionBody>()) };
    let body = body.load(Ordering::Acquire);
    // SAFETY: alive; this field never changes.
    let vmctx = unsafe { (*anyfunc).vmctx };
    // SAFETY: as above.
    let trampoline = unsafe { (*anyfunc).call_trampoline };
    // SAFETY: body, context and trampoline belong together (`Code::trampolines`), and `values`
    // fits by the caller's promise.
    unsafe { wasmer_call_trampoline(None, &CONFIG, vmctx, trampoline, body, values.cast()) }
}
