//! Chains inside one instance: direct, through a growable and a fixed table, by `ref.func`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasm_compile_cache_engine::runtime::Group;
use wasm_compile_cache_engine::tier::{BaselineMode, Code, Tier};

use super::function::{Call, FIXED, Function, GROWABLE, Via};
use super::host::{Gate, TestThread, body, body_of, code, compile_as};
use super::signature::{Random, Signature};
use super::unit::{Instance, Unit};
use super::world::{Chain, Places, Verdict};

const WAYS: [Via; 4] = [
    Via::Direct,
    Via::Table(GROWABLE),
    Via::Table(FIXED),
    Via::Reference,
];

/// What the baseline gave to Cranelift, of how many bytes.
#[derive(Default)]
pub struct Share {
    pub cranelift: f64,
    pub all: f64,
}

/// Runs all chains of one module: for every signature a function that has it, called in every
/// way by a function that is itself called in a random way.
pub fn run(
    mode: BaselineMode,
    signatures: &[Signature],
    random: &mut Random,
    verdict: &mut Verdict,
    share: &mut Share,
) {
    let mut unit = Unit::default();
    let mut chains = Vec::new();
    for signature in signatures {
        let leaf = unit.add(Function::leaf(random, 2, signature));
        for via in WAYS {
            let middle = unit.add(call(random, &unit, 1, via, leaf));
            let way = random.pick(&WAYS);
            let head = unit.add(call(random, &unit, 0, way, middle));
            chains.push([head, middle, leaf]);
        }
    }
    let encoded = unit.encode();

    let gate = Gate::close();
    let compiled = compile_as(mode, &encoded.bytes, "", true);
    share.cranelift += compiled.cranelift_bytes;
    share.all += encoded.code as f64;
    let module = compiled.module;
    let baseline = code(&module, Tier::Baseline);
    let thread = Arc::new(TestThread::default());
    let mut group = Group::new(thread.clone());
    let instance = encoded.instantiate(&mut group, &module, Vec::new());
    let mut run_all = |tiers: &str, instance: &Instance| {
        let mut places = Places::default();
        places.add(instance);
        for chain in &chains {
            let chain = Chain {
                head: instance.functions[chain[0]],
                functions: chain.map(|function| &unit.functions[function]).to_vec(),
            };
            verdict.add(tiers, chain.run(&places, random));
        }
    };
    run_all("before the swap", &instance);

    drop(gate);
    module.wait_optimized().expect("is optimized");
    let optimized = code(&module, Tier::Optimized);
    let count = unit.functions.len();
    assert_eq!(group.inspect(), (1, count, count), "all slots are swapped");
    for mixture in 0..8_u8 {
        let codes: [&Code; 3] = std::array::from_fn(|role| {
            let bit = mixture & (1 << role) != 0;
            if bit { &*optimized } else { &*baseline }
        });
        for (local, function) in unit.functions.iter().enumerate() {
            let new = body_of(codes[usize::from(function.role)], local);
            body(instance.functions[local]).store(new, Ordering::Release);
        }
        let tiers = codes.map(|code| code.tier);
        run_all(&format!("{tiers:?}"), &instance);
    }

    let mut group = Group::new(thread);
    let instance = encoded.instantiate(&mut group, &module, Vec::new());
    run_all("made after the swap", &instance);
}

fn call(random: &mut Random, unit: &Unit, role: u8, via: Via, target: usize) -> Function {
    let call = Call {
        via,
        target: target as u32,
        signature: unit.functions[target].signature.clone(),
    };
    Function::caller(random, role, call)
}
