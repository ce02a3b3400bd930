//! The cache that machines share, for the service that reaches it (`lib/remote/service.js`).

use std::sync::Arc;

use napi::sys::ValueType;
use wasm_compile_cache_engine::tier::{self, Answer, Direct, Order, Packed, Place, Task, Trusted};
use wasm_compile_cache_store::{ArtifactKey, Store};

use super::cache::{self, store};
use super::calls::{Call, Exports};
use super::js::{self, Env, Result, Value};
use super::options::hash_of;
use super::thrown::Thrown;
use super::waiting::{Hold, Waiting};

pub fn register(exports: &Exports) {
    exports.function("remoteUse", use_remote);
    exports.function("remoteNext", |call| {
        call.state.serves.set(true);
        let waiting = Waiting::new(call, 0)?;
        tier::next_orders(Box::new(move |orders| {
            waiting.settle(move |env, _| {
                let orders = js::array(env, &orders, |order| described(env, order))?;
                Ok(vec![orders])
            });
        }));
        js::undefined(call.env)
    });
    exports.function("remoteAnswer", answer);
    exports.function("remoteReceive", |call| {
        let object = js::copy_of(call.env, call.argument(1))?;
        let trusted = trusted_of(call, 2)?;
        let is_used = tier::receive(call.number(0)? as u64, &object, &trusted);
        js::boolean(call.env, is_used)
    });
    exports.function("compileForLevel", |call| {
        tier::compile_for_highest_level();
        js::undefined(call.env)
    });
    exports.function("remotePack", pack);
    exports.function("remoteUnpack", |call| {
        let key = ArtifactKey::from_hex(&call.text(0)?);
        let key = key.ok_or_else(|| Thrown::Type("no key of an artifact".to_owned()))?;
        let object = js::copy_of(call.env, call.argument(1))?;
        let trusted = trusted_of(call, 2)?;
        let store = store().filter(Store::is_writable);
        let store = store.ok_or_else(|| Thrown::Type("the cache cannot be written".to_owned()))?;
        let unpacked = tier::unpack(&store, &key, &object, &trusted).map_err(Thrown::Type)?;
        js::number(call.env, unpacked as f64)
    });
    exports.function("remoteUnsent", |call| {
        js::array(call.env, tier::unsent(), |key| {
            js::string(call.env, &key.to_string())
        })
    });
    exports.function("remoteSend", |call| {
        if let Some(key) = ArtifactKey::from_hex(&call.text(0)?) {
            tier::send(key, &call.state.events);
        }
        js::undefined(call.env)
    });
    exports.function("remoteFlush", |call| {
        let waiting = Waiting::new(call, 0)?;
        tier::when_remote_is_idle(Box::new(move || waiting.settle(|_, _| Ok(Vec::new()))));
        js::undefined(call.env)
    });
}

/// `(writes, start, direct)`: the process has a remote; `start` is called, from the event loop, when its service is first
/// needed. Whether it is the first call of the process, which counts.
fn use_remote(call: &Call<'_>) -> Result<Value> {
    let writes = call.flag(0)?;
    let hold = Arc::new(Hold::new(call.state));
    // A process does not stay for it.
    hold.rest(0);
    let waiting = Waiting::holding(call, 1, hold)?;
    let start = move || waiting.settle(|_, _| Ok(Vec::new()));
    let direct = direct_of(call, 2)?;
    js::boolean(call.env, tier::use_remote(writes, direct, Box::new(start)))
}

fn is_absent(env: Env, value: Value) -> Result<bool> {
    let kind = js::kind(env, value)?;
    Ok(matches!(
        kind,
        ValueType::napi_undefined | ValueType::napi_null
    ))
}

/// `{folder, prefix, suffix, authorization, failures, keys}`: where objects can be read without the service, either in a
/// folder or at addresses with this before and behind their keys; the header, and the file that counts failures, if there is
/// one; the places of the keys, `null` if whatever comes is trusted.
fn direct_of(call: &Call<'_>, index: usize) -> Result<Option<Direct>> {
    let (env, object) = (call.env, call.argument(index));
    if is_absent(env, object)? {
        return Ok(None);
    }
    let text = |name: &str| {
        let value = js::get(env, object, name)?;
        if is_absent(env, value)? {
            return Ok(None);
        }
        js::text_of(env, value).map(Some)
    };
    let place = match text("folder")? {
        Some(folder) => Place::Folder(folder.into()),
        None => Place::Web {
            prefix: text("prefix")?.unwrap_or_default(),
            suffix: text("suffix")?.unwrap_or_default(),
            authorization: text("authorization")?,
        },
    };
    let keys = keys_of(env, js::get(env, object, "keys")?)?;
    let failures = text("failures")?.map(Into::into);
    Ok(Some(Direct::new(place, keys, failures)))
}

/// The texts of keys; `None` for `null` alone: what was forgotten must not trust everybody.
fn keys_of(env: Env, array: Value) -> Result<Option<Vec<String>>> {
    if js::kind(env, array)? == ValueType::napi_null {
        return Ok(None);
    }
    let texts = js::elements(env, array)?;
    let texts = texts.into_iter().map(|text| js::text_of(env, text));
    texts.collect::<Result<_>>().map(Some)
}

/// Public keys in hexadecimal digits, or `null`: whatever comes is trusted.
fn trusted_of(call: &Call<'_>, index: usize) -> Result<Trusted> {
    let Some(keys) = keys_of(call.env, call.argument(index))? else {
        return Ok(Trusted::All);
    };
    let keys = keys
        .iter()
        .map(|key| hash_of(key))
        .collect::<Result<Vec<_>>>()?;
    Trusted::keys(&keys).map_err(Thrown::Type)
}

/// `{id, task, key, size}`.
fn described(env: Env, order: &Order) -> Result<Value> {
    let task = match order.task {
        Task::Get => "get",
        Task::Claim => "claim",
        Task::Put => "put",
        Task::Release => "release",
    };
    let object = js::object(env)?;
    js::set(env, object, "id", js::number(env, order.id as f64)?)?;
    js::set(env, object, "task", js::string(env, task)?)?;
    js::set(env, object, "key", js::string(env, &order.key.to_string())?)?;
    js::set(env, object, "size", js::number(env, order.size as f64)?)?;
    Ok(object)
}

/// `(id, outcome, detail)`: `there`, after which another answer comes; `absent`; `silent`; `failed`, with the reason; `sent`, with the number of bytes.
fn answer(call: &Call<'_>) -> Result<Value> {
    let outcome = call.text(1)?;
    let answer = match outcome.as_str() {
        "there" => Answer::There,
        "absent" => Answer::Absent,
        "failed" => Answer::Failed(call.text(2)?),
        "sent" => Answer::Sent(call.number(2)? as u64),
        _ => Answer::Silent,
    };
    tier::answer(call.number(0)? as u64, answer);
    js::undefined(call.env)
}

/// `(key)`: an artifact, packed, with what a receiver has to know. `null` if there is none.
fn pack(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let key = ArtifactKey::from_hex(&call.text(0)?);
    let packed = key.and_then(|key| tier::pack(&store()?, &key));
    let Some(Packed { about, bytes }) = packed else {
        return js::null(env);
    };
    let object = cache::described(env, &hex::encode(about.hash), &about.label)?;
    let set = |name: &str, value: Value| js::set(env, object, name, value);
    set("imageBytes", js::number(env, about.image_len as f64)?)?;
    set("metaBytes", js::number(env, about.meta_len as f64)?)?;
    set("digest", js::string(env, &hex::encode(about.digest))?)?;
    set("bytes", js::array_buffer(env, &bytes)?)?;
    Ok(object)
}
