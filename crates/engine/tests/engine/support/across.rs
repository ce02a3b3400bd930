//! Chains across three instances of a group, and through host functions.
//!
//! `A` imports from `B`, and `B` from `C`, functions and tables. An import record follows the tier
//! of the exporting module, so `B` and `C` exist twice: of one the optimizing tier replaces the
//! code, the other stays baseline for ever.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasm_compile_cache_engine::runtime::{Group, Import};
use wasm_compile_cache_engine::tier::{BaselineMode, Module, Tier};
use wasm_encoder::ValType;
use wasmer_types::{FunctionType, Type};

use super::function::{Call, Function, Via};
use super::host::{Gate, HostFunction, TestThread, body, body_of, code, compile_as};
use super::signature::{Random, Signature};
use super::unit::{Encoded, Instance, Unit};
use super::world::{Chain, Places, Verdict};

/// The exporter's tables, as the importer numbers them.
const THEIRS: [Via; 2] = [Via::Table(0), Via::Table(1)];

const HOST_LEAF: u8 = 3;
const HOST_RELAY: u8 = 4;

/// The modules, and which of their functions call each other.
struct Plan {
    a: Unit,
    b: Unit,
    c: Unit,
    /// One a signature, called by `B`.
    leaves: Vec<Function>,
    /// One a signature, called by `A`, calls `C`.
    relays: Vec<Function>,
    chains: Vec<[Link; 3]>,
}

#[derive(Clone, Copy)]
enum Link {
    A(usize),
    B(usize),
    C(usize),
    Leaf(usize),
    Relay(usize),
}

impl Plan {
    fn new(signatures: &[Signature], random: &mut Random) -> Self {
        let count = signatures.len();
        let both = || signatures.iter().chain(signatures).cloned().collect();
        let mut plan = Self {
            a: Unit::default(),
            b: Unit {
                imported_functions: both(),
                imported_tables: 2,
                functions: Vec::new(),
            },
            c: Unit::default(),
            leaves: Vec::new(),
            relays: Vec::new(),
            chains: Vec::new(),
        };
        // In B's index space, C's functions come first, then the host's; C's growable table has
        // host functions behind C's own.
        for (index, signature) in signatures.iter().enumerate() {
            plan.c.add(Function::leaf(random, 2, signature));
            plan.leaves.push(Function::host_leaf(HOST_LEAF, signature));
            plan.relays.push(Function::relay(HOST_RELAY, signature));
            let own = Link::C(index);
            let host = Link::Leaf(index);
            for (via, target, leaf) in [
                (Via::Direct, index, own),
                (THEIRS[0], index, own),
                (THEIRS[1], index, own),
                (Via::Direct, count + index, host),
                (THEIRS[0], count + index, host),
            ] {
                let middle = Function::caller(random, 1, to(via, target, signature));
                let middle = plan.b.add(middle);
                plan.chains.push([Link::A(0), Link::B(middle), leaf]);
            }
        }
        let middles: Vec<_> = plan.b.functions.iter().map(|of| &of.signature).collect();
        plan.a.imported_tables = 2;
        plan.a.imported_functions = middles.iter().copied().chain(signatures).cloned().collect();
        for (index, signature) in middles.into_iter().enumerate() {
            let via = random.pick(&[Via::Direct, Via::Direct, THEIRS[0], THEIRS[1]]);
            let head = Function::caller(random, 0, to(via, index, signature));
            plan.chains[index][0] = Link::A(plan.a.add(head));
        }
        for (index, signature) in signatures.iter().enumerate() {
            let target = plan.b.functions.len() + index;
            let head = Function::caller(random, 0, to(Via::Direct, target, signature));
            let head = Link::A(plan.a.add(head));
            let relay = Link::Relay(index);
            plan.chains.push([head, relay, Link::C(index)]);
        }
        plan
    }

    fn function(&self, link: Link) -> &Function {
        match link {
            Link::A(index) => &self.a.functions[index],
            Link::B(index) => &self.b.functions[index],
            Link::C(index) => &self.c.functions[index],
            Link::Leaf(index) => &self.leaves[index],
            Link::Relay(index) => &self.relays[index],
        }
    }

    fn run_all(&self, path: &Path, tiers: &str, random: &mut Random, verdict: &mut Verdict) {
        for chain in &self.chains {
            let Link::A(head) = chain[0] else { continue };
            let chain = Chain {
                head: path.a.functions[head],
                functions: chain.map(|link| self.function(link)).to_vec(),
            };
            let tiers = format!("{tiers}, {:?} middle, {:?} callee", path.b, path.c);
            verdict.add(&tiers, chain.run(&path.places, random));
        }
    }
}

fn to(via: Via, target: usize, signature: &Signature) -> Call {
    Call {
        via,
        target: target as u32,
        signature: signature.clone(),
    }
}

