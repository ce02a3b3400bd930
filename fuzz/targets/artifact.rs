//! An artifact's file: footer, parts, label.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_compile_cache_fuzz::properties;

fuzz_target!(|data: &[u8]| properties::artifact(data));
