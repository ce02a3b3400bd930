//! The optimizing tier: Cranelift at opt-level speed over the whole module, in the background;
//! then publish and store.
//!
//! Processes that need the same artifact compile it once: the one that has its flight compiles, the others wait for it
//! and map what it has stored. A process only waits where it would store.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use wasm_compile_cache_store::{ArtifactKey, CacheError, Entry, Flight, ModuleHash, Store};
use wasmer_compiler::{
    Artifact, ArtifactBuild, ArtifactCreate, BaseTunables, ModuleEnvironment, Tunables,
};

use super::asked::{Asked, Found};
use super::code::{Code, Misfit, Tier};
use super::loading::LoadedEntry;
use super::module::Module;
use super::options::CompileOptions;
use super::remote::Asking;
use super::{engine, keeping, loading, remote, scheduler, storage};
use crate::module::{Declaration, Ingested, Whole, WholeOrigin};
use crate::panics;
use crate::trace::Span;

/// How often a module waits for a flight that then ends without an artifact (the disk is full, say) before it is compiled
/// without one: else as many processes as there are would compile one after the other.
pub(super) const WAITS: u32 = 2;
/// So many bytes of the source go with a module that is handed off: a label keeps no more.
const MAX_SOURCE_LEN: usize = 2048;

/// Below this size, code that is not stored is not linked to an image either, which takes a millisecond; the tables of
/// positions that it has instead are large.
const IN_MEMORY: u64 = 16 << 10;

/// So long a module waits, unless somebody waits for it: a program that ends sooner has the processors for itself, and leaves
/// the module to the finisher.
const PATIENCE: Duration = Duration::from_secs(2);

/// A program that calls so many functions for the first time in half of a module's patience, or has not called as many, has not
/// finished starting, and has the processors for itself: half of a core's speed may be in its other half. It is looked that many
/// times.
const NEW: usize = 20;
const LOOKS: u32 = 8;

/// So long a module waits for the remote, whose service has limits of its own: for a machine that has no time for that.
const LIMIT: Duration = Duration::from_secs(60);

/// Smaller ones wait as long as it may take to optimize them, for each byte: a program that runs longer than that gains by it.
/// Meanwhile what is called most is optimized.
const PATIENCE_OF_A_BYTE: Duration = Duration::from_micros(3);
const LITTLE_PATIENCE: Duration = Duration::from_millis(300);

/// Modules of fewer bytes do not wait where it is not counted what is called; and each of the machines that share a remote compiles
/// them: claiming them takes as long.
const LIGHT: u64 = 1 << 20;

/// A module on its way through the optimizing tier.
struct Job {
    hash: [u8; 32],
    /// Where nothing is stored of it and all have dropped it, nothing is to be done.
    module: Weak<Module>,
    _stored: Option<Arc<Module>>,
    ingested: Ingested,
    options: CompileOptions,
    gate: Mutex<Gate>,
    /// What the remote was asked for last.
    asked: Mutex<Option<Arc<Asked>>>,
    /// Whether it was decided which of the machines that share a remote compiles.
    decided: AtomicBool,
    /// Whether this one may have claimed that.
    claimed: AtomicBool,
    /// Since when the optimizing tier has it.
    span: OnceLock<Span>,
    /// While this process has it.
    flight: Mutex<Option<Flight>>,
}

/// When a job begins: once it is time for the optimizing tier, and the remote has had its time.
#[derive(Default)]
struct Gate {
    is_time: bool,
    is_open: bool,
    begun: bool,
}

/// Jobs whose code is not stored yet, for [`hand_off`].
static UNFINISHED: LazyLock<Mutex<Vec<Weak<Job>>>> = LazyLock::new(Mutex::default);

