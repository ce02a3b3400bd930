//! A second place to look: a cache that machines share. What reaches it is not here: a service of the binding's takes orders,
//! and answers.
//!
//! Nothing waits for it: an artifact that arrives is published as the optimizing tier's is, and whatever goes wrong leaves the
//! run as it would be without. What arrives was signed, which the service has checked; that it is what was asked for is
//! checked here.
//!
//! Of a machine's processes, the one that has a module's flight asks; the others wait for that flight.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use wasm_compile_cache_store::{ArtifactKey, Flight, Remote as Outcome, Staged, Store};

use super::loading::{self, LoadedEntry};
use super::options::{CacheMode, CompileOptions};
use super::packing::{self, Received};
use super::storage;
use crate::panics;
use crate::trace::{EventQueue, Field, Span};

/// What the service is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Get the artifact.
    Get,
    /// Get it, or find out that this machine is to make it: another one may be at it.
    Claim,
    /// Give it the artifact that was stored here, and end the claim.
    Put,
    /// End the claim: nothing came of it.
    Release,
}

/// One thing for the service to do, and to answer with [`answer`] or [`receive`].
#[derive(Debug, Clone)]
pub struct Order {
    /// Names it in the answer.
    pub id: u64,
    /// What to do.
    pub task: Task,
    /// With which artifact.
    pub key: ArtifactKey,
    /// Bytes of its module, of a claim.
    pub size: u64,
}

/// What came of an order, if it is no artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is there, and comes: another answer follows.
    There,
    /// There is none: this machine may make it.
    Absent,
    /// The service could not be reached, or did not answer in time.
    Failed(String),
    /// What was there is not to be used.
    Refused(String),
    /// The remote is left alone for a while, as was said when that began; or there is nothing to say.
    Silent,
    /// It was given so many bytes.
    Sent(u64),
}

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

