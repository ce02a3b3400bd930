//! What is called often is optimized before the rest of its module.
#![cfg(all(unix, target_arch = "x86_64"))]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use wasm_compile_cache_engine::runtime::{Import, init_traps};
use wasm_compile_cache_engine::tier::{BaselineMode, Module, Tier};

use crate::lazy::{adders, call, caller, instantiate, instantiate_in};
use crate::support::host::{Gate, body, body_of, code, compile_as};

fn compiled(mode: BaselineMode, partition: &str, optimize: bool) -> Arc<Module> {
    init_traps();
    compile_as(mode, &adders(), partition, optimize).module
}

/// Whether calls of the function are counted: `inc dword ptr [rip + …]`.
fn is_counted(anyfunc: usize) -> bool {
    let code = body(anyfunc).load(Ordering::Acquire).cast::<[u8; 2]>();
    // SAFETY: the beginning of a function's code, which is longer.
    let start = unsafe { code.read() };
    start == [0xff, 0x05]
}

/// Calls a function until there is better code in its slot, however long that takes; gives up after some minutes.
fn heat(anyfunc: usize, argument: i32, expected: i32) {
    for _ in 0..200_000 {
        assert_eq!(call(anyfunc, argument), expected);
        if !is_counted(anyfunc) {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("it was not optimized");
}

fn is_optimized_before_the_rest(mode: BaselineMode, partition: &str) {
    let gate = Gate::close();
    let module = compiled(mode, partition, true);
    let (mut group, functions) = instantiate(&module, Vec::new());
    let (_others, theirs) = instantiate(&module, Vec::new());
    let calls = compile_as(BaselineMode::Eager, &caller(), partition, false).module;
    let callers = instantiate_in(&mut group, &calls, vec![Import::Anyfunc(functions[3])]);
    let cold = body(functions[2]).load(Ordering::Acquire);

    heat(functions[3], 10, 13);
    let now = body(functions[3]).load(Ordering::Acquire);
    assert_eq!(
        now,
        body_of(&code(&module, Tier::Baseline), 3),
        "new instances get it"
    );
    assert_eq!(
        now,
        body(theirs[3]).load(Ordering::Acquire),
        "other instances have it"
    );
    assert_eq!(call(theirs[3], 20), 23);
    assert_eq!(call(callers[0], 30), 33, "and so have those that import it");
    assert_eq!(
        cold,
        body(functions[2]).load(Ordering::Acquire),
        "what is not called is not optimized"
    );

    // It calls another, which both sides can reach.
    heat(functions[5], 10, 15);
    let (_more, later) = instantiate(&module, Vec::new());
    assert_eq!(call(later[5], 1), 6);

    let before = code(&module, Tier::Baseline);
    drop(gate);
    module.wait_optimized().expect("is optimized");
    let optimized = code(&module, Tier::Optimized);
    assert_ne!(body_of(&before, 3), body_of(&optimized, 3));
    for functions in [&functions, &theirs, &later] {
        assert_eq!(
            body(functions[3]).load(Ordering::Acquire),
            body_of(&optimized, 3),
            "then it is the rest's"
        );
        assert_eq!(call(functions[3], 1), 4);
    }
}

#[test]
fn what_the_lazy_baseline_compiled_is_optimized_when_it_is_called_often() {
    is_optimized_before_the_rest(BaselineMode::Lazy, "lazy");
}

#[test]
fn what_was_compiled_ahead_is_optimized_when_it_is_called_often() {
    is_optimized_before_the_rest(BaselineMode::Auto, "auto");
}

#[test]
fn without_the_optimizing_tier_nothing_is_counted() {
    let _gate = Gate::close();
    for optimize in [false, true] {
        let partition = if optimize { "counted" } else { "none" };
        let module = compiled(BaselineMode::Auto, partition, optimize);
        let (_group, functions) = instantiate(&module, Vec::new());
        call(functions[0], 1);
        assert_eq!(is_counted(functions[0]), optimize);
    }
}
