//! The store of compiled artifacts on disk.
//!
//! **Owns** everything below the cache directory: the per-user seal key, artifacts and the notes that they were
//! verified, the records of `file:` and URL sources, the bytes of fetched modules, the heads of cached modules, the spool
//! of unfinished modules and the locks between processes.
//!
//! **May not know** what an artifact means. An image is bytes that the loader maps from offset 0 of a file, its metadata
//! is an opaque blob, the engine is a list of named strings. Nothing here knows wasmer, Node or WebAssembly.
//!
//! ```text
//! <cache dir>/wasm-compile-cache/       0700, ours, not a symlink        folder.rs
//!   seal.key                            32 random bytes, 0600            seal.rs
//!   seal.lock                           held while the key is made       seal.rs
//!   limit.lock                          held while room is made          limits.rs
//!   judge.lock                          held by the one judge            lock.rs
//!   seen/<name>.wasm, .json             modules that wait for the judge  JavaScript
//!   verdicts/<name>.json                which engine is to run a module  JavaScript
//!   v3-0.1.0-wasmer-7.4.2/              format, package and engine       layout.rs
//!     <key>.cwasm                       image, metadata, label, footer   footer.rs, label.rs
//!     <key>.ok                          "verified whole at this stat"    verified.rs
//!     <key>.lock                        one compile over all processes   lock.rs
//!     quarantine/<key>.<reason>         defective artifacts              lookup.rs
//!     stat/<path hash>                  stat of a file -> module hash    stat_index.rs
//!     heads/<hash>                      empty: this head was cached      heads.rs
//!     spool/<key>.spool                 a module to finish               spool.rs
//!     spool/<key>.tries                 how often that was in vain       spool.rs
//!     wasm/<module hash>                the bytes of a fetched module    wasm_files.rs
//!     url/<hash>                        what a URL gave, until when      resources.rs
//!     counters                          what all processes did           counters.rs
//!     swept                             when litter was last looked for  sweep.rs
//! ```
//!
//! What is trusted: the directory (checked when opened), and what carries a seal made with the user's key. A process of
//! the same user can read that key, so seals stop other users, damage and accidents, not the user's own programs.
//!
//! Invariant: a file is complete as soon as its name exists: written under a unique temporary name, then renamed.
//! Invariant: no file is changed in place; replacing is a rename, evicting is an unlink, so what is mapped stays whole.
//! Invariant: nothing here panics, whatever a file holds, and before a seal has proved a length no more than 16 MiB are
//! allocated for it.

#![forbid(unsafe_code)]

mod artifact;
mod counters;
mod error;
mod fields;
mod file_stat;
mod files;
mod folder;
mod footer;
mod heads;
mod inventory;
mod key;
mod label;
mod layout;
mod limits;
mod lock;
mod lookup;
mod probe;
mod resources;
mod seal;
mod spool;
mod stat_index;
mod store;
mod sweep;
mod verified;
mod wasm_files;

pub use artifact::{Entry, Lookup, MAX_IMAGE_LEN, MAX_META_LEN};
pub use counters::{Counts, MissReason, Remote};
pub use error::{CacheError, InvalidReason};
pub use file_stat::{FileStat, Observation};
pub use heads::Heads;
pub use inventory::Item;
pub use key::{ArtifactKey, ModuleHash};
pub use label::Label;
pub use limits::{Evicted, Limits};
pub use lock::{Claim, Flight};
pub use resources::{MAX_POLICY_LEN, Resource, Resources};
pub use spool::{Spool, Spooled};
pub use stat_index::StatIndex;
pub use store::{Contents, Named, Settings, Staged, Store, Usage};
pub use sweep::Swept;
pub use wasm_files::WasmFiles;

/// The parsers and the seals, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    pub use super::counters::Counters;
    pub use super::footer::{FORMAT_VERSION, Footer, LEN as FOOTER_LEN, verify};
    pub use super::label::MAX_LEN as MAX_LABEL_LEN;
    pub use super::seal::Seals;
    pub use super::verified::{Noted, Subject};
}
