//! The proposals that are accepted, in the words of the validator and of the compilers.

use wasmer_compiler::wasmparser::WasmFeatures;
use wasmer_types::Features;

/// Part of every artifact's key: raise it whenever the lowering changes the code it produces, or
/// what an artifact carries beside its code.
pub const LOWERING_VERSION: u32 = 7;

/// What the validator accepts: WebAssembly 2.0, threads, extended constant expressions,
/// exceptions with exnref and in their older form, relaxed SIMD and several memories.
///
/// Tail calls are left out because Cranelift's translator in wasmer 7.4 refuses them.
pub fn wasm_features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::THREADS
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::LEGACY_EXCEPTIONS
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::MULTI_MEMORY
}

/// The same set for wasmer's engines.
pub fn wasmer_features() -> Features {
    let mut features = Features::default();
    features
        .threads(true)
        .reference_types(true)
        .simd(true)
        .bulk_memory(true)
        .multi_value(true)
        .multi_memory(true)
        .extended_const(true)
        .exceptions(true)
        .relaxed_simd(true);
    features
}
