//! A module that the remote was asked for: who waits for it, and what becomes of what comes.
//!
//! What arrives is published first, and stored then. The first who waits for it has it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use wasm_compile_cache_store::{ArtifactKey, Flight, Remote as Outcome, Staged, Store};

use super::loading::{self, LoadedEntry};
use super::options::CompileOptions;
use super::packing::{self, Received};
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
            return;
        }
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
    pub(super) fn refuse(&self, reason: String) {
        self.emit("remoteInvalid", vec![("reason", reason.into())]);
        self.end(Outcome::Failure, 0);
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
    fn load(&self, received: &Received, bytes: &[u8]) -> Result<(LoadedEntry, Staged), String> {
        let staged = packing::stage(&self.store, Some(&self.key), received, bytes)?;
        let entry = staged.entry().map_err(|error| error.to_string())?;
        let loaded = loading::load_entry(entry, self.hash);
        Ok((loaded.map_err(|unloadable| unloadable.reason())?, staged))
    }

    /// Publishes what has come, then stores it; whether it is to be used.
    pub(super) fn receive(&self, received: &Received, bytes: &[u8]) -> bool {
        self.arriving.store(true, Ordering::Relaxed);
        let length = bytes.len() as u64;
        let load = || self.load(received, bytes);
        let loaded = panics::catch("what the remote sent", load)
            .unwrap_or_else(|panicked| Err(panicked.to_string()));
        let (loaded, staged) = match loaded {
            Ok(loaded) => loaded,
            Err(reason) => {
                self.emit("remoteInvalid", vec![("reason", reason.into())]);
                self.end(Outcome::Failure, length);
                return false;
            }
        };
        self.emit(
            "remoteHit",
            vec![
                ("transferBytes", length.into()),
                ("artifactBytes", received.image_len.into()),
            ],
        );
        self.tell(Some(Box::new(loaded)));
        if let Err(error) = packing::keep(&self.store, staged, received) {
            storage::tell_failure(&self.options, &error);
        }
        // Others of this machine find it now.
        drop(self.flight.lock().take());
        self.end(Outcome::Hit, length);
        true
    }
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
