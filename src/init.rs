//! What JavaScript and native code tell each other of an environment.

use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use napi::sys;
use wasm_compile_cache_engine::trace::{Event, Field};
use wasm_compile_cache_engine::{runtime, tier};

use super::calls::{Call, Exports};
use super::crossings;
use super::env::{ARENA_BYTES, Realm};
use super::js::{self, Env, Reference, Result, Value};
use super::thrown::Thrown;

pub fn register(exports: &Exports) {
    exports.function("init", init);
    exports.function("drainEvents", drain_events);
    exports.function("onEvents", on_events);
    exports.function("claimWarning", claim_warning);
    exports.function("retakeFault", retake_fault);
    exports.raw("empty", empty);
    exports.function("crossings", |call| {
        let object = js::object(call.env)?;
        for (name, count) in crossings::NAMES.into_iter().zip(crossings::totals()) {
            js::set(call.env, object, name, js::number(call.env, count as f64)?)?;
        }
        Ok(object)
    });
    exports.function("liveStores", |call| {
        js::number(call.env, runtime::live_groups() as f64)
    });
    exports.function("leftToUnwinder", |call| {
        let count = runtime::left_to_unwinder();
        count.map_or(Ok(ptr::null_mut()), |count| {
            js::number(call.env, count as f64)
        })
    });
    exports.function("piecesOfCode", |call| {
        let (living, made) = tier::pieces_of_code();
        js::array(call.env, [living, made], |count| {
            js::number(call.env, count as f64)
        })
    });
}

/// The empty Node-API call, which benchmarks measure calls against.
unsafe extern "C" fn empty(_: Env, _: sys::napi_callback_info) -> Value {
    ptr::null_mut()
}

fn init(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let options = call.argument(0);
    let reference = |name: &str| Reference::new(env, js::get(env, options, name)?, 1);
    let buffer = js::get(env, options, "arena")?;
    let mut arena = ptr::null_mut();
    let mut length = 0;
    // SAFETY: a live value; Node-API checks that it is an ArrayBuffer.
    js::check(unsafe { sys::napi_get_arraybuffer_info(env, buffer, &mut arena, &mut length) })?;
    if length < ARENA_BYTES {
        return Err(Thrown::Range(format!(
            "the arena needs {ARENA_BYTES} bytes"
        )));
    }
    let realm = Realm {
        arena: arena.cast(),
        _arena: Reference::new(env, buffer, 1)?,
        compile_error: reference("CompileError")?,
        link_error: reference("LinkError")?,
        runtime_error: reference("RuntimeError")?,
        memory_grow: reference("memoryGrow")?,
        memory_length: reference("memoryLength")?,
        memory_wait: reference("memoryWait")?,
        memory_notify: reference("memoryNotify")?,
        exception_from_wasm: reference("exceptionFromWasm")?,
        call_import: reference("callImport")?,
        fault: reference("fault")?,
        pass: reference("pass")?,
        hold_unit: reference("holdUnit")?,
        descend: reference("descend")?,
    };
    if call.state.realm.set(realm).is_err() {
        return Err(Thrown::Type("init was already called".to_owned()));
    }
    js::undefined(env)
}

fn drain_events(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    js::array(env, call.state.events.drain(), |event| {
        event_object(env, event)
    })
}

fn event_object(env: Env, event: Event) -> Result<Value> {
    let object = js::object(env)?;
    js::set(env, object, "name", js::string(env, event.name)?)?;
    js::set(env, object, "ts", js::number(env, event.timestamp)?)?;
    js::set(env, object, "dur", js::number(env, event.duration)?)?;
    for (name, field) in event.fields {
        let value = match field {
            Field::Text(text) => js::string(env, &text)?,
            Field::Number(number) => js::number(env, number)?,
        };
        js::set(env, object, name, value)?;
    }
    Ok(object)
}

/// Whether the caller is the first of the process, whatever its thread, to say that the cache cannot be used.
fn claim_warning(call: &Call<'_>) -> Result<Value> {
    static CLAIMED: AtomicBool = AtomicBool::new(false);
    js::boolean(call.env, !CLAIMED.swap(true, Ordering::Relaxed))
}

/// A program listens to the signal, or does no longer: libuv has replaced its handler.
fn retake_fault(call: &Call<'_>) -> Result<Value> {
    runtime::retake_fault(call.number(0)? as i32);
    js::undefined(call.env)
}

fn on_events(call: &Call<'_>) -> Result<Value> {
    let listener = call.reference(0)?;
    *call.state.on_events.borrow_mut() = Some(listener);
    js::undefined(call.env)
}
