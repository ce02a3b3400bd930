//! Everything, beside a module's bytes, that shapes the optimizing tier's code.

use std::num::NonZero;

use wasmer_compiler::wasmparser::WasmFeatures;
use wasmer_compiler::{BaseTunables, Tunables};
use wasmer_compiler_cranelift::Cranelift;
use wasmer_types::target::Target;
use wasmer_types::{
    Features, MemoryStyle, MemoryType, MetadataHeader, Pages, TableStyle, TableType, Type,
};

use super::{cpu, engine};
use crate::module::{LOWERING_VERSION, wasm_features, wasmer_features};

/// What the optimizing tier's code depends on.
///
/// Invariant: code that was compiled under one fingerprint is never found under another. What is not here does not shape
/// the code: how many threads compile, and which compiler the baseline has.
#[derive(Clone)]
struct Fingerprint {
    /// This package's version: the lowering, what an artifact carries, what our runtime expects of it.
    package: &'static str,
    /// The version of wasmer's crates, which `build.rs` has found to be one.
    wasmer: &'static str,
    /// Of Cranelift's.
    cranelift: &'static str,
    /// Of its register allocator.
    regalloc: &'static str,
    /// Of what wasmer writes beside the code.
    metadata: u32,
    /// Every setting of the compiler: opt level, NaNs, position independence, the artifact's format, middlewares.
    config: Cranelift,
    /// Architecture, pointer width, byte order, vendor, system and binary interface; the processor's features.
    target: Target,
    /// What the compiler takes.
    features: Features,
    /// What the validator lets through to it.
    accepted: WasmFeatures,
    /// Which of a memory's bounds the code checks, and how large a guard region it relies on for the others.
    memory: MemoryStyle,
    /// Who checks signatures.
    table: TableStyle,
    /// Of our lowering, for changes between two versions of the package.
    lowering: u32,
}

impl Fingerprint {
    /// That of this process.
    pub fn current() -> Self {
        let tunables = BaseTunables::new();
        Self {
            package: env!("CARGO_PKG_VERSION"),
            wasmer: env!("WASMER_VERSION"),
            cranelift: env!("CRANELIFT_VERSION"),
            regalloc: env!("REGALLOC_VERSION"),
            metadata: MetadataHeader::CURRENT_VERSION,
            config: engine::optimizing_config(NonZero::<usize>::MIN),
            target: cpu::chosen(),
            features: wasmer_features(),
            accepted: wasm_features(),
            memory: tunables.memory_style(&MemoryType::new(Pages(0), None, false)),
            table: tunables.table_style(&TableType::new(Type::FuncRef, 0, None)),
            lowering: LOWERING_VERSION,
        }
    }

    /// Name and value of each, always in the same order.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        // Each by its name, so that a field that is added and forgotten here does not compile.
        let Self {
            package,
            wasmer,
            cranelift,
            regalloc,
            metadata,
            config,
            target,
            features,
            accepted,
            memory,
            table,
            lowering,
        } = self;
        let mut cpu: Vec<_> = target
            .cpu_features()
            .iter()
            .map(|feature| feature.to_string())
            .collect();
        cpu.sort_unstable();
        let guard = memory.offset_guard_size();
        vec![
            ("package", (*package).to_owned()),
            ("wasmer", (*wasmer).to_owned()),
            ("cranelift", (*cranelift).to_owned()),
            ("regalloc", (*regalloc).to_owned()),
            ("metadata", metadata.to_string()),
            ("compiler", format!("{config:?}")),
            ("target", target.triple().to_string()),
            ("cpu", cpu.join(",")),
            ("wasm", format!("{features:?}")),
            ("accepted", format!("{accepted:?}")),
            ("memory", format!("{memory:?} guard {guard}")),
            ("table", format!("{table:?}")),
            ("lowering", lowering.to_string()),
        ]
    }
}

