//! The modules of the process: the same bytes share one, and threads pass them to each other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wasm_compile_cache_store::ArtifactKey;

use super::module::{Module, Token};
use super::options::{BaselineMode, CacheMode, CompileOptions};

enum State {
    /// A thread is making it.
    Building,
    Ready(Weak<Module>),
}

impl State {
    fn lives(&self) -> bool {
        match self {
            Self::Building => true,
            Self::Ready(module) => module.strong_count() > 0,
        }
    }
}

/// What a shared module must have in common: its code's key, and what is done with it. One that is
/// not to be stored, finished or optimized must not stand in for one that is. And who wants a cached one does not wait for
/// who compiles it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shared {
    key: ArtifactKey,
    cache: CacheMode,
    cached_only: bool,
    baseline: BaselineMode,
    optimize: bool,
    stores: bool,
    finish: bool,
}

impl Shared {
    fn new(key: ArtifactKey, size: u64, options: &CompileOptions) -> Self {
        let stores = options.optimize && options.stores(size);
        Self {
            key,
            cache: options.cache,
            cached_only: options.cached_only,
            baseline: options.baseline,
            optimize: options.optimize,
            stores,
            finish: stores && options.finish,
        }
    }
}

#[derive(Default)]
struct Registry {
    modules: Mutex<Dying<Shared, State>>,
    changed: Condvar,
}

/// A map that is rid of what died whenever it may have doubled since: each insertion pays for a constant number of others.
struct Dying<K, V> {
    map: HashMap<K, V>,
    full: usize,
}

/// So many do not matter.
const FEW: usize = 64;

impl<K, V> Default for Dying<K, V> {
    fn default() -> Self {
        Self {
            map: HashMap::new(),
            full: FEW,
        }
    }
}

impl<K: Eq + std::hash::Hash, V> Dying<K, V> {
    fn insert(&mut self, key: K, value: V, lives: impl Fn(&V) -> bool) {
        if self.map.len() >= self.full {
            self.map.retain(|_, value| lives(value));
            self.full = FEW.max(2 * self.map.len());
        }
        self.map.insert(key, value);
    }
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

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
pub fn enter(key: ArtifactKey, size: u64, options: &CompileOptions) -> Entered {
    let key = Shared::new(key, size, options);
    let mut modules = REGISTRY.modules.lock();
    loop {
        match modules.map.get(&key) {
            Some(State::Building) => REGISTRY.changed.wait(&mut modules),
            Some(State::Ready(module)) => {
                if let Some(module) = module.upgrade() {
                    return Entered::Shared(module);
                }
                modules.map.remove(&key);
            }
            None => break,
        }
    }
    modules.insert(key, State::Building, State::lives);
    Entered::Build(Building(Some(key)))
}

#[derive(Default)]
struct Posted {
    modules: Dying<Token, Weak<Module>>,
    /// Modules whose last owner let go of them, with the time.
    dropped: VecDeque<(Instant, Arc<Module>)>,
}

/// A message that carries a module's token holds no reference to the module, and nothing shows when
/// it arrives. So this many modules stay after their last owner is gone, until the first release after that time:
/// a thread that waits for it would cost more than they do.
const KEPT: usize = 8;
const KEPT_FOR: Duration = Duration::from_secs(60);

static POSTED: LazyLock<Mutex<Posted>> = LazyLock::new(Mutex::default);

/// The token by which another thread of this process finds the module.
pub fn token(module: &Arc<Module>) -> Token {
    *module.token.get_or_init(|| {
        let mut token = Token::default();
        // Without randomness the module cannot be found, and the receiver gets an error.
        if getrandom::fill(&mut token).is_ok() {
            let module = Arc::downgrade(module);
            let modules = &mut POSTED.lock().modules;
            modules.insert(token, module, |module| module.strong_count() > 0);
        }
        token
    })
}

/// The module of a token.
pub fn by_token(token: &Token) -> Option<Arc<Module>> {
    POSTED.lock().modules.map.get(token)?.upgrade()
}

/// An owner lets go of the module.
pub fn release(module: Arc<Module>) {
    let mut gone = Vec::new();
    let mut posted = POSTED.lock();
    let now = Instant::now();
    posted.dropped.push_back((now, module));
    while let Some((since, _)) = posted.dropped.front()
        && (posted.dropped.len() > KEPT || now.duration_since(*since) > KEPT_FOR)
    {
        gone.extend(posted.dropped.pop_front());
    }
    // Giving a module's memory back takes time that nobody should wait for.
    drop(posted);
}

impl Building {
    /// The module is made.
    pub fn done(mut self, module: &Arc<Module>) {
        if let Some(key) = self.0.take() {
            let ready = State::Ready(Arc::downgrade(module));
            REGISTRY.modules.lock().map.insert(key, ready);
            REGISTRY.changed.notify_all();
        }
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        if let Some(key) = self.0.take() {
            REGISTRY.modules.lock().map.remove(&key);
            REGISTRY.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::EventQueue;

    #[test]
    fn who_wants_a_cached_module_does_not_wait_for_who_compiles_it() {
        let compiles = CompileOptions {
            partition: String::new(),
            cache: CacheMode::ReadWrite,
            cached_only: false,
            min_size: 0,
            baseline: BaselineMode::Auto,
            optimize: true,
            finish: true,
            fallback: true,
            source: String::new(),
            fetched: None,
            events: EventQueue::new(Box::new(|| {})),
        };
        let looks = CompileOptions {
            cached_only: true,
            ..compiles.clone()
        };
        let key = ArtifactKey::from_bytes([1; 32]);
        let shared = |options| Shared::new(key, 1, options);
        assert!(shared(&compiles) != shared(&looks));
        assert!(shared(&looks) == shared(&looks.clone()));
    }

    #[test]
    fn what_died_is_forgotten_and_what_lives_is_not() {
        let mut all = Dying::default();
        let living: Vec<_> = (0..3 * FEW).map(Arc::new).collect();
        let insert = |all: &mut Dying<usize, Weak<usize>>, number: &Arc<usize>| {
            all.insert(**number, Arc::downgrade(number), |number| {
                number.strong_count() > 0
            });
        };
        for number in &living {
            insert(&mut all, number);
        }
        for number in 3 * FEW..100 * FEW {
            insert(&mut all, &Arc::new(number));
        }
        assert!(living.iter().all(|number| all.map.contains_key(number)));
        assert!(all.map.len() <= 2 * living.len(), "{}", all.map.len());
    }
}
