//! The two compilers' code can call each other, and one takes the other's place.
//!
//! The signatures are generated, from a fixed seed: what they are is said at
//! [`support::signature::signatures`], what a function does with its values at
//! [`support::function`]. Without Singlepass the baseline is Cranelift too.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::support::function::{Call, Function, Via};
use crate::support::host::{
    Gate, HostFunction, TestThread, body, body_of, code, compile, compile_as, invoke,
};
use crate::support::inside::Share;
use crate::support::signature::{Random, Signature, signatures};
use crate::support::unit::Unit;
use crate::support::world::{Chain, Places, Verdict};
use crate::support::{across, inside, upper};
use wasm_compile_cache_engine::module::THUNKS;
use wasm_compile_cache_engine::runtime::{Callee, ExportValue, Group, Import, Raised, init_traps};
use wasm_compile_cache_engine::tier::{BaselineMode, Code, Module, SINGLEPASS, Tier};
use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, FunctionSection, ImportSection,
    Module as Encoder, TagKind, TagSection, TagType, TypeSection, ValType,
};
use wasmer_types::RawValue;
use wasmer_vm::{Trap, VMFunctionBody};

const SEED: u64 = 0x7469_6572;

/// How the baseline compiles one module after the other: one function at a time takes long.
const MODES: [BaselineMode; 32] = {
    let mut modes = [BaselineMode::Eager; 32];
    modes[1] = BaselineMode::Lazy;
    modes
};

/// Signatures a module.
const BATCH: usize = 48;

/// The modules, and how the baseline compiles each. Where both tiers are the same compiler's there is less to find.
fn batches(signatures: &[Signature]) -> impl Iterator<Item = (&[Signature], BaselineMode)> {
    signatures
        .chunks(BATCH)
        .zip(MODES.iter().copied().cycle())
        .enumerate()
        .filter(|(index, _)| SINGLEPASS || index % 3 == 1)
        .map(|(_, batch)| batch)
}

#[test]
fn every_signature_crosses_the_tiers_inside_an_instance() {
    init_traps();
    let mut random = Random::new(SEED);
    let mut verdict = Verdict::default();
    let mut share = Share::default();
    for (batch, mode) in batches(&signatures(&mut random)) {
        inside::run(mode, batch, &mut random, &mut verdict, &mut share);
    }
    verdict.check();
    println!("{} runs", verdict.runs);
    // The proof would be empty if Singlepass compiled nothing of it.
    let share = share.cranelift / share.all;
    let expected = if SINGLEPASS { 0.5..0.8 } else { 0.0..0.1 };
    assert!(expected.contains(&share), "Cranelift's share is {share}");
}

#[test]
fn every_signature_crosses_the_tiers_through_imports_and_exports() {
    init_traps();
    let mut random = Random::new(SEED);
    let mut verdict = Verdict::default();
    for (batch, mode) in batches(&signatures(&mut random)) {
        across::run(mode, batch, &mut random, &mut verdict);
    }
    verdict.check();
    println!("{} runs", verdict.runs);
}

#[test]
fn the_upper_half_of_an_i32_is_never_trusted() {
    init_traps();
    upper::run();
}

/// Singlepass can import none of the module's types, so no other can stand in for them.
#[test]
fn a_module_whose_only_type_has_two_results_is_compiled() {
    init_traps();
    let signature = Signature {
        params: vec![ValType::I64],
        results: vec![ValType::I64; 2],
    };
    let mut random = Random::new(SEED);
    let leaf = Function::host_leaf(2, &signature);
    let mut middle = || loop {
        let call = Call {
            via: Via::Direct,
            target: 0,
            signature: signature.clone(),
        };
        let function = Function::caller(&mut random, 1, call);
        if function.signature == signature {
            return function;
        }
    };
    let unit = Unit {
        imported_functions: vec![signature.clone()],
        functions: vec![middle()],
        ..Unit::default()
    };
    let encoded = unit.encode();
    let module = compile(&encoded.bytes, "", false).module;
    let mut places = Places::default();
    let host = HostFunction::callee(&leaf, None, |key| places.host(key));
    let mut group = Group::new(Arc::new(TestThread::default()));
    let instance = encoded.instantiate(&mut group, &module, vec![Import::Function(host)]);
    places.add(&instance);
    let chain = Chain {
        head: instance.functions[0],
        functions: vec![&unit.functions[0], &leaf],
    };
    assert_eq!(chain.run(&places, &mut random), Ok(()));
}

