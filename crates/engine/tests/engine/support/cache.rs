//! A cache, and what is in it.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use tempfile::TempDir;
use wasm_compile_cache_engine::tier::{
    self, BaselineMode, CacheMode, CompileOptions, Configuration, Module, compile_bytes,
};
use wasm_compile_cache_engine::trace::EventQueue;
use wasm_encoder as wasm;

/// Has the process use a cache in a folder of this one; where that is.
pub fn configure(dir: &TempDir) -> PathBuf {
    configure_with(dir, None)
}

/// The same with a limit for one artifact.
pub fn configure_with(dir: &TempDir, max_entry_size: Option<u64>) -> PathBuf {
    let directory = dir.path().join("cache");
    tier::configure(Configuration {
        directory: Some(directory.clone()),
        access: CacheMode::ReadWrite,
        max_entry_size,
        ..Configuration::default()
    });
    directory
}

/// Those of a compile that stores everything.
pub fn options(events: Arc<EventQueue>) -> CompileOptions {
    CompileOptions {
        partition: String::new(),
        cache: CacheMode::ReadWrite,
        cached_only: false,
        min_size: 0,
        baseline: BaselineMode::Eager,
        optimize: true,
        finish: false,
        fallback: false,
        source: String::new(),
        fetched: None,
        events,
    }
}

/// Compiles a module, and waits until its artifact is in the cache.
pub fn store(bytes: Vec<u8>) -> Arc<Module> {
    let (tell, told) = mpsc::channel();
    let events = EventQueue::new(Box::new(move || {
        let _ = tell.send(());
    }));
    let compiled = compile_bytes(bytes, &options(Arc::clone(&events)));
    let module = compiled
        .map_err(|refused| refused.error)
        .expect("the module is valid");
    let mut stored = false;
    while !stored {
        told.recv().expect("events go on");
        for event in events.drain() {
            assert_ne!(event.name, "cacheWriteFailed", "{event:?}");
            stored |= event.name == "cachedModule";
        }
    }
    module
}

/// Functions that call each other, a memory with data, a table: a module whose artifact has all its parts. It imports
/// functions of these names.
pub fn module(imported: &[&str]) -> Vec<u8> {
    const FUNCTIONS: u32 = 24;
    let mut types = wasm::TypeSection::new();
    types
        .ty()
        .function([wasm::ValType::I32], [wasm::ValType::I32]);
    let mut imports = wasm::ImportSection::new();
    for name in imported {
        imports.import("env", name, wasm::EntityType::Function(0));
    }
    let first = imported.len() as u32;
    let mut functions = wasm::FunctionSection::new();
    let mut code = wasm::CodeSection::new();
    for index in 0..FUNCTIONS {
        functions.function(0);
        let mut body = wasm::Function::new([]);
        let mut instructions = body.instructions();
        instructions
            .local_get(0)
            .i32_const(3 + index as i32)
            .i32_mul();
        if index > 0 {
            instructions.call(first + index - 1);
        }
        instructions.local_get(0).i32_xor().end();
        code.function(&body);
    }
    let mut tables = wasm::TableSection::new();
    tables.table(wasm::TableType {
        element_type: wasm::RefType::FUNCREF,
        table64: false,
        minimum: u64::from(FUNCTIONS),
        maximum: None,
        shared: false,
    });
    let mut memories = wasm::MemorySection::new();
    memories.memory(wasm::MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = wasm::ExportSection::new();
    exports.export("run", wasm::ExportKind::Func, first + FUNCTIONS - 1);
    let mut elements = wasm::ElementSection::new();
    let all: Vec<u32> = (first..first + FUNCTIONS).collect();
    elements.active(
        Some(0),
        &wasm::ConstExpr::i32_const(0),
        wasm::Elements::Functions(all.into()),
    );
    let mut data = wasm::DataSection::new();
    data.active(0, &wasm::ConstExpr::i32_const(16), vec![3; 600]);
    let mut module = wasm::Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&tables)
        .section(&memories)
        .section(&exports)
        .section(&elements)
        .section(&code)
        .section(&data);
    module.finish()
}