/// Queues a module, for which the remote may have been asked.
pub(super) fn schedule(
    module: &Arc<Module>,
    ingested: Ingested,
    options: CompileOptions,
    asking: Asking,
) {
    let stores = options.stores(ingested.bytes.len() as u64);
    let job = Arc::new(Job {
        hash: module.declaration.hash,
        module: Arc::downgrade(module),
        _stored: stores.then(|| Arc::clone(module)),
        ingested,
        options,
        gate: Mutex::default(),
        asked: Mutex::default(),
        decided: AtomicBool::new(false),
        claimed: AtomicBool::new(false),
        span: OnceLock::new(),
        flight: Mutex::default(),
    });
    if stores {
        let mut unfinished = UNFINISHED.lock();
        unfinished.retain(|job| job.strong_count() > 0);
        unfinished.push(Arc::downgrade(&job));
    }
    match asking {
        Asking::Not => job.open(),
        Asking::Elsewhere => {
            // Waits for its flight at once.
            job.open();
            job.is_time();
        }
        Asking::Asked(asked) => {
            *job.asked.lock() = Some(Arc::clone(&asked));
            // As long as it waits for an answer, that has it.
            let opens = |job: &Arc<Job>| {
                let job = Arc::downgrade(job);
                Box::new(move || {
                    if let Some(job) = job.upgrade() {
                        job.open();
                    }
                })
            };
            let later = opens(&job);
            asked.when_there(move || scheduler::later(PATIENCE, later));
            scheduler::later(LIMIT, opens(&job));
            let waiting = Arc::clone(&job);
            asked.when_answered(move |found| match found {
                Found::Arrived(loaded) => waiting.arrived(*loaded),
                Found::Nothing => waiting.open(),
            });
        }
    }
    if job.size() < LIGHT && module.code().hot.is_none() {
        job.is_time();
        return;
    }
    let size = u32::try_from(job.size()).unwrap_or(u32::MAX);
    let patience = PATIENCE_OF_A_BYTE
        .saturating_mul(size)
        .clamp(LITTLE_PATIENCE, PATIENCE);
    let waiting = Arc::downgrade(&job);
    module.when_wanted(Box::new(move || {
        if let Some(job) = waiting.upgrade() {
            job.is_time();
        }
    }));
    let look = patience / 2;
    scheduler::later(look, Box::new(move || job.look(look, None, LOOKS)));
}

impl Job {
    /// The optimizing tier may have it.
    fn is_time(self: &Arc<Self>) {
        self.gate.lock().is_time = true;
        self.begin();
    }

    /// It is time once the program has started. So many functions had been called `look` ago.
    fn look(self: Arc<Self>, look: Duration, before: Option<usize>, looks: u32) {
        let is_decided = {
            let gate = self.gate.lock();
            gate.is_time || gate.begun
        };
        // Somebody waits for it, or the remote had it: its bytes are not kept for this.
        if is_decided {
            return;
        }
        let module = self.module.upgrade();
        let lazy = module.and_then(|module| module.code().lazy.clone());
        let called = lazy.and_then(|lazy| lazy.called());
        let is_starting = match (before, called) {
            (None, _) => true,
            (Some(before), Some(called)) => called < NEW || called >= before + NEW,
            // Everything was compiled before it was called.
            (Some(_), None) => false,
        };
        if looks > 0 && is_starting {
            let again = move || self.look(look, Some(called.unwrap_or(0)), looks - 1);
            scheduler::later(look, Box::new(again));
        } else {
            self.is_time();
        }
    }

    /// The remote has nothing, or takes too long.
    fn open(self: &Arc<Self>) {
        self.gate.lock().is_open = true;
        self.begin();
    }

    /// Queues it, once, when both are so.
    fn begin(self: &Arc<Self>) {
        let mut gate = self.gate.lock();
        if gate.is_time && gate.is_open && !gate.begun {
            gate.begun = true;
            drop(gate);
            Arc::clone(self).queue(WAITS);
        }
    }

