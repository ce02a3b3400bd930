//! The WebAssembly JavaScript API for Node on an engine that remembers what it compiled.
//!
//! The way of the data and the invariants are in ARCHITECTURE.md.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod cache;
pub mod error;
pub mod features;
pub mod module;
pub mod panics;
pub mod runtime;
pub mod stream;
pub mod tier;
pub mod trace;

// Unit tests link without Node, and napi-rs leaves its registration out of them.
#[cfg(not(test))]
mod binding;
