//! The WebAssembly JavaScript API for Node on an engine that remembers what it compiled: the engine and the store for
//! Node-API, which only this crate knows.
//!
//! The way of the data and the invariants are in ARCHITECTURE.md.
//!
//! Owns: one [`env::EnvState`] a Node environment, the mapping of errors to JavaScript classes, the
//! calls in both directions. Functions that are called often are raw Node-API callbacks: napi-rs'
//! wrappers cost 100 ns and more.

mod cache;
mod calls;
mod compile;
mod crossings;
mod env;
mod errors;
mod features;
mod function;
mod group;
mod init;
mod js;
mod judge;
mod memory;
mod module;
#[cfg(target_os = "linux")]
mod nesting;
mod options;
mod pending;
mod remote;
mod resource;
mod stack_trace;
mod stopping;
mod table;
mod thrown;
mod v8;
mod waiting;

use napi::bindgen_prelude::Object;
use napi::{Env, JsValue};
use napi_derive::napi;

/// Fills the addon's exports.
#[napi(module_exports)]
pub fn exports(exports: Object, env: Env) -> napi::Result<()> {
    if wasm_compile_cache_engine::runtime::has_shadow_stack() {
        // Nothing is installed: no code of ours can run here.
        let refusal = js::string(env.raw(), "shadowStack")
            .and_then(|reason| js::set(env.raw(), exports.raw(), "refusal", reason));
        drop(refusal);
        return Ok(());
    }
    let state = env::EnvState::create(env.raw());
    let exports = calls::Exports::new(env.raw(), exports.raw(), state);
    init::register(&exports);
    cache::register(&exports);
    compile::register(&exports);
    module::register(&exports);
    resource::register(&exports);
    memory::register(&exports);
    group::register(&exports);
    table::register(&exports);
    function::register(&exports);
    stack_trace::register(&exports);
    features::register(&exports);
    judge::register(&exports);
    v8::register(&exports);
    remote::register(&exports);
    Ok(())
}