/// Name and value of everything, beside the module's bytes, that shapes the optimizing tier's code.
pub fn fingerprint() -> Vec<(&'static str, String)> {
    Fingerprint::current().fields()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use wasm_compile_cache_store::{ArtifactKey, Label, Lookup, ModuleHash, Settings, Store};
    use wasmer_compiler::CompilerConfig;
    use wasmer_compiler_cranelift::CraneliftOptLevel;
    use wasmer_types::target::Triple;

    const MODULE: ModuleHash = ModuleHash::from_bytes([7; 32]);

    fn key(fingerprint: &Fingerprint, partition: &str) -> ArtifactKey {
        let fields = fingerprint.fields();
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        ArtifactKey::new(&MODULE, &fields, partition)
    }

    /// The fingerprint with something changed in each of its inputs in turn.
    fn changed() -> Vec<(String, Fingerprint)> {
        let mut all = Vec::new();
        let mut change = |name: &str, change: &dyn Fn(&mut Fingerprint)| {
            let mut changed = Fingerprint::current();
            change(&mut changed);
            all.push((name.to_owned(), changed));
        };
        change("package", &|now| now.package = "0.0.0");
        change("wasmer", &|now| now.wasmer = "7.4.1");
        change("cranelift", &|now| now.cranelift = "0.1.0");
        change("regalloc", &|now| now.regalloc = "0.1.0");
        change("metadata", &|now| now.metadata += 1);
        change("lowering", &|now| now.lowering += 1);

        type Setting = (&'static str, fn(&mut Cranelift));
        let settings: [Setting; 9] = [
            ("opt level none", |config| {
                config.opt_level(CraneliftOptLevel::None);
            }),
            ("opt level size", |config| {
                config.opt_level(CraneliftOptLevel::SpeedAndSize);
            }),
            ("canonical NaNs", |config| {
                config.canonicalize_nans(true);
            }),
            ("unaligned accesses", |config| {
                config.allow_experimental_unaligned_memory_accesses(true);
            }),
            ("artifact's format", |config| {
                Cranelift::experimental_artifact(config, !engine::MAPPED_ARTIFACTS);
            }),
            ("position independence", CompilerConfig::enable_pic),
            ("verifier", CompilerConfig::enable_verifier),
            ("perf map", CompilerConfig::enable_perfmap),
            ("debugger", |config| {
                config.enable_debugger(wasmer_compiler::Debugger::Gdb)
            }),
        ];
        for (name, set) in settings {
            change(name, &|now| set(&mut now.config));
        }

        for triple in [
            "i686-unknown-linux-gnu",
            "aarch64_be-unknown-linux-gnu",
            "x86_64-unknown-linux-gnux32",
            "x86_64-unknown-linux-musl",
            "x86_64-apple-darwin",
            "x86_64-pc-windows-msvc",
        ] {
            change(triple, &|now| {
                let triple: Triple = triple.parse().unwrap();
                now.target = Target::new(triple, *now.target.cpu_features());
            });
        }
        let host = *Fingerprint::current().target.cpu_features();
        for feature in host | !host {
            change(&format!("{feature:?}"), &|now| {
                let mut features = *now.target.cpu_features();
                if !features.remove(feature) {
                    features.insert(feature);
                }
                now.target = Target::new(now.target.triple().clone(), features);
            });
        }

        type Proposal = (&'static str, fn(&mut Features) -> &mut bool);
        // A proposal that wasmer adds is missing here until it is named.
        let Features {
            threads: _,
            reference_types: _,
            simd: _,
            bulk_memory: _,
            multi_value: _,
            tail_call: _,
            module_linking: _,
            multi_memory: _,
            memory64: _,
            exceptions: _,
            relaxed_simd: _,
            extended_const: _,
            wide_arithmetic: _,
        } = Features::new();
        let proposals: [Proposal; 13] = [
            ("threads", |features| &mut features.threads),
            ("reference types", |features| &mut features.reference_types),
            ("simd", |features| &mut features.simd),
            ("bulk memory", |features| &mut features.bulk_memory),
            ("multi value", |features| &mut features.multi_value),
            ("tail call", |features| &mut features.tail_call),
            ("module linking", |features| &mut features.module_linking),
            ("multi memory", |features| &mut features.multi_memory),
            ("memory64", |features| &mut features.memory64),
            ("exceptions", |features| &mut features.exceptions),
            ("relaxed simd", |features| &mut features.relaxed_simd),
            ("extended const", |features| &mut features.extended_const),
            ("wide arithmetic", |features| &mut features.wide_arithmetic),
        ];
        for (name, proposal) in proposals {
            change(name, &|now| {
                let enabled = proposal(&mut now.features);
                *enabled = !*enabled;
            });
        }
        for (name, flag) in WasmFeatures::all().iter_names() {
            change(name, &|now| now.accepted.toggle(flag));
        }

        let dynamic = |offset_guard_size| MemoryStyle::Dynamic { offset_guard_size };
        change("memory", &|now| now.memory = dynamic(0));
        change("guard", &|now| now.memory = dynamic(1 << 16));
        change("guard of the same size", &|now| {
            now.memory = dynamic(MemoryStyle::static_offset_guard_size());
        });
        all
    }

    #[test]
    fn code_is_found_by_the_fingerprint_it_was_compiled_under_and_by_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Settings {
            directory: Some(dir.path().join("cache")),
            engine: engine::NAME.to_owned(),
            ..Settings::default()
        })
        .unwrap();
        let current = key(&Fingerprint::current(), "");
        let label = Label::default();
        let written = store.write(&current, MODULE, b"image", b"meta", &label);
        written.unwrap();
        let changed = changed();
        for (name, fingerprint) in &changed {
            let found = store.lookup(&key(fingerprint, ""), MODULE);
            assert!(matches!(found, Lookup::Miss), "{name}: {found:?}");
        }
        for partition in ["a", "b", " "] {
            let found = store.lookup(&key(&Fingerprint::current(), partition), MODULE);
            assert!(matches!(found, Lookup::Miss), "{partition}: {found:?}");
        }
        let found = store.lookup(&key(&Fingerprint::current(), ""), MODULE);
        assert!(matches!(found, Lookup::Hit(_)), "{found:?}");
        let keys: HashSet<_> = changed
            .iter()
            .map(|(_, fingerprint)| key(fingerprint, ""))
            .collect();
        assert_eq!(keys.len(), changed.len(), "no two of them are the same");
    }

    #[test]
    fn every_field_is_changed_by_one_of_them() {
        let current = Fingerprint::current().fields();
        let changed = changed();
        for (at, (name, value)) in current.iter().enumerate() {
            // There is but one style of tables.
            let only = matches!(
                Fingerprint::current().table,
                TableStyle::CallerChecksSignature
            );
            if *name == "table" && only {
                continue;
            }
            let differ = |(_, other): &(String, Fingerprint)| other.fields()[at].1 != *value;
            assert!(changed.iter().any(differ), "{name}");
        }
    }

    #[test]
    fn how_many_threads_compile_does_not_matter() {
        let text = |threads| {
            let mut config = engine::optimizing_config(NonZero::new(threads).unwrap());
            config.num_threads(NonZero::<usize>::MIN);
            format!("{config:?}")
        };
        assert_eq!(text(1), text(7));
        let fields = Fingerprint::current().fields();
        assert!(fields.contains(&("compiler", text(7))));
    }

    #[test]
    fn it_describes_the_engine_that_compiles() {
        let engine = engine::optimizing(NonZero::<usize>::MIN);
        let current = Fingerprint::current();
        assert_eq!(engine.target().triple(), current.target.triple());
        assert_eq!(
            engine.target().cpu_features(),
            current.target.cpu_features()
        );
        let inner = engine.inner();
        assert_eq!(inner.features(), &current.features);
    }
}
