//! What is published, and what is not.

use std::ptr::{dangling, null_mut};
use std::sync::atomic::AtomicUsize;

use wasm_encoder::{
    CodeSection, Function, FunctionSection, Module as Encoder, TypeSection, ValType,
};
use wasmer_vm::{VMCallerCheckedAnyfunc, VMFunctionContext, VMSignatureHash};

use super::super::compile::compile_bytes;
use super::super::options::{BaselineMode, CacheMode};
use super::super::publish::{LiveInstance, Mutator, Slots};
use super::*;
use crate::stream::Ingest;
use crate::trace::EventQueue;

struct Nobody(AtomicUsize);

impl Mutator for Nobody {
    fn when_idle(&self, task: Box<dyn FnOnce() + Send>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        task();
    }

    fn id(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }
}

/// A module with so many functions, each with a parameter of the type.
fn module(functions: usize, parameter: ValType) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([parameter], []);
    let (mut declared, mut code) = (FunctionSection::new(), CodeSection::new());
    for _ in 0..functions {
        declared.function(0);
        let mut body = Function::new([]);
        body.instructions().end();
        code.function(&body);
    }
    let mut module = Encoder::new();
    module.section(&types).section(&declared).section(&code);
    module.finish()
}

fn options() -> CompileOptions {
    CompileOptions {
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
    }
}

fn optimized(bytes: Vec<u8>) -> Code {
    let ingested = Ingest::whole(bytes, &mut |_| {}).expect("a valid module");
    let whole = Whole::new(&ingested).expect("a module");
    in_memory(&whole.bytes, whole.origin).expect("code")
}

#[test]
fn code_of_another_declaration_is_not_published() {
    let bytes = module(3, ValType::I32);
    let compiled = compile_bytes(bytes.clone(), &options());
    let compiled = compiled.unwrap_or_else(|refused| panic!("{}", refused.error));
    let mut slots: Vec<_> = (0..6)
        .map(|_| VMCallerCheckedAnyfunc {
            func_ptr: dangling(),
            type_signature_hash: VMSignatureHash::new(0),
            vmctx: VMFunctionContext {
                host_env: null_mut(),
            },
            call_trampoline: compiled
                .code()
                .call_trampolines
                .values()
                .next()
                .copied()
                .expect("one"),
        })
        .collect();
    let mutator = Arc::new(Nobody(AtomicUsize::new(0)));
    let live = LiveInstance {
        slots: Slots {
            base: slots.as_mut_ptr(),
            count: 3,
        },
        adapters: Slots {
            base: null_mut(),
            count: 0,
        },
        mutator: Arc::clone(&mutator) as Arc<dyn Mutator>,
        dependents: Vec::new(),
    };
    let (id, ()) = compiled
        .registered
        .attach(|_| Ok::<_, ()>(((), live)))
        .expect("attached");
    let untouched =
        |slots: &[VMCallerCheckedAnyfunc]| slots.iter().all(|slot| slot.func_ptr == dangling());
    for (functions, parameter) in [(6, ValType::I32), (2, ValType::I32), (3, ValType::F64)] {
        let other = optimized(module(functions, parameter));
        let misfit = compiled.publish(other).expect_err("another declaration");
        assert!(misfit.to_string().starts_with("the code does not fit"));
        assert!(untouched(&slots), "{functions} {parameter:?}: {misfit}");
    }
    compiled
        .publish(optimized(bytes))
        .expect("the same declaration");
    assert!(!untouched(&slots[..1]) && !untouched(&slots[1..2]) && !untouched(&slots[2..3]));
    assert!(untouched(&slots[3..]));
    compiled.registered.detach(id);
}
