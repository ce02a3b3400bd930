//! wasmer engines, one for each compile.
//!
//! An engine owns the code it made (dropping it unmaps), and `Artifact::new` holds its lock for a
//! whole compile: so every donor has an engine of its own, and giving back the baseline's code is
//! dropping its engines.

use std::num::NonZero;
#[cfg(feature = "singlepass")]
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use wasmer_compiler::{CompilerConfig, Engine, EngineBuilder};
use wasmer_compiler_cranelift::{Cranelift, CraneliftOptLevel};
use wasmer_types::target::Target;

use super::{cpu, declared, turn};
use crate::module::{Undeclared, wasmer_features};

fn build(config: Box<dyn CompilerConfig>, target: Target) -> Engine {
    EngineBuilder::new(config)
        .set_target(Some(target))
        .set_features(Some(wasmer_features()))
        .engine()
}

/// Whether Singlepass compiles what it can. It writes no unwind table for macOS on ARM64, and there exceptions would end
/// at its frames.
pub const SINGLEPASS: bool =
    cfg!(feature = "singlepass") && !cfg!(all(target_vendor = "apple", target_arch = "aarch64"));

/// A compiler of donors that do not declare that.
fn donors(compiler: impl CompilerConfig + 'static, undeclared: Undeclared) -> Engine {
    let config = declared::Config {
        compiler: Box::new(compiler),
        undeclared,
    };
    build(Box::new(config), cpu::native())
}

/// Singlepass, for one donor. `is_replaced` is set if Cranelift has to compile it.
#[cfg(feature = "singlepass")]
pub fn singlepass(undeclared: Undeclared, is_replaced: Arc<AtomicBool>) -> Engine {
    use wasmer_compiler_singlepass::Singlepass;
    // Made once: it reads how many cores the system grants.
    static CONFIG: LazyLock<Singlepass> = LazyLock::new(Singlepass::new);
    let mut config = CONFIG.clone();
    // Cranelift does not canonicalise either; a NaN's bits may differ between engines, but not
    // between the tiers of one.
    config
        .canonicalize_nans(false)
        .num_threads(NonZero::<usize>::MIN);
    let config = super::singlepass::Config {
        compiler: Box::new(config),
        instead: Box::new(cranelift_baseline_config()),
        is_replaced,
    };
    donors(config, undeclared)
}

fn cranelift() -> Cranelift {
    // As above.
    static CONFIG: LazyLock<Cranelift> = LazyLock::new(Cranelift::new);
    CONFIG.clone()
}

/// Cranelift without optimizations: the baseline of what Singlepass cannot compile.
pub fn cranelift_baseline(undeclared: Undeclared) -> Engine {
    donors(cranelift_baseline_config(), undeclared)
}

/// The optimizing tier's compiler, for functions that are called often.
pub fn optimizing_donors(undeclared: Undeclared) -> Engine {
    let mut config = optimizing_config(NonZero::<usize>::MIN);
    config.experimental_artifact(false);
    donors(config, undeclared)
}

/// Cranelift without optimizations for trampolines, which know no globals.
pub fn cranelift_trampolines() -> Engine {
    build(Box::new(cranelift_baseline_config()), cpu::native())
}

fn cranelift_baseline_config() -> Cranelift {
    let mut config = cranelift();
    config
        .opt_level(CraneliftOptLevel::None)
        .num_threads(NonZero::<usize>::MIN);
    config
}

/// Whether artifacts are ELF images that are mapped from their file. wasmer maps them on Unix,
/// not on macOS; elsewhere the older format is the artifact.
pub const MAPPED_ARTIFACTS: bool = cfg!(all(unix, not(target_vendor = "apple")));

/// Cranelift at opt-level speed on `threads` threads.
pub fn optimizing(threads: NonZero<usize>) -> Engine {
    let mut config = optimizing_config(threads);
    if turn::is_governed() {
        config.push_middleware(Arc::new(turn::Turn));
    }
    build(Box::new(config), cpu::chosen())
}

/// Its settings.
pub(super) fn optimizing_config(threads: NonZero<usize>) -> Cranelift {
    let mut config = cranelift();
    config
        .opt_level(CraneliftOptLevel::Speed)
        .experimental_artifact(MAPPED_ARTIFACTS)
        .num_threads(threads);
    config
}

/// The same on one thread, for code that stays in this process.
pub fn optimizing_in_memory() -> Engine {
    let mut config = optimizing_config(NonZero::<usize>::MIN);
    config.experimental_artifact(false);
    build(Box::new(config), cpu::chosen())
}

/// An engine that only loads.
pub fn loader() -> Engine {
    Engine::headless()
}

/// Of the folder that its artifacts are in.
pub const NAME: &str = concat!("wasmer-", env!("WASMER_VERSION"));
