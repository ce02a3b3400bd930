//! From bytes to a module: registry, cache, baseline; then the optimizing tier in the background.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use wasm_compile_cache_store::{FileStat, ModuleHash, Observation};

use super::baseline::Baseline;
use super::code::Module;
use super::fetched::{Fetched, Keeping};
use super::registry::{self, Entered};
use super::{loading, optimizing, storage};
use crate::error::CompileError;
use crate::module::Declaration;
use crate::panics;
use crate::stream::{Ingest, Ingested, MAX_MODULE_BYTES, Refused, explain};
use crate::trace::{EventQueue, Field, Span};

/// What a compile, or the whole process, may do with the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheMode {
    /// Nothing.
    #[default]
    Off,
    /// Look up.
    ReadOnly,
    /// Look up and store.
    ReadWrite,
}

/// One compile's settings.
#[derive(Clone)]
pub struct CompileOptions {
    /// The second half of the key; code is never shared between partitions.
    pub partition: String,
    /// See there.
    pub cache: CacheMode,
    /// Smaller modules are not stored.
    pub min_size: u64,
    /// Whether the optimizing tier follows.
    pub optimize: bool,
    /// Whether a process that ends early hands the module on.
    pub finish: bool,
    /// Whether another engine takes what this one refuses: then a refused stream is read to its end,
    /// and the bytes are given back.
    pub fallback: bool,
    /// URL or path, for events.
    pub source: String,
    /// Whence the bytes were fetched, if that is to be recorded.
    pub fetched: Option<Fetched>,
    /// Who hears of it.
    pub events: Arc<EventQueue>,
}

impl CompileOptions {
    /// What every event of a module says.
    pub(super) fn fields(&self, hash: &[u8; 32], size: u64) -> Vec<(&'static str, Field)> {
        vec![
            ("source", self.source.clone().into()),
            ("hash", hex::encode(hash).into()),
            ("bytes", size.into()),
        ]
    }

    /// Whether a module of this size is to be stored.
    pub fn stores(&self, size: u64) -> bool {
        self.cache == CacheMode::ReadWrite && size >= self.min_size
    }
}

/// Compiles bytes that are all there; returns when the module is ready to be instantiated.
///
/// # Errors
/// The module is invalid or cannot be compiled.
pub fn compile_bytes(bytes: Vec<u8>, options: &CompileOptions) -> Result<Arc<Module>, Refused> {
    let hash = *blake3::hash(&bytes).as_bytes();
    let size = bytes.len() as u64;
    let mut unread = Some(bytes);
    let module = make(hash, size, options, |span| {
        let baseline = Baseline::patient();
        let bytes = unread.take().unwrap_or_default();
        let ingested = Ingest::whole(bytes, &mut |chunk| baseline.submit(chunk));
        finish(hash, baseline, ingested, options, span)
    })?;
    if let Some(bytes) = unread {
        keep_wire(&module, options, || Arc::new(bytes));
    }
    Ok(module)
}

/// Another engine may have to take over when the module is linked: it then needs the bytes.
pub(super) fn wants_wire(module: &Module, options: &CompileOptions) -> bool {
    let declaration = &module.declaration;
    options.fallback
        && declaration.imports_state()
        && !storage::must_be_cached(declaration.size, options.min_size)
}

fn keep_wire(module: &Module, options: &CompileOptions, bytes: impl FnOnce() -> Arc<Vec<u8>>) {
    if wants_wire(module, options) {
        module.wire.get_or_init(bytes);
    }
}

/// The registry's module, or the cache's, or what `build` makes.
pub(super) fn make(
    hash: [u8; 32],
    size: u64,
    options: &CompileOptions,
    build: impl FnOnce(&Span) -> Result<Arc<Module>, Refused>,
) -> Result<Arc<Module>, Refused> {
    let span = Span::start();
    let key = storage::key(&hash, &options.partition);
    let building = match registry::enter(key, size, options) {
        Entered::Shared(module) => {
            module.listeners.add(&options.events);
            told(&span, &hash, size, options);
            return Ok(module);
        }
        Entered::Build(building) => building,
    };
    let module = match loading::load(&key, hash, size, options) {
        Some(module) => module,
        None if storage::must_be_cached(size, options.min_size) => {
            return Err(CompileError::NotCached.into());
        }
        None => build(&span)?,
    };
    module.listeners.add(&options.events);
    building.done(&module);
    told(&span, &hash, size, options);
    Ok(module)
}

/// The registry's module, or the cache's; nothing is compiled.
fn known(hash: [u8; 32], size: u64, options: &CompileOptions, span: &Span) -> Option<Arc<Module>> {
    let key = storage::key(&hash, &options.partition);
    let module = match registry::enter(key, size, options) {
        Entered::Shared(module) => module,
        Entered::Build(building) => {
            let module = loading::load(&key, hash, size, options)?;
            building.done(&module);
            module
        }
    };
    module.listeners.add(&options.events);
    told(span, &hash, size, options);
    Some(module)
}

