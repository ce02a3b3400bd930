//! Modules that were fetched from a URL: what is kept of them, and how they are made of what was kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Condvar, Mutex};
use wasm_compile_cache_store::{CacheError, ModuleHash, Resource};

use super::baseline::Baseline;
use super::code::Module;
use super::compile::{self, CacheMode, CompileOptions};
use super::storage;
use crate::error::CompileError;
use crate::stream::{Ingest, Refused};

/// Where a module's bytes come from, and what HTTP says of how long they hold.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Without its fragment.
    pub url: String,
    /// See [`Resource::policy`].
    pub policy: String,
}

/// What is known of a URL.
#[derive(Debug)]
pub struct Known {
    /// What was recorded.
    pub resource: Resource,
    /// Whether there is an artifact. It may be defective, or gone when it is needed.
    pub artifact: bool,
    /// Whether there are the bytes; likewise.
    pub bytes: bool,
}

/// What was recorded for a URL.
pub fn look_up(url: &str, options: &CompileOptions) -> Option<Known> {
    if options.cache == CacheMode::Off {
        return None;
    }
    let store = storage::store(options)?;
    let (partition, now) = (&options.partition, SystemTime::now());
    let resource = store
        .resources()
        .lookup(url, partition, now, store.is_writable())?;
    let key = storage::key(resource.module.as_bytes(), partition);
    Some(Known {
        artifact: store.entry_path(&key).exists(),
        bytes: store.wasm_files().has(&resource.module, resource.len),
        resource,
    })
}

/// Forgets what was recorded for a URL.
pub fn forget(url: &str, options: &CompileOptions) {
    if options.cache == CacheMode::ReadWrite
        && let Some(store) = storage::store(options)
        && store.is_writable()
    {
        store.resources().forget(url, &options.partition);
    }
}

/// Makes a module of what was kept: its artifact, else its bytes. `None` if neither is there any more.
///
/// # Errors
/// As [`compile_bytes`](super::compile_bytes).
pub fn compile_known(
    hash: [u8; 32],
    size: u64,
    options: &CompileOptions,
) -> Result<Option<Arc<Module>>, Refused> {
    let read = || {
        let store = storage::store(options)?;
        let module = ModuleHash::from_bytes(hash);
        let now = SystemTime::now();
        store.wasm_files().read(&module, now, store.is_writable())
    };
    let mut gone = false;
    let module = compile::make(hash, size, options, |span| {
        let Some(bytes) = read() else {
            gone = true;
            return Err(CompileError::NotCached.into());
        };
        let baseline = Baseline::patient();
        let ingested = Ingest::whole(bytes, &mut |chunk| baseline.submit(chunk));
        compile::finish(hash, baseline, ingested, options, span)
    });
    if gone {
        return Ok(None);
    }
    let module = module?;
    if compile::wants_wire(&module, options) && module.wire.get().is_none() {
        let Some(bytes) = read() else {
            return Ok(None);
        };
        module.wire.get_or_init(|| Arc::new(bytes));
    }
    Ok(Some(module))
}

/// What is still to be kept.
struct Unkept {
    count: usize,
    /// To be called when there is none.
    waiting: Vec<Box<dyn FnOnce() + Send>>,
}

static UNKEPT: Mutex<Unkept> = Mutex::new(Unkept {
    count: 0,
    waiting: Vec::new(),
});
static KEPT: Condvar = Condvar::new();

/// What is to be kept of a module that was fetched, when nobody waits for the module any more.
pub struct Keeping {
    options: CompileOptions,
    fetched: Fetched,
    hash: [u8; 32],
    size: u64,
    /// `None`: they are kept already.
    bytes: Option<Arc<Vec<u8>>>,
}

impl Keeping {
    /// `None` if the module was not fetched, or nothing is to be stored of it.
    pub fn new(
        hash: [u8; 32],
        size: u64,
        bytes: Option<Arc<Vec<u8>>>,
        options: &CompileOptions,
    ) -> Option<Self> {
        let fetched = options.fetched.clone()?;
        if !options.optimize || !options.stores(size) {
            return None;
        }
        UNKEPT.lock().count += 1;
        Some(Self {
            options: options.clone(),
            fetched,
            hash,
            size,
            bytes,
        })
    }

    /// Stores the bytes, then the record that leads to them. A failure is told.
    pub fn keep(self) {
        if let Err(error) = self.store() {
            storage::tell_failure(&self.options, &error);
        }
    }

    fn store(&self) -> Result<(), CacheError> {
        let Some(store) = storage::store(&self.options).filter(|store| store.is_writable()) else {
            return Ok(());
        };
        let module = ModuleHash::from_bytes(self.hash);
        if let Some(bytes) = &self.bytes {
            store.write_wasm(&module, bytes)?;
        }
        let resource = Resource {
            module,
            len: self.size,
            policy: self.fetched.policy.clone(),
        };
        let partition = &self.options.partition;
        store
            .resources()
            .record(&self.fetched.url, partition, &resource)
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        let mut unkept = UNKEPT.lock();
        unkept.count -= 1;
        if unkept.count == 0 {
            let waiting = std::mem::take(&mut unkept.waiting);
            drop(unkept);
            KEPT.notify_all();
            for done in waiting {
                done();
            }
        }
    }
}

/// Calls, on any thread, when all that was fetched so far is kept.
pub(super) fn when_kept(done: Box<dyn FnOnce() + Send>) {
    let mut unkept = UNKEPT.lock();
    if unkept.count == 0 {
        drop(unkept);
        done();
    } else {
        unkept.waiting.push(done);
    }
}

/// Longer than this the end of a process does not wait for a disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// The process ends: waits until all that was fetched is kept.
pub fn wait_kept() {
    let mut unkept = UNKEPT.lock();
    KEPT.wait_while_for(&mut unkept, |unkept| unkept.count > 0, PATIENCE);
}
