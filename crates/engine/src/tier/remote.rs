//! A second place to look: a cache that machines share. What reaches it is not here: a service of the binding's takes orders,
//! and answers.
//!
//! Nothing waits for it: an artifact that arrives is published as the optimizing tier's is, and whatever goes wrong leaves the
//! run as it would be without. What arrives was signed, which the service has checked; that it is what was asked for is
//! checked here.
//!
//! Of a machine's processes, the one that has a module's flight asks; the others wait for that flight.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use wasm_compile_cache_store::{ArtifactKey, Flight, Remote as Outcome, Store};

use super::asked::Asked;
use super::direct::{self, Direct, Wanted};
use super::object::Trusted;
use super::options::{CacheMode, CompileOptions};
use super::storage;
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
    /// The remote is left alone for a while, as was said when that began; or there is nothing to say.
    Silent,
    /// It was given so many bytes.
    Sent(u64),
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
    /// Reads what the service is not needed for.
    direct: Option<Arc<Direct>>,
    /// Starts a service.
    start: Option<Box<dyn FnOnce() + Send>>,
    idle: Vec<Box<dyn FnOnce() + Send>>,
}

static BROKER: LazyLock<Mutex<Broker>> = LazyLock::new(Mutex::default);

/// The process has a remote from now on; `start`, which starts its service, is called once, when something is to be done.
/// The first call counts: whether this is it.
pub fn use_remote(writes: bool, direct: Option<Direct>, start: Box<dyn FnOnce() + Send>) -> bool {
    let mut broker = BROKER.lock();
    if broker.writes.is_some() {
        return false;
    }
    broker.writes = Some(writes);
    broker.start = Some(start);
    broker.direct = direct.map(Arc::new);
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
    if let Some(id) = enter(waiting) {
        give(Order {
            id,
            task,
            key,
            size,
        });
    }
}

/// Something is to be done; what names it. `None`: nothing will be.
fn enter(waiting: Waiting) -> Option<u64> {
    let mut broker = BROKER.lock();
    if broker.has_ended {
        drop(broker);
        waiting.end(Answer::Silent);
        return None;
    }
    broker.last += 1;
    let id = broker.last;
    broker.under_way.insert(id, waiting);
    Some(id)
}

/// The service is to do it.
fn give(order: Order) {
    let mut broker = BROKER.lock();
    broker.orders.push(order);
    if let Some(fetch) = broker.fetch.take() {
        let orders = std::mem::take(&mut broker.orders);
        drop(broker);
        fetch(orders);
    } else if let Some(start) = broker.start.take() {
        drop(broker);
        start();
    }
}

/// Reads it here, if that can be, or has the service do it.
fn get(key: ArtifactKey, size: u64, asked: &Arc<Asked>) {
    let Some(id) = enter(Waiting::Asked(Arc::clone(asked))) else {
        return;
    };
    let order = Order {
        id,
        task: Task::Get,
        key,
        size,
    };
    let direct = BROKER.lock().direct.clone();
    let Some(direct) = direct else {
        give(order);
        return;
    };
    let (unclear, left) = (order.clone(), Arc::clone(asked));
    let then = move |outcome| match outcome {
        direct::Outcome::Stored => done(id),
        direct::Outcome::Absent => answer(id, Answer::Absent),
        direct::Outcome::Unclear => {
            left.is_left();
            give(unclear);
        }
    };
    let wanted = Wanted {
        key,
        asked: Arc::clone(asked),
        then: Box::new(then),
    };
    match direct.read(wanted) {
        Ok(()) => asked.is_direct.store(true, Ordering::Relaxed),
        Err(_) => give(order),
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
        flight => {
            let flight = flight.unwrap_or_default();
            let asked = Asked::new(store, key, hash, size, options, flight);
            Asking::Asked(begin(Task::Get, key, size, asked))
        }
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
        Some(store) => {
            let asked = Asked::new(store, key, hash, size, options, flight);
            Ok(begin(Task::Claim, key, size, asked))
        }
        None => Err(flight),
    }
}

fn begin(task: Task, key: ArtifactKey, size: u64, asked: Asked) -> Arc<Asked> {
    let asked = Arc::new(asked);
    {
        let mut broker = BROKER.lock();
        broker.asked.retain(|_, asked| asked.strong_count() > 0);
        broker.asked.insert(key, Arc::downgrade(&asked));
    }
    match task {
        Task::Get => get(key, size, &asked),
        _ => order(task, key, size, Waiting::Asked(Arc::clone(&asked))),
    }
    asked
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

impl Waiting {
    /// Whether something is on its way, rather than asked for.
    fn is_under_way(&self) -> bool {
        match self {
            Self::Offered { .. } => true,
            Self::Asked(asked) => asked.is_arriving(),
            Self::Nobody => true,
        }
    }

    fn end(self, answer: Answer) {
        match self {
            Self::Asked(asked) => match answer {
                Answer::Failed(reason) => asked.fail(reason),
                Answer::Absent => asked.miss(),
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
                    Answer::Failed(reason) => {
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
            asked.is_there();
        }
        return;
    }
    if let Some(waiting) = waiting_for(id) {
        waiting.end(answer);
        tell_idle();
    }
}

/// The service's answer, if it has the artifact. `false` if it is not to be used.
pub fn receive(id: u64, mut object: &[u8], trusted: &Trusted) -> bool {
    // Taken out when it is stored: until then it is under way.
    let Some(asked) = asked(id) else {
        return true;
    };
    let length = object.len() as u64;
    let received = asked.receive(&mut object, trusted);
    let is_used = received.is_ok();
    if let Err(reason) = received {
        asked.refuse(reason, length);
    }
    done(id);
    is_used
}

/// It was stored, or will not be.
fn done(id: u64) {
    waiting_for(id);
    tell_idle();
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
