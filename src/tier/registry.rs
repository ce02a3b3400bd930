//! The modules of the process: the same bytes share one.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::{Condvar, Mutex};

use super::code::Module;
use super::compile::{CacheMode, CompileOptions};
use crate::cache::ArtifactKey;

enum State {
    /// A thread is making it.
    Building,
    Ready(Weak<Module>),
}

/// What a shared module must have in common: its code's key, and what is done with it. One that is
/// not to be stored, or not to be optimized, must not stand in for one that is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shared {
    key: ArtifactKey,
    cache: CacheMode,
    optimize: bool,
}

struct Registry {
    modules: Mutex<HashMap<Shared, State>>,
    changed: Condvar,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry {
    modules: Mutex::default(),
    changed: Condvar::new(),
});

/// The answer of [`enter`].
pub enum Entered {
    /// The process has it.
    Shared(Arc<Module>),
    /// The caller must make it; others wait.
    Build(Building),
}

/// The right to make a module. Dropped without [`Building::done`], it passes to a waiter.
pub struct Building(Option<Shared>);

/// Looks the module up, waiting for a thread that is just making it.
pub fn enter(key: ArtifactKey, options: &CompileOptions) -> Entered {
    let key = Shared {
        key,
        cache: options.cache,
        optimize: options.optimize,
    };
    let mut modules = REGISTRY.modules.lock();
    loop {
        match modules.get(&key) {
            Some(State::Building) => REGISTRY.changed.wait(&mut modules),
            Some(State::Ready(module)) => {
                if let Some(module) = module.upgrade() {
                    return Entered::Shared(module);
                }
                modules.remove(&key);
            }
            None => break,
        }
    }
    modules.retain(|_, state| match state {
        State::Building => true,
        State::Ready(module) => module.strong_count() > 0,
    });
    modules.insert(key, State::Building);
    Entered::Build(Building(Some(key)))
}

impl Building {
    /// The module is made.
    pub fn done(mut self, module: &Arc<Module>) {
        if let Some(key) = self.0.take() {
            let ready = State::Ready(Arc::downgrade(module));
            REGISTRY.modules.lock().insert(key, ready);
            REGISTRY.changed.notify_all();
        }
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        if let Some(key) = self.0.take() {
            REGISTRY.modules.lock().remove(&key);
            REGISTRY.changed.notify_all();
        }
    }
}
