//! The process' cache: opened once, told to the tiers.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Once, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use wasmer_compiler::{Artifact, ArtifactCreate, Engine};
use wasmer_types::DeserializeError;

use super::code::{Code, Module};
use super::compile::{CacheMode, CompileOptions};
use super::{engine, scheduler};
use crate::cache::{
    ArtifactKey, CacheError, Entry, FileStat, Item, Label, Limits, Lookup, ModuleHash, Settings,
    Store,
};
use crate::module::Declaration;
use crate::trace::{Field, Span};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What a process says of its cache.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// `None`: the user's cache directory, which is looked up when this is told, because a program may change its
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
            // What cannot be located is told when it is needed.
            directory: Store::locate(configuration.directory).ok(),
            ..configuration
        });
    }
}

/// Uses the cache, with what is given here in the place of what [`configure`] was told; `false` if it was used before, or the
/// user has disabled it.
///
/// Invariant: where a program was told that its cache is, it stays.
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
    settle(&mut state);
    // What was asked for is not to be somewhere else.
    if let (Some(Err(error)), State::Closed(_)) = (located, &*state) {
        *state = State::Failed(Failure::of(&error));
    }
    is_taken
}

/// The cache is used: what was said of it counts from here on.
fn settle(state: &mut State) {
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
    settle(&mut STATE.lock());
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
    settle(&mut state);
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

/// Tells that something could not be stored; compiling goes on.
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
    FINGERPRINT.get_or_init(engine::fingerprint)
}

/// The artifact's key.
pub fn key(hash: &[u8; 32], partition: &str) -> ArtifactKey {
    let fingerprint: Vec<_> = fingerprint()
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    ArtifactKey::new(&ModuleHash::from_bytes(*hash), &fingerprint, partition)
}

/// What is told of an artifact that is made now.
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

/// Looks the module up; nothing is compiled. Every defect is told and counts as a miss, and every miss of a module that
/// would be stored is told with its reason.
pub fn load(
    key: &ArtifactKey,
    hash: [u8; 32],
    size: u64,
    options: &CompileOptions,
) -> Option<Arc<Module>> {
    let span = Span::start();
    match load_code(key, hash, options) {
        Loading::Loaded(declaration, code) => Some(Module::new(hash, *declaration, code)),
        Loading::Missed(store) => {
            if size >= options.min_size {
                let module = ModuleHash::from_bytes(hash);
                let reason = store.why_missing(&module, &options.partition);
                let mut fields = options.fields(&hash, size);
                fields.push(("reason", reason.as_str().into()));
                options.events.emit(span.event("moduleCacheMiss", fields));
            }
            None
        }
        Loading::Unusable => None,
    }
}

/// What became of looking for an artifact.
pub(super) enum Loading {
    Loaded(Box<Declaration>, Code),
    Missed(Store),
    /// There is no cache, or what was there is defective, which was told.
    Unusable,
}

impl Loading {
    /// The code, if it was loaded.
    pub fn code(self) -> Option<Code> {
        match self {
            Self::Loaded(_, code) => Some(code),
            Self::Missed(_) | Self::Unusable => None,
        }
    }
}

pub(super) fn load_code(key: &ArtifactKey, hash: [u8; 32], options: &CompileOptions) -> Loading {
    if options.cache == CacheMode::Off {
        return Loading::Unusable;
    }
    let Some(store) = store(options) else {
        return Loading::Unusable;
    };
    let span = Span::start();
    let entry = match store.lookup(key, ModuleHash::from_bytes(hash)) {
        Lookup::Hit(entry) => entry,
        Lookup::Miss => return Loading::Missed(store),
        Lookup::Invalid(reason) => {
            tell_invalid(&hash, reason.as_str(), options, &span);
            return Loading::Unusable;
        }
    };
    if entry.is_due && store.is_writable() {
        verify_again(&store, *key, hash, options);
    }
    let path = entry.path.display().to_string();
    let image = entry.image_len;
    let verified = if entry.remembered { "before" } else { "now" };
    let mapping = Instant::now();
    match load_entry(entry) {
        Ok(LoadedEntry {
            declaration,
            code,
            pages,
        }) => {
            let mut fields = options.fields(&hash, declaration.size);
            fields.push(("artifactBytes", image.into()));
            fields.push(("path", path.into()));
            fields.push(("verified", verified.into()));
            fields.push(("pages", pages.into()));
            let mapping = mapping.elapsed().as_secs_f64() * 1e3;
            fields.push(("mapping", Field::Number(mapping)));
            options.events.emit(span.event("moduleCacheHit", fields));
            Loading::Loaded(Box::new(declaration), code)
        }
        Err(unloadable) => {
            store.count_unloadable();
            unloadable.settle(key, &hash, options, &span);
            Loading::Unusable
        }
    }
}

