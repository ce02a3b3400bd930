//! The two tiers and the way from bytes to running code.
//!
//! Owns: engines, the worker threads, modules and their code, the swap. May not know: Node, and
//! what an instance's imports are.

mod asked;
mod baseline;
mod code;
mod compile;
mod cpu;
mod declared;
mod direct;
mod engine;
mod exit;
mod fetched;
mod file;
mod fingerprint;
mod finisher;
mod host;
mod hot;
mod judge;
mod keeping;
mod kit;
mod lazy;
mod loaded;
mod loading;
mod module;
mod object;
mod optimizing;
mod options;
mod packing;
mod piece;
mod positions;
mod publish;
mod registry;
mod remote;
mod rest;
mod scheduler;
#[cfg(feature = "singlepass")]
mod singlepass;
mod storage;
mod streaming;
mod stubs;
mod tally;
mod thunks;
mod turn;
mod v8;

pub use code::{Code, Tier};
pub use compile::{compile_bytes, compile_bytes_noting};
pub use cpu::{NoLevel, compile_for, compile_for_highest_level};
pub use direct::{Direct, Place};
pub use engine::SINGLEPASS;
pub use fetched::{Known, compile_known, forget, look_up};
pub use file::compile_file;
pub use fingerprint::fingerprint;
pub use finisher::{
    Finisher, finish_spooled, hand_off_at_exit, main_thread_hands_off,
    wait_for as wait_for_finisher,
};
pub use host::Host;
pub use judge::{Judged, Judgement, claim_judge, judge, release_judge};
pub use keeping::{Keeping, wait_kept};
pub use kit::{Kit, kit};
pub use lazy::NotCompiled;
pub use loaded::{Loaded, pieces_of_code, unmapped};
pub use module::{Module, Token};
pub use object::Trusted;
pub use optimizing::{hand_off, when_flushed};
pub use options::{BaselineMode, CacheMode, CompileOptions, Fetched};
pub use packing::{Packed, pack, unpack};
pub use positions::{
    Position, declaration_near, is_adapter, is_function, position, record_distance,
};
pub use publish::{LiveInstance, Mutator, Slots};
pub use registry::{by_token, release, token};
pub use remote::{
    Answer, Order, Task, answer, next_orders, receive, remote_ended, send, unsent, use_remote,
    when_remote_is_idle,
};
pub use rest::{end_with, rest};
pub use scheduler::compile_aside;
pub use storage::{
    Configuration, Difference, Explanation, Failure, ImportError, access, configure, environment,
    explain, import, key, locate, must_be_cached, opened, reconfigure, record_counts,
};
pub use streaming::StreamCompile;
pub use turn::{count_as_own, is_open};
pub use v8::{HostCode, NoCode, find_host_code, refuse_host_code, store_host_code};
