//! The swap: new bodies into the slots of every living instance, in every thread.
//!
//! Invariant: a slot (`VMCallerCheckedAnyfunc::func_ptr`) and an import record's body are only
//! written under their module's lock, by the publisher, or before the instance was registered.
//! A race with the thread that runs the instance is benign: it reads either body with one aligned
//! load, and either is right.
//!
//! Invariant: an instance is unregistered, under the same lock, before its memory is freed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::Mutex;
use wasmer_types::LocalFunctionIndex;
use wasmer_types::entity::EntityRef;
use wasmer_vm::{VMCallerCheckedAnyfunc, VMFunctionBody};

use super::code::{Code, Tier};

/// A thread that runs instances.
pub trait Mutator: Send + Sync {
    /// Runs `task` on that thread as soon as no WebAssembly frame is on its stack, or drops it
    /// when the thread ended.
    fn when_idle(&self, task: Box<dyn FnOnce() + Send>);

    /// Identity: two values stand for one thread if their ids are equal.
    fn id(&self) -> usize;
}

/// The anyfuncs of an instance's own functions.
#[derive(Clone, Copy)]
pub struct Slots {
    /// Of local function 0.
    pub base: *mut VMCallerCheckedAnyfunc,
    /// How many.
    pub count: usize,
}

/// A registered instance.
pub struct LiveInstance {
    /// Its slots.
    pub slots: Slots,
    /// The thread it belongs to.
    pub mutator: Arc<dyn Mutator>,
    /// Import records of other instances that hold a body of this one: local function, address
    /// of the record's body field.
    pub dependents: Vec<(u32, *mut *const VMFunctionBody)>,
}

// SAFETY: the pointers are only followed under the module's lock while the instance is
// registered, see the invariants above.
unsafe impl Send for LiveInstance {}

/// A module's code and its living instances.
pub struct Registered(Mutex<State>);

struct State {
    code: Arc<Code>,
    instances: HashMap<u64, LiveInstance>,
    next: u64,
}

impl Registered {
    pub(super) fn new(code: Code) -> Self {
        Self(Mutex::new(State {
            code: Arc::new(code),
            instances: HashMap::new(),
            next: 1,
        }))
    }

    /// The code that new instances get.
    pub(super) fn code(&self) -> Arc<Code> {
        Arc::clone(&self.0.lock().code)
    }

    /// Makes an instance from the current code and registers it; no swap happens in between.
    ///
    /// # Errors
    /// Whatever `make` returned.
    pub fn attach<R, E>(
        &self,
        make: impl FnOnce(&Arc<Code>) -> Result<(R, LiveInstance), E>,
    ) -> Result<(u64, R), E> {
        let mut registered = self.0.lock();
        let (made, instance) = make(&registered.code)?;
        let id = registered.next;
        registered.next += 1;
        registered.instances.insert(id, instance);
        Ok((id, made))
    }

    /// The instance is about to be freed.
    pub fn detach(&self, id: u64) {
        let removed = self.0.lock().instances.remove(&id);
        drop(removed);
    }

    /// An import record of another instance holds the body of `local` of instance `id`: sets it
    /// to the current body and keeps it up to date from now on.
    ///
    /// # Safety
    /// `record` must stay valid until `id` is detached, or until [`Self::forget_dependents`] has removed it.
    pub unsafe fn depend(&self, id: u64, local: u32, record: *mut *const VMFunctionBody) {
        let mut registered = self.0.lock();
        let body = registered.code.bodies[LocalFunctionIndex::new(local as usize)].0;
        if let Some(instance) = registered.instances.get_mut(&id) {
            instance.dependents.push((local, record));
            // SAFETY: valid by the caller's promise, and nobody else writes it (first invariant).
            unsafe { store(record, body) };
        }
    }

    /// Instances whose import records held bodies of instance `id` are about to be freed; `gone` says whether a
    /// record's address is in one of them.
    pub fn forget_dependents(&self, id: u64, gone: impl Fn(usize) -> bool) {
        if let Some(instance) = self.0.lock().instances.get_mut(&id) {
            instance
                .dependents
                .retain(|(_, record)| !gone(*record as usize));
        }
    }

    /// How many living instances there are, their slots, and how many of these hold optimized
    /// bodies.
    pub fn inspect(&self, id: u64) -> (usize, usize) {
        let registered = self.0.lock();
        let Some(instance) = registered.instances.get(&id) else {
            return (0, 0);
        };
        let optimized = (0..instance.slots.count)
            .filter(|local| {
                // SAFETY: below the slots' count.
                let slot = unsafe { instance.slots.base.add(*local) };
                // SAFETY: registered, so the slots are alive.
                let body = unsafe { (*slot).func_ptr };
                registered.code.tier == Tier::Optimized
                    && body == registered.code.bodies[LocalFunctionIndex::new(*local)].0
            })
            .count();
        (instance.slots.count, optimized)
    }

    /// Puts `code` in the place of the baseline's, everywhere. The old code is freed once every
    /// thread that has instances was seen without a frame.
    pub(super) fn publish(&self, code: Code) {
        let code = Arc::new(code);
        let mut mutators: HashMap<usize, Arc<dyn Mutator>> = HashMap::new();
        let old = {
            let mut registered = self.0.lock();
            let old = std::mem::replace(&mut registered.code, Arc::clone(&code));
            for instance in registered.instances.values() {
                for (local, body) in code.bodies.iter().take(instance.slots.count) {
                    // SAFETY: registered, so the slots are alive; `local` is below their count.
                    let slot = unsafe { instance.slots.base.add(local.index()) };
                    // SAFETY: a field of a live slot.
                    let field = unsafe { &raw mut (*slot).func_ptr };
                    // SAFETY: aligned, alive, and written by nobody else (first invariant).
                    unsafe { store(field, body.0) };
                }
                for (local, record) in &instance.dependents {
                    let body = code.bodies[LocalFunctionIndex::new(*local as usize)].0;
                    // SAFETY: alive while the instance is registered (`depend`'s contract).
                    unsafe { store(*record, body) };
                }
                mutators
                    .entry(instance.mutator.id())
                    .or_insert_with(|| Arc::clone(&instance.mutator));
            }
            old
        };
        for mutator in mutators.values() {
            let old = Arc::clone(&old);
            mutator.when_idle(Box::new(move || drop(old)));
        }
    }
}

/// # Safety
/// `at` must be aligned and alive, and only ever written through this function while other
/// threads may read it.
unsafe fn store(at: *mut *const VMFunctionBody, body: *const VMFunctionBody) {
    // SAFETY: the caller's promise; `AtomicPtr` has the layout of a pointer.
    let slot = unsafe { AtomicPtr::from_ptr(at.cast::<*mut VMFunctionBody>()) };
    slot.store(body.cast_mut(), Ordering::Release);
}
