//! The process' cache: opened once, shared by both tiers.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Once, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use wasm_compile_cache_store::{
    ArtifactKey, CacheError, Item, Label, Limits, Lookup, ModuleHash, Settings, Store,
};

use super::fingerprint::fingerprint as current_fingerprint;
use super::options::{CacheMode, CompileOptions};
use super::{engine, exit, host, scheduler};
use crate::error::Forbidden;
use crate::trace::Span;

/// What a process says of its cache.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// `None`: the user's cache directory, which is looked up when this is configured, because a program may change its
    /// environment.
    pub directory: Option<PathBuf>,
    /// No compile does more with the cache than this allows.
    pub access: CacheMode,
    /// [`Limits::total`].
    pub max_size: Option<u64>,
    /// [`Limits::entry`]; `None`: [`Limits::DEFAULT_ENTRY`].
    pub max_entry_size: Option<u64>,
    /// Nothing that the cache could hold is compiled.
    pub only: bool,
    /// Switched off by the user: no program may switch it on.
    pub disabled: bool,
}

impl Configuration {
    fn settings(&self) -> Settings {
        Settings {
            directory: self.directory.clone(),
            engine: engine::NAME.to_owned(),
            limits: Limits {
                total: self.max_size,
                entry: self.max_entry_size.unwrap_or(Limits::DEFAULT_ENTRY),
            },
        }
    }
}

enum State {
    /// Nobody said anything yet.
    Unset,
    /// Not used yet, and [`reconfigure`] may still replace it.
    Configured(Configuration),
    /// Not used yet; where it is to be.
    Closed(Settings),
    Open(Store),
    /// Switched off, or not there to be read.
    Off,
    /// It cannot be used.
    Failed(Failure),
}

/// Why the cache cannot be used, in words and as a stable code.
#[derive(Debug, Clone)]
pub struct Failure {
    /// See [`CacheError`].
    pub message: String,
    /// See [`CacheError::code`].
    pub code: &'static str,
}

impl Failure {
    fn of(error: &CacheError) -> Self {
        Self {
            message: error.to_string(),
            code: error.code(),
        }
    }
}

static STATE: Mutex<State> = Mutex::new(State::Unset);

static CONFIGURED: OnceLock<Configuration> = OnceLock::new();

/// What counts from the first use of the cache on, unless [`reconfigure`] says otherwise before. The first call counts for
/// the whole process: a worker with an environment of its own must not move the cache under the others.
pub fn configure(configuration: Configuration) {
    let mut state = STATE.lock();
    if matches!(&*state, State::Unset) {
        *state = State::Configured(Configuration {
            // A directory that cannot be located is an error when it is needed.
            directory: Store::locate(configuration.directory).ok(),
            ..configuration
        });
    }
}

/// Uses the cache, with what is given here in the place of what [`configure`] was given; `false` if it was used before,
/// or the user has disabled it.
///
/// Invariant: a cache's place, once a program has been given it, stays.
pub fn reconfigure(
    directory: Option<PathBuf>,
    access: CacheMode,
    max_size: Option<u64>,
    max_entry_size: Option<u64>,
) -> bool {
    let mut state = STATE.lock();
    let State::Configured(current) = &mut *state else {
        return false;
    };
    let is_taken = !current.disabled;
    if is_taken {
        current.access = access;
        current.max_size = max_size.or(current.max_size);
        current.max_entry_size = max_entry_size.or(current.max_entry_size);
    }
    let located = directory.filter(|_| is_taken).map(|directory| {
        Store::locate(Some(directory)).map(|directory| current.directory = Some(directory))
    });
    fix_place(&mut state);
    // What was asked for is not to be somewhere else.
    if let (Some(Err(error)), State::Closed(_)) = (located, &*state) {
        *state = State::Failed(Failure::of(&error));
    }
    is_taken
}

/// The cache is used: what was said of it counts from here on.
fn fix_place(state: &mut State) {
    if let State::Configured(configuration) = state {
        let mut configuration = std::mem::take(configuration);
        if configuration.disabled {
            configuration.access = CacheMode::Off;
        }
        *state = match configuration.access {
            CacheMode::Off => State::Off,
            _ => State::Closed(configuration.settings()),
        };
        let _ = CONFIGURED.set(configuration);
    }
}

