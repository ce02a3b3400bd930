//! The process' cache: opened once, told to the tiers.

use std::path::PathBuf;
use std::sync::OnceLock;

use parking_lot::Mutex;
use wasmer_compiler::{Artifact, ArtifactCreate};

use super::code::{Code, Module};
use super::compile::{CacheMode, CompileOptions};
use super::engine;
use crate::cache::{ArtifactKey, CacheError, Entry, Lookup, ModuleHash, Store};
use crate::module::Declaration;
use crate::trace::Span;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

enum State {
    /// Nobody said anything yet.
    Unset,
    /// Not used yet, and [`reconfigure`] may still replace it.
    Configured(Configuration),
    /// Not used yet; where it is to be.
    Closed(Option<PathBuf>),
    Open(Store),
    /// Switched off, or it cannot be used.
    Off,
}

/// Where the cache is, and what may be done with it.
pub struct Configuration {
    /// `None`: the user's cache directory.
    pub directory: Option<PathBuf>,
    /// No compile does more with the cache than this.
    pub access: CacheMode,
    /// Switched off by the user: no program may switch it on.
    pub disabled: bool,
}

impl Configuration {
    /// The user's cache directory is looked up now, because a program may change its environment.
    fn located(mut self) -> Self {
        // What cannot be located is told when it is needed.
        self.directory = Store::locate(self.directory.take()).ok();
        self
    }
}

static STATE: Mutex<State> = Mutex::new(State::Unset);

static ACCESS: OnceLock<CacheMode> = OnceLock::new();

/// What counts unless [`reconfigure`] replaces it before the cache is used. The first call counts
/// for the whole process: a worker with an environment of its own must not move the cache under the
/// others.
pub fn configure(configuration: Configuration) {
    let mut state = STATE.lock();
    if matches!(&*state, State::Unset) {
        *state = State::Configured(configuration.located());
    }
}

/// Replaces what [`configure`] said; `false` once the cache was used, or if it is disabled.
pub fn reconfigure(configuration: Configuration) -> bool {
    let mut state = STATE.lock();
    let State::Configured(current) = &mut *state else {
        return false;
    };
    if current.disabled {
        return false;
    }
    *current = configuration.located();
    // Used from here on: a second call must not move the cache that the first was told of.
    settle(&mut state);
    true
}

/// The cache is about to be used.
fn settle(state: &mut State) {
    if let State::Configured(Configuration {
        directory,
        access,
        disabled,
    }) = state
    {
        let access = if *disabled { CacheMode::Off } else { *access };
        let directory = directory.take();
        let _ = ACCESS.set(access);
        *state = match access {
            CacheMode::Off => State::Off,
            _ => State::Closed(directory),
        };
    }
}

/// What the process may do with the cache. To ask is to use it.
pub fn access() -> CacheMode {
    settle(&mut STATE.lock());
    ACCESS.get().copied().unwrap_or(CacheMode::Off)
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
        State::Off | State::Unset | State::Configured(_) => Ok(None),
        State::Closed(directory) => {
            let directory = directory.take();
            let opened = match ACCESS.get() {
                Some(CacheMode::ReadWrite) => Store::open(directory).map(Some),
                _ => Store::open_read_only(directory),
            };
            *state = match &opened {
                Ok(Some(store)) => State::Open(store.clone()),
                _ => State::Off,
            };
            opened
        }
    }
}

/// The cache's directory, if it is on and usable.
pub fn directory() -> Option<PathBuf> {
    let store = open().ok()??;
    Some(store.directory().to_owned())
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

/// The artifact's key.
pub fn key(hash: &[u8; 32], partition: &str) -> ArtifactKey {
    static FINGERPRINT: OnceLock<Vec<(&'static str, String)>> = OnceLock::new();
    let fingerprint: Vec<_> = FINGERPRINT
        .get_or_init(engine::fingerprint)
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    ArtifactKey::new(&ModuleHash::from_bytes(*hash), &fingerprint, partition)
}

/// Looks the module up; nothing is compiled. Every defect is told and counts as a miss.
pub fn load(key: &ArtifactKey, hash: [u8; 32], options: &CompileOptions) -> Option<Arc<Module>> {
    let (declaration, code) = load_code(key, hash, options)?;
    Some(Module::new(hash, declaration, code))
}

pub(super) fn load_code(
    key: &ArtifactKey,
    hash: [u8; 32],
    options: &CompileOptions,
) -> Option<(Declaration, Code)> {
    if options.cache == CacheMode::Off {
        return None;
    }
    let store = store(options)?;
    let span = Span::start();
    let invalid = |reason: String| {
        let fields = vec![
            ("source", options.source.clone().into()),
            ("hash", hex::encode(hash).into()),
            ("reason", reason.into()),
        ];
        options
            .events
            .emit(span.event("moduleCacheInvalid", fields));
    };
    let entry = match store.lookup(key, ModuleHash::from_bytes(hash)) {
        Lookup::Hit(entry) => entry,
        Lookup::Miss => return None,
        Lookup::Invalid(reason) => {
            invalid(reason.as_str().to_owned());
            return None;
        }
    };
    let path = entry.path.display().to_string();
    let image = entry.image_len;
    match map(entry) {
        Ok((declaration, code)) => {
            let mut fields = options.fields(&hash, declaration.size);
            fields.push(("artifactBytes", image.into()));
            fields.push(("path", path.into()));
            options.events.emit(span.event("moduleCacheHit", fields));
            Some((declaration, code))
        }
        Err(reason) => {
            invalid(reason);
            let _ = store.remove(key);
            None
        }
    }
}

/// Maps a verified entry.
pub(super) fn map(entry: Entry) -> Result<(Declaration, Code), String> {
    let engine = engine::loader();
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        if engine::MAPPED_ARTIFACTS {
            // SAFETY: the entry carries our seal and is never changed in place.
            unsafe { Artifact::deserialize_file(&engine, entry.map_path()) }
        } else {
            let bytes = std::fs::read(entry.map_path())?;
            let image = bytes[..bytes.len().min(entry.image_len as usize)].to_vec();
            // SAFETY: as above.
            unsafe { Artifact::deserialize(&engine, image.into()) }
        }
    }));
    let artifact = match loaded {
        Ok(Ok(artifact)) => artifact,
        Ok(Err(error)) => return Err(format!("load: {error}")),
        Err(_) => return Err("load: the loader panicked".to_owned()),
    };
    let file = Arc::new(entry.file);
    let info = artifact.create_module_info();
    let (declaration, origin) =
        Declaration::carried(info, &entry.meta, &file).ok_or_else(|| "metadata".to_owned())?;
    let code = Code::of_artifact(artifact, engine, origin);
    Ok((declaration, code))
}
