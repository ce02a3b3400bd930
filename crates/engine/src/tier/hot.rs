//! Functions that are called often are optimized before the rest of their module: a thread looks how often each was called, has
//! the optimizing tier's compiler compile the hottest as donors, and they go to the slots of all instances.
//!
//! Calls are counted, loops are not. Of hot functions, those go first in which most is executed: by their calls, times their size.
//!
//! Invariant: a slot gets code of its own function, and none once the optimizing tier's is published.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use parking_lot::Mutex;
use wasmer_vm::FunctionBodyPtr;

use super::lazy::Functions;
use super::loaded::Loaded;
use super::piece::{Compiled, Piece};
use super::scheduler;
use super::tally::Tallies;
use crate::error::CompileError;
use crate::module::Declaration;
use crate::panics;

/// So many bytes of bodies are compiled together: as long as that takes, what is called now waits.
const PIECE: usize = 32 << 10;

/// A function is hot when it was called so often: to optimize it takes as long as that in the baseline, about. In a module with
/// little code, as many calls are enough as that has so many bytes.
const MOST: u64 = 8000;
const BYTES: u64 = 1 << 10;

/// Below the optimizing tier's.
const NICE: i32 = 15;

/// A module of so many bytes is left alone at first: a program that is over by then has the processors for itself.
const HEAVY: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked, and how seldom while nothing is found. What was compiled is followed by a rest as long: two threads on
/// one core slow each other down, and what is hot is known better the later it is looked.
const OFTEN: Duration = Duration::from_millis(10);
const SELDOM: Duration = Duration::from_millis(100);

/// Who has the functions' slots.
pub(super) trait Owner: Send + Sync {
    /// There is better code of a local function: writes it into its slots, unless that of all was published meanwhile.
    fn replace(&self, of: &Hot, local: u32, body: FunctionBodyPtr);

    /// What the functions are declared in.
    fn declaration(&self) -> Weak<Declaration>;
}

/// The functions of a module whose calls are counted.
pub struct Hot {
    functions: Arc<Functions>,
    tallies: Tallies,
    /// Calls of a hot function.
    enough: u32,
    not_before: Instant,
    owner: OnceLock<Weak<dyn Owner>>,
    /// There is better code.
    retired: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Those that were compiled, or could not be.
    tried: BTreeSet<u32>,
    optimized: u64,
    donors: Vec<Arc<Loaded>>,
}

impl Hot {
    /// `None` where calls are not counted.
    pub(super) fn new(functions: Arc<Functions>) -> Option<Arc<Self>> {
        let tallies = Tallies::new(functions.bodies.len())?;
        let code = functions.bodies.iter().map(|body| body.range.len() as u64);
        let code: u64 = code.sum();
        let patience = if code < HEAVY {
            Duration::ZERO
        } else {
            PATIENCE
        };
        Some(Arc::new(Self {
            functions,
            tallies,
            enough: (code / BYTES).min(MOST) as u32,
            not_before: Instant::now() + patience,
            owner: OnceLock::new(),
            retired: AtomicBool::new(false),
            state: Mutex::default(),
        }))
    }

    /// What stands for a function whose code is `body`.
    pub(super) fn count(&self, local: u32, body: FunctionBodyPtr) -> FunctionBodyPtr {
        self.tallies.count(local, body)
    }

    /// Whose functions they are. From now on it is looked how often they are called.
    pub(super) fn belongs_to(self: &Arc<Self>, owner: Weak<dyn Owner>) {
        if self.owner.set(owner).is_ok() {
            watch(self);
        }
    }

    /// There is better code of all functions.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// How many functions were optimized before the rest.
    pub(super) fn optimized(&self) -> u64 {
        self.state.lock().optimized
    }

    /// The hottest of those that were not tried yet.
    fn hottest(&self) -> Vec<u32> {
        let state = self.state.lock();
        let all = (0..).zip(&self.functions.bodies);
        let hot = all.filter_map(|(local, body)| {
            let calls = self.tallies.calls(local);
            let size = body.range.len();
            let is_hot = calls > self.enough && !state.tried.contains(&local);
            is_hot.then_some((u64::from(calls) * size as u64, local, size))
        });
        let mut hot: Vec<_> = hot.collect();
        hot.sort_unstable_by(|one, other| other.cmp(one));
        let mut room = PIECE;
        let mut chosen = Vec::new();
        for (_, local, size) in hot {
            if !chosen.is_empty() && size > room {
                break;
            }
            room = room.saturating_sub(size);
            chosen.push(local);
        }
        chosen
    }

    /// Optimizes what is hot; whether there was something.
    fn look(&self) -> bool {
        let Some(owner) = self.owner.get().and_then(Weak::upgrade) else {
            return false;
        };
        if Instant::now() < self.not_before {
            return false;
        }
        let hottest = self.hottest();
        if hottest.is_empty() {
            return false;
        }
        self.state.lock().tried.extend(&hottest);
        // Whoever is not compiled keeps the code that it has.
        if self.optimize(&hottest, &*owner).is_err() && hottest.len() > 1 {
            for local in hottest {
                let _ = self.optimize(&[local], &*owner);
            }
        }
        true
    }

    fn optimize(&self, locals: &[u32], owner: &dyn Owner) -> Result<(), CompileError> {
        let mut piece = Piece::optimizing(&self.functions.skeleton);
        for local in locals {
            let range = &self.functions.bodies[*local as usize].range;
            let bytes = &self.functions.bytes[range.start as usize..range.end as usize];
            piece.add(*local, bytes, range.start.into())?;
        }
        let Compiled { bodies, loaded } = piece.compile()?;
        loaded.belongs_to(&owner.declaration());
        // It is kept before it is called.
        {
            let mut state = self.state.lock();
            state.donors.push(loaded);
            state.optimized += bodies.len() as u64;
        }
        for (local, body) in bodies {
            owner.replace(self, local, body);
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
            || self
                .owner
                .get()
                .is_none_or(|owner| owner.strong_count() == 0)
    }
}

/// Has the calls of a module's functions looked at, until all of it is optimized or nobody has it any more.
fn watch(hot: &Arc<Hot>) {
    static QUEUE: LazyLock<Sender<Weak<Hot>>> = LazyLock::new(|| {
        let (queue, coming) = unbounded();
        let thread = thread::Builder::new().name("wasm-hot".to_owned());
        // Out of threads, everything is optimized at once, and later.
        let _ = thread.spawn(move || {
            scheduler::lower_priority(NICE);
            look_at_all(&coming);
        });
        queue
    });
    let _ = QUEUE.send(Arc::downgrade(hot));
}

fn look_at_all(coming: &Receiver<Weak<Hot>>) {
    let mut watched: Vec<Weak<Hot>> = Vec::new();
    let mut pause = OFTEN;
    loop {
        let next = if watched.is_empty() {
            coming.recv().map_err(RecvTimeoutError::from)
        } else {
            coming.recv_timeout(pause)
        };
        match next {
            Ok(hot) => {
                watched.push(hot);
                pause = OFTEN;
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let began = Instant::now();
        let mut found = false;
        watched.retain(|hot| {
            let Some(hot) = hot.upgrade().filter(|hot| !hot.is_over()) else {
                return false;
            };
            // What panics was tried.
            found |= panics::catch("hot functions", || hot.look()).unwrap_or(true);
            true
        });
        pause = if found {
            OFTEN.max(began.elapsed())
        } else {
            SELDOM.min(pause + OFTEN / 4)
        };
    }
}
