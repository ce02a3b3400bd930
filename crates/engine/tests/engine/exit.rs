//! Compiler threads go on while `exit` runs, and are ended in the middle of it.

use std::panic::catch_unwind;
use std::process::Command;
use std::sync::{Arc, Mutex};

use wasm_compile_cache_engine::tier::{
    BaselineMode, CacheMode, CompileOptions, Module, compile_bytes,
};
use wasm_compile_cache_engine::trace::EventQueue;

const CHILD: &str = "WASM_COMPILE_CACHE_TEST_EXIT";

static MODULE: Mutex<Option<Arc<Module>>> = Mutex::new(None);

/// What the optimizing tier's thread may do at this time: gives back the code of one module, and panics over the next.
extern "C" fn late() {
    let module = MODULE.lock().ok().and_then(|mut module| module.take());
    let Some(module) = module else { return };
    assert_eq!(Arc::strong_count(&module), 1);
    drop(module);
    assert!(catch_unwind(|| panic!("no code can be loaded any more")).is_err());
}

/// Runs as a process of its own, which ends in it.
fn child() -> ! {
    // Handlers run in reverse order: this one behind the engine's.
    // SAFETY: the handler takes nothing, and catches its panic.
    assert_eq!(unsafe { libc::atexit(late) }, 0);
    let mut module = wasm_encoder::Module::new();
    let mut types = wasm_encoder::TypeSection::new();
    types.ty().function([], []);
    let mut functions = wasm_encoder::FunctionSection::new();
    functions.function(0);
    let mut code = wasm_encoder::CodeSection::new();
    let mut body = wasm_encoder::Function::new([]);
    body.instructions().end();
    code.function(&body);
    module.section(&types).section(&functions).section(&code);
    let options = CompileOptions {
        partition: String::new(),
        cache: CacheMode::Off,
        cached_only: false,
        min_size: 0,
        baseline: BaselineMode::Eager,
        optimize: false,
        finish: false,
        fallback: false,
        source: String::new(),
        fetched: None,
        events: EventQueue::new(Box::new(|| {})),
    };
    let compiled = compile_bytes(module.finish(), &options);
    *MODULE.lock().unwrap() = Some(compiled.map_err(|refused| refused.error).unwrap());
    std::process::exit(0);
}

#[test]
fn code_that_is_given_back_during_exit_does_not_end_the_process() {
    if std::env::var_os(CHILD).is_some() {
        child();
    }
    let ended = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "exit::code_that_is_given_back_during_exit_does_not_end_the_process",
        ])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");
}