    /// The remote had it.
    fn arrived(&self, loaded: LoadedEntry) {
        let Some(module) = self.module.upgrade() else {
            return;
        };
        // Nothing is left to begin.
        self.gate.lock().begun = true;
        match self.publish(&module, loaded.code, "remote") {
            Ok(()) => module.settle(Ok(())),
            // It is in the cache by now, or will be: it is found there, and goes.
            Err(misfit) => module.settle(Err(misfit.to_string())),
        }
    }

    /// Asks the machines that share a remote which one compiles; `false`: this one does.
    fn claim(self: &Arc<Self>, waits: u32) -> bool {
        if self.size() < LIGHT || !self.stores() || self.decided.swap(true, Ordering::Relaxed) {
            return false;
        }
        // A remote that does not answer, or is slow, would take its time over this, too.
        let asked = self.asked.lock().clone();
        if asked.is_some_and(|asked| !asked.is_absent()) {
            return false;
        }
        // Whoever had the flight may have been done with it before this one waited.
        let stored = |store: Store| store.entry_path(&self.key()).exists();
        if self.flights().is_some_and(stored) {
            return false;
        }
        let flight = self.flight.lock().take();
        match remote::claim(self.key(), self.hash, self.size(), &self.options, flight) {
            Ok(asked) => {
                self.claimed.store(true, Ordering::Relaxed);
                *self.asked.lock() = Some(Arc::clone(&asked));
                let job = Arc::clone(self);
                asked.when_answered(move |found| match found {
                    Found::Arrived(loaded) => job.arrived(*loaded),
                    Found::Nothing => job.queue(waits),
                });
                true
            }
            Err(flight) => {
                *self.flight.lock() = flight;
                false
            }
        }
    }

    fn key(&self) -> ArtifactKey {
        storage::key(&self.hash, &self.options.partition)
    }

    fn size(&self) -> u64 {
        self.ingested.bytes.len() as u64
    }

    fn stores(&self) -> bool {
        self.options.stores(self.size())
    }

    /// Queues the job for the optimizing thread. It may wait for somebody else's flight that many times.
    fn queue(self: Arc<Self>, waits: u32) {
        scheduler::optimizing(Box::new(move || {
            let Some(module) = self.module.upgrade() else {
                return;
            };
            self.span.get_or_init(Span::start);
            let wait = || !self.take_flight() && waits > 0 && self.park(&module, waits);
            let wait = || wait() || self.claim(waits);
            if !panics::catch("a flight", wait).unwrap_or(false) {
                self.end(&module, || self.run(&module));
            }
        }));
    }

    /// Takes the flight, where there is one to take; `false` if somebody else has it.
    fn take_flight(&self) -> bool {
        let Some(store) = self.flights() else {
            return true;
        };
        // Locked meanwhile, so that `hand_off` does not take ours for somebody else's.
        let mut flight = self.flight.lock();
        if flight.is_none() {
            *flight = self.take_flight_of_asked();
        }
        if flight.is_none() {
            match store.flight(&self.key()) {
                Ok(Some(taken)) => *flight = Some(taken),
                Ok(None) => return false,
                // Where locks do not work, compiling twice is harmless.
                Err(_) => {}
            }
        }
        true
    }

    /// Who has asked the remote under the flight needs it no more.
    fn take_flight_of_asked(&self) -> Option<Flight> {
        let asked = self.asked.lock();
        asked.as_ref().and_then(|asked| asked.flight.lock().take())
    }

    /// Whether this process has the flight.
    fn has_flight(&self) -> bool {
        let is_asking = |asked: &Arc<Asked>| asked.flight.lock().is_some();
        self.flight.lock().is_some() || self.asked.lock().as_ref().is_some_and(is_asking)
    }

    /// The store in which others wait for what this job makes.
    fn flights(&self) -> Option<Store> {
        self.stores()
            .then(|| storage::store(&self.options))
            .flatten()
    }

