//! What the optimizing tier stored is refused as soon as a byte of it is not what it was. What else can happen to a file,
//! the store's own tests deal to artifacts that are made up.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;

use wasm_compile_cache_engine::tier::{
    self, CacheMode, CompileOptions, Configuration, compile_bytes,
};
use wasm_compile_cache_engine::trace::EventQueue;
use wasm_compile_cache_store::{Item, Lookup, ModuleHash, Settings, Store};
use wasm_encoder as wasm;

/// Functions that call each other, a memory with data, a table: a module whose artifact has all its parts.
fn module() -> Vec<u8> {
    const FUNCTIONS: u32 = 24;
    let mut types = wasm::TypeSection::new();
    types
        .ty()
        .function([wasm::ValType::I32], [wasm::ValType::I32]);
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
            instructions.call(index - 1);
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
    exports.export("run", wasm::ExportKind::Func, FUNCTIONS - 1);
    let mut elements = wasm::ElementSection::new();
    let all: Vec<u32> = (0..FUNCTIONS).collect();
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
        .section(&functions)
        .section(&tables)
        .section(&memories)
        .section(&exports)
        .section(&elements)
        .section(&code)
        .section(&data);
    module.finish()
}

/// Compiles a module, and waits until its artifact is in the cache.
fn compile(bytes: Vec<u8>) {
    let (tell, told) = mpsc::channel();
    let events = EventQueue::new(Box::new(move || {
        let _ = tell.send(());
    }));
    let options = CompileOptions {
        partition: String::new(),
        cache: CacheMode::ReadWrite,
        min_size: 0,
        optimize: true,
        finish: false,
        fallback: false,
        source: String::new(),
        fetched: None,
        events: events.clone(),
    };
    let compiled = compile_bytes(bytes, &options);
    let _module = compiled
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
}

/// The store of `directory`, which changes nothing there.
fn read_only(directory: PathBuf) -> Store {
    // The folder of a version is named after format, package and engine.
    let store = tier::opened().expect("the cache opens");
    let folder = store.expect("the cache is on").directory().to_owned();
    let name = folder.file_name().expect("it has a name").to_string_lossy();
    let engine = name.splitn(3, '-').nth(2).expect("three parts").to_owned();
    let store = Store::open_read_only(Settings {
        directory: Some(directory),
        engine,
        ..Settings::default()
    });
    store.expect("the cache opens").expect("the cache is there")
}

#[test]
fn an_artifact_of_which_any_byte_was_changed_or_is_missing_is_refused() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let directory = dir.path().join("cache");
    tier::configure(Configuration {
        directory: Some(directory.clone()),
        access: CacheMode::ReadWrite,
        ..Configuration::default()
    });
    let module = module();
    let hash = ModuleHash::of(&module);
    compile(module);
    let store = read_only(directory);
    let items = store.items_of(&hash);
    let [Item { key, path, .. }] = &items[..] else {
        panic!("{items:?}");
    };
    // Another file under the name: this process may still have the first one mapped.
    let aside = path.with_extension("aside");
    let write = |bytes: &[u8]| {
        fs::write(&aside, bytes)
            .and_then(|()| fs::rename(&aside, path))
            .expect("the folder is ours");
    };
    let whole = fs::read(path).expect("the artifact was stored");
    assert!((10_000..60_000).contains(&whole.len()), "{}", whole.len());
    let mut bytes = whole.clone();
    for at in 0..whole.len() {
        bytes[at] ^= 1;
        write(&bytes);
        let found = store.lookup(key, hash);
        assert!(matches!(found, Lookup::Invalid(_)), "byte {at}: {found:?}");
        bytes[at] ^= 1;
    }
    for len in (0..whole.len()).rev() {
        write(&whole[..len]);
        let found = store.lookup(key, hash);
        assert!(
            matches!(found, Lookup::Invalid(_)),
            "{len} bytes: {found:?}"
        );
    }
    write(&whole);
    let found = store.lookup(key, hash);
    assert!(matches!(found, Lookup::Hit(_)), "{found:?}");
}