/// Tells that an artifact cannot be used.
fn tell_invalid(hash: &[u8; 32], reason: &str, options: &CompileOptions, span: &Span) {
    let fields = vec![
        ("source", options.source.clone().into()),
        ("hash", hex::encode(hash).into()),
        ("reason", reason.to_owned().into()),
    ];
    options
        .events
        .emit(span.event("moduleCacheInvalid", fields));
}

/// Hashes a file that was long relied on again, behind everything else.
fn verify_again(store: &Store, key: ArtifactKey, hash: [u8; 32], options: &CompileOptions) {
    let (store, options) = (store.clone(), options.clone());
    scheduler::optimizing(Box::new(move || {
        let span = Span::start();
        if let Err(error) = store.verify_again(&key) {
            tell_invalid(&hash, error.reason(), &options, &span);
        }
    }));
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

fn differences(cached: &[(String, String)]) -> Vec<Difference> {
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

/// A verified entry that was not loaded.
pub(super) struct Unloadable {
    file: Arc<File>,
    path: PathBuf,
    reason: String,
    /// The artifact is to blame, rather than what the system or this process is short of.
    is_defective: bool,
}

impl Unloadable {
    /// Tells it, and evicts an artifact that nobody could load.
    pub(super) fn settle(
        self,
        key: &ArtifactKey,
        hash: &[u8; 32],
        options: &CompileOptions,
        span: &Span,
    ) {
        tell_invalid(hash, &self.reason, options, span);
        let stat = |metadata: std::io::Result<Metadata>| {
            metadata.ok().and_then(|metadata| FileStat::of(&metadata))
        };
        // Else a writer has put another one there meanwhile.
        let is_there = || stat(self.file.metadata()) == stat(std::fs::symlink_metadata(&self.path));
        if self.is_defective
            && is_there()
            && let Some(store) = store(options)
        {
            let _ = store.remove(key);
        }
    }
}

/// An image and the engine that has it; else why the loader did not take it, `None` if it panicked.
type LoadedImage = Result<(Artifact, Engine), Option<DeserializeError>>;

fn load_image(load: impl FnOnce(&Engine) -> Result<Artifact, DeserializeError>) -> LoadedImage {
    let engine = engine::loader();
    match catch_unwind(AssertUnwindSafe(|| load(&engine))) {
        Ok(Ok(artifact)) => Ok((artifact, engine)),
        Ok(Err(error)) => Err(Some(error)),
        Err(_) => Err(None),
    }
}

/// Maps the image of an entry.
fn mapped(entry: &Entry) -> LoadedImage {
    // SAFETY: the entry carries our seal and is never changed in place.
    load_image(|engine| unsafe { Artifact::deserialize_file(engine, entry.map_path()) })
}

/// Copies the image of an entry, from the very file that was verified.
fn copied(entry: &Entry) -> LoadedImage {
    load_image(|engine| {
        let mut image = Vec::new();
        image
            .try_reserve_exact(entry.image_len as usize)
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::OutOfMemory))?;
        (&entry.file)
            .take(entry.image_len)
            .read_to_end(&mut image)?;
        // SAFETY: as above.
        unsafe { Artifact::deserialize(engine, image.into()) }
    })
}

/// Whether it proves the artifact bad: what the system or this process is short of, or forbids, does not.
fn is_defect(error: &DeserializeError) -> bool {
    use DeserializeError::{CorruptedBinary, Incompatible, InvalidByteLength};
    matches!(
        error,
        CorruptedBinary(_) | Incompatible(_) | InvalidByteLength { .. }
    )
}

/// The artifact of a verified entry.
pub(super) struct LoadedEntry {
    pub declaration: Declaration,
    pub code: Code,
    /// "shared": the code's pages are the file's, for all processes. "private": they are a copy.
    pub pages: &'static str,
}

/// Loads a verified entry: mapped where that can be had. It cannot where no further file may be open, as the loader opens
/// it again, and where the file system lets nothing be executed.
pub(super) fn load_entry(entry: Entry) -> Result<LoadedEntry, Unloadable> {
    let copy = || ("private", copied(&entry));
    let (pages, loaded) = if engine::MAPPED_ARTIFACTS {
        match mapped(&entry) {
            Err(Some(error)) if !is_defect(&error) => copy(),
            loaded => ("shared", loaded),
        }
    } else {
        copy()
    };
    let Entry {
        file, path, meta, ..
    } = entry;
    let file = Arc::new(file);
    let (reason, is_defective) = match loaded {
        Ok((artifact, engine)) => {
            let info = artifact.create_module_info();
            if let Some((declaration, origin)) = Declaration::carried(info, &meta, &file) {
                let code = Code::of_artifact(artifact, engine, origin, Some(file));
                return Ok(LoadedEntry {
                    declaration,
                    code,
                    pages,
                });
            }
            ("metadata".to_owned(), true)
        }
        Err(None) => ("load: the loader panicked".to_owned(), false),
        Err(Some(error)) => (format!("load: {error}"), is_defect(&error)),
    };
    Err(Unloadable {
        file,
        path,
        reason,
        is_defective,
    })
}
