//! A module that the remote was asked for: who waits for it, and what becomes of what comes.
//!
//! What arrives has its name in the cache first, is published, and then made to survive a crash of the machine. The first who waits
//! for it has it.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wasm_compile_cache_store::{ArtifactKey, Flight, Remote as Outcome, Staged, Store};

use super::loading::{self, LoadedEntry};
use super::object::{Received, Trusted};
use super::options::CompileOptions;
use super::packing;
use super::storage;
use crate::panics;
use crate::trace::{Field, Span};

/// A module that the remote was asked for.
pub(super) struct Asked {
    store: Store,
    key: ArtifactKey,
    hash: [u8; 32],
    size: u64,
    options: CompileOptions,
    span: Span,
    since: Instant,
    state: Mutex<State>,
    is_answered: Condvar,
    /// It is read without the service.
    pub is_direct: AtomicBool,
    /// A baseline was made.
    for_later: AtomicBool,
    /// How much of it is here, if it is.
    coming: Mutex<Option<Coming>>,
    /// It is not there, as was said in time.
    absent: AtomicBool,
    /// It is here, and on its way into the cache.
    arriving: AtomicBool,
    there: There,
    over: Mutex<bool>,
    is_over: Condvar,
    /// Others of this machine wait for it. Whoever compiles what was not there takes it.
    pub flight: Mutex<Option<Flight>>,
}

/// Whether it is known to be there, which may be so before anybody wants to know.
#[derive(Default)]
struct There(Mutex<Known>);

#[derive(Default)]
enum Known {
    #[default]
    No,
    Wanted(Box<dyn FnOnce() + Send>),
    Yes,
}

impl There {
    fn is_so(&self) {
        let before = std::mem::replace(&mut *self.0.lock(), Known::Yes);
        if let Known::Wanted(then) = before {
            then();
        }
    }

    fn forget(&self) {
        let before = std::mem::take(&mut *self.0.lock());
        drop(before);
    }

    fn when(&self, then: Box<dyn FnOnce() + Send>) {
        let mut known = self.0.lock();
        if matches!(*known, Known::Yes) {
            drop(known);
            then();
        } else {
            *known = Known::Wanted(then);
        }
    }
}

/// An artifact that is on its way.
struct Coming {
    since: Instant,
    received: u64,
    /// 0: nobody knows.
    length: u64,
}

impl Coming {
    /// How long it takes from now on, if it goes on as it did.
    fn left(&self) -> Duration {
        let elapsed = self.since.elapsed();
        if self.received == 0 || self.length == 0 {
            return Duration::MAX;
        }
        let whole = self.length as f64 / self.received as f64;
        Duration::try_from_secs_f64(elapsed.as_secs_f64() * (whole - 1.0)).unwrap_or(Duration::MAX)
    }
}

/// What a baseline takes for a byte of its module, at least: who waits no longer than that for an artifact loses nothing. Seen:
/// 8 to 11 ns on two processors.
const BASELINE: Duration = Duration::from_nanos(8);

/// The share of that within which a remote that is near has answered.
const NEAR: u32 = 8;

/// What an [`Asked`] is told.
pub(super) enum Found {
    Arrived(Box<LoadedEntry>),
    Nothing,
}

enum State {
    Open(Vec<Box<dyn FnOnce(Found) + Send>>),
    Arrived(Box<LoadedEntry>),
    Over,
}

impl Asked {
    /// Asks nobody yet.
    pub(super) fn new(
        store: Store,
        key: ArtifactKey,
        hash: [u8; 32],
        size: u64,
        options: &CompileOptions,
        flight: Option<Flight>,
    ) -> Self {
        Self {
            store,
            key,
            hash,
            size,
            options: options.clone(),
            span: Span::start(),
            since: Instant::now(),
            state: Mutex::new(State::Open(Vec::new())),
            is_answered: Condvar::new(),
            is_direct: AtomicBool::new(false),
            for_later: AtomicBool::new(false),
            coming: Mutex::new(None),
            absent: AtomicBool::new(false),
            arriving: AtomicBool::new(false),
            there: There::default(),
            over: Mutex::new(false),
            is_over: Condvar::new(),
            flight: Mutex::new(flight),
        }
    }

