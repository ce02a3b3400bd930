//! Events: what happened to a module, for diagnostics_channel and Chrome traces.

use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// One thing that happened; `name`s are those V8 uses in its own traces where it has one.
#[derive(Clone, Debug)]
pub struct Event {
    /// For example `moduleCacheHit`.
    pub name: &'static str,
    /// Start, in milliseconds since the epoch.
    pub timestamp: f64,
    /// Duration in milliseconds.
    pub duration: f64,
    /// Further facts.
    pub fields: Vec<(&'static str, Field)>,
}

/// A fact of an [`Event`].
#[derive(Clone, Debug)]
pub enum Field {
    /// A path, a hash, a reason.
    Text(String),
    /// A size in bytes, a count.
    Number(f64),
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Field {
    fn from(number: u64) -> Self {
        Self::Number(number as f64)
    }
}

impl From<usize> for Field {
    fn from(number: usize) -> Self {
        Self::Number(number as f64)
    }
}

/// A measured span; its event is made when it ends.
#[derive(Clone)]
pub struct Span {
    started: Instant,
    timestamp: f64,
}

impl Span {
    /// Starts now.
    pub fn start() -> Self {
        let timestamp = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64() * 1e3);
        Self {
            started: Instant::now(),
            timestamp,
        }
    }

    /// The event of this span, ending now.
    pub fn event(&self, name: &'static str, fields: Vec<(&'static str, Field)>) -> Event {
        Event {
            name,
            timestamp: self.timestamp,
            duration: self.started.elapsed().as_secs_f64() * 1e3,
            fields,
        }
    }
}

/// One environment's events that nobody fetched yet.
pub struct EventQueue {
    events: Mutex<Vec<Event>>,
    notify: Box<dyn Fn() + Send + Sync>,
}

/// An environment whose reader went away must not hold events without end.
const MAX_QUEUED: usize = 4096;

impl EventQueue {
    /// `notify` is called, on any thread, whenever the queue became non-empty.
    pub fn new(notify: Box<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self {
            events: Mutex::new(Vec::new()),
            notify,
        })
    }

    /// Queues an event.
    pub fn emit(&self, event: Event) {
        let first = {
            let mut events = self.events.lock();
            if events.len() >= MAX_QUEUED {
                return;
            }
            events.push(event);
            events.len() == 1
        };
        if first {
            (self.notify)();
        }
    }

    /// Has the queue hear of what concerns the whole process ([`announce`]), for as long as it is there.
    pub fn hears_of_the_process(self: &Arc<Self>) {
        let mut everyone = EVERYONE.lock();
        everyone.retain(|queue| queue.strong_count() > 0);
        everyone.push(Arc::downgrade(self));
    }

    /// Takes all events.
    pub fn drain(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock())
    }
}

/// All environments' queues.
static EVERYONE: Mutex<Vec<Weak<EventQueue>>> = Mutex::new(Vec::new());

/// Emits an event that belongs to no module, in every environment.
pub fn announce(name: &'static str, fields: &[(&'static str, Field)]) {
    let queues: Vec<_> = EVERYONE.lock().iter().filter_map(Weak::upgrade).collect();
    for queue in queues {
        queue.emit(Span::start().event(name, fields.to_vec()));
    }
}

/// The environments that want to hear about one module.
#[derive(Default)]
pub struct Listeners(Mutex<Vec<Weak<EventQueue>>>);

impl Listeners {
    /// Adds an environment, once.
    pub fn add(&self, queue: &Arc<EventQueue>) {
        let mut queues = self.0.lock();
        queues.retain(|known| known.strong_count() > 0);
        if !queues
            .iter()
            .any(|known| known.ptr_eq(&Arc::downgrade(queue)))
        {
            queues.push(Arc::downgrade(queue));
        }
    }

    /// Tells all of them.
    pub fn emit(&self, event: &Event) {
        let queues: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        for queue in queues {
            queue.emit(event.clone());
        }
    }
}
