//! Whether an environment is to stop, asked from a signal's handler.
//!
//! Node-API has no function for it, but the order in which its functions check their arguments tells. Nobody promises
//! that order, so it is relied on only in the majors of Node whose source was read ([`KNOWN`]), only where an environment
//! that runs is not said to stop, and no longer once one that ended was not. `WASM_COMPILE_CACHE_INTERRUPT=0` switches it
//! off: a debugger or a profiler may not like the signal. Then no thread is sent any, and a worker that stays in
//! WebAssembly is ended when it leaves it.

use std::ffi::c_void;
use std::ops::RangeInclusive;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use napi::sys;
use wasm_compile_cache_engine::features;
use wasm_compile_cache_engine::runtime::{WasmThread, Watched};

use super::js::{self, Env, Result};
use super::pending::clear_exception;

/// In these, `NAPI_PREAMBLE` of `src/js_native_api_v8.h` comes before `CHECK_ARG` in `napi_strict_equals`.
const KNOWN: RangeInclusive<u32> = 20..=26;

pub const FEATURE: &str = "interrupting WebAssembly in workers";

/// An environment that ended was not said to be stopping.
static IS_WRONG: AtomicBool = AtomicBool::new(false);

/// Has the calling thread's environment watched, where that is needed and possible.
pub fn watch(env: Env, thread: WasmThread) -> Option<&'static Watched> {
    if !Watched::is_needed() {
        return None;
    }
    match examine(env) {
        Ok(()) => Watched::begin(thread, is_stopping, env.cast()),
        Err(reason) => {
            features::off(FEATURE, reason);
            None
        }
    }
}

/// Whether the question may be asked in this environment.
///
/// # Errors
/// Why not.
pub fn examine(env: Env) -> std::result::Result<(), String> {
    let switch = text(env, &["process", "env", "WASM_COMPILE_CACHE_INTERRUPT"]);
    if switch.is_ok_and(|text| text == "0") {
        return Err("WASM_COMPILE_CACHE_INTERRUPT is 0".to_owned());
    }
    let version = text(env, &["process", "versions", "node"]).unwrap_or_default();
    let major = version.split('.').next();
    if !major.is_some_and(|major| major.parse().is_ok_and(|major| KNOWN.contains(&major))) {
        return Err(format!(
            "Node {version} is none of those that were examined"
        ));
    }
    if IS_WRONG.load(Ordering::Relaxed) {
        return Err(
            "Node-API did not say of an environment that ended that it was to stop".to_owned(),
        );
    }
    // SAFETY: the environment has called us.
    let stops = unsafe { is_stopping(env.cast()) };
    if stops && runs_scripts(env) {
        return Err("Node-API says of an environment that it is to stop, and it runs".to_owned());
    }
    Ok(())
}

/// The environment has ended. One that was watched must be said to stop by now.
pub fn check_ended(env: Env) {
    // SAFETY: in its cleanup hook, so it is there.
    if !unsafe { is_stopping(env.cast()) } {
        IS_WRONG.store(true, Ordering::Relaxed);
        features::off(
            FEATURE,
            "Node-API did not say of an environment that ended that it was to stop",
        );
    }
}

/// A text by the names of properties, from the global object on. Nothing is pending afterwards.
fn text(env: Env, path: &[&str]) -> Result<String> {
    let find = || {
        let mut value = ptr::null_mut();
        // SAFETY: `value` is writable.
        js::check(unsafe { sys::napi_get_global(env, &mut value) })?;
        for name in path {
            value = js::get(env, value, name)?;
        }
        js::text_of(env, value)
    };
    let found = find();
    if found.is_err() {
        clear_exception(env);
    }
    found
}

/// Whether the environment still runs JavaScript.
fn runs_scripts(env: Env) -> bool {
    let ran = js::string(env, "0").and_then(|source| {
        let mut result = ptr::null_mut();
        // SAFETY: a live value, and `result` is writable.
        js::check(unsafe { sys::napi_run_script(env, source, &mut result) })
    });
    if ran.is_err() {
        clear_exception(env);
    }
    ran.is_ok()
}

/// Whether the environment is to stop (`Environment::is_stopping` in Node).
///
/// Node-API refuses calls that may run JavaScript before it looks at their arguments, if the environment is to stop or an
/// exception is pending; a call without arguments is refused for these otherwise. Node neither allocates nor locks for it.
///
/// # Safety
/// `env` must be an environment of the calling thread that has not ended.
pub unsafe fn is_stopping(env: *mut c_void) -> bool {
    let env = env.cast();
    let (left, right) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: Node-API checks the values.
    let status = unsafe { sys::napi_strict_equals(env, left, right, ptr::null_mut()) };
    if status == sys::Status::napi_invalid_arg {
        return false;
    }
    let mut pending = true;
    // SAFETY: `pending` is writable.
    let asked = unsafe { sys::napi_is_exception_pending(env, &mut pending) };
    asked == sys::Status::napi_ok && !pending
}