/// Three instances that import from each other; the tiers are those of `B` and `C`.
struct Path {
    a: Instance,
    b: Tier,
    c: Tier,
    places: Places,
}

/// A module in a tier that is final once the optimizing tier is done.
struct Variant {
    module: Arc<Module>,
    tier: Tier,
}

fn variants(encoded: &Encoded, mode: BaselineMode) -> [Variant; 2] {
    [Tier::Baseline, Tier::Optimized].map(|tier| {
        let optimize = tier == Tier::Optimized;
        let partition = format!("{tier:?}");
        let module = compile_as(mode, &encoded.bytes, &partition, optimize).module;
        Variant { module, tier }
    })
}

/// Runs all chains of three modules, in every mixture of tiers.
pub fn run(
    mode: BaselineMode,
    signatures: &[Signature],
    random: &mut Random,
    verdict: &mut Verdict,
) {
    let plan = Plan::new(signatures, random);
    let [a, b, c] = [&plan.a, &plan.b, &plan.c].map(Unit::encode);

    let gate = Gate::close();
    let head = compile_as(mode, &a.bytes, "", true).module;
    let middles = variants(&b, mode);
    let callees = variants(&c, mode);
    let baseline = code(&head, Tier::Baseline);
    let mut group = Group::new(Arc::new(TestThread::default()));
    let mut paths = Vec::new();
    for callee in &callees {
        let (c, places) = make_callee(&plan, &c, callee, &mut group);
        for middle in &middles {
            let mut places = places.clone();
            let b = make_middle(&plan, &b, middle, &mut group, &c, &mut places);
            let imports = functions(&b)
                .chain(plan.relays.iter().zip(&c.functions).map(|(relay, next)| {
                    let place = |key| places.host(key);
                    Import::Function(HostFunction::callee(relay, Some(*next), place))
                }))
                .chain(b.tables.map(Import::Table))
                .collect();
            let a = a.instantiate(&mut group, &head, imports);
            places.add(&a);
            paths.push(Path {
                a,
                b: middle.tier,
                c: callee.tier,
                places,
            });
        }
    }
    for path in &paths {
        plan.run_all(path, "before the swap", random, verdict);
    }

    drop(gate);
    for module in [&head, &middles[1].module, &callees[1].module] {
        module.wait_optimized().expect("is optimized");
    }
    let optimized = code(&head, Tier::Optimized);
    for code in [baseline, optimized] {
        for path in &paths {
            for (local, anyfunc) in path.a.functions.iter().enumerate() {
                body(*anyfunc).store(body_of(&code, local), Ordering::Release);
            }
            let tiers = format!("{:?} caller", code.tier);
            plan.run_all(path, &tiers, random, verdict);
        }
    }
}

fn functions(instance: &Instance) -> impl Iterator<Item = Import> {
    let anyfuncs = instance.functions.iter();
    anyfuncs.map(|anyfunc| Import::Anyfunc(*anyfunc))
}

/// Instantiates `C`, and puts the host's functions into its growable table.
fn make_callee(
    plan: &Plan,
    encoded: &Encoded,
    variant: &Variant,
    group: &mut Group,
) -> (Instance, Places) {
    let mut places = Places::default();
    let instance = encoded.instantiate(group, &variant.module, Vec::new());
    places.add(&instance);
    for leaf in &plan.leaves {
        let callee = HostFunction::callee(leaf, None, |key| places.host(key));
        let (_, function) = group
            .host_function(&function_type(&leaf.signature), callee)
            .expect("has trampolines");
        let grown = group.table_grow(instance.tables[0], 1, function);
        assert!(grown.is_some(), "the table may grow");
    }
    let fixed = instance.tables[1];
    assert_eq!(group.table_grow(fixed, 1, 0), None, "a fixed table grew");
    (instance, places)
}

fn make_middle(
    plan: &Plan,
    encoded: &Encoded,
    variant: &Variant,
    group: &mut Group,
    callee: &Instance,
    places: &mut Places,
) -> Instance {
    let imports = functions(callee)
        .chain(plan.leaves.iter().map(|leaf| {
            let place = |key| places.host(key);
            Import::Function(HostFunction::callee(leaf, None, place))
        }))
        .chain(callee.tables.map(Import::Table))
        .collect();
    let instance = encoded.instantiate(group, &variant.module, imports);
    places.add(&instance);
    instance
}

fn function_type(signature: &Signature) -> FunctionType {
    let types = |types: &[ValType]| types.iter().map(|ty| ty_of(*ty)).collect::<Vec<_>>();
    FunctionType::new(types(&signature.params), types(&signature.results))
}

fn ty_of(ty: ValType) -> Type {
    match ty {
        ValType::I32 => Type::I32,
        ValType::I64 => Type::I64,
        ValType::F32 => Type::F32,
        ValType::F64 => Type::F64,
        ValType::V128 => Type::V128,
        ValType::EXTERNREF => Type::ExternRef,
        _ => Type::FuncRef,
    }
}