/// A function with floats in its type; one of many parameters, which another calls where exceptions are caught, and after it an
/// import that gives a float.
fn floats_and_many_parameters() -> Vec<u8> {
    const MANY: usize = 17;
    let mut types = TypeSection::new();
    types
        .ty()
        .function([ValType::F64, ValType::I32], [ValType::F64]);
    types.ty().function([ValType::I32; MANY], []);
    types.ty().function([], [ValType::F64]);
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    imports.import("host", "f", EntityType::Function(2));
    let mut functions = FunctionSection::new();
    functions.function(0).function(1).function(3);
    let mut tags = TagSection::new();
    tags.tag(TagType {
        kind: TagKind::Exception,
        func_type_idx: 3,
    });
    let mut bodies = CodeSection::new();
    let mut identity = wasm_encoder::Function::new([]);
    identity.instructions().local_get(0).end();
    let mut many = wasm_encoder::Function::new([]);
    many.instructions().end();
    let mut calls = wasm_encoder::Function::new([]);
    let mut code = calls.instructions();
    code.try_(BlockType::Empty);
    for number in 0..MANY {
        code.i32_const(number as i32);
    }
    code.call(2).catch_all().end().call(0).drop().end();
    bodies.function(&identity).function(&many).function(&calls);
    let mut module = Encoder::new();
    module.section(&types).section(&imports).section(&functions);
    module.section(&tags).section(&bodies);
    module.finish()
}

#[test]
fn singlepass_compiles_what_has_floats_and_what_calls_it() {
    let bytes = floats_and_many_parameters();
    let of_cranelift = compile_as(BaselineMode::Eager, &bytes, "", false).cranelift_bytes;
    let is_all_singlepass = of_cranelift == 0.0;
    assert_eq!(
        is_all_singlepass,
        THUNKS || !SINGLEPASS,
        "{of_cranelift} bytes"
    );
}

/// `step` divides by what the import returns; `run` calls `step` for ever.
fn endless() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    imports.import("host", "end", EntityType::Function(0));
    let mut functions = FunctionSection::new();
    functions.function(1).function(1);
    let mut exports = ExportSection::new();
    exports.export("step", ExportKind::Func, 1);
    exports.export("run", ExportKind::Func, 2);
    let mut bodies = CodeSection::new();
    let mut step = wasm_encoder::Function::new([]);
    let mut code = step.instructions();
    code.i32_const(1).call(0).i32_div_u().drop().end();
    let mut run = wasm_encoder::Function::new([]);
    let mut code = run.instructions();
    code.loop_(BlockType::Empty).call(1).br(0).end().end();
    bodies.function(&step).function(&run);
    let mut module = Encoder::new();
    module.section(&types).section(&imports).section(&functions);
    module.section(&exports).section(&bodies);
    module.finish()
}

const STEP: usize = 0;
const RUN: usize = 1;

/// What the import of [`endless`] knows.
struct Watch {
    module: Arc<Module>,
    /// Anyfunc of `step`.
    step: OnceCell<usize>,
    /// The body it had at first.
    old_body: *mut VMFunctionBody,
    old_code: Weak<Code>,
    /// Keeps the optimizing tier back until the import is called.
    gate: Cell<Option<Gate>>,
    calls: Cell<u64>,
    /// Whether the slot was seen to change.
    swapped: Cell<bool>,
    /// Whether the old code was there when the publisher had done with it.
    kept: Cell<bool>,
}

struct End(Rc<Watch>);

impl Callee for End {
    unsafe fn call(&self, values: *mut RawValue) -> Result<(), Raised> {
        let watch = &self.0;
        watch.calls.set(watch.calls.get() + 1);
        // `step` was called after the slot had changed: this call of it is to end.
        let end = watch.swapped.get();
        let step = *watch.step.get().expect("instantiated");
        if body(step).load(Ordering::Acquire) != watch.old_body {
            watch.swapped.set(true);
            watch.module.wait_optimized().expect("is optimized");
            watch.kept.set(watch.old_code.strong_count() > 0);
        }
        // Opened when the body was looked at: the first call is always one of the old code.
        drop(watch.gate.take());
        let value = RawValue::from(i32::from(!end));
        // SAFETY: by the trait's contract there is room for the result.
        unsafe { values.write(value) };
        std::thread::yield_now();
        Ok(())
    }
}

