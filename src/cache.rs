//! The cache as JavaScript's object and the command line see it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasm_compile_cache_engine::stream;
use wasm_compile_cache_engine::tier::{
    self, CacheMode, Configuration, Difference, Explanation, ImportError,
};
use wasm_compile_cache_store::{
    ArtifactKey, CacheError, Counts, Evicted, Item, Label, ModuleHash, Store,
};

use super::calls::{Call, Exports};
use super::js::{self, Env, Result, Value};
use super::options::{cache_mode_of, hash_of, options_of};
use super::thrown::Thrown;
use super::waiting::Waiting;

pub fn register(exports: &Exports) {
    exports.function("configure", configure);
    exports.function("reconfigure", reconfigure);
    exports.function("cacheEnvironment", environment);
    exports.function("locateCache", |call| {
        match tier::locate(directory_of(call.env, call.argument(0))?) {
            Some(directory) => js::string(call.env, &directory.display().to_string()),
            None => js::null(call.env),
        }
    });
    exports.function("cacheStatus", status);
    exports.function("cacheStats", stats);
    exports.function("cacheEntries", |call| {
        let Some(store) = store() else {
            return js::array(call.env, [], |item: Value| Ok(item));
        };
        js::array(call.env, store.items(), |item| {
            entry(call.env, &store, &item)
        })
    });
    exports.function("cacheVerify", verify);
    exports.function("cachePrune", |call| {
        let bytes = call.number(0)?;
        let age = call.number(1)?;
        let max_bytes = (bytes >= 0.0).then_some(bytes as u64);
        let max_age =
            (age >= 0.0).then(|| Duration::try_from_secs_f64(age).unwrap_or(Duration::MAX));
        let pruned = store().map(|store| store.prune(max_bytes, max_age, SystemTime::now()));
        evicted(call.env, pruned.unwrap_or_default())
    });
    exports.function("cacheClear", |call| {
        evicted(
            call.env,
            store().map(|store| store.clear()).unwrap_or_default(),
        )
    });
    exports.function("cacheFlush", |call| {
        let waiting = Waiting::new(call, 0)?;
        tier::when_flushed(Box::new(move || {
            waiting.settle(|env, _| Ok(vec![js::null(env)?]));
        }));
        js::undefined(call.env)
    });
    exports.function("cacheExplain", explain);
    exports.function("compileFor", compile_for);
    exports.function("cacheRead", read);
    exports.function("cacheImport", import);
    exports.function("cacheLocks", |call| {
        js::boolean(call.env, store().is_some_and(|store| store.has_locks()))
    });
    exports.function("hashOf", |call| {
        let bytes = js::copy_of(call.env, call.argument(0))?;
        js::string(call.env, &ModuleHash::of(&bytes).to_string())
    });
    exports.function("engineFingerprint", |call| {
        let fields = tier::fingerprint().into_iter();
        let fields: Vec<_> = fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        fingerprint(call.env, &fields)
    });
    exports.function("unsupportedFeatures", |call| {
        js::array(call.env, stream::unsupported(), |name| {
            js::string(call.env, &name)
        })
    });
    exports.function("cacheRecordCounts", |call| {
        tier::record_counts();
        js::undefined(call.env)
    });
}

pub fn store() -> Option<Store> {
    tier::opened().ok().flatten()
}

/// `{directory, access, maxSize, maxEntrySize, only, disabled}`; sizes below 0 are the defaults.
fn configure(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let get = |name: &str| js::get(env, call.argument(0), name);
    tier::configure(Configuration {
        directory: directory_of(env, get("directory")?)?,
        access: cache_mode_of(env, get("access")?)?,
        max_size: size_of(env, get("maxSize")?)?,
        max_entry_size: size_of(env, get("maxEntrySize")?)?,
        only: js::flag_of(env, get("only")?)?,
        disabled: js::flag_of(env, get("disabled")?)?,
    });
    js::undefined(env)
}

/// The level of processors that code is made for, if it is not this machine alone; what is wrong with it, the first time.
fn compile_for(call: &Call<'_>) -> Result<Value> {
    static TOLD: AtomicBool = AtomicBool::new(false);
    match tier::compile_for(&call.text(0)?) {
        Err(refused) if !TOLD.swap(true, Ordering::Relaxed) => {
            js::string(call.env, &refused.to_string())
        }
        Err(_) | Ok(()) => js::undefined(call.env),
    }
}

