//! V8's own code in the cache, for JavaScript, which gives it to V8 (`v8.cc`).

use wasm_compile_cache_engine::tier::{self, Host, NoCode};

use super::calls::{Call, Exports};
use super::js::{self, Result, Value};
use super::thrown::Thrown;

pub fn register(exports: &Exports) {
    exports.function("findHostCode", find);
    exports.function("refuseHostCode", |call| {
        let hash = call.text(0)?;
        let mut bytes = [0; 32];
        if hex::decode_to_slice(hash, &mut bytes).is_ok() {
            tier::refuse_host_code(&bytes, &host(call, 2)?, &call.text(1)?);
        }
        js::undefined(call.env)
    });
    exports.function("storeHostCode", store);
    exports.function("isMyTurn", |call| js::boolean(call.env, tier::is_open()));
    exports.function("countAsOwn", |call| {
        tier::count_as_own(call.number(0)? as u32);
        js::undefined(call.env)
    });
    exports.function("endWith", |call| {
        js::boolean(call.env, tier::end_with(call.number(0)? as u32))
    });
}

/// `{version, tag, target, options}`.
fn host(call: &Call<'_>, index: usize) -> Result<Host> {
    let text = |name: &str| {
        let value = js::get(call.env, call.argument(index), name)?;
        js::text_of(call.env, value)
    };
    Ok(Host {
        version: text("version")?,
        tag: text("tag")?,
        target: text("target")?,
        options: text("options")?,
    })
}

/// `(bytes, partition, host)`: `{code, hash, path, remembered}`, or `{reason, isDefective}`. The bytes are no shared memory's.
fn find(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let (partition, host) = (call.text(1)?, host(call, 2)?);
    let (data, length) = js::bytes_of(env, call.argument(0))?;
    let bytes: &[u8] = if length == 0 {
        &[]
    } else {
        // SAFETY: Node-API gave a readable range, which only this thread can write, and it runs no JavaScript until the
        // lookup below is done with it.
        unsafe { std::slice::from_raw_parts(data, length) }
    };
    let found = tier::find_host_code(bytes, &host, &partition);
    let object = js::object(env)?;
    let set = |name: &str, value: Value| js::set(env, object, name, value);
    let read = match found {
        Ok(mut found) => {
            set("hash", js::string(env, &hex::encode(found.hash))?)?;
            set("path", js::string(env, &found.path())?)?;
            set("remembered", js::boolean(env, found.was_remembered())?)?;
            let length = usize::try_from(found.length())
                .map_err(|_| Thrown::Type("the code is larger than memory".to_owned()))?;
            js::filled_array_buffer(env, length, |buffer| found.read(buffer))?
                .ok_or(NoCode::Invalid("truncated"))
        }
        Err(why) => Err(why),
    };
    match read {
        Ok(code) => set("code", code)?,
        Err(why) => {
            let (reason, is_defective) = match why {
                NoCode::Off => ("off", false),
                NoCode::Missed(reason) => (reason, false),
                NoCode::Invalid(reason) => (reason, true),
            };
            set("reason", js::string(env, reason)?)?;
            set("isDefective", js::boolean(env, is_defective)?)?;
        }
    }
    Ok(object)
}

/// `(wasm file, code file, source, partition, host)`: `{hash, bytes}`.
fn store(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let [wasm, code, source, partition] = [0, 1, 2, 3].map(|index| call.text(index));
    let stored = tier::store_host_code(&wasm?, &code?, source?, partition?, &host(call, 4)?);
    let (hash, length) = stored.map_err(Thrown::Type)?;
    let object = js::object(env)?;
    js::set(env, object, "hash", js::string(env, &hex::encode(hash))?)?;
    js::set(env, object, "bytes", js::number(env, length as f64)?)?;
    Ok(object)
}
