//! What a compile is asked for.

use std::sync::Arc;

use crate::trace::{EventQueue, Field};

/// What a compile, or the whole process, may do with the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheMode {
    /// Nothing.
    #[default]
    Off,
    /// Look up.
    ReadOnly,
    /// Look up and store.
    ReadWrite,
}

/// When the baseline tier compiles functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BaselineMode {
    /// Those of large modules when they are called.
    #[default]
    Auto,
    /// When they are called.
    Lazy,
    /// Before the module is ready.
    Eager,
}

/// Where a module's bytes come from, and what HTTP says of how long they hold.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Without its fragment.
    pub url: String,
    /// See [`Resource::policy`](wasm_compile_cache_store::Resource::policy).
    pub policy: String,
}

/// One compile's settings.
#[derive(Clone)]
pub struct CompileOptions {
    /// The second half of the key; code is never shared between partitions.
    pub partition: String,
    /// What the compile may do with the cache.
    pub cache: CacheMode,
    /// It comes from the cache, whatever its size, or is not compiled: its bytes are given back.
    pub cached_only: bool,
    /// Smaller modules are not stored.
    pub min_size: u64,
    /// When the baseline tier compiles functions.
    pub baseline: BaselineMode,
    /// Whether the optimizing tier follows.
    pub optimize: bool,
    /// Whether a process that ends early hands the module on.
    pub finish: bool,
    /// Whether another engine takes what this one refuses: then a refused stream is read to its end,
    /// and the bytes are given back.
    pub fallback: bool,
    /// URL or path, for events.
    pub source: String,
    /// Where the bytes were fetched from, if that is to be recorded.
    pub fetched: Option<Fetched>,
    /// Where its events go.
    pub events: Arc<EventQueue>,
}

impl CompileOptions {
    /// What every event of a module says.
    pub(super) fn fields(&self, hash: &[u8; 32], size: u64) -> Vec<(&'static str, Field)> {
        vec![
            ("source", self.source.clone().into()),
            ("hash", hex::encode(hash).into()),
            ("bytes", size.into()),
        ]
    }

    /// Whether a module of this size is to be stored.
    pub fn stores(&self, size: u64) -> bool {
        self.cache == CacheMode::ReadWrite && size >= self.min_size
    }
}