/// Who is told of an order's end.
enum Waiting {
    Asked(Arc<Asked>),
    Offered {
        key: ArtifactKey,
        fields: Vec<(&'static str, Field)>,
        events: Weak<EventQueue>,
        span: Span,
        since: Instant,
    },
    Nobody,
}

#[derive(Default)]
struct Broker {
    /// Whether artifacts are given to it. `None`: there is no remote.
    writes: Option<bool>,
    last: u64,
    orders: Vec<Order>,
    under_way: HashMap<u64, Waiting>,
    asked: HashMap<ArtifactKey, Weak<Asked>>,
    /// The service waits for orders.
    fetch: Option<Box<dyn FnOnce(Vec<Order>) + Send>>,
    /// There was one, and is no more.
    has_ended: bool,
    /// Starts a service.
    start: Option<Box<dyn FnOnce() + Send>>,
    idle: Vec<Box<dyn FnOnce() + Send>>,
}

static BROKER: LazyLock<Mutex<Broker>> = LazyLock::new(Mutex::default);

/// The process has a remote from now on; `start`, which starts its service, is called once, when something is to be done.
/// The first call counts: whether this is it.
pub fn use_remote(writes: bool, start: Box<dyn FnOnce() + Send>) -> bool {
    let mut broker = BROKER.lock();
    if broker.writes.is_some() {
        return false;
    }
    broker.writes = Some(writes);
    broker.start = Some(start);
    true
}

/// The service takes all orders there are, or the next one when it comes.
pub fn next_orders(fetch: Box<dyn FnOnce(Vec<Order>) + Send>) {
    let mut broker = BROKER.lock();
    let orders = std::mem::take(&mut broker.orders);
    if orders.is_empty() {
        broker.fetch = Some(fetch);
    } else {
        drop(broker);
        fetch(orders);
    }
}

/// The service has ended, with its thread or the process: nothing of what was ordered will be done, nor what will be.
pub fn remote_ended() {
    let waiting: Vec<_> = {
        let mut broker = BROKER.lock();
        broker.has_ended = true;
        broker.fetch = None;
        broker.orders.clear();
        broker.under_way.drain().collect()
    };
    for (_, waiting) in waiting {
        waiting.end(Answer::Silent);
    }
    tell_idle();
}

/// Whether there is a remote.
pub(super) fn is_used() -> bool {
    BROKER.lock().writes.is_some()
}

fn order(task: Task, key: ArtifactKey, size: u64, waiting: Waiting) {
    let mut broker = BROKER.lock();
    if broker.has_ended {
        drop(broker);
        waiting.end(Answer::Silent);
        return;
    }
    broker.last += 1;
    let id = broker.last;
    broker.orders.push(Order {
        id,
        task,
        key,
        size,
    });
    broker.under_way.insert(id, waiting);
    if let Some(fetch) = broker.fetch.take() {
        let orders = std::mem::take(&mut broker.orders);
        drop(broker);
        fetch(orders);
    } else if let Some(start) = broker.start.take() {
        drop(broker);
        start();
    }
}

/// Calls when nothing is on its way to the remote, or from there into the cache.
pub fn when_remote_is_idle(done: Box<dyn FnOnce() + Send>) {
    let mut broker = BROKER.lock();
    if broker.is_idle() {
        drop(broker);
        done();
    } else {
        broker.idle.push(done);
    }
}

fn tell_idle() {
    let mut broker = BROKER.lock();
    if broker.is_idle() {
        let idle = std::mem::take(&mut broker.idle);
        drop(broker);
        for done in idle {
            done();
        }
    }
}

/// The artifacts that were not sent yet: another process has to, when this one ends.
pub fn unsent() -> Vec<ArtifactKey> {
    let broker = BROKER.lock();
    let keys = broker
        .under_way
        .values()
        .filter_map(|waiting| match waiting {
            Waiting::Offered { key, .. } => Some(*key),
            Waiting::Asked(_) | Waiting::Nobody => None,
        });
    keys.collect()
}

/// The answer of [`ask`].
pub(super) enum Asking {
    /// There is no remote, or nothing of it could be stored.
    Not,
    /// Another process of this machine is at it.
    Elsewhere,
    Asked(Arc<Asked>),
}

/// Asks the remote for an artifact that is not in the cache.
pub(super) fn ask(key: ArtifactKey, hash: [u8; 32], size: u64, options: &CompileOptions) -> Asking {
    if !is_used() || !options.optimize || !options.stores(size) {
        return Asking::Not;
    }
    let Some(store) = writable(options) else {
        return Asking::Not;
    };
    if let Some(asked) = BROKER.lock().asked.get(&key).and_then(Weak::upgrade) {
        return Asking::Asked(asked);
    }
    match store.flight(&key) {
        Ok(None) => Asking::Elsewhere,
        // Where locks do not work, asking twice is harmless.
        flight => Asking::Asked(Asked::order(
            Task::Get,
            store,
            key,
            hash,
            size,
            options,
            flight.unwrap_or_default(),
        )),
    }
}

/// Asks who compiles, if the cache is shared; for who has the flight, if there are any.
pub(super) fn claim(
    key: ArtifactKey,
    hash: [u8; 32],
    size: u64,
    options: &CompileOptions,
    flight: Option<Flight>,
) -> Result<Arc<Asked>, Option<Flight>> {
    match writable(options).filter(|_| is_used()) {
        Some(store) => Ok(Asked::order(
            Task::Claim,
            store,
            key,
            hash,
            size,
            options,
            flight,
        )),
        None => Err(flight),
    }
}

/// Nothing came of a claim.
pub(super) fn release(key: ArtifactKey) {
    if is_used() {
        order(Task::Release, key, 0, Waiting::Nobody);
    }
}

/// Gives the remote what was stored, where that is wanted.
pub(super) fn offer(
    key: ArtifactKey,
    fields: Vec<(&'static str, Field)>,
    options: &CompileOptions,
) {
    if BROKER.lock().writes == Some(true) {
        let waiting = Waiting::Offered {
            key,
            fields,
            events: Arc::downgrade(&options.events),
            span: Span::start(),
            since: Instant::now(),
        };
        order(Task::Put, key, 0, waiting);
    }
}

/// [`offer`], for what another process has stored and not sent.
pub fn send(key: ArtifactKey, events: &Arc<EventQueue>) {
    let waiting = Waiting::Offered {
        key,
        fields: Vec::new(),
        events: Arc::downgrade(events),
        span: Span::start(),
        since: Instant::now(),
    };
    order(Task::Put, key, 0, waiting);
}

fn writable(options: &CompileOptions) -> Option<Store> {
    let store = (options.cache == CacheMode::ReadWrite).then(|| storage::store(options))?;
    store.filter(Store::is_writable)
}

impl Broker {
    fn is_idle(&self) -> bool {
        !self.under_way.values().any(Waiting::is_under_way)
    }
}

impl Asked {
    fn order(
        task: Task,
        store: Store,
        key: ArtifactKey,
        hash: [u8; 32],
        size: u64,
        options: &CompileOptions,
        flight: Option<Flight>,
    ) -> Arc<Self> {
        let asked = Arc::new(Self {
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
        });
        {
            let mut broker = BROKER.lock();
            broker.asked.retain(|_, asked| asked.strong_count() > 0);
            broker.asked.insert(key, Arc::downgrade(&asked));
        }
        order(task, key, size, Waiting::Asked(Arc::clone(&asked)));
        asked
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

    fn end(&self, outcome: Outcome, bytes: u64) {
        self.store
            .count_remote(outcome, bytes, self.since.elapsed());
        self.over();
    }

    fn over(&self) {
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
    fn receive(&self, received: &Received, bytes: &[u8]) -> bool {
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

impl Waiting {
    /// Whether something is on its way, rather than asked for.
    fn is_under_way(&self) -> bool {
        match self {
            Self::Offered { .. } => true,
            Self::Asked(asked) => asked.arriving.load(Ordering::Relaxed),
            Self::Nobody => true,
        }
    }

    fn end(self, answer: Answer) {
        match self {
            Self::Asked(asked) => match answer {
                Answer::Failed(reason) => {
                    asked.emit("remoteFailed", vec![("reason", reason.into())]);
                    asked.end(Outcome::Failure, 0);
                }
                Answer::Refused(reason) => {
                    asked.emit("remoteInvalid", vec![("reason", reason.into())]);
                    asked.end(Outcome::Failure, 0);
                }
                Answer::Absent => {
                    asked.absent.store(true, Ordering::Relaxed);
                    asked.emit("remoteMiss", Vec::new());
                    asked.end(Outcome::Miss, 0);
                }
                Answer::Silent | Answer::There | Answer::Sent(_) => asked.over(),
            },
            Self::Offered {
                mut fields,
                events,
                span,
                since,
                ..
            } => {
                let (name, outcome, bytes) = match answer {
                    Answer::Sent(bytes) => {
                        fields.push(("transferBytes", bytes.into()));
                        ("remoteStored", Outcome::Write, bytes)
                    }
                    Answer::Failed(reason) | Answer::Refused(reason) => {
                        fields.push(("reason", reason.into()));
                        ("remoteFailed", Outcome::Failure, 0)
                    }
                    Answer::Absent | Answer::There | Answer::Silent => return,
                };
                if let Ok(Some(store)) = storage::opened() {
                    store.count_remote(outcome, bytes, since.elapsed());
                }
                if let Some(events) = events.upgrade() {
                    events.emit(span.event(name, fields));
                }
            }
            Self::Nobody => {}
        }
    }
}

fn waiting_for(id: u64) -> Option<Waiting> {
    BROKER.lock().under_way.remove(&id)
}

/// Who is told of an order for an artifact, which stays under way.
fn asked(id: u64) -> Option<Arc<Asked>> {
    match BROKER.lock().under_way.get(&id) {
        Some(Waiting::Asked(asked)) => Some(Arc::clone(asked)),
        _ => None,
    }
}

/// The service's answer to an order.
pub fn answer(id: u64, answer: Answer) {
    if answer == Answer::There {
        if let Some(asked) = asked(id) {
            asked.there.is_so();
        }
        return;
    }
    if let Some(waiting) = waiting_for(id) {
        waiting.end(answer);
        tell_idle();
    }
}

/// The service's answer, if it has the artifact. Its signature was checked: its code will be run. `false` if it is not to be
/// used.
pub fn receive(id: u64, received: &Received, bytes: &[u8]) -> bool {
    // Taken out when it is stored: until then it is under way.
    let Some(asked) = asked(id) else {
        return true;
    };
    let is_used = asked.receive(received, bytes);
    waiting_for(id);
    tell_idle();
    is_used
}

/// Gets an artifact, or the right to make it, for who has time: whether it is in the cache now.
pub(super) fn bring(
    key: ArtifactKey,
    hash: [u8; 32],
    size: u64,
    options: &CompileOptions,
    flight: &mut Option<Flight>,
) -> bool {
    match claim(key, hash, size, options, flight.take()) {
        Ok(asked) => {
            asked.wait();
            *flight = asked.flight.lock().take();
            storage::store(options).is_some_and(|store| store.entry_path(&key).exists())
        }
        Err(given) => {
            *flight = given;
            false
        }
    }
}

#[cfg(test)]
mod tests {
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
