//! Exceptions: what a callback ends with, and what is pending.

use std::ptr;

use napi::sys;
use wasm_compile_cache_engine::error::{CompileError, LinkError};

use super::env::EnvState;
use super::js::{Env, Result, Value, check, dereference, kind, number, set, string};

/// Why a callback ends with an exception.
pub enum Thrown {
    /// One is pending already.
    Pending,
    /// `TypeError`
    Type(String),
    /// `RangeError`
    Range(String),
    /// `WebAssembly.CompileError`
    Compile(CompileError),
    /// `WebAssembly.LinkError`
    Link(LinkError),
    /// `WebAssembly.RuntimeError`
    Runtime(String),
    /// An `Error` of no fault of the program's: this package is wrong, or what it relies on does not hold.
    Internal(String),
}

impl From<LinkError> for Thrown {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<CompileError> for Thrown {
    fn from(error: CompileError) -> Self {
        Self::Compile(error)
    }
}

/// Makes the exception pending.
pub fn throw(env: Env, state: &EnvState, thrown: Thrown) {
    if let Ok(error) = error(env, state, thrown) {
        // SAFETY: a live value of this environment.
        unsafe { sys::napi_throw(env, error) };
    }
}

/// What V8 says, and here the link groups' JavaScript.
pub const STACK_IS_FULL: &str = "Maximum call stack size exceeded";

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

/// The JavaScript error of a failure; fails if one is pending already.
pub fn error(env: Env, state: &EnvState, thrown: Thrown) -> Result<Value> {
    let mut unsupported = None;
    let (class, text, code) = match thrown {
        Thrown::Pending => return Err(Thrown::Pending),
        Thrown::Type(text) => return native_error(env, &text, sys::napi_create_type_error),
        Thrown::Range(text) => return native_error(env, &text, sys::napi_create_range_error),
        Thrown::Internal(text) => (None, format!("internal: {text}"), Some("ERR_WASM_INTERNAL")),
        Thrown::Runtime(text) => (state.runtime_error(), text, None),
        Thrown::Compile(error) => {
            if let CompileError::Unsupported { feature, offset } = &error {
                unsupported = Some((feature.clone(), *offset));
            }
            let class = match error {
                CompileError::Read { .. } => None,
                _ => state.compile_error(),
            };
            (class, error.to_string(), Some(error.code()))
        }
        Thrown::Link(error) => (state.link_error(), error.to_string(), Some(error.code())),
    };
    let message = string(env, &text)?;
    let error = match class {
        Some(class) => {
            let class = dereference(env, class)?;
            let mut error = ptr::null_mut();
            // SAFETY: live values, one argument.
            check(unsafe { sys::napi_new_instance(env, class, 1, &message, &mut error) })?;
            error
        }
        None => native_error(env, &text, sys::napi_create_error)?,
    };
    if let Some(code) = code {
        set(env, error, "code", string(env, code)?)?;
    }
    if let Some((feature, offset)) = unsupported {
        set(env, error, "feature", string(env, &feature)?)?;
        if let Some(offset) = offset {
            set(env, error, "offset", number(env, offset as f64)?)?;
        }
    }
    Ok(error)
}

type CreateError = unsafe fn(Env, Value, Value, *mut Value) -> sys::napi_status;

fn native_error(env: Env, text: &str, create: CreateError) -> Result<Value> {
    let message = string(env, text)?;
    let mut error = ptr::null_mut();
    // SAFETY: live values; no code.
    check(unsafe { create(env, ptr::null_mut(), message, &mut error) })?;
    Ok(error)
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
