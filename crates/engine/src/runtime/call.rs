//! Entering WebAssembly.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

use wasmer_types::RawValue;
use wasmer_vm::{
    Trap, VMCallerCheckedAnyfunc, VMConfig, VMFunctionBody, VMTrampoline, wasmer_call_trampoline,
};

use super::levels::TooDeep;
use super::stack::{self, WasmThread};

const CONFIG: VMConfig = VMConfig {
    wasm_stack_size: Some(stack::STACK),
};

/// Calls a function; `values` holds the arguments on the way in and the results on the way out.
///
/// # Errors
/// The trap, or what the host raised, or [`TooDeep`].
///
/// # Safety
/// `thread` must be this thread's. `anyfunc` must be alive, on this thread, and stay so during the call; `values` must have room
/// for the larger of its parameters and results, and hold its parameters.
pub unsafe fn call(
    anyfunc: NonNull<VMCallerCheckedAnyfunc>,
    values: *mut RawValue,
    thread: WasmThread,
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
    // SAFETY: this thread's, which is alive.
    let zone = unsafe { &*thread.zone() };
    let entry = zone.entry(trampoline, body);
    let Some(_inside) = zone.begin(&entry) else {
        zone.notes.fail(None, entry.start(), entry.host());
        return Err(Trap::user(Box::new(TooDeep)));
    };
    // SAFETY: only the unwinding half of the ABI differs: what wasmer throws passes through.
    let enter =
        unsafe { std::mem::transmute::<*const (), VMTrampoline>(stack::enter as *const ()) };
    // SAFETY: body, context and trampoline belong together (`Code::trampolines`), `values` fits by
    // the caller's promise, and the entry lives until the call ended.
    let outcome = unsafe {
        wasmer_call_trampoline(
            stack::handler(),
            &CONFIG,
            vmctx,
            enter,
            (&raw const entry).cast(),
            values.cast(),
        )
    };
    if let Err(trap) = &outcome {
        zone.notes.fail(Some(trap), entry.start(), entry.host());
    }
    outcome
}
