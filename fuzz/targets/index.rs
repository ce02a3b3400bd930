//! The small files beside the artifacts: records of sources, spooled modules, notes, counters.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_compile_cache_fuzz::properties;

fuzz_target!(|data: &[u8]| properties::index(data));
