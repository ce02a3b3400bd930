//! How often the border between JavaScript and WebAssembly is crossed, in the whole process.
//!
//! Each environment counts for itself: an addition that no other thread can meet costs less than a nanosecond, one that the
//! cores have to agree on ten.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// What one environment has counted.
#[derive(Default)]
pub struct Crossings {
    /// Calls of exported functions by JavaScript.
    pub calls: Count,
    /// Calls of JavaScript by WebAssembly.
    pub imports: Count,
    /// Calls of either kind that ended with an exception, traps among them.
    pub exceptions: Count,
    /// Instances that were made.
    pub instances: Count,
    /// Functions of WebAssembly that were made for functions of JavaScript's, for tables.
    pub functions: Count,
}

/// Written by its environment's thread only.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    #[inline]
    pub fn add(&self) {
        self.0
            .store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// Of all environments.
struct All {
    living: Vec<Arc<Crossings>>,
    /// What those that ended had counted.
    ended: Totals,
}

static ALL: Mutex<All> = Mutex::new(All {
    living: Vec::new(),
    ended: [0; NAMES.len()],
});

/// As JavaScript has them.
pub const NAMES: [&str; 5] = ["calls", "imports", "exceptions", "instances", "functions"];

/// In the order of [`NAMES`].
pub type Totals = [u64; NAMES.len()];

impl Crossings {
    /// Those of an environment that begins.
    pub fn begin() -> Arc<Self> {
        let crossings = Arc::new(Self::default());
        ALL.lock().living.push(Arc::clone(&crossings));
        crossings
    }

    /// Its environment ends.
    pub fn end(self: &Arc<Self>) {
        let mut all = ALL.lock();
        all.living.retain(|living| !Arc::ptr_eq(living, self));
        self.add_to(&mut all.ended);
    }

    fn add_to(&self, totals: &mut Totals) {
        let counts = [
            &self.calls,
            &self.imports,
            &self.exceptions,
            &self.instances,
            &self.functions,
        ];
        for (total, count) in totals.iter_mut().zip(counts) {
            *total += count.0.load(Ordering::Relaxed);
        }
    }
}

/// What the process has counted, in the order of [`NAMES`].
pub fn totals() -> Totals {
    let all = ALL.lock();
    let mut totals = all.ended;
    for crossings in &all.living {
        crossings.add_to(&mut totals);
    }
    totals
}
