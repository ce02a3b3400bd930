//! V8's limits for modules, which are ours.

/// For a module's bytes (`kV8MaxWasmModuleSize`).
pub const MAX_MODULE_BYTES: usize = 1 << 30;

/// For a table's elements (`kV8MaxWasmTableSize`).
pub const MAX_TABLE_ENTRIES: u32 = 10_000_000;
