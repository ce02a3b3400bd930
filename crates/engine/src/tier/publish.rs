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
use wasmer_vm::{FunctionBodyPtr, VMCallerCheckedAnyfunc, VMFunctionBody};

use super::code::{Code, Tier};
use super::hot::Hot;
use super::lazy::Lazy;

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
    /// The anyfuncs of its adapters.
    pub adapters: Slots,
    /// The thread it belongs to.
    pub mutator: Arc<dyn Mutator>,
    /// Import records of other instances that hold a body of this one: local function, address
    /// of the record's body field.
    pub dependents: Vec<(u32, *mut *const VMFunctionBody)>,
}

// SAFETY: the pointers are only followed under the module's lock while the instance is
// registered, see the invariants above.
unsafe impl Send for LiveInstance {}

impl Slots {
    /// Writes one, if there are so many. The instance must be registered, and its module locked.
    fn set(&self, index: usize, body: FunctionBodyPtr) {
        if index >= self.count {
            return;
        }
        // SAFETY: registered, so the slots are alive; the index is below their count.
        let slot = unsafe { self.base.add(index) };
        // SAFETY: a field of a live slot.
        let field = unsafe { &raw mut (*slot).func_ptr };
        // SAFETY: aligned, alive, and written by nobody else (first invariant).
        unsafe { store(field, body.0) };
    }
}

/// A module's code and its living instances.
pub struct Registered(Mutex<State>);

struct State {
    code: Arc<Code>,
    instances: HashMap<u64, LiveInstance>,
    next: u64,
}

impl State {
    /// Writes the body of a function into all of its slots.
    fn set(&self, number: u32, body: FunctionBodyPtr) {
        self.code.bodies.set(number, body);
        for instance in self.instances.values() {
            instance.slots.set(number as usize, body);
            let records = instance.dependents.iter();
            for (_, record) in records.filter(|(dependent, _)| *dependent == number) {
                // SAFETY: alive while the instance is registered (`depend`'s contract).
                unsafe { store(*record, body.0) };
            }
        }
    }
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
        let body = registered.code.bodies.get(local).0;
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
                    && body == registered.code.bodies.get(*local as u32).0
            })
            .count();
        (instance.slots.count, optimized)
    }

    /// A function of `lazy` is called, whose code is `body`: puts it into its slots, unless better code was published meanwhile.
    /// What is in its slots then. Adapters have the numbers behind the functions.
    pub(super) fn fill(&self, lazy: &Lazy, number: u32, body: FunctionBodyPtr) -> FunctionBodyPtr {
        let registered = self.0.lock();
        let code = &registered.code;
        let current = code.lazy.as_deref();
        let is_current = current.is_some_and(|current| std::ptr::eq(current, lazy));
        if let Some(adapter) = number.checked_sub(lazy.count()) {
            // Better code calls none.
            if is_current {
                code.adapters.set(adapter, body);
                for instance in registered.instances.values() {
                    instance.adapters.set(adapter as usize, body);
                }
            }
            return body;
        }
        let there = code.bodies.get(number);
        // Another thread that called it has, or there is better code.
        if !is_current || there.0 != lazy.stub(number).0 {
            return there;
        }
        let hot = code.hot.as_deref();
        let body = hot.map_or(body, |hot| hot.count(number, body));
        registered.set(number, body);
        body
    }

    /// There is better code of a function of `hot`, unless that of all functions was published meanwhile.
    pub(super) fn replace(&self, hot: &Hot, number: u32, body: FunctionBodyPtr) {
        let registered = self.0.lock();
        let current = registered.code.hot.as_deref();
        if current.is_some_and(|current| std::ptr::eq(current, hot)) {
            registered.set(number, body);
        }
    }

    /// Puts `code` in the place of the baseline's, everywhere. The old code is freed once every
    /// thread that has instances was seen without a frame.
    pub(super) fn publish(&self, code: Code) {
        let code = Arc::new(code);
        let mut mutators: HashMap<usize, Arc<dyn Mutator>> = HashMap::new();
        let old = {
            let mut registered = self.0.lock();
            let old = std::mem::replace(&mut registered.code, Arc::clone(&code));
            if let Some(lazy) = &old.lazy {
                lazy.retire();
            }
            if let Some(hot) = &old.hot {
                hot.retire();
            }
            for instance in registered.instances.values() {
                for local in 0..code.bodies.len() {
                    instance.slots.set(local, code.bodies.get(local as u32));
                }
                for (local, record) in &instance.dependents {
                    let body = code.bodies.get(*local).0;
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