fn told(span: &Span, hash: &[u8; 32], size: u64, options: &CompileOptions) {
    let fields = options.fields(hash, size);
    options.events.emit(span.event("compiledModule", fields));
}

pub(super) fn finish(
    hash: [u8; 32],
    baseline: Baseline,
    ingested: Result<Ingested, Refused>,
    options: &CompileOptions,
    span: &Span,
) -> Result<Arc<Module>, Refused> {
    let mut ingested = match ingested {
        Ok(ingested) => ingested,
        // A function that comes earlier in the module is the error to report.
        Err(Refused { error, bytes }) => return Err(refuse(baseline.refuse(error), bytes)),
    };
    let compiled = match baseline.finish(&ingested) {
        Ok(compiled) => compiled,
        Err(error) => return Err(refuse(error, ingested.bytes)),
    };
    let size = ingested.bytes.len() as u64;
    let info = Arc::clone(&compiled.code.info);
    let declaration = Declaration::new(info, &mut ingested, compiled.catches);
    let module = Module::new(hash, declaration, compiled.code);
    keep_wire(&module, options, || Arc::clone(&ingested.bytes));
    module.listeners.add(&options.events);
    let mut fields = options.fields(&hash, size);
    fields.push(("craneliftBytes", compiled.cranelift_bytes.into()));
    module.listeners.emit(&span.event("baselineReady", fields));
    if options.optimize {
        optimizing::schedule(&module, ingested, options.clone());
    } else {
        let reason = "the optimizing tier was not asked for (optimize: false)";
        module.settle(Err(reason.to_owned()));
    }
    Ok(module)
}

fn refuse(error: CompileError, bytes: Arc<Vec<u8>>) -> Refused {
    Refused {
        error: explain(error, &bytes),
        bytes,
    }
}

/// Compiles a file; one whose stat was recorded is neither read nor hashed.
///
/// # Errors
/// As [`compile_bytes`], or the file cannot be read.
pub fn compile_file(path: &str, options: &CompileOptions) -> Result<Arc<Module>, Refused> {
    let span = Span::start();
    let failed = |error: std::io::Error| CompileError::read(&error, path);
    let canonical = Path::new(path).canonicalize().map_err(failed)?;
    let mut file = File::open(&canonical).map_err(failed)?;
    let store = (options.cache != CacheMode::Off)
        .then(|| storage::store(options))
        .flatten();
    let before = Observation::of(&file).map_err(failed)?;
    if let (Some(store), Some(before)) = (&store, &before)
        && let Some(hash) = store.stat_index().lookup(&canonical, &before.stat)
    {
        // Without its artifact the record is of no use: what is compiled is what is read below.
        let module = known(*hash.as_bytes(), before.stat.size, options, &span);
        let complete =
            |module: &Arc<Module>| !wants_wire(module, options) || module.wire.get().is_some();
        if let Some(module) = module.filter(complete) {
            return Ok(module);
        }
    }
    let bytes = read_all(&mut file, path)?;
    let after = file.metadata().map_err(failed)?;
    let stored = options.stores(bytes.len() as u64);
    let module = compile_bytes(bytes, options)?;
    if let (true, Some(store), Some(before), Some(after)) =
        (stored, &store, &before, FileStat::of(&after))
    {
        let hash = ModuleHash::from_bytes(module.hash);
        let recorded = store.stat_index().record(&canonical, before, &after, hash);
        if let Err(error) = recorded {
            storage::tell_failure(options, &error);
        }
    }
    Ok(module)
}

/// Reads a module's file; neither a wrong size nor an endless file makes it allocate more than a
/// module may have.
fn read_all(file: &mut File, path: &str) -> Result<Vec<u8>, CompileError> {
    let failed = |error: std::io::Error| CompileError::read(&error, path);
    let size = file.metadata().map_err(failed)?.len();
    if size > MAX_MODULE_BYTES as u64 {
        return Err(CompileError::too_large());
    }
    let mut bytes = Vec::with_capacity(size as usize + 1);
    let limit = MAX_MODULE_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_MODULE_BYTES {
        return Err(CompileError::too_large());
    }
    Ok(bytes)
}

/// When a stream pauses this long, the functions that are there are compiled, although their
/// chunk is not full: an invalid one is reported without waiting for further bytes.
const STALL: Duration = Duration::from_millis(20);

enum Message {
    Bytes(Vec<u8>),
    End,
    /// From the [`Baseline`].
    News,
    /// Nobody waits any more.
    Abort,
}

/// A compile whose bytes are still arriving, on a thread of its own.
pub struct StreamCompile {
    sender: Sender<Message>,
    queued: Arc<AtomicUsize>,
}

