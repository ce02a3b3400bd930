//! The two tiers and the way from bytes to running code.
//!
//! Owns: engines, the worker threads, modules and their code, the swap. May not know: Node, and
//! what an instance's imports are.

mod baseline;
mod code;
mod compile;
mod engine;
mod exit;
mod fetched;
mod fingerprint;
mod finisher;
mod kit;
mod loading;
mod optimizing;
mod positions;
mod publish;
mod registry;
mod scheduler;
#[cfg(feature = "singlepass")]
mod singlepass;
mod storage;

pub use code::{Code, Loaded, Module, Tier, pieces_of_code};
pub use compile::{CacheMode, CompileOptions, StreamCompile, compile_bytes, compile_file};
pub use engine::{SINGLEPASS, fingerprint};
pub use fetched::{Fetched, Keeping, Known, compile_known, forget, look_up, wait_kept};
pub use finisher::{
    Finisher, finish_spooled, hand_off_at_exit, main_thread_hands_off,
    wait_for as wait_for_finisher,
};
pub use kit::{Kit, kit};
pub use optimizing::{hand_off, when_flushed};
pub use positions::{Position, module_near, position};
pub use publish::{LiveInstance, Mutator, Slots};
pub use registry::{Token, by_token, release, token};
pub use scheduler::compile_aside;
pub use storage::{
    Configuration, Difference, Explanation, Failure, ImportError, access, configure, environment,
    explain, import, key, locate, must_be_cached, opened, reconfigure, record_counts,
};
