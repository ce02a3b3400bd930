//! The optimizing tier: Cranelift at opt-level speed over the whole module, in the background;
//! then publish and store.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use wasmer_compiler::wasmparser::{BinaryReaderError, Parser, Payload};
use wasmer_compiler::{
    Artifact, ArtifactBuild, ArtifactCreate, BaseTunables, ModuleEnvironment, Tunables,
};

use super::code::{Code, Module};
use super::compile::{CacheMode, CompileOptions};
use super::{engine, scheduler, storage};
use crate::cache::{ArtifactKey, CacheError, Entry, ModuleHash};
use crate::module::{Declaration, WholeOrigin, has_handler};
use crate::stream::{Chunk, Ingest, Ingested};
use crate::trace::{EventQueue, Span};

/// A module on its way through the optimizing tier.
struct Job {
    module: Arc<Module>,
    ingested: Ingested,
    options: CompileOptions,
}

/// Jobs that are not stored yet, for [`hand_off`].
static UNFINISHED: LazyLock<Mutex<Vec<Weak<Job>>>> = LazyLock::new(Mutex::default);

/// Queues a module.
pub(super) fn schedule(module: &Arc<Module>, ingested: Ingested, options: CompileOptions) {
    let job = Arc::new(Job {
        module: Arc::clone(module),
        ingested,
        options,
    });
    {
        let mut unfinished = UNFINISHED.lock();
        unfinished.retain(|job| job.strong_count() > 0);
        unfinished.push(Arc::downgrade(&job));
    }
    scheduler::optimizing(Box::new(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| job.run()))
            .unwrap_or_else(|_| Err("the optimizing compiler panicked".to_owned()));
        job.module.settle(outcome);
    }));
}

impl Job {
    fn key(&self) -> ArtifactKey {
        storage::key(&self.module.hash, &self.options.partition)
    }

    fn run(&self) -> Result<(), String> {
        let options = &self.options;
        let span = Span::start();
        let key = self.key();
        let size = self.ingested.bytes.len();
        // Another process may have been faster.
        let mut code = storage::load_code(&key, self.module.hash, options).code();
        if code.is_none() {
            let whole = whole(&self.ingested);
            let origin = origin(&self.ingested, &whole)?;
            let build = build(&whole, scheduler::optimizing_threads())?;
            drop(whole);
            code = Some(self.store_and_load(&key, &build, origin)?);
        }
        if let Some(code) = code {
            self.module.publish(code);
        }
        let fields = options.fields(&self.module.hash, size as u64);
        self.module
            .listeners
            .emit(&span.event("optimizedReady", fields));
        Ok(())
    }

    /// Mapped from the cache where possible, so that processes share the pages; else from memory.
    fn store_and_load(
        &self,
        key: &ArtifactKey,
        build: &ArtifactBuild,
        origin: WholeOrigin,
    ) -> Result<Code, String> {
        let options = &self.options;
        let size = self.ingested.bytes.len() as u64;
        let image = build.serialize().map_err(|error| error.to_string())?;
        if options.stores(size) {
            let span = Span::start();
            let declaration = &self.module.declaration;
            let hash = self.module.hash;
            let origin = &origin;
            match write(
                key,
                hash,
                declaration,
                origin,
                &self.ingested,
                &image,
                options,
            ) {
                Ok(Some(entry)) => {
                    let mut fields = options.fields(&hash, size);
                    fields.push(("artifactBytes", entry.image_len.into()));
                    fields.push(("path", entry.path.display().to_string().into()));
                    if let Ok((_, code)) = storage::map(entry) {
                        let event = span.event("cachedModule", fields);
                        self.module.listeners.emit(&event);
                        return Ok(code);
                    }
                }
                Ok(None) => {}
                Err(error) => storage::tell_failure(options, &error),
            }
        }
        let engine = engine::loader();
        // SAFETY: the image was just made by our own compiler.
        let artifact = unsafe { Artifact::deserialize(&engine, image.into()) };
        let artifact = artifact.map_err(|error| error.to_string())?;
        Ok(Code::of_artifact(artifact, engine, origin))
    }
}

/// What the optimizing tier compiles.
fn whole(ingested: &Ingested) -> Vec<u8> {
    ingested.skeleton.whole(
        &ingested.raw_before(),
        &ingested.bytes[ingested.code.clone()],
        &ingested.data,
    )
}

/// Where the bodies of `whole` came from.
fn origin(ingested: &Ingested, whole: &[u8]) -> Result<WholeOrigin, String> {
    let code = &ingested.code;
    let lowered = code_start(whole).map_err(|error| error.to_string())?;
    WholeOrigin::new(&ingested.bytes[code.clone()], code.start, lowered)
        .map_err(|error| error.to_string())
}

/// Where the contents of a module's code section start.
fn code_start(module: &[u8]) -> Result<usize, BinaryReaderError> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CodeSectionStart { range, .. } = payload? {
            return Ok(range.start as usize);
        }
    }
    Ok(0)
}

fn build(whole: &[u8], threads: NonZero<usize>) -> Result<ArtifactBuild, String> {
    let engine = engine::optimizing(threads);
    let translated = ModuleEnvironment::new()
        .translate(whole)
        .map_err(|error| error.to_string())?;
    let tunables = BaseTunables::new();
    let memories = translated.module.memories.values();
    let tables = translated.module.tables.values();
    let memory_styles = memories.map(|ty| tunables.memory_style(ty)).collect();
    let table_styles = tables.map(|ty| tunables.table_style(ty)).collect();
    let target = engine.target().clone();
    let build = ArtifactBuild::new(
        &mut engine.inner_mut(),
        whole,
        &target,
        memory_styles,
        table_styles,
        None,
    );
    build.map_err(|error| error.to_string())
}

