//! Bytes in: hashing, incremental parsing and validation, cut into chunks of functions.
//!
//! Owns: the module's bytes while they arrive. May not know: compilers, the cache, Node.

mod ingest;

pub use ingest::{
    Chunk, ChunkFunction, Ingest, Ingested, MAX_MODULE_BYTES, MAX_TABLE_ENTRIES, validate,
};
