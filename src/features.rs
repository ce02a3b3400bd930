//! What is off here, and why, and what is there, for `doctor`.

use wasm_compile_cache_engine::{features, runtime, tier};

use super::calls::{Call, Exports};
use super::js::{self, Result, Value};
use super::stopping;

pub fn register(exports: &Exports) {
    exports.function("featuresOff", |call| {
        let pair = |off: features::Off| {
            let texts = [off.feature, &off.reason];
            js::array(call.env, texts, |text| js::string(call.env, text))
        };
        js::array(call.env, features::all_off(), pair)
    });
    exports.function("examineFeatures", examine);
    exports.function("hasSinglepass", |call| {
        js::boolean(call.env, tier::SINGLEPASS)
    });
}

/// Checks at once what is checked when it is first used otherwise.
fn examine(call: &Call<'_>) -> Result<Value> {
    if let Err(reason) = stopping::examine(call.env) {
        features::off(stopping::FEATURE, reason);
    }
    #[cfg(target_os = "linux")]
    super::nesting::examine(call.state);
    runtime::examine_handlers();
    js::undefined(call.env)
}