    /// What has arrived, for one who asks.
    pub fn arrived(&self) -> Option<LoadedEntry> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::Arrived(loaded) => Some(*loaded),
            before => {
                *state = before;
                None
            }
        }
    }

    /// Calls, on any thread, when something has arrived or will not; the first who is called has it.
    pub fn when_answered(&self, then: impl FnOnce(Found) + Send + 'static) {
        let mut state = self.state.lock();
        match &mut *state {
            State::Open(waiting) => waiting.push(Box::new(then)),
            _ => {
                drop(state);
                then(
                    self.arrived()
                        .map_or(Found::Nothing, |loaded| Found::Arrived(Box::new(loaded))),
                );
            }
        }
    }

    /// Whether it is not there: who did not answer, or takes long, has not said so.
    pub fn is_absent(&self) -> bool {
        self.absent.load(Ordering::Relaxed)
    }

    /// Calls when it is known to be there, which is before it is here.
    pub fn when_there(&self, then: impl FnOnce() + Send + 'static) {
        self.there.when(Box::new(then));
    }

    /// Blocks while it is likelier than not to be here before a baseline would be.
    pub fn wait_while_near(&self) {
        if !self.is_direct.load(Ordering::Relaxed) {
            return;
        }
        let baseline = BASELINE.saturating_mul(u32::try_from(self.size).unwrap_or(u32::MAX));
        let step = baseline / NEAR;
        // As long again to unpack it.
        let end = Instant::now() + baseline * 2;
        let mut state = self.state.lock();
        while matches!(*state, State::Open(_)) {
            self.is_answered.wait_for(&mut state, step);
            // `None`, too, where it is the service's by now.
            let left = self.coming.lock().as_ref().map(Coming::left);
            if left.is_none_or(|left| left > baseline) || Instant::now() >= end {
                return;
            }
        }
    }

    /// It is the service's now.
    pub(super) fn is_left(&self) {
        *self.coming.lock() = None;
        let _state = self.state.lock();
        self.is_answered.notify_all();
    }

    /// The program begins without it.
    pub fn begin_without(&self) {
        self.for_later.store(true, Ordering::Relaxed);
    }

    /// Whether the program began without it.
    pub(super) fn is_for_later(&self) -> bool {
        self.for_later.load(Ordering::Relaxed)
    }

    /// So much of it is here.
    pub(super) fn is_coming(&self, received: u64, length: u64) {
        let mut coming = self.coming.lock();
        let since = coming
            .as_ref()
            .map_or_else(Instant::now, |coming| coming.since);
        let is_first = coming.is_none();
        *coming = Some(Coming {
            since,
            received,
            length,
        });
        drop(coming);
        if is_first {
            self.is_there();
        }
    }

    /// Blocks until it is stored, or will not be.
    pub fn wait(&self) {
        let mut over = self.over.lock();
        self.is_over.wait_while(&mut over, |over| !*over);
    }

    fn tell(&self, found: Option<Box<LoadedEntry>>) {
        let mut state = self.state.lock();
        let waiting = match std::mem::replace(&mut *state, State::Over) {
            State::Open(waiting) => waiting,
            before => {
                *state = before;
                return;
            }
        };
        if waiting.is_empty()
            && let Some(loaded) = found
        {
            *state = State::Arrived(loaded);
            self.is_answered.notify_all();
            return;
        }
        self.is_answered.notify_all();
        drop(state);
        let mut found = found;
        for then in waiting {
            then(found.take().map_or(Found::Nothing, Found::Arrived));
        }
    }

    /// It is known to be there, and comes.
    pub(super) fn is_there(&self) {
        self.there.is_so();
    }

    /// Whether it is here, and on its way into the cache.
    pub(super) fn is_arriving(&self) -> bool {
        self.arriving.load(Ordering::Relaxed)
    }

    /// It could not be asked for.
    pub(super) fn fail(&self, reason: String) {
        self.emit("remoteFailed", vec![("reason", reason.into())]);
        self.end(Outcome::Failure, 0);
    }

    /// What was there is not to be used.
    pub(super) fn refuse(&self, reason: String, length: u64) {
        self.emit("remoteInvalid", vec![("reason", reason.into())]);
        self.end(Outcome::Failure, length);
    }

    /// There is none.
    pub(super) fn miss(&self) {
        self.absent.store(true, Ordering::Relaxed);
        self.emit("remoteMiss", Vec::new());
        self.end(Outcome::Miss, 0);
    }

    fn end(&self, outcome: Outcome, bytes: u64) {
        self.store
            .count_remote(outcome, bytes, self.since.elapsed());
        self.over();
    }

    /// Nothing comes of it.
    pub(super) fn over(&self) {
        // Whoever waits for that has this, in turn.
        self.there.forget();
        self.tell(None);
        *self.over.lock() = true;
        self.is_over.notify_all();
    }

    fn emit(&self, name: &'static str, more: Vec<(&'static str, Field)>) {
        let mut fields = self.options.fields(&self.hash, self.size);
        fields.extend(more);
        self.options.events.emit(self.span.event(name, fields));
    }

    /// Unpacks what has come, and loads it.
    fn load(&self, object: &mut (dyn Read + Send), trusted: &Trusted) -> Result<Loaded, String> {
        let (staged, received) = packing::stage(&self.store, &self.key, object, trusted)?;
        let entry = staged.entry().map_err(|error| error.to_string())?;
        let loaded = loading::load_entry(entry, self.hash);
        Ok(Loaded {
            entry: loaded.map_err(|unloadable| unloadable.reason())?,
            staged,
            received,
        })
    }

    /// Publishes what has come, and stores it.
    ///
    /// # Errors
    /// Why it is not to be used; then nothing has happened.
    pub(super) fn receive(
        &self,
        object: &mut (dyn Read + Send),
        trusted: &Trusted,
    ) -> Result<(), String> {
        self.arriving.store(true, Ordering::Relaxed);
        let mut object = Counted {
            bytes: object,
            read: 0,
        };
        let load = || self.load(&mut object, trusted);
        let loaded = panics::catch("what the remote sent", load)
            .unwrap_or_else(|panicked| Err(panicked.to_string()));
        let Loaded {
            entry,
            staged,
            received,
        } = loaded.inspect_err(|_| self.arriving.store(false, Ordering::Relaxed))?;
        let length = object.read;
        self.emit(
            "remoteHit",
            vec![
                ("transferBytes", length.into()),
                ("artifactBytes", received.image_len.into()),
            ],
        );
        // Before it is published: whoever has the flight next finds it.
        let named = packing::name(&self.store, staged, &received);
        self.tell(Some(Box::new(entry)));
        if let Err(error) = named.and_then(|named| self.store.settle(named)) {
            storage::tell_failure(&self.options, &error);
        }
        drop(self.flight.lock().take());
        self.end(Outcome::Hit, length);
        Ok(())
    }
}

/// How much was read of it.
struct Counted<'a> {
    bytes: &'a mut (dyn Read + Send),
    read: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

/// What came, and can be run.
struct Loaded {
    entry: LoadedEntry,
    staged: Staged,
    received: Received,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn who_wants_to_know_is_told_whichever_comes_first() {
        let calls = Arc::new(AtomicUsize::new(0));
        let call = || {
            let calls = Arc::clone(&calls);
            Box::new(move || {
                calls.fetch_add(1, Ordering::Relaxed);
            })
        };
        let early = There::default();
        early.is_so();
        early.when(call());
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        let late = There::default();
        late.when(call());
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        late.is_so();
        late.is_so();
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        let never = There::default();
        let kept = Arc::new(());
        let held = Arc::clone(&kept);
        never.when(Box::new(move || drop(held)));
        never.forget();
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}
