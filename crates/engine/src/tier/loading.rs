//! Artifacts of the cache: looked up, loaded, and reported as events.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use wasm_compile_cache_store::{ArtifactKey, Entry, FileStat, Lookup, ModuleHash, Store};
use wasmer_compiler::{Artifact, ArtifactCreate, Engine};
use wasmer_types::DeserializeError;

use super::code::Code;
use super::module::Module;
use super::options::{CacheMode, CompileOptions};
use super::storage::store;
use super::{engine, scheduler};
use crate::module::Declaration;
use crate::panics::{self, Panicked};
use crate::trace::{Field, Span};

/// Looks the module up; nothing is compiled. Every defect is an event and counts as a miss, and every miss of a module
/// that would be stored, or has to be, is an event with its reason.
pub fn load(
    key: &ArtifactKey,
    hash: [u8; 32],
    size: u64,
    options: &CompileOptions,
) -> Option<Arc<Module>> {
    let span = Span::start();
    match load_code(key, hash, options) {
        Loading::Loaded {
            declaration, code, ..
        } => Some(Module::new(*declaration, code)),
        Loading::Missed(store) => {
            if size >= options.min_size || options.cached_only {
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
    Loaded {
        declaration: Box<Declaration>,
        code: Code,
        image_len: u64,
    },
    Missed(Store),
    /// There is no cache, or the artifact was defective, which was an event.
    Unusable,
}

impl Loading {
    /// The code, if it was loaded.
    pub fn code(self) -> Option<Code> {
        match self {
            Self::Loaded { code, .. } => Some(code),
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
    match load_entry(entry, hash) {
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
            Loading::Loaded {
                declaration: Box::new(declaration),
                code,
                image_len: image,
            }
        }
        Err(unloadable) => {
            store.count_unloadable();
            unloadable.give_up(key, &hash, options, &span);
            Loading::Unusable
        }
    }
}

/// An artifact was loaded, and then found to be another module's: it goes.
pub(super) fn refuse(key: &ArtifactKey, hash: &[u8; 32], reason: &str, options: &CompileOptions) {
    tell_invalid(hash, reason, options, &Span::start());
    if let Some(store) = store(options) {
        store.count_unloadable();
        let _ = store.remove(key);
    }
}

/// Emits that an artifact cannot be used.
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

/// A verified entry that was not loaded.
pub(super) struct Unloadable {
    file: Arc<File>,
    path: PathBuf,
    reason: String,
    /// The artifact is to blame, rather than what the system or this process is short of.
    is_defective: bool,
}

impl Unloadable {
    /// Why.
    pub(super) fn reason(self) -> String {
        self.reason
    }

    /// Emits the event, and evicts an artifact that no process could load.
    pub(super) fn give_up(
        self,
        key: &ArtifactKey,
        hash: &[u8; 32],
        options: &CompileOptions,
        span: &Span,
    ) {
        tell_invalid(hash, &self.reason, options, span);
        let stat = |metadata: std::io::Result<Metadata>| {
            metadata.ok().map(|metadata| FileStat::of(&metadata))
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

/// Why the loader did not take an image.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    ByLoader(DeserializeError),
    #[error("{0}")]
    Panicked(Panicked),
}

/// An image and the engine that has it.
type LoadedImage = Result<(Artifact, Engine), Refused>;

fn load_image(load: impl FnOnce(&Engine) -> Result<Artifact, DeserializeError>) -> LoadedImage {
    let engine = engine::loader();
    match panics::catch("the loader", || load(&engine)) {
        Ok(Ok(artifact)) => Ok((artifact, engine)),
        Ok(Err(error)) => Err(Refused::ByLoader(error)),
        Err(panicked) => Err(Refused::Panicked(panicked)),
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
pub(super) fn load_entry(entry: Entry, hash: [u8; 32]) -> Result<LoadedEntry, Unloadable> {
    let copy = || ("private", copied(&entry));
    let (pages, loaded) = if engine::MAPPED_ARTIFACTS {
        match mapped(&entry) {
            Err(Refused::ByLoader(error)) if !is_defect(&error) => copy(),
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
            match Declaration::carried(hash, info, &meta, &file) {
                Some((declaration, origin)) => {
                    let kept = Some(Arc::clone(&file));
                    let code = Code::of_artifact(artifact, engine, origin, kept);
                    match code.fits(&declaration.info) {
                        Ok(()) => {
                            return Ok(LoadedEntry {
                                declaration,
                                code,
                                pages,
                            });
                        }
                        Err(misfit) => (misfit.to_string(), true),
                    }
                }
                None => ("metadata".to_owned(), true),
            }
        }
        Err(refused) => {
            let is_defective = matches!(&refused, Refused::ByLoader(error) if is_defect(error));
            (format!("load: {refused}"), is_defective)
        }
    };
    Err(Unloadable {
        file,
        path,
        reason,
        is_defective,
    })
}