impl StreamCompile {
    /// Starts; on the compile's thread `drained` is called whenever it took in bytes, with how many
    /// are still queued; `rests`, when nothing is left to do for the pushes so far, with how many
    /// those were; `done` once, with the module or the error. Dropping the value without
    /// [`Self::end`] gives up.
    pub fn start(
        options: CompileOptions,
        drained: impl Fn(usize) + Send + 'static,
        rests: impl Fn(usize) + Send + 'static,
        done: impl FnOnce(Result<Arc<Module>, Refused>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = unbounded();
        let queued = Arc::new(AtomicUsize::new(0));
        let stream = Stream {
            options,
            receiver,
            wake: sender.clone(),
            queued: Arc::clone(&queued),
            drained: Box::new(drained),
            rests: Box::new(rests),
        };
        std::thread::Builder::new()
            .name("wasm-stream".to_owned())
            .spawn(move || {
                let outcome = panics::catch("the compiler", || stream.run());
                let outcome = outcome.unwrap_or_else(|panicked| {
                    Err(Some(CompileError::unsupported(panicked.to_string()).into()))
                });
                match outcome {
                    Ok((module, keeping)) => {
                        done(Ok(module));
                        if let Some(keeping) = keeping {
                            keeping.keep();
                        }
                    }
                    Err(Some(error)) => done(Err(error)),
                    Err(None) => {}
                }
            })?;
        Ok(Self { sender, queued })
    }

    /// More bytes; how many are queued.
    pub fn push(&self, bytes: Vec<u8>) -> usize {
        let queued = self.queued.fetch_add(bytes.len(), Ordering::AcqRel) + bytes.len();
        let _ = self.sender.send(Message::Bytes(bytes));
        queued
    }

    /// How many bytes are queued.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }

    /// That was all.
    pub fn end(&self) {
        let _ = self.sender.send(Message::End);
    }
}

impl Drop for StreamCompile {
    fn drop(&mut self) {
        let _ = self.sender.send(Message::Abort);
    }
}

/// The compile thread's side of a [`StreamCompile`].
struct Stream {
    options: CompileOptions,
    receiver: Receiver<Message>,
    wake: Sender<Message>,
    queued: Arc<AtomicUsize>,
    drained: Box<dyn Fn(usize) + Send>,
    rests: Box<dyn Fn(usize) + Send>,
}

impl Stream {
    /// `Err(None)` when it was given up.
    fn run(self) -> Result<(Arc<Module>, Option<Keeping>), Option<Refused>> {
        let Self {
            options,
            receiver,
            wake,
            queued,
            drained,
            rests,
        } = self;
        let span = Span::start();
        let baseline = Baseline::eager(Box::new(move || {
            let _ = wake.send(Message::News);
        }));
        let mut ingest = Ingest::new();
        // A module with the same head was cached: this one probably is, too.
        let known = |head: &[u8; 32]| {
            storage::must_be_cached(u64::MAX, options.min_size)
                || options.cache != CacheMode::Off
                    && storage::store(&options).is_some_and(|store| store.heads().known_head(head))
        };
        let mut submit = |chunk| baseline.submit(chunk);
        // What this engine refused, while the rest arrives for another one.
        let mut refused = None;
        let mut taken = 0;
        // Nothing is left to flush.
        let mut stalled = false;
        loop {
            let mut failed = None;
            let message = if stalled {
                receiver.recv().map_err(RecvTimeoutError::from)
            } else {
                receiver.recv_timeout(STALL)
            };
            match message {
                Ok(Message::Bytes(bytes)) => {
                    taken += 1;
                    stalled = false;
                    failed = ingest.push(&bytes, &known, &mut submit).err();
                    let left = queued.fetch_sub(bytes.len(), Ordering::AcqRel) - bytes.len();
                    drained(left);
                }
                Ok(Message::News) => failed = baseline.error(),
                Ok(Message::End) => break,
                Err(RecvTimeoutError::Timeout) => {
                    ingest.flush(&mut submit);
                    stalled = true;
                }
                Ok(Message::Abort) | Err(RecvTimeoutError::Disconnected) => {
                    baseline.cancel();
                    return Err(None);
                }
            }
            let Some(error) = failed.filter(|_| refused.is_none()) else {
                if stalled && (refused.is_some() || baseline.rests()) {
                    rests(taken);
                }
                continue;
            };
            let error = explain(baseline.refuse(error), ingest.bytes());
            let kept = options.fallback && matches!(error, CompileError::Unsupported { .. });
            if !kept {
                return Err(Some(error.into()));
            }
            ingest.give_up();
            refused = Some(error);
        }
        if let Some(error) = refused {
            return Err(Some(ingest.refuse(error)));
        }
        let hash = ingest.hash();
        let size = ingest.size();
        let mut ingest = Some(ingest);
        let mut bytes = Arc::default();
        let module = make(hash, size, &options, |_| {
            let ingest = ingest.take().unwrap_or_default();
            let ingested = ingest.finish(&mut submit);
            if let (Ok(ingested), true) = (&ingested, options.fetched.is_some()) {
                bytes = Arc::clone(&ingested.bytes);
            }
            finish(hash, baseline.clone(), ingested, &options, &span)
        });
        if ingest.is_some() {
            baseline.cancel();
        }
        let module = module?;
        if let Some(ingest) = ingest {
            bytes = ingest.into_bytes();
            keep_wire(&module, &options, || Arc::clone(&bytes));
        }
        Ok((module, Keeping::new(hash, size, Some(bytes), &options)))
    }
}