/// An instance of [`endless`] with baseline code; the optimizing tier waits for its import.
struct Endless {
    thread: Arc<TestThread>,
    group: Group,
    exports: Vec<usize>,
    watch: Rc<Watch>,
}

impl Endless {
    /// Modules of different partitions share no code.
    fn new(partition: &str) -> Self {
        init_traps();
        let gate = Gate::close();
        let module = compile(&endless(), partition, true).module;
        let baseline = code(&module, Tier::Baseline);
        let watch = Rc::new(Watch {
            module: Arc::clone(&module),
            step: OnceCell::new(),
            old_body: body_of(&baseline, STEP),
            old_code: Arc::downgrade(&baseline),
            gate: Cell::new(Some(gate)),
            calls: Cell::new(0),
            swapped: Cell::new(false),
            kept: Cell::new(false),
        });
        let thread = Arc::new(TestThread::default());
        let mut group = Group::new(thread.clone());
        let import = Import::Function(Box::new(End(Rc::clone(&watch))));
        let made = group
            .instantiate(&module, vec![import], Vec::new(), |_| {})
            .expect("instantiates");
        let exports = made.exports.iter().map(|export| match export {
            ExportValue::Function(anyfunc) => *anyfunc,
            other => panic!("unexpected export: {other:?}"),
        });
        let exports: Vec<usize> = exports.collect();
        watch.step.set(exports[STEP]).expect("was not set");
        Self {
            thread,
            group,
            exports,
            watch,
        }
    }
}

#[test]
fn a_call_that_runs_sees_the_swap() {
    let endless = Endless::new("runs");
    // The optimizing tier publishes on its own thread while this one is inside `run`.
    let trap = invoke(endless.exports[RUN], &mut []).expect_err("ends with a trap");
    let watch = &endless.watch;
    assert!(watch.calls.get() >= 3, "before, during and after the swap");
    assert!(watch.kept.get(), "the thread is inside the baseline's code");

    // The body that trapped is the optimizing tier's: the loop, which is the baseline's, called it.
    let optimized = code(&watch.module, Tier::Optimized);
    let Trap::Wasm { pc, .. } = trap else {
        panic!("not the code's own trap: {trap}");
    };
    let starts = [
        body_of(&optimized, STEP),
        body_of(&optimized, RUN),
        watch.old_body,
    ];
    let starts = starts.map(|start| start as usize);
    let trapped = starts.into_iter().filter(|start| *start <= pc).max();
    assert_eq!(trapped, Some(starts[STEP]), "the trap is at {pc:#x}");
    assert_eq!(endless.group.inspect(), (1, 2, 2));
    endless.thread.idle();
    assert!(watch.old_code.upgrade().is_none(), "nothing is inside it");
}

#[test]
fn the_baseline_code_is_given_back_when_its_thread_is_idle() {
    let endless = Endless::new("idle");
    let old = &endless.watch.old_code;
    invoke(endless.exports[STEP], &mut []).expect("the baseline's code runs");
    endless.watch.module.wait_optimized().expect("is optimized");
    assert!(old.upgrade().is_some(), "the thread may be inside it");
    endless.thread.idle();
    assert!(old.upgrade().is_none(), "nothing can be inside it");

    // The instance lives on, without it.
    invoke(endless.exports[STEP], &mut []).expect("the optimized code runs");
    assert_eq!(endless.group.inspect(), (1, 2, 2));
    assert_eq!(endless.watch.calls.get(), 2);
}

/// A module of its own to the process.
fn lonely(name: &str) -> Vec<u8> {
    let mut module = Encoder::new();
    module.section(&wasm_encoder::CustomSection {
        name: name.into(),
        data: (&[]).into(),
    });
    module.finish()
}

#[test]
fn a_module_that_all_have_dropped_is_not_optimized() {
    init_traps();
    let gate = Gate::close();
    let dropped = Arc::downgrade(&compile(&lonely("dropped"), "", true).module);
    let awaited = compile(&lonely("awaited"), "", true).module;
    assert!(dropped.upgrade().is_none(), "the queue keeps it");

    // Who waits for it wants it, although nobody else has it.
    let (told, hears) = std::sync::mpsc::channel();
    awaited.when_optimized(Box::new(move |outcome| {
        let _ = told.send(outcome);
    }));
    let awaited = {
        let weak = Arc::downgrade(&awaited);
        drop(awaited);
        weak
    };
    assert!(awaited.upgrade().is_some(), "it is waited for");
    drop(gate);
    assert_eq!(hears.recv(), Ok(Ok(())));
}