    /// Waits on a thread of its own: other modules wait for the optimizing thread. `false` if there is no thread to be had.
    fn park(self: &Arc<Self>, module: &Arc<Module>, waits: u32) -> bool {
        let (job, module) = (Arc::clone(self), Arc::clone(module));
        let thread = thread::Builder::new().name("wasm-flight".to_owned());
        let spawned = thread.spawn(move || {
            if panics::catch("a flight", || job.wait(&module)).unwrap_or(false) {
                job.end(&module, || Ok(()));
            } else {
                job.queue(waits - 1);
            }
        });
        spawned.is_ok()
    }

    /// Waits for the flight that somebody else has; whether it has led to an artifact.
    fn wait(&self, module: &Arc<Module>) -> bool {
        let store = self.flights();
        let inherited = store.and_then(|store| store.wait_for_flight(&self.key()).ok()?);
        if inherited.is_some() {
            *self.flight.lock() = inherited;
        }
        self.find(module)
    }

    /// Publishes what another process has stored; whether there was something.
    fn find(&self, module: &Arc<Module>) -> bool {
        let found = loading::load_code(&self.key(), self.hash, &self.options);
        let Some(code) = found.code() else {
            return false;
        };
        let published = self.publish(module, code, "cache");
        if let Err(misfit) = &published {
            loading::refuse(&self.key(), &self.hash, &misfit.to_string(), &self.options);
        }
        published.is_ok()
    }

    fn run(&self, module: &Arc<Module>) -> Result<(), String> {
        if module.tier() == Tier::Optimized || self.find(module) {
            return Ok(());
        }
        let Whole { bytes, origin } =
            Whole::new(&self.ingested).map_err(|error| error.to_string())?;
        let code = if !self.stores() && self.size() < IN_MEMORY {
            in_memory(&bytes, origin)?
        } else {
            let build = build(&bytes, scheduler::optimizing_threads())?;
            drop(bytes);
            self.store_and_load(module, &self.key(), &build, origin)?
        };
        // Nobody needs to wait until it is published here.
        drop(self.flight.lock().take());
        if module.tier() == Tier::Optimized {
            // The remote's came meanwhile.
            return Ok(());
        }
        self.publish(module, code, "compiler")
            .map_err(|misfit| misfit.to_string())
    }

    fn publish(&self, module: &Arc<Module>, code: Code, from: &str) -> Result<(), Misfit> {
        let early = module.code().hot.as_ref().map_or(0, |hot| hot.optimized());
        module.publish(code)?;
        let mut fields = self.options.fields(&self.hash, self.size());
        fields.push(("from", from.into()));
        fields.push(("early", early.into()));
        let span = self.span.get_or_init(Span::start);
        module.listeners.emit(&span.event("optimizedReady", fields));
        Ok(())
    }

    /// The last step.
    fn end(&self, module: &Module, step: impl FnOnce() -> Result<(), String>) {
        let outcome = panics::catch("the optimizing compiler", step)
            .unwrap_or_else(|panicked| Err(panicked.to_string()));
        drop(self.flight.lock().take());
        if self.claimed.load(Ordering::Relaxed) {
            remote::release(self.key());
        }
        // The remote's may have come while it was compiled in vain.
        let is_there = module.tier() == Tier::Optimized;
        module.settle(if is_there { Ok(()) } else { outcome });
    }

