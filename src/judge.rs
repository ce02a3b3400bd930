//! The process that judges modules, for JavaScript.

use wasm_compile_cache_engine::tier::{self, Judged, Judgement};

use super::calls::{Call, Exports};
use super::js::{self, Env, Result, Value};

pub fn register(exports: &Exports) {
    exports.function("judge", judge);
    exports.function("rest", |call| {
        tier::rest(js::flag_of(call.env, call.argument(0))?);
        js::undefined(call.env)
    });
    exports.function("claimJudge", |call| {
        js::boolean(call.env, tier::claim_judge())
    });
    exports.function("releaseJudge", |call| {
        tier::release_judge();
        js::undefined(call.env)
    });
}

/// (path, source, partition): `{outcome, …}`.
fn judge(call: &Call<'_>) -> Result<Value> {
    let events = std::sync::Arc::clone(&call.state.events);
    let judgement = tier::judge(&call.text(0)?, call.text(1)?, call.text(2)?, events);
    let env = call.env;
    let object = js::object(env)?;
    let set = |name: &str, value: Value| js::set(env, object, name, value);
    let text = |name: &str, text: &str| set(name, js::string(env, text)?);
    let number = |name: &str, number: f64| set(name, js::number(env, number)?);
    match judgement {
        Judgement::Stored(judged) => {
            text("outcome", "stored")?;
            describe(env, object, &judged)?;
        }
        Judgement::Known(judged) => {
            text("outcome", "known")?;
            describe(env, object, &judged)?;
        }
        Judgement::Refused {
            hash,
            size,
            feature,
            offset,
            message,
        } => {
            text("outcome", "refused")?;
            text("hash", &hex::encode(hash))?;
            number("size", size as f64)?;
            text("feature", &feature)?;
            if let Some(offset) = offset {
                number("offset", offset as f64)?;
            }
            text("message", &message)?;
        }
        Judgement::Invalid { message } => {
            text("outcome", "invalid")?;
            text("message", &message)?;
        }
        Judgement::Failed { message, code } => {
            text("outcome", "failed")?;
            text("message", &message)?;
            if let Some(code) = code {
                text("code", code)?;
            }
        }
    }
    Ok(object)
}

fn describe(env: Env, object: Value, judged: &Judged) -> Result<()> {
    let hash = js::string(env, &hex::encode(judged.hash))?;
    js::set(env, object, "hash", hash)?;
    for (name, count) in [
        ("size", judged.size),
        ("artifactBytes", judged.artifact_bytes),
    ] {
        js::set(env, object, name, js::number(env, count as f64)?)?;
    }
    Ok(())
}
