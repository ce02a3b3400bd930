//! The engine: compiles WebAssembly in two tiers, remembers what it compiled, and runs it.
//!
//! **Owns** modules and their code, the threads that compile, link groups and what is in them. **May not know** Node: the
//! host's side is behind the traits of [`runtime`] and [`tier`].
//!
//! The way of the data and the invariants are in ARCHITECTURE.md.

pub mod address;
pub mod error;
pub mod features;
mod limits;
pub mod module;
pub mod panics;
pub mod runtime;
pub mod stream;
pub mod tier;
pub mod trace;