/// Stores an artifact; `None` if the cache is off.
fn write(
    key: &ArtifactKey,
    hash: [u8; 32],
    declaration: &Declaration,
    origin: &WholeOrigin,
    ingested: &Ingested,
    image: &[u8],
    options: &CompileOptions,
) -> Result<Option<Entry>, CacheError> {
    let Some(store) = storage::store(options) else {
        return Ok(None);
    };
    let Ok((meta, behind)) = declaration.carry(image.len() as u64, origin) else {
        return Ok(None);
    };
    let image = [image, &behind].concat();
    let before = &ingested.bytes[..ingested.code.start];
    let head = (!ingested.code.is_empty()).then(|| *blake3::hash(before).as_bytes());
    let label = storage::label(ingested.bytes.len() as u64, head, options);
    let entry = store.write(key, ModuleHash::from_bytes(hash), &image, &meta, &label)?;
    if let Some(head) = &head {
        store.heads().remember_head(head)?;
    }
    let _ = store.sweep_if_due(std::time::SystemTime::now());
    Ok(Some(entry))
}

/// Calls `done` when every module that was waiting to be stored is stored, or could not be.
pub fn when_flushed(done: Box<dyn FnOnce() + Send>) {
    /// Calls when the last one who waits lets go.
    struct Last(Mutex<Option<Box<dyn FnOnce() + Send>>>);
    impl Drop for Last {
        fn drop(&mut self) {
            if let Some(done) = self.0.get_mut().take() {
                done();
            }
        }
    }
    let last = Arc::new(Last(Mutex::new(Some(done))));
    let jobs: Vec<_> = UNFINISHED.lock().iter().filter_map(Weak::upgrade).collect();
    for job in jobs {
        let last = Arc::clone(&last);
        if job.options.stores(job.ingested.bytes.len() as u64) {
            job.module.when_optimized(Box::new(move |_| drop(last)));
        }
    }
}

/// Modules of the process that still wait for the optimizing tier and are to be stored.
fn pending() -> Vec<Arc<Job>> {
    let jobs: Vec<_> = UNFINISHED.lock().iter().filter_map(Weak::upgrade).collect();
    jobs.into_iter()
        .filter(|job| job.options.finish && job.options.stores(job.ingested.bytes.len() as u64))
        .collect()
}

/// The process ends: writes what a detached process needs to finish each unfinished module, and
/// returns the paths. Modules that another process is finishing already are left out.
pub fn hand_off() -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for job in pending() {
        let options = &job.options;
        let Some(store) = storage::store(options) else {
            continue;
        };
        let key = job.key();
        if store.in_flight(&key) || store.entry_path(&key).exists() {
            continue;
        }
        let partition = &options.partition;
        let bytes = &job.ingested.bytes;
        match store.spool().spool(&key, partition, bytes, &[]) {
            Ok(path) => paths.push(path),
            Err(error) => storage::tell_failure(options, &error),
        }
    }
    paths
}

/// What the detached process does with such a path: whether the artifact is in the cache now.
pub fn finish_spooled(path: &Path) -> bool {
    let options = CompileOptions {
        partition: String::new(),
        cache: CacheMode::ReadWrite,
        min_size: 0,
        optimize: false,
        finish: false,
        fallback: false,
        source: path.display().to_string(),
        events: EventQueue::new(Box::new(|| {})),
    };
    let finished = catch_unwind(AssertUnwindSafe(|| finish(path, options))).unwrap_or(false);
    storage::record_counts();
    finished
}

fn finish(path: &Path, mut options: CompileOptions) -> bool {
    if storage::access() != CacheMode::ReadWrite {
        return false;
    }
    let Some(store) = storage::store(&options) else {
        return false;
    };
    let Ok(Some(spooled)) = store.spool().take(path) else {
        return false;
    };
    options.partition.clone_from(&spooled.partition);
    let hash = *blake3::hash(&spooled.wasm).as_bytes();
    let key = storage::key(&hash, &spooled.partition);
    // One process a module, whoever asks. Where locks do not work, compiling twice is harmless.
    let flight = store.flight(&key);
    if key != spooled.key || matches!(flight, Ok(None)) {
        return false;
    }
    if storage::load_code(&key, hash, &options).code().is_some() {
        return true;
    }
    finish_module(&key, hash, spooled.wasm, &options).unwrap_or(false)
}

fn finish_module(
    key: &ArtifactKey,
    hash: [u8; 32],
    wasm: Vec<u8>,
    options: &CompileOptions,
) -> Result<bool, String> {
    // The bytes carry our seal, so they were validated before they were spooled.
    let mut catches = false;
    let mut chunks = |chunk: Chunk| {
        catches = catches
            || chunk.functions.iter().any(|function| {
                has_handler(&chunk.bytes[function.range.clone()]).unwrap_or_default()
            });
    };
    let ingested = Ingest::whole(wasm, &mut chunks);
    let mut ingested = ingested.map_err(|refused| refused.error.to_string())?;
    let whole = whole(&ingested);
    let origin = origin(&ingested, &whole)?;
    let build = build(&whole, scheduler::cores())?;
    let image = build.serialize().map_err(|error| error.to_string())?;
    let declaration = Declaration::new(build.create_module_info(), &mut ingested, catches);
    let stored = write(key, hash, &declaration, &origin, &ingested, &image, options);
    stored
        .map(|stored| stored.is_some())
        .map_err(|error| error.to_string())
}
