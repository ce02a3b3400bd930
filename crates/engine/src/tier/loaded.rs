//! Machine code that is mapped.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use wasmer_compiler::{Artifact, Engine};

use super::exit;
use super::positions::{Positions, Registration};
use super::thunks::Thunks;
use crate::module::Declaration;

/// Code in executable memory: the engine that owns it. The artifact that it came from has copies of the code and much else,
/// and is not kept.
///
/// Invariant: order of dropping. Another artifact may get the same addresses as soon as they are free.
pub struct Loaded {
    registration: Option<Registration>,
    engine: ManuallyDrop<Engine>,
    thunks: ManuallyDrop<Option<Thunks>>,
    /// Of an artifact that came from the cache. While it is open, its lock shows that the artifact is mapped.
    _file: Option<Arc<File>>,
}

/// How many there are, and how many there were.
static LIVING: AtomicUsize = AtomicUsize::new(0);
static MADE: AtomicUsize = AtomicUsize::new(0);

/// Pieces of code in this process: those that are mapped, and all that ever were. What a compile took, and gave back, is seen
/// here.
pub fn pieces_of_code() -> (usize, usize) {
    (LIVING.load(Ordering::Relaxed), MADE.load(Ordering::Relaxed))
}

/// How often code was unmapped. Whoever remembers something of an address forgets it when the number changes.
pub fn unmapped() -> usize {
    UNMAPPED.load(Ordering::Acquire)
}

static UNMAPPED: AtomicUsize = AtomicUsize::new(0);

impl Drop for Loaded {
    fn drop(&mut self) {
        // Before other code can be at the addresses.
        UNMAPPED.fetch_add(1, Ordering::AcqRel);
        LIVING.fetch_sub(1, Ordering::Relaxed);
        drop(self.registration.take());
        exit::before(|| {
            // SAFETY: not used again; nothing else drops it.
            unsafe { ManuallyDrop::drop(&mut self.thunks) };
            // SAFETY: as above.
            unsafe { ManuallyDrop::drop(&mut self.engine) };
        });
    }
}

impl Loaded {
    /// `engine` has the artifact's code. `positions` is of its own functions; `None` if it has none.
    pub(super) fn new(
        artifact: &Artifact,
        engine: Engine,
        positions: Option<Positions>,
        file: Option<Arc<File>>,
    ) -> Arc<Self> {
        Self::with_thunks(artifact, engine, positions, file, None)
    }

    /// The same, and what is between that and its callers.
    pub(super) fn with_thunks(
        artifact: &Artifact,
        engine: Engine,
        positions: Option<Positions>,
        file: Option<Arc<File>>,
        thunks: Option<Thunks>,
    ) -> Arc<Self> {
        exit::watch();
        LIVING.fetch_add(1, Ordering::Relaxed);
        MADE.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            registration: positions.and_then(|positions| Registration::new(artifact, positions)),
            engine: ManuallyDrop::new(engine),
            thunks: ManuallyDrop::new(thunks),
            _file: file,
        })
    }

    /// From now on its functions are known as those that are declared there.
    pub(super) fn belongs_to(&self, declaration: &Weak<Declaration>) {
        if let Some(registration) = &self.registration {
            registration.belongs_to(declaration);
        }
    }
}
