//! The JavaScript errors of failures.

use std::ptr;

use napi::sys;
use wasm_compile_cache_engine::error::CompileError;

use super::env::EnvState;
use super::js::{Env, Result, Value, check, dereference, number, set, string};
use super::thrown::Thrown;

/// Makes the exception pending.
pub fn throw(env: Env, state: &EnvState, thrown: Thrown) {
    if let Ok(error) = error(env, state, thrown) {
        // SAFETY: a live value of this environment.
        unsafe { sys::napi_throw(env, error) };
    }
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
