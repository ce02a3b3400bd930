//! The two tiers and the way from bytes to running code.
//!
//! Owns: engines, the worker threads, modules and their code, the swap. May not know: Node, and
//! what an instance's imports are.

mod baseline;
mod code;
mod compile;
mod engine;
mod exit;
mod kit;
mod optimizing;
mod positions;
mod publish;
mod registry;
mod scheduler;
mod storage;

pub use code::{Code, Loaded, Module, Tier};
pub use compile::{CacheMode, CompileOptions, StreamCompile, compile_bytes, compile_file};
pub use engine::fingerprint;
pub use kit::{Kit, kit};
pub use optimizing::{finish_spooled, hand_off, when_flushed};
pub use positions::{Position, position};
pub use publish::{LiveInstance, Mutator, Slots};
pub use registry::{Token, by_token, release, token};
pub use storage::{
    Configuration, Difference, Explanation, Failure, ImportError, access, configuration, configure,
    explain, import, key, locate, opened, reconfigure, record_counts,
};
