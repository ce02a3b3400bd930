//! Calls from JavaScript, and the functions that are called.

use std::ptr;

use napi::sys;
use wasm_compile_cache_engine::panics;

use super::env::EnvState;
use super::errors::throw;
use super::js::{
    Callback, Env, Native, Reference, Result, Value, flag_of, native_of, number_of, raw_function,
    set, text_of,
};
use super::thrown::Thrown;

/// The body of a callback.
pub type Body = fn(&Call<'_>) -> Result<Value>;

/// One call from JavaScript.
pub struct Call<'call> {
    pub env: Env,
    pub state: &'call EnvState,
    arguments: [Value; 8],
}

/// Where the addon's functions are put.
pub struct Exports {
    env: Env,
    object: Value,
    state: *const EnvState,
}

struct Exported {
    body: Body,
    state: *const EnvState,
}

impl Exports {
    pub fn new(env: Env, object: Value, state: *const EnvState) -> Self {
        Self { env, object, state }
    }

    /// Adds a function. Its entry lives as long as the process: there are few, and they are
    /// needed until the environment's last moment.
    pub fn function(&self, name: &str, body: Body) {
        let entry = Box::leak(Box::new(Exported {
            body,
            state: self.state,
        }));
        let function = raw_function(self.env, name, callback, ptr::from_mut(entry).cast());
        if let Ok(function) = function {
            let _ = set(self.env, self.object, name, function);
        }
    }

    /// Adds a raw callback.
    pub fn raw(&self, name: &str, callback: Callback) {
        if let Ok(function) = raw_function(self.env, name, callback, ptr::null_mut()) {
            let _ = set(self.env, self.object, name, function);
        }
    }
}

unsafe extern "C" fn callback(env: Env, info: sys::napi_callback_info) -> Value {
    let mut arguments = [ptr::null_mut(); 8];
    let mut count = arguments.len();
    let mut data = ptr::null_mut();
    // SAFETY: Node-API fills at most `count` arguments, the rest with undefined.
    let status = unsafe {
        sys::napi_get_cb_info(
            env,
            info,
            &mut count,
            arguments.as_mut_ptr(),
            ptr::null_mut(),
            &mut data,
        )
    };
    if status != sys::Status::napi_ok {
        return ptr::null_mut();
    }
    // SAFETY: `Exports::function` passed a leaked entry.
    let entry = unsafe { &*data.cast::<Exported>() };
    // SAFETY: JavaScript runs, so the environment and with it its state is alive.
    let state = unsafe { &*entry.state };
    let call = Call {
        env,
        state,
        arguments,
    };
    guard(env, state, || (entry.body)(&call))
}

/// Runs a callback's body; no panic and no error leaves it other than as an exception.
pub fn guard(env: Env, state: &EnvState, body: impl FnOnce() -> Result<Value>) -> Value {
    match panics::catch("the addon", body) {
        Ok(Ok(value)) => value,
        Ok(Err(thrown)) => {
            throw(env, state, thrown);
            ptr::null_mut()
        }
        Err(panicked) => {
            throw(env, state, Thrown::Internal(panicked.to_string()));
            ptr::null_mut()
        }
    }
}

impl Call<'_> {
    /// The argument at `index`, or undefined.
    pub fn argument(&self, index: usize) -> Value {
        self.arguments[index]
    }

    /// An argument as a number.
    pub fn number(&self, index: usize) -> Result<f64> {
        number_of(self.env, self.arguments[index])
    }

    /// An address or index: a non-negative whole number.
    pub fn address(&self, index: usize) -> Result<usize> {
        Ok(self.number(index)? as usize)
    }

    /// An argument as a truth value.
    pub fn flag(&self, index: usize) -> Result<bool> {
        flag_of(self.env, self.arguments[index])
    }

    /// An argument as a text.
    pub fn text(&self, index: usize) -> Result<String> {
        text_of(self.env, self.arguments[index])
    }

    /// A strong reference to a function argument.
    pub fn reference(&self, index: usize) -> Result<Reference> {
        Reference::new(self.env, self.arguments[index], 1)
    }

    /// The native value behind an external argument.
    pub fn native<T: Native>(&self, index: usize) -> Result<&T> {
        native_of(self.env, self.arguments[index])
    }
}