/// `{directory, access, maxSize, maxEntrySize}`; no directory, and sizes below 0: as it was. Whether it counts.
fn reconfigure(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let get = |name: &str| js::get(env, call.argument(0), name);
    let is_taken = tier::reconfigure(
        directory_of(env, get("directory")?)?,
        cache_mode_of(env, get("access")?)?,
        size_of(env, get("maxSize")?)?,
        size_of(env, get("maxEntrySize")?)?,
    );
    js::boolean(env, is_taken)
}

/// What another process needs to use the same cache, as `[name, value]` of its environment.
fn environment(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    js::array(env, tier::environment(), |(name, value)| {
        let value = value.to_string_lossy();
        js::array(env, [name, &value], |text| js::string(env, text))
    })
}

fn size_of(env: Env, value: Value) -> Result<Option<u64>> {
    let size = js::number_of(env, value)?;
    Ok((size >= 0.0).then_some(size as u64))
}

/// A path, or anything else for none.
fn directory_of(env: Env, value: Value) -> Result<Option<PathBuf>> {
    if js::kind(env, value)? == napi::sys::ValueType::napi_string {
        Ok(Some(PathBuf::from(js::text_of(env, value)?)))
    } else {
        Ok(None)
    }
}

fn status(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let object = js::object(env)?;
    let set = |name: &str, value: Value| js::set(env, object, name, value);
    let opened = tier::opened();
    let status = match (&opened, tier::access()) {
        (Err(_), _) => "failed",
        (Ok(Some(store)), _) if store.is_writable() => "enabled",
        (_, CacheMode::Off) => "disabled",
        _ => "read-only",
    };
    set("status", js::string(env, status)?)?;
    match opened {
        Ok(Some(store)) => {
            set(
                "directory",
                js::string(env, &store.directory().display().to_string())?,
            )?;
            set(
                "root",
                js::string(env, &store.root().display().to_string())?,
            )?;
        }
        Ok(None) => {
            set("directory", js::null(env)?)?;
            set("root", js::null(env)?)?;
        }
        Err(failure) => {
            set("directory", js::null(env)?)?;
            set("root", js::null(env)?)?;
            set("message", js::string(env, &failure.message)?)?;
            set("code", js::string(env, failure.code)?)?;
        }
    }
    Ok(object)
}

fn stats(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let Some(store) = store() else {
        return js::null(env);
    };
    let object = js::object(env)?;
    let set = |name: &str, value: Value| js::set(env, object, name, value);
    let (process, total) = store.counts();
    set("process", counts(env, &process)?)?;
    set("total", counts(env, &total)?)?;
    let usage = store.usage();
    set("entries", js::number(env, store.items().len() as f64)?)?;
    set("bytes", js::number(env, usage.bytes as f64)?)?;
    set("limit", js::number(env, usage.limit as f64)?)?;
    set("quarantined", evicted(env, usage.quarantined)?)?;
    Ok(object)
}

fn counts(env: Env, counts: &Counts) -> Result<Value> {
    let object = js::object(env)?;
    let misses = js::object(env)?;
    for (reason, count) in counts.misses() {
        js::set(env, misses, reason, js::number(env, count as f64)?)?;
    }
    js::set(env, object, "hits", js::number(env, counts.hits as f64)?)?;
    js::set(env, object, "misses", misses)?;
    let rest = [
        ("writes", counts.writes),
        ("writeFailures", counts.write_failures),
        ("bytesWritten", counts.bytes_written),
        ("evicted", counts.evicted),
        ("quarantined", counts.quarantined),
    ];
    for (name, count) in rest {
        js::set(env, object, name, js::number(env, count as f64)?)?;
    }
    let remote = js::object(env)?;
    let of_remote = [
        ("hits", counts.remote_hits as f64),
        ("misses", counts.remote_misses as f64),
        ("failures", counts.remote_failures as f64),
        ("writes", counts.remote_writes as f64),
        ("bytesRead", counts.remote_bytes_read as f64),
        ("bytesWritten", counts.remote_bytes_written as f64),
        ("time", counts.remote_time as f64 / 1e3),
    ];
    for (name, count) in of_remote {
        js::set(env, remote, name, js::number(env, count)?)?;
    }
    js::set(env, object, "remote", remote)?;
    Ok(object)
}

