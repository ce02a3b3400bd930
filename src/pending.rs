//! Exceptions that are pending, and those of traps.

use std::ptr;

use napi::sys;

use super::js::{Env, Result, Value, check, kind};
use super::thrown::Thrown;

/// Makes a value the pending exception.
pub fn throw_value(env: Env, value: Value) -> Thrown {
    // SAFETY: a live value of this environment.
    match check(unsafe { sys::napi_throw(env, value) }) {
        Ok(()) => Thrown::Pending,
        Err(thrown) => thrown,
    }
}

/// Marks the error of a trap, a new object, as V8 does with a private symbol: no handler of
/// WebAssembly catches it, whatever JavaScript it went through.
pub fn mark_trap(env: Env, error: Value) -> Result<()> {
    // SAFETY: a live object without a tag.
    check(unsafe { sys::napi_type_tag_object(env, error, &TRAP) })
}

const TRAP: sys::napi_type_tag = sys::napi_type_tag {
    lower: u64::from_be_bytes(*b"wcc:trap"),
    upper: 0x5f1d_28c7_90b3_4e6a,
};

/// Whether a value is the error of a trap.
pub fn is_trap(env: Env, value: Value) -> Result<bool> {
    let kind = kind(env, value)?;
    if kind != sys::ValueType::napi_object && kind != sys::ValueType::napi_function {
        return Ok(false);
    }
    let mut marked = false;
    // SAFETY: a live object.
    check(unsafe { sys::napi_check_object_type_tag(env, value, &TRAP, &mut marked) })?;
    Ok(marked)
}

/// The pending exception, which is pending no more; `None` if there is none.
pub fn take_exception(env: Env) -> Result<Option<Value>> {
    let mut pending = false;
    // SAFETY: `pending` is writable.
    check(unsafe { sys::napi_is_exception_pending(env, &mut pending) })?;
    if !pending {
        return Ok(None);
    }
    let mut exception = ptr::null_mut();
    // SAFETY: `exception` is writable.
    check(unsafe { sys::napi_get_and_clear_last_exception(env, &mut exception) })?;
    Ok(Some(exception))
}

/// Whether a value is an error that the engine made; a proxy of one is none.
pub fn is_error(env: Env, value: Value) -> Result<bool> {
    let mut is_error = false;
    // SAFETY: a live value.
    check(unsafe { sys::napi_is_error(env, value, &mut is_error) })?;
    Ok(is_error)
}

/// Forgets a pending exception.
pub fn clear_exception(env: Env) {
    let mut exception = ptr::null_mut();
    // SAFETY: `exception` is writable.
    unsafe { sys::napi_get_and_clear_last_exception(env, &mut exception) };
}
