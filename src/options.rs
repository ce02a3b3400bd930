//! What JavaScript asks a compile for.

use std::sync::Arc;

use wasm_compile_cache_engine::tier::{self, BaselineMode, CacheMode, CompileOptions, Fetched};

use super::calls::Call;
use super::js::{self, Env, Result, Value};
use super::thrown::Thrown;

/// What may be done with the cache, as `lib/options.js` numbers it.
pub fn cache_mode_of(env: Env, value: Value) -> Result<CacheMode> {
    Ok(match js::number_of(env, value)? as u32 {
        0 => CacheMode::Off,
        1 => CacheMode::ReadOnly,
        _ => CacheMode::ReadWrite,
    })
}

/// The object in argument `index`.
pub fn options_of(call: &Call<'_>, index: usize) -> Result<CompileOptions> {
    let env = call.env;
    let options = call.argument(index);
    let get = |name: &str| js::get(env, options, name);
    let cache = cache_mode_of(env, get("cache")?)?.min(tier::access());
    Ok(CompileOptions {
        partition: js::text_of(env, get("partition")?)?,
        cache,
        cached_only: js::has_flag(env, get("cachedOnly")?)?,
        min_size: js::number_of(env, get("minSize")?)? as u64,
        baseline: match js::number_of(env, get("baseline")?)? as u32 {
            0 => BaselineMode::Auto,
            1 => BaselineMode::Lazy,
            _ => BaselineMode::Eager,
        },
        optimize: js::flag_of(env, get("optimize")?)?,
        finish: js::flag_of(env, get("finish")?)?,
        fallback: js::flag_of(env, get("fallback")?)?,
        source: js::text_of(env, get("source")?)?,
        fetched: fetched_of(env, options)?,
        events: Arc::clone(&call.state.events),
    })
}

/// The option `fetched` (`{url, policy}`), or nothing.
fn fetched_of(env: Env, options: Value) -> Result<Option<Fetched>> {
    let fetched = js::get(env, options, "fetched")?;
    if js::kind(env, fetched)? != napi::sys::ValueType::napi_object {
        return Ok(None);
    }
    Ok(Some(Fetched {
        url: js::text_of(env, js::get(env, fetched, "url")?)?,
        policy: js::text_of(env, js::get(env, fetched, "policy")?)?,
    }))
}

/// A module's hash, in hex.
pub fn hash_of(text: &str) -> Result<[u8; 32]> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash)
        .map_err(|_| Thrown::Type(format!("{text} is not the hash of a module")))?;
    Ok(hash)
}
