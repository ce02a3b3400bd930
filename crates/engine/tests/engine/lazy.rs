//! The lazy baseline: what is compiled, when, and how often.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::thread;

use wasm_compile_cache_engine::runtime::{ExportValue, Group, Import, init_traps};
use wasm_compile_cache_engine::tier::{BaselineMode, Module, Tier, pieces_of_code};
use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, FunctionSection, ImportSection,
    Module as Encoder, TypeSection, ValType,
};
use wasmer_types::RawValue;

use crate::support::host::{Gate, TestThread, body, body_of, code, compile_as, invoke};

/// So many functions, each too large to be compiled along with another.
const FUNCTIONS: u32 = 6;
const LARGE: usize = 12 << 10;

/// Function `n` takes an i32 and gives it plus `n`; the last one calls the first one as well. All are exported.
pub fn adders() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut bodies = CodeSection::new();
    for number in 0..FUNCTIONS {
        functions.function(0);
        exports.export(&format!("f{number}"), ExportKind::Func, number);
        let mut body = wasm_encoder::Function::new([]);
        let mut code = body.instructions();
        code.local_get(0);
        for _ in 0..LARGE {
            code.nop();
        }
        code.i32_const(number as i32).i32_add();
        if number == FUNCTIONS - 1 {
            code.call(0);
        }
        code.end();
        bodies.function(&body);
    }
    let mut module = Encoder::new();
    module.section(&types).section(&functions);
    module.section(&exports).section(&bodies);
    module.finish()
}

fn lazily(bytes: &[u8], optimize: bool) -> Arc<Module> {
    init_traps();
    compile_as(BaselineMode::Lazy, bytes, "", optimize).module
}

/// An instance, and the anyfuncs of its exports.
pub fn instantiate(module: &Arc<Module>, imports: Vec<Import>) -> (Group, Vec<usize>) {
    let mut group = Group::new(Arc::new(TestThread::default()));
    let exports = instantiate_in(&mut group, module, imports);
    (group, exports)
}

pub fn instantiate_in(group: &mut Group, module: &Arc<Module>, imports: Vec<Import>) -> Vec<usize> {
    let made = group.instantiate(module, imports, Vec::new(), |_| {});
    let exports = made.expect("links").exports.into_iter();
    let functions = exports.filter_map(|export| match export {
        ExportValue::Function(anyfunc) => Some(anyfunc),
        _ => None,
    });
    functions.collect()
}

pub fn call(anyfunc: usize, argument: i32) -> i32 {
    let mut values = [RawValue::from(argument)];
    invoke(anyfunc, &mut values).expect("does not trap");
    // SAFETY: the result is an i32.
    unsafe { values[0].i32 }
}

fn made() -> usize {
    pieces_of_code().1
}

#[test]
fn what_is_not_called_is_not_compiled_and_what_is_once() {
    let module = lazily(&adders(), false);
    let (_group, functions) = instantiate(&module, Vec::new());
    let before = made();
    for _ in 0..2 {
        assert_eq!(call(functions[1], 10), 11);
        assert_eq!(made() - before, 1, "the one that was called");
    }
    assert_eq!(call(functions[2], 10), 12);
    assert_eq!(made() - before, 2, "and the next");
    // What it calls may be compiled ahead on another thread.
    assert_eq!(call(functions[5], 10), 15);
    assert_eq!(made() - before, 4, "and with what it calls");
    let (_other, functions) = instantiate(&module, Vec::new());
    assert_eq!(call(functions[1], 1), 2);
    assert_eq!(made() - before, 4, "another instance gets what is there");
}

#[test]
fn a_function_that_many_threads_call_first_is_compiled_once() {
    const THREADS: usize = 8;
    let module = lazily(&adders(), false);
    let before = made();
    for local in 0..4 {
        let barrier = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (module, barrier) = (Arc::clone(&module), Arc::clone(&barrier));
                thread::spawn(move || {
                    let (_group, functions) = instantiate(&module, Vec::new());
                    barrier.wait();
                    assert_eq!(
                        call(functions[local], number as i32),
                        (number + local) as i32
                    );
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("it is right");
        }
    }
    assert_eq!(made() - before, 4);
}

/// Calls the function that it imports.
pub fn caller() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    let mut imports = ImportSection::new();
    imports.import("", "", EntityType::Function(0));
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export("f", ExportKind::Func, 1);
    let mut bodies = CodeSection::new();
    let mut body = wasm_encoder::Function::new([]);
    body.instructions().local_get(0).call(0).end();
    bodies.function(&body);
    let mut module = Encoder::new();
    module.section(&types).section(&imports).section(&functions);
    module.section(&exports).section(&bodies);
    module.finish()
}

#[test]
fn an_import_record_of_another_instance_gets_the_code() {
    let (module, calls) = (lazily(&adders(), false), lazily(&caller(), false));
    let (mut group, functions) = instantiate(&module, Vec::new());
    let stub = body(functions[3]).load(Ordering::Acquire);
    let callers = instantiate_in(&mut group, &calls, vec![Import::Anyfunc(functions[3])]);
    let before = made();
    for _ in 0..2 {
        assert_eq!(call(callers[0], 4), 7);
        assert_eq!(made() - before, 2, "the caller and what it calls");
    }
    let now = body(functions[3]).load(Ordering::Acquire);
    assert_ne!(now, stub, "the slot has the code");
    assert_eq!(now, body_of(&code(&module, Tier::Baseline), 3));
}

#[test]
fn what_was_never_called_in_the_baseline_is_called_in_the_optimizing_tier() {
    let gate = Gate::close();
    let module = lazily(&adders(), true);
    let (_group, functions) = instantiate(&module, Vec::new());
    assert_eq!(call(functions[0], 1), 1);
    let baseline = code(&module, Tier::Baseline);
    let stub = body_of(&baseline, 1);
    drop(gate);
    module.wait_optimized().expect("is optimized");
    let before = made();
    assert_eq!(call(functions[1], 1), 2);
    // Who reads a slot before the swap may call the stub after it.
    body(functions[2]).store(body_of(&baseline, 2), Ordering::Release);
    assert_eq!(call(functions[2], 1), 3);
    let optimized = code(&module, Tier::Optimized);
    assert_ne!(stub, body_of(&optimized, 1));
    let now = body(functions[1]).load(Ordering::Acquire);
    assert_eq!(now, body_of(&optimized, 1));
    assert!(made() - before <= 1, "only the late call may have compiled");
}
