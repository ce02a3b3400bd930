//! Callbacks that other threads bring to an end, and the event loop that waits for them.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::calls::Call;
use super::env::{EnvShared, EnvState};
use super::errors;
use super::js::{self, Env, Reference, Result, Value};

/// A callback that another thread will bring to an end.
///
/// Invariant: the reference is used and dropped on the environment's thread only. If the environment
/// ends first, or its queue refuses the task, the reference is leaked: it died with the environment.
pub struct Waiting {
    shared: Arc<EnvShared>,
    target: Option<Box<Target>>,
}

struct Target {
    callback: Reference,
    hold: Arc<Hold>,
}

/// Whether a callback keeps the event loop alive. Changed on the environment's thread only, which is
/// alive then.
pub struct Hold {
    state: *const EnvState,
    held: AtomicBool,
    /// What a stream's compiler was given so far.
    given: AtomicUsize,
}

// SAFETY: other threads only carry it back to tasks of the environment's thread.
unsafe impl Send for Hold {}
// SAFETY: as above.
unsafe impl Sync for Hold {}

impl Hold {
    pub fn new(state: &EnvState) -> Self {
        let hold = Self {
            state,
            held: AtomicBool::new(false),
            given: AtomicUsize::new(0),
        };
        hold.set(true);
        hold
    }

    fn set(&self, held: bool) {
        if self.held.swap(held, Ordering::Relaxed) == held {
            return;
        }
        if held {
            self.state().waits();
        } else {
            self.state().settled();
        }
    }

    fn state(&self) -> &EnvState {
        // SAFETY: this is the environment's thread, and it is alive.
        unsafe { &*self.state }
    }

    /// The compiler has work.
    pub fn give(&self) {
        self.given.fetch_add(1, Ordering::Relaxed);
        self.set(true);
    }

    /// The compiler is done with that much.
    pub fn rest(&self, taken: usize) {
        if self.given.load(Ordering::Relaxed) == taken {
            self.set(false);
        }
    }
}

// SAFETY: other threads only carry the box back to `settle`'s task, which runs on the
// environment's thread.
unsafe impl Send for Waiting {}

/// Never dropped by itself: a task that does not run is dropped on another thread.
struct Carried(ManuallyDrop<Box<Target>>);

// SAFETY: as for `Waiting`.
unsafe impl Send for Carried {}

impl Waiting {
    /// Takes the callback in argument `index` and keeps the event loop alive for it.
    pub fn new(call: &Call<'_>, index: usize) -> Result<Self> {
        Self::holding(call, index, Arc::new(Hold::new(call.state)))
    }

    /// As [`Self::new`], with a hold of the caller's.
    pub fn holding(call: &Call<'_>, index: usize, hold: Arc<Hold>) -> Result<Self> {
        let callback = call.reference(index)?;
        Ok(Self {
            shared: Arc::clone(&call.state.shared),
            target: Some(Box::new(Target { callback, hold })),
        })
    }

    /// Calls back with what `arguments` makes, on the environment's thread.
    pub fn settle(
        mut self,
        arguments: impl FnOnce(Env, &EnvState) -> Result<Vec<Value>> + Send + 'static,
    ) {
        if let Some(target) = self.target.take() {
            let carried = Carried(ManuallyDrop::new(target));
            self.shared.post(Box::new(move |env| {
                // The whole wrapper must be captured: it is what is `Send`.
                let carried = carried;
                let target = ManuallyDrop::into_inner(carried.0);
                target.hold.set(false);
                let state = target.hold.state();
                let called = arguments(env, state)
                    .and_then(|arguments| js::call(env, target.callback.get()?, &arguments));
                if let Err(thrown) = called {
                    errors::throw(env, state, thrown);
                }
            }));
        }
    }

    /// Gives up, on the environment's own thread.
    pub fn abandon(mut self) {
        if let Some(target) = self.target.take() {
            target.hold.set(false);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Dropped by another thread: its reference belongs to the environment.
        if let Some(target) = self.target.take() {
            let carried = Carried(ManuallyDrop::new(target));
            self.shared.post(Box::new(move |_| {
                let carried = carried;
                ManuallyDrop::into_inner(carried.0).hold.set(false);
            }));
        }
    }
}
