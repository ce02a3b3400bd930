//! What is compiled without being called.

use wasm_encoder::{
    CodeSection, Function as Body, FunctionSection, Module as Encoder, TypeSection,
};

use super::super::compile::compile_bytes;
use super::super::module::Module;
use super::super::options::{BaselineMode, CacheMode, CompileOptions};
use super::*;
use crate::trace::EventQueue;

const FUNCTIONS: u32 = 300;

/// A module that is neither small nor large: each function calls the one before it, and does nothing for 300 bytes.
fn module() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let (mut declared, mut code) = (FunctionSection::new(), CodeSection::new());
    for number in 0..FUNCTIONS {
        declared.function(0);
        let mut body = Body::new([]);
        for _ in 0..300 {
            body.instructions().nop();
        }
        body.instructions().call(number.saturating_sub(1)).end();
        code.function(&body);
    }
    let mut module = Encoder::new();
    module.section(&types).section(&declared).section(&code);
    module.finish()
}

fn compiled(baseline: BaselineMode) -> (Arc<Module>, Arc<Lazy>) {
    let options = CompileOptions {
        partition: String::new(),
        cache: CacheMode::Off,
        cached_only: false,
        min_size: 0,
        baseline,
        optimize: false,
        finish: false,
        fallback: false,
        source: String::new(),
        fetched: None,
        events: EventQueue::new(Box::new(|| {})),
    };
    let compiled = compile_bytes(module(), &options);
    let module = compiled.unwrap_or_else(|refused| panic!("{}", refused.error));
    let lazy = module.code().lazy.clone();
    (module, lazy.expect("what is not called has no code"))
}

fn count(state: &State, is: fn(&Function) -> bool) -> usize {
    state
        .functions
        .iter()
        .filter(|function| is(function))
        .count()
}

#[test]
fn of_a_module_that_is_not_large_everything_is_compiled_ahead() {
    let (_module, lazy) = compiled(BaselineMode::Auto);
    let mut state = lazy.state.lock();
    while state.next < FUNCTIONS
        || count(&state, |function| matches!(function, Function::Compiling)) > 0
    {
        lazy.changed.wait(&mut state);
    }
    let ready = count(&state, |function| matches!(function, Function::Ready(..)));
    assert_eq!(ready, FUNCTIONS as usize);
    assert!(
        state.donors.len() > 1,
        "in pieces, as the program may wait for one"
    );
    assert_eq!(state.called, 0);
}

#[test]
fn nothing_is_compiled_ahead_of_what_nobody_has() {
    let (_module, lazy) = compiled(BaselineMode::Auto);
    let other = Lazy::new(
        Arc::clone(&lazy.functions),
        &[None; FUNCTIONS as usize],
        true,
    );
    let other = other.expect("there are stubs");
    struct Nobody;
    impl Slots for Nobody {
        fn fill(&self, _: &Lazy, _: u32, body: FunctionBodyPtr) -> FunctionBodyPtr {
            body
        }
        fn declaration(&self) -> Weak<Declaration> {
            Weak::new()
        }
    }
    other.belongs_to(Weak::<Nobody>::new());
    let state = other.state.lock();
    assert_eq!((state.ahead, state.next), (0, 0));
}

#[test]
fn where_it_is_asked_for_only_what_is_called_is_compiled() {
    let (_module, lazy) = compiled(BaselineMode::Lazy);
    let state = lazy.state.lock();
    let absent = count(&state, |function| matches!(function, Function::Absent));
    assert_eq!((state.ahead, absent), (0, FUNCTIONS as usize));
}
