//! Keeping what was fetched, when nobody waits for the module any more.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasm_compile_cache_store::{CacheError, ModuleHash, Resource};

use super::options::{CompileOptions, Fetched};
use super::storage;

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

    /// Stores the bytes, then the record that leads to them. A failure is an event.
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
