//! Memories: V8's, seen from compiled code.

use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use wasm_compile_cache_engine::error::LinkError;
use wasm_compile_cache_engine::runtime::{self, MemoryHost, MemoryState, Waited, close_libraries};

use super::calls::{Call, Exports};
use super::env::EnvState;
use super::js::{self, Env, Native, Reference, Result, Scope, Value};
use super::pending;
use super::thrown::Thrown;

/// What JavaScript holds for a memory.
pub struct MemoryHandle(pub Arc<MemoryState>);

impl Native for MemoryHandle {
    const TAG: u64 = u64::from_be_bytes(*b"wcc:mem ");
}

/// The `WebAssembly.Memory` behind a memory, held weakly: whoever can run code on it holds it
/// through the group's JavaScript object.
struct JsMemory {
    env: Env,
    state: *const EnvState,
    memory: Reference,
}

// SAFETY: a memory state is only used by the thread of the environment that attached it; the
// trait's bounds come from wasmer, which does not know that.
unsafe impl Send for JsMemory {}
// SAFETY: as above.
unsafe impl Sync for JsMemory {}

impl JsMemory {
    fn call(&self, function: Option<&Reference>, arguments: &[f64]) -> Option<f64> {
        let _outside = self.state().leave_for_host();
        let outcome = self.try_call(function, arguments);
        if outcome.is_err() {
            pending::clear_exception(self.env);
            // WebAssembly would go on, and ask again.
            if self.state().is_stopping() {
                close_libraries();
            }
        }
        outcome.ok()
    }

    fn try_call(&self, function: Option<&Reference>, arguments: &[f64]) -> Result<f64> {
        let env = self.env;
        let _scope = Scope::open(env)?;
        let function = function.ok_or(Thrown::Pending)?.get()?;
        let mut values = vec![self.memory.get()?];
        for argument in arguments {
            values.push(js::number(env, *argument)?);
        }
        js::number_of(env, js::call(env, function, &values)?)
    }

    fn state(&self) -> &EnvState {
        // SAFETY: WebAssembly runs in the environment, so it is alive.
        unsafe { &*self.state }
    }
}

impl MemoryHost for JsMemory {
    fn grow(&self, delta: u32) -> Option<u32> {
        self.call(self.state().memory_grow(), &[f64::from(delta)])
            .map(|previous| previous as u32)
    }

    fn length(&self) -> Option<usize> {
        self.call(self.state().memory_length(), &[])
            .map(|bytes| bytes as usize)
    }

    fn wait(&self, address: u32, expected: Waited, timeout: Option<Duration>) -> Option<u32> {
        // A 64-bit value crosses as two halves, because a number would lose bits.
        let (bits, low, high) = match expected {
            Waited::I32(value) => (32.0, value, 0),
            Waited::I64(value) => (64.0, value as u32, (value >> 32) as u32),
        };
        let timeout = timeout.map_or(f64::INFINITY, |timeout| timeout.as_secs_f64() * 1e3);
        let arguments = [
            f64::from(address),
            bits,
            f64::from(low),
            f64::from(high),
            timeout,
        ];
        self.call(self.state().memory_wait(), &arguments)
            .map(|outcome| outcome as u32)
    }

    fn notify(&self, address: u32, count: u32) -> u32 {
        let arguments = [f64::from(address), f64::from(count)];
        self.call(self.state().memory_notify(), &arguments)
            .map_or(0, |woken| woken as u32)
    }
}

pub fn register(exports: &Exports) {
    exports.function("hostGuardsMemories", |call| {
        js::boolean(call.env, runtime::host_guards_memories())
    });
    exports.function("seeMemories", see);
    exports.function("memoryAttach", attach);
}

/// Of each memory its bytes.
fn see(call: &Call<'_>) -> Result<Value> {
    let memories = js::elements(call.env, call.argument(0))?;
    let bases = memories.into_iter().map(|bytes| {
        let (base, _) = js::bytes_of(call.env, bytes)?;
        Ok(base as usize)
    });
    runtime::see_memories(&mut bases.collect::<Result<Vec<_>>>()?);
    js::undefined(call.env)
}

fn attach(call: &Call<'_>) -> Result<Value> {
    let (data, length) = js::bytes_of(call.env, call.argument(1))?;
    let shared = call.flag(2)?;
    let maximum = call.number(3)?;
    let base = NonNull::new(data).ok_or(LinkError::NoGuardRegion)?;
    let host = Box::new(JsMemory {
        env: call.env,
        state: call.state,
        memory: Reference::new(call.env, call.argument(0), 0)?,
    });
    let maximum = (maximum >= 0.0).then_some(maximum as u32);
    let state = MemoryState::new(base, length, shared, maximum, host)?;
    js::external(call.env, MemoryHandle(state))
}