    /// Mapped from the cache where possible, so that processes share the pages; else from memory.
    fn store_and_load(
        &self,
        module: &Module,
        key: &ArtifactKey,
        build: &ArtifactBuild,
        origin: WholeOrigin,
    ) -> Result<Code, String> {
        let options = &self.options;
        let size = self.size();
        let image = build.serialize().map_err(|error| error.to_string())?;
        if self.stores() {
            let span = Span::start();
            let declaration = &module.declaration;
            let hash = self.hash;
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
                    match loading::load_entry(entry, hash) {
                        Ok(loading::LoadedEntry { code, .. }) => {
                            let event = span.event("cachedModule", fields);
                            module.listeners.emit(&event);
                            return Ok(code);
                        }
                        Err(unloadable) => unloadable.give_up(key, &hash, options, &span),
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
        Ok(Code::of_artifact(artifact, engine, origin, None))
    }
}

/// Compiles what is not stored, and small.
fn in_memory(whole: &[u8], origin: WholeOrigin) -> Result<Code, String> {
    let engine = engine::optimizing_in_memory();
    let artifact = Artifact::new(&engine, whole, &BaseTunables::new(), None);
    let artifact = artifact.map_err(|error| error.to_string())?;
    Ok(Code::of_artifact(artifact, engine, origin, None))
}

pub(super) fn build(whole: &[u8], threads: NonZero<usize>) -> Result<ArtifactBuild, String> {
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
pub(super) fn write(
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
    if let Some(head) = &head
        && let Err(error) = store.heads().remember_head(head)
    {
        storage::tell_failure(options, &error);
    }
    remote::offer(*key, options.fields(&hash, label.wasm_len), options);
    let _ = store.sweep_if_due(std::time::SystemTime::now());
    Ok(Some(entry))
}

/// Calls `done` when every module that was waiting to be stored is stored, and sent where it is to be, or could not be.
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
    // What is stored is sent after that.
    let done = || remote::when_remote_is_idle(done);
    let last = Arc::new(Last(Mutex::new(Some(Box::new(done)))));
    let kept = Arc::clone(&last);
    keeping::when_kept(Box::new(move || drop(kept)));
    let jobs: Vec<_> = UNFINISHED.lock().iter().filter_map(Weak::upgrade).collect();
    for job in jobs {
        let last = Arc::clone(&last);
        if let Some(module) = job.module.upgrade() {
            module.when_optimized(Box::new(move |_| drop(last)));
        }
    }
}

/// Modules of the process that still wait for the optimizing tier and are to be stored.
fn pending() -> Vec<Arc<Job>> {
    let jobs: Vec<_> = UNFINISHED.lock().iter().filter_map(Weak::upgrade).collect();
    jobs.into_iter().filter(|job| job.options.finish).collect()
}

/// So many bytes of paths are given to one process: Linux takes 128 kB of arguments at least.
const MAX_PATHS: usize = 96 << 10;

/// The process ends: writes what a detached process needs to finish each unfinished module, and returns the paths, in the
/// order in which to take them, one list for each process to start. Modules that another process has in flight are left out.
pub fn hand_off() -> Vec<Vec<PathBuf>> {
    let mut lists: Vec<Vec<PathBuf>> = Vec::new();
    let mut room = 0;
    let mut jobs = pending();
    // Should the process be ended over a module, it has stored as many others as can be.
    jobs.sort_by_key(|job| job.size());
    for job in jobs {
        let options = &job.options;
        let Some(store) = storage::store(options) else {
            continue;
        };
        let key = job.key();
        let elsewhere = !job.has_flight() && store.in_flight(&key);
        if elsewhere || store.entry_path(&key).exists() {
            continue;
        }
        let partition = &options.partition;
        let bytes = &job.ingested.bytes;
        let source = options.source.floor_char_boundary(MAX_SOURCE_LEN);
        let source = &options.source.as_bytes()[..source];
        match store.leave(&key, partition, bytes, source) {
            Ok(None) => {}
            Ok(Some(path)) => {
                let needed = path.as_os_str().len() + 1;
                match lists.last_mut() {
                    Some(list) if needed <= room => {
                        room -= needed;
                        list.push(path);
                    }
                    _ => {
                        room = MAX_PATHS.saturating_sub(needed);
                        lists.push(vec![path]);
                    }
                }
            }
            Err(error) => storage::tell_failure(options, &error),
        }
    }
    lists
}

#[cfg(test)]
#[path = "optimizing_tests.rs"]
mod tests;
