//! What of the engine only Rust can prove, in one binary, because each links wasmer and Cranelift.

mod cached_only;
mod corruption;
mod exit;
mod hot;
mod judge;
mod lazy;
mod support;
mod tiers;
mod wasmer;
