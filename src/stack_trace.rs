//! The WebAssembly frames of the failure that JavaScript is making an error of.

use wasm_compile_cache_engine::tier::Position;

use super::calls::{Call, Exports};
use super::js::{self, Env, Result, Value};

pub fn register(exports: &Exports) {
    exports.function("noteCallers", |call| {
        call.state.thread.note_callers();
        js::undefined(call.env)
    });
    exports.function("traceFrames", |call| {
        let (limit, calls) = (call.address(0)?, call.address(1)?);
        let trace = call.state.thread.trace(limit, calls);
        js::array(call.env, trace, |frames| {
            js::array(call.env, frames, |position| frame(call, &position))
        })
    });
}

/// `[module's name, the first digits of its hash, function's name, index, body's start, offset]`
fn frame(call: &Call<'_>, position: &Position) -> Result<Value> {
    let env = call.env;
    let names = position.declaration.names();
    let values = [
        text(env, names.module.as_deref())?,
        js::string(env, &hex::encode(&position.declaration.hash[..4]))?,
        text(env, names.function(position.function))?,
        js::number(env, f64::from(position.function))?,
        js::number(env, f64::from(position.start))?,
        js::number(env, f64::from(position.offset))?,
    ];
    js::array(env, values, Ok)
}

fn text(env: Env, text: Option<&str>) -> Result<Value> {
    text.map_or_else(|| js::null(env), |text| js::string(env, text))
}
