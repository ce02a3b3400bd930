//! The cache that machines share, for the service that reaches it (`lib/remote/service.js`).

use std::sync::Arc;

use wasm_compile_cache_engine::tier::{self, Answer, Order, Packed, Received, Task};
use wasm_compile_cache_store::{ArtifactKey, Store};

use super::cache::{self, label_of, store};
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
        let received = received_of(call, 1)?;
        let bytes = js::copy_of(call.env, call.argument(2))?;
        let is_used = tier::receive(call.number(0)? as u64, &received, &bytes);
        js::boolean(call.env, is_used)
    });
    exports.function("compileForLevel", |call| {
        tier::compile_for_highest_level();
        js::undefined(call.env)
    });
    exports.function("remotePack", pack);
    exports.function("remoteUnpack", |call| {
        let received = received_of(call, 0)?;
        let bytes = js::copy_of(call.env, call.argument(1))?;
        let store = store().filter(Store::is_writable);
        let store = store.ok_or_else(|| Thrown::Type("the cache cannot be written".to_owned()))?;
        let path = tier::unpack(&store, &received, &bytes).map_err(Thrown::Type)?;
        js::string(call.env, &path.display().to_string())
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

/// `(writes, start)`: the process has a remote; `start` is called, from the event loop, when it is first
/// needed. Whether it is the first call of the process, which counts.
fn use_remote(call: &Call<'_>) -> Result<Value> {
    let writes = call.flag(0)?;
    let hold = Arc::new(Hold::new(call.state));
    // A process does not stay for it.
    hold.rest(0);
    let waiting = Waiting::holding(call, 1, hold)?;
    let start = move || waiting.settle(|_, _| Ok(Vec::new()));
    js::boolean(call.env, tier::use_remote(writes, Box::new(start)))
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

/// `(id, outcome, detail)`: `there`, after which another answer comes; `absent`; `silent`; `failed` and `refused`, with the reason; `sent`, with the number of bytes.
fn answer(call: &Call<'_>) -> Result<Value> {
    let outcome = call.text(1)?;
    let answer = match outcome.as_str() {
        "there" => Answer::There,
        "absent" => Answer::Absent,
        "failed" => Answer::Failed(call.text(2)?),
        "refused" => Answer::Refused(call.text(2)?),
        "sent" => Answer::Sent(call.number(2)? as u64),
        _ => Answer::Silent,
    };
    tier::answer(call.number(0)? as u64, answer);
    js::undefined(call.env)
}

/// What `remotePack` gives, without the bytes.
fn received_of(call: &Call<'_>, index: usize) -> Result<Received> {
    let (env, object) = (call.env, call.argument(index));
    let number = |name: &str| js::number_of(env, js::get(env, object, name)?);
    let text = |name: &str| js::text_of(env, js::get(env, object, name)?);
    Ok(Received {
        hash: hash_of(&text("hash")?)?,
        label: label_of(env, object)?,
        image_len: number("imageBytes")? as u64,
        meta_len: number("metaBytes")? as u64,
        digest: hash_of(&text("digest")?)?,
    })
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