/// What counts. To ask is to use the cache. `None`: nobody said anything.
pub fn configuration() -> Option<&'static Configuration> {
    fix_place(&mut STATE.lock());
    CONFIGURED.get()
}

/// What another process needs in its environment to use the same cache. To ask is to use the cache.
pub fn environment() -> Vec<(&'static str, OsString)> {
    let Some(configuration) = configuration() else {
        return Vec::new();
    };
    let size = |size: u64| OsString::from(size.to_string());
    [
        (
            "WASM_COMPILE_CACHE",
            configuration.directory.clone().map(PathBuf::into_os_string),
        ),
        (
            "WASM_COMPILE_CACHE_MAX_SIZE",
            configuration.max_size.map(size),
        ),
        (
            "WASM_COMPILE_CACHE_MAX_ENTRY_SIZE",
            configuration.max_entry_size.map(size),
        ),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

/// What the process may do with the cache.
pub fn access() -> CacheMode {
    configuration().map_or(CacheMode::Off, |configuration| configuration.access)
}

/// Whether a module of this size must come from the cache, where those of `min_size` are stored.
pub fn must_be_cached(size: u64, min_size: u64) -> bool {
    size >= min_size && configuration().is_some_and(|configuration| configuration.only)
}

/// Who forbids to compile a module of this size, if it is not in the cache.
pub(super) fn forbidden(size: u64, options: &CompileOptions) -> Option<Forbidden> {
    if must_be_cached(size, options.min_size) {
        Some(Forbidden::ByUser)
    } else {
        options.cached_only.then_some(Forbidden::ByOptions)
    }
}

/// Where [`configure`] would put the cache; nothing is opened or made.
pub fn locate(directory: Option<PathBuf>) -> Option<PathBuf> {
    Store::locate(directory).ok()
}

/// The open store, if the cache is on and usable. The first failure to open it is told to
/// `options`' listener; after that the cache is off.
pub fn store(options: &CompileOptions) -> Option<Store> {
    match open() {
        Ok(store) => store,
        Err(error) => {
            tell_failure(options, &error);
            None
        }
    }
}

fn open() -> Result<Option<Store>, CacheError> {
    let mut state = STATE.lock();
    fix_place(&mut state);
    match &mut *state {
        State::Open(store) => Ok(Some(store.clone())),
        State::Off | State::Failed(_) | State::Unset | State::Configured(_) => Ok(None),
        State::Closed(settings) => {
            let settings = std::mem::take(settings);
            let opened = match CONFIGURED.get() {
                Some(configuration) if configuration.access == CacheMode::ReadWrite => {
                    Store::open(settings).map(Some)
                }
                _ => Store::open_read_only(settings),
            };
            *state = match &opened {
                Ok(Some(store)) => State::Open(store.clone()),
                Ok(None) => State::Off,
                Err(error) => State::Failed(Failure::of(error)),
            };
            if let Ok(Some(store)) = &opened
                && store.is_writable()
            {
                sweep(store);
                // A main thread has done it by then.
                exit::when_called(record_counts);
            }
            opened
        }
    }
}

/// Sweeps behind everything else, where that is due: a process that finds all it looks for writes nothing.
fn sweep(store: &Store) {
    let now = SystemTime::now();
    if store.is_sweep_due(now) {
        let store = store.clone();
        scheduler::optimizing(Box::new(move || {
            store.sweep_if_due(now);
        }));
    }
}

/// The store, if the cache is on and usable; else why it is not, if that is a failure.
///
/// # Errors
/// It cannot be opened.
pub fn opened() -> Result<Option<Store>, Failure> {
    // The state remembers the error.
    let _ = open();
    match &*STATE.lock() {
        State::Open(store) => Ok(Some(store.clone())),
        State::Failed(failure) => Err(failure.clone()),
        State::Unset | State::Configured(_) | State::Closed(_) | State::Off => Ok(None),
    }
}

/// The process ends: what it did with the cache is added, once, to what others did.
pub fn record_counts() {
    static ONCE: Once = Once::new();
    if let State::Open(store) = &*STATE.lock() {
        ONCE.call_once(|| store.record_counts());
    }
}

/// Emits that something could not be stored; compiling goes on.
pub fn tell_failure(options: &CompileOptions, error: &CacheError) {
    let mut fields = vec![
        ("source", options.source.clone().into()),
        ("reason", error.to_string().into()),
        ("code", error.code().into()),
    ];
    if let Some(path) = error.path() {
        fields.push(("path", path.display().to_string().into()));
    }
    options
        .events
        .emit(Span::start().event("cacheWriteFailed", fields));
}

fn fingerprint() -> &'static [(&'static str, String)] {
    static FINGERPRINT: OnceLock<Vec<(&'static str, String)>> = OnceLock::new();
    FINGERPRINT.get_or_init(current_fingerprint)
}

/// The artifact's key.
pub fn key(hash: &[u8; 32], partition: &str) -> ArtifactKey {
    let fingerprint: Vec<_> = fingerprint()
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    ArtifactKey::new(&ModuleHash::from_bytes(*hash), &fingerprint, partition)
}

/// The label of an artifact that is made now.
pub(super) fn label(size: u64, head: Option<[u8; 32]>, options: &CompileOptions) -> Label {
    let fields = fingerprint().iter();
    Label {
        source: options.source.clone(),
        partition: options.partition.clone(),
        fingerprint: fields
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
        wasm_len: size,
        head,
        created: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
    }
}

/// What a lookup would find, and what is there instead.
#[derive(Debug)]
pub struct Explanation {
    /// What the artifact is called.
    pub key: ArtifactKey,
    /// Its file, whether it exists or not.
    pub path: PathBuf,
    /// `None`: a hit. Else the reason of the miss.
    pub reason: Option<&'static str>,
    /// Other artifacts of the module, and in which fields of the fingerprint each differs: name, its value, ours.
    pub near: Vec<(Item, Vec<Difference>)>,
}

/// A field of the fingerprint, its value in an artifact, and the running engine's.
pub type Difference = (String, String, String);

/// Why an artifact was not imported.
#[derive(Debug)]
pub enum ImportError {
    /// Another engine made it, or it is for another machine.
    OtherEngine(Vec<Difference>),
    /// It could not be stored.
    Cache(CacheError),
}

impl From<CacheError> for ImportError {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

/// Stores an artifact that another cache had, sealed anew. Whoever calls has made sure where it comes from: its code will
/// be run.
///
/// # Errors
/// See [`ImportError`].
pub fn import(
    store: &Store,
    hash: [u8; 32],
    label: &Label,
    image: &[u8],
    meta: &[u8],
) -> Result<PathBuf, ImportError> {
    let differences = differences(&label.fingerprint);
    if !differences.is_empty() {
        return Err(ImportError::OtherEngine(differences));
    }
    let key = key(&hash, &label.partition);
    let entry = store.write(&key, ModuleHash::from_bytes(hash), image, meta, label)?;
    if let Some(head) = &label.head {
        // Without it, streams of the module are compiled for nothing.
        let _ = store.heads().remember_head(head);
    }
    Ok(entry.path)
}

/// Explains what a compile of the module would find; nothing is changed or counted. `None` if there is no cache.
pub fn explain(hash: [u8; 32], size: u64, options: &CompileOptions) -> Option<Explanation> {
    let store = store(options)?;
    let module = ModuleHash::from_bytes(hash);
    let key = key(&hash, &options.partition);
    let reason = match store.peek(&key, module) {
        Lookup::Hit(_) => None,
        Lookup::Invalid(reason) => Some(reason.as_str()),
        Lookup::Miss if size < options.min_size => Some("too-small"),
        Lookup::Miss => Some(store.reason_missing(&module, &options.partition).as_str()),
    };
    let near = store.items_of(&module).into_iter();
    let near = near
        .filter(|item| item.key != key)
        .map(|item| {
            let differences = differences(&item.label.fingerprint);
            (item, differences)
        })
        .collect();
    Some(Explanation {
        key,
        path: store.entry_path(&key),
        reason,
        near,
    })
}

pub(super) fn differences(cached: &[(String, String)]) -> Vec<Difference> {
    if host::is_hosts(cached) {
        let engine = |name: &str| name.to_owned();
        return vec![(engine("engine"), engine("v8"), engine(engine::NAME))];
    }
    let current = fingerprint();
    let value_in = |name: &str| {
        let found = cached.iter().find(|(known, _)| known == name);
        found.map_or_else(String::new, |(_, value)| value.clone())
    };
    let fields = current
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value_in(name), value.clone()));
    fields
        .filter(|(_, cached, current)| cached != current)
        .collect()
}
