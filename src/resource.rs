//! Fetched modules that were kept, for `lib/compile/resources.js`.

use wasm_compile_cache_engine::tier;

use super::calls::{Call, Exports};
use super::compile::background;
use super::js::{self, Result, Value};
use super::options::{hash_of, options_of};

pub fn register(exports: &Exports) {
    exports.function("resourceRead", read);
    exports.function("resourceForget", |call| {
        tier::forget(&call.text(0)?, &options_of(call, 1)?);
        js::undefined(call.env)
    });
    exports.function("resourceCompile", compile);
    exports.function("resourcesKept", |call| {
        tier::wait_kept();
        js::undefined(call.env)
    });
}

/// (url, options): `{hash, size, policy, artifact, bytes}`, or null.
fn read(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let Some(known) = tier::look_up(&call.text(0)?, &options_of(call, 1)?) else {
        return js::null(env);
    };
    let object = js::object(env)?;
    let hash = hex::encode(known.resource.module.as_bytes());
    js::set(env, object, "hash", js::string(env, &hash)?)?;
    let size = js::number(env, known.resource.len as f64)?;
    js::set(env, object, "size", size)?;
    let policy = js::string(env, &known.resource.policy)?;
    js::set(env, object, "policy", policy)?;
    js::set(env, object, "artifact", js::boolean(env, known.artifact)?)?;
    js::set(env, object, "bytes", js::boolean(env, known.bytes)?)?;
    Ok(object)
}

/// (hash, options, callback, size): a job, as `compileBytes` gives one; the callback gets null in the place of the
/// module where it can be made of nothing that is kept.
fn compile(call: &Call<'_>) -> Result<Value> {
    let hash = hash_of(&call.text(0)?)?;
    let options = options_of(call, 1)?;
    let size = call.number(3)? as u64;
    background(call, options.fallback, move || {
        let module = tier::compile_known(hash, size, &options)?;
        let keeping = module
            .as_ref()
            .and_then(|_| tier::Keeping::new(hash, size, None, &options));
        Ok((module, keeping))
    })
}