fn evicted(env: Env, evicted: Evicted) -> Result<Value> {
    let object = js::object(env)?;
    js::set(env, object, "files", js::number(env, evicted.units as f64)?)?;
    js::set(env, object, "bytes", js::number(env, evicted.bytes as f64)?)?;
    Ok(object)
}

fn entry(env: Env, store: &Store, item: &Item) -> Result<Value> {
    let object = js::object(env)?;
    let set = |name: &str, value: Value| js::set(env, object, name, value);
    let used = item
        .last_used
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let label = &item.label;
    let folder = item.path.parent().unwrap_or(&item.path);
    set("key", js::string(env, &item.key.to_string())?)?;
    set("hash", js::string(env, &item.module.to_string())?)?;
    set("source", js::string(env, &label.source)?)?;
    set("partition", js::string(env, &label.partition)?)?;
    set("engine", fingerprint(env, &label.fingerprint)?)?;
    set("bytes", js::number(env, item.len as f64)?)?;
    set("wasmBytes", js::number(env, label.wasm_len as f64)?)?;
    set("created", js::number(env, label.created as f64 * 1e3)?)?;
    set("lastUsed", js::number(env, used.as_secs_f64() * 1e3)?)?;
    set("path", js::string(env, &item.path.display().to_string())?)?;
    set("current", js::boolean(env, folder == store.directory())?)?;
    Ok(object)
}

fn fingerprint(env: Env, fields: &[(String, String)]) -> Result<Value> {
    let object = js::object(env)?;
    for (name, value) in fields {
        js::set(env, object, name, js::string(env, value)?)?;
    }
    Ok(object)
}

/// Hashing everything takes its time: on a thread, with a callback.
fn verify(call: &Call<'_>) -> Result<Value> {
    let waiting = Waiting::new(call, 0)?;
    let run = move || {
        let (verified, bad) = store().map(|store| store.verify_all()).unwrap_or_default();
        waiting.settle(move |env, _| Ok(vec![js::null(env)?, report(env, verified, &bad)?]));
    };
    let spawned = std::thread::Builder::new()
        .name("wasm-verify".to_owned())
        .spawn(run);
    spawned.map_err(|error| Thrown::Type(format!("no thread could be started: {error}")))?;
    js::undefined(call.env)
}

fn report(env: Env, verified: u64, bad: &[CacheError]) -> Result<Value> {
    let object = js::object(env)?;
    js::set(env, object, "verified", js::number(env, verified as f64)?)?;
    let bad = js::array(env, bad, |error| {
        let object = js::object(env)?;
        let path = error.path().map(|path| path.display().to_string());
        let path = path.unwrap_or_default();
        js::set(env, object, "path", js::string(env, &path)?)?;
        js::set(env, object, "reason", js::string(env, error.reason())?)?;
        Ok(object)
    })?;
    js::set(env, object, "quarantined", bad)?;
    Ok(object)
}

/// `(hash, size, options)`: what a compile would find. `null` without a cache.
fn explain(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let hash = hash_of(&call.text(0)?)?;
    let size = call.number(1)? as u64;
    let Some(explanation) = tier::explain(hash, size, &options_of(call, 2)?) else {
        return js::null(env);
    };
    let Explanation {
        key,
        path,
        reason,
        near,
    } = explanation;
    let object = js::object(env)?;
    let set = |name: &str, value: Value| js::set(env, object, name, value);
    let outcome = if reason.is_some() { "miss" } else { "hit" };
    set("outcome", js::string(env, outcome)?)?;
    if let Some(reason) = reason {
        set("reason", js::string(env, reason)?)?;
    }
    set("key", js::string(env, &key.to_string())?)?;
    set("path", js::string(env, &path.display().to_string())?)?;
    let near = js::array(env, near, |(item, differs)| {
        let object = js::object(env)?;
        js::set(env, object, "key", js::string(env, &item.key.to_string())?)?;
        js::set(
            env,
            object,
            "path",
            js::string(env, &item.path.display().to_string())?,
        )?;
        js::set(
            env,
            object,
            "partition",
            js::string(env, &item.label.partition)?,
        )?;
        js::set(env, object, "differs", differences(env, differs)?)?;
        Ok(object)
    })?;
    set("near", near)?;
    Ok(object)
}

