//! Bytes in: hashing, incremental parsing and validation, cut into chunks of functions.
//!
//! Owns: the module's bytes while they arrive. May not know: compilers, the cache, Node.

mod ingest;
mod unsupported;

pub use ingest::{Chunk, ChunkFunction, Ingest, Refused, check, validate};
pub use unsupported::{explain, unsupported};