fn differences(env: Env, differs: Vec<Difference>) -> Result<Value> {
    js::array(env, differs, |(field, cached, current)| {
        let object = js::object(env)?;
        js::set(env, object, "field", js::string(env, &field)?)?;
        js::set(env, object, "cached", js::string(env, &cached)?)?;
        js::set(env, object, "current", js::string(env, &current)?)?;
        Ok(object)
    })
}

/// `(key)`: an artifact with its label, verified. `null` if there is none.
fn read(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let key = ArtifactKey::from_hex(&call.text(0)?);
    let found = key.and_then(|key| store()?.read(&key));
    let Some((entry, module, label)) = found else {
        return js::null(env);
    };
    let mut image = Vec::new();
    let mut file = std::io::Read::take(&entry.file, entry.image_len);
    std::io::Read::read_to_end(&mut file, &mut image)
        .map_err(|error| Thrown::Type(format!("{}: {error}", entry.path.display())))?;
    let object = described(env, &module.to_string(), &label)?;
    let set = |name: &str, value: Value| js::set(env, object, name, value);
    set("image", js::array_buffer(env, &image)?)?;
    set("meta", js::array_buffer(env, &entry.meta)?)?;
    Ok(object)
}

/// What is known of an artifact.
pub fn described(env: Env, module: &str, label: &Label) -> Result<Value> {
    let object = js::object(env)?;
    let set = |name: &str, value: Value| js::set(env, object, name, value);
    set("hash", js::string(env, module)?)?;
    set("source", js::string(env, &label.source)?)?;
    set("partition", js::string(env, &label.partition)?)?;
    set("engine", fingerprint(env, &label.fingerprint)?)?;
    set("wasmBytes", js::number(env, label.wasm_len as f64)?)?;
    set("created", js::number(env, label.created as f64 * 1e3)?)?;
    let head = label.head.map_or_else(String::new, hex::encode);
    set("head", js::string(env, &head)?)?;
    Ok(object)
}

/// What [`described`] makes, read again.
pub fn label_of(env: Env, object: Value) -> Result<Label> {
    let get = |name: &str| js::get(env, object, name);
    let text = |name: &str| js::text_of(env, get(name)?);
    let head = text("head")?;
    let engine = get("engine")?;
    let names = tier::fingerprint();
    let fields = names.iter().map(|(name, _)| {
        let value = js::get(env, engine, name)?;
        let is_text = js::kind(env, value)? == napi::sys::ValueType::napi_string;
        let value = if is_text {
            js::text_of(env, value)?
        } else {
            String::new()
        };
        Ok(((*name).to_owned(), value))
    });
    Ok(Label {
        source: text("source")?,
        partition: text("partition")?,
        fingerprint: fields.collect::<Result<_>>()?,
        wasm_len: js::number_of(env, get("wasmBytes")?)? as u64,
        head: if head.is_empty() {
            None
        } else {
            Some(hash_of(&head)?)
        },
        created: (js::number_of(env, get("created")?)? / 1e3) as u64,
    })
}

/// `(what [`read`] returned, image, meta)`: `{path}`, or `{differs}` if another engine made it. Whoever calls has made sure
/// where it comes from.
fn import(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let about = call.argument(0);
    let hash = hash_of(&js::text_of(env, js::get(env, about, "hash")?)?)?;
    let label = label_of(env, about)?;
    let image = js::copy_of(env, call.argument(1))?;
    let meta = js::copy_of(env, call.argument(2))?;
    let store = store().filter(Store::is_writable);
    let store = store.ok_or_else(|| Thrown::Type("the cache cannot be written".to_owned()))?;
    let object = js::object(env)?;
    match tier::import(&store, hash, &label, &image, &meta) {
        Ok(path) => js::set(
            env,
            object,
            "path",
            js::string(env, &path.display().to_string())?,
        )?,
        Err(ImportError::OtherEngine(differs)) => {
            js::set(env, object, "differs", differences(env, differs)?)?;
        }
        Err(ImportError::Cache(error)) => return Err(Thrown::Type(error.to_string())),
    }
    Ok(object)
}
