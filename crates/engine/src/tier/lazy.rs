//! The lazy baseline: a function is compiled when it is called first, with what it is likely to call next.
//!
//! Every slot begins at a stub (`stubs.rs`). What is called first is compiled by a thread that has nothing else to do, and goes
//! to the slots of all instances of the module. Meanwhile, and afterwards, another thread compiles the functions that called
//! functions name, so that their first calls find them ready. They stay behind their stubs until then: so it is known what was
//! called, and what that may call next. Of a module that is not large, threads that are not the program's then go through all the
//! others, too.
//!
//! Invariant: a stub is left to code of its own function, or not at all.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Condvar, Mutex};
use wasmer_vm::{FunctionBodyPtr, VMFunctionBody, on_host_stack, raise_user_trap};

use super::loaded::Loaded;
use super::piece::{self, Compiled, Piece};
use super::scheduler;
use super::stubs::Stubs;
use crate::error::CompileError;
use crate::module::{BodyTier, Declaration, Skeleton};
use crate::panics;

/// So many bytes of bodies (for Singlepass) take somewhat longer than a compile of nothing, with the threads that it goes through:
/// as many are compiled together with what is called.
const TOGETHER: usize = 8 << 10;
/// So many are compiled ahead at once: a call of one of them waits for all.
const AHEAD: usize = 2 * TOGETHER;
/// So many adapters are worth a compile of their own.
const ADAPTERS: usize = 8;

/// Who has the slots.
pub(super) trait Slots: Send + Sync {
    /// A local function is called, whose code is there: writes it into the slots, if there is no better code by now; what is
    /// in the slots then.
    fn fill(&self, of: &Lazy, local: u32, body: FunctionBodyPtr) -> FunctionBodyPtr;

    /// What the functions are declared in.
    fn declaration(&self) -> Weak<Declaration>;
}

/// The functions of a module, which are valid.
pub(super) struct Functions {
    pub(super) skeleton: Arc<Skeleton>,
    pub(super) bytes: Arc<Vec<u8>>,
    /// All that are its own.
    pub(super) bodies: Box<[Body]>,
}

/// One of them.
pub(super) struct Body {
    pub(super) tier: BodyTier,
    /// Where it is in the module.
    pub(super) range: Range<u32>,
}

/// The functions of a module that are compiled when they are called.
pub struct Lazy {
    functions: Arc<Functions>,
    stubs: OnceLock<Stubs>,
    slots: OnceLock<Weak<dyn Slots>>,
    /// There is better code.
    retired: AtomicBool,
    /// All functions are compiled ahead.
    is_swept: bool,
    /// So many threads compile ahead: one, if the program leaves one; or as many as there are cores, as if the program waited for
    /// them. To ask for them reads files.
    threads: usize,
    state: Mutex<State>,
    changed: Condvar,
}

enum Function {
    Absent,
    /// A thread is at it.
    Compiling,
    /// It was not called yet. What it calls may be called next.
    Ready(FunctionBodyPtr, Box<[u32]>),
    Called(FunctionBodyPtr),
    Failed(CompileError),
}

struct State {
    functions: Vec<Function>,
    /// How many of them were called.
    called: usize,
    donors: Vec<Arc<Loaded>>,
    /// What may be called next, the likeliest last.
    likely: Vec<u32>,
    /// Adapters that compiled functions name, by the numbers behind those of the functions.
    named: Vec<u32>,
    /// All before it were looked at by who compiles everything ahead.
    next: u32,
    /// So many threads compile ahead.
    ahead: usize,
}

// SAFETY: the addresses are of immutable machine code that `donors` keep mapped.
unsafe impl Send for State {}

/// How a call ends of what could not be compiled.
#[derive(Debug, thiserror::Error)]
#[error("a function could not be compiled: {0}")]
pub struct NotCompiled(CompileError);

impl Lazy {
    /// `None` where there are no stubs. `compiled` are those of the functions that have code already; `is_swept`: the others are
    /// compiled whether they are called or not.
    pub(super) fn new(
        functions: Arc<Functions>,
        compiled: &[Option<FunctionBodyPtr>],
        is_swept: bool,
    ) -> Option<Arc<Self>> {
        let count = functions.bodies.len() + functions.skeleton.adapter_count() as usize;
        let cores = scheduler::cores().get();
        let compiled = compiled.iter();
        let mut states: Vec<_> = compiled
            .map(|body| body.map_or(Function::Absent, Function::Called))
            .collect();
        states.resize_with(count, || Function::Absent);
        let lazy = Arc::new(Self {
            functions,
            stubs: OnceLock::new(),
            slots: OnceLock::new(),
            retired: AtomicBool::new(false),
            is_swept,
            threads: if is_swept { cores } else { (cores - 1).min(1) },
            state: Mutex::new(State {
                functions: states,
                called: 0,
                donors: Vec::new(),
                likely: Vec::new(),
                named: Vec::new(),
                next: if is_swept { 0 } else { u32::MAX },
                ahead: 0,
            }),
            changed: Condvar::new(),
        });
        let owner = Arc::as_ptr(&lazy).cast();
        let stubs = Stubs::new(count, owner, resolve)?;
        lazy.stubs.set(stubs).ok()?;
        Some(lazy)
    }

    /// How many functions there are. Adapters have the numbers behind them.
    pub(super) fn count(&self) -> u32 {
        self.functions.bodies.len() as u32
    }

    /// What is in the slots of functions and adapters that were not called.
    pub(super) fn stub(&self, local: u32) -> FunctionBodyPtr {
        let stubs = self.stubs.get();
        FunctionBodyPtr(stubs.map_or(std::ptr::null(), |stubs| stubs.stub(local)))
    }

    /// Whose functions they are.
    pub(super) fn belongs_to(self: &Arc<Self>, slots: Weak<dyn Slots>) {
        let _ = self.slots.set(slots);
        if self.is_swept {
            self.go_ahead();
        }
    }

    /// How many functions were called so far; `None` where all are compiled whether they are or not.
    pub(super) fn called(&self) -> Option<usize> {
        (!self.is_swept).then(|| self.state.lock().called)
    }

    /// There is better code: nothing is compiled ahead any more.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// The code of a function that is called.
    fn call(self: &Arc<Self>, local: u32) -> Result<FunctionBodyPtr, NotCompiled> {
        let mut state = self.state.lock();
        let body = loop {
            let function = &mut state.functions[local as usize];
            match function {
                Function::Called(body) => break *body,
                Function::Ready(body, callees) => {
                    let (body, callees) = (*body, std::mem::take(callees));
                    *function = Function::Called(body);
                    state.called += 1;
                    state.expect(&callees);
                    break body;
                }
                Function::Failed(error) => return Err(NotCompiled(error.clone())),
                Function::Compiling => self.changed.wait(&mut state),
                Function::Absent => {
                    *function = Function::Compiling;
                    drop(state);
                    self.compile_aside(local);
                    state = self.state.lock();
                }
            }
        };
        let goes_ahead = state.ahead < self.threads && !state.likely.is_empty();
        drop(state);
        if goes_ahead {
            self.go_ahead();
        }
        let slots = self.slots.get().and_then(Weak::upgrade);
        Ok(slots.map_or(body, |slots| slots.fill(self, local, body)))
    }

    /// Compiles what is called: on a thread that has the stack for it.
    fn compile_aside(self: &Arc<Self>, local: u32) {
        let lazy = Arc::clone(self);
        let task = move || lazy.compile(&[local], true);
        // Out of threads, the caller's stack will have to do.
        if let Err(_refused) = scheduler::compile_aside(task) {
            self.compile(&[local], true);
        }
    }

    /// Has threads compile ahead.
    fn go_ahead(self: &Arc<Self>) {
        let more = {
            let mut state = self.state.lock();
            let before = state.ahead;
            state.ahead = before.max(if self.is_wanted() { self.threads } else { 0 });
            state.ahead - before
        };
        for _ in 0..more {
            self.compile_ahead_later();
        }
    }

    /// How many bytes are compiled at once: twice as many where they are in any case.
    fn room(&self, bytes: usize) -> usize {
        if self.is_swept { 2 * bytes } else { bytes }
    }

    /// Whether there is no better code, and somebody has the module.
    fn is_wanted(&self) -> bool {
        let slots = self.slots.get();
        let is_there = slots.is_none_or(|slots| slots.strong_count() > 0);
        is_there && !self.retired.load(Ordering::Relaxed)
    }

    fn compile_ahead_later(self: &Arc<Self>) {
        let lazy = Arc::clone(self);
        scheduler::compiling(Box::new(move || lazy.compile_ahead()));
    }

    /// Compiles some functions, and lets others have the thread before the next ones.
    fn compile_ahead(self: &Arc<Self>) {
        let chosen = {
            let mut state = self.state.lock();
            let chosen = if self.is_wanted() {
                state.choose(&self.functions.bodies, self.room(AHEAD))
            } else {
                Vec::new()
            };
            state.ahead -= usize::from(chosen.is_empty());
            chosen
        };
        if !chosen.is_empty() {
            self.compile(&chosen, false);
            self.compile_ahead_later();
        }
    }

    /// Compiles what this thread has taken; `with_more`: and something of what that calls.
    fn compile(&self, taken: &[u32], with_more: bool) {
        let compiled = panics::catch("the lazy baseline", || {
            let (functions, adapters): (Vec<u32>, Vec<u32>) =
                taken.iter().partition(|number| **number < self.count());
            if !adapters.is_empty() {
                self.compile_adapters(adapters, with_more);
            }
            for tier in [BodyTier::Singlepass, BodyTier::Cranelift] {
                let of_tier = functions.iter().copied();
                let of_tier =
                    of_tier.filter(|local| self.functions.bodies[*local as usize].tier == tier);
                let of_tier: Vec<_> = of_tier.collect();
                if !of_tier.is_empty() {
                    self.compile_piece(tier, of_tier, with_more);
                }
            }
        });
        if let Err(panicked) = compiled {
            self.fail(taken, &CompileError::unsupported(panicked.to_string()));
        }
    }

    /// `with_more`: and all others that compiled functions name.
    fn compile_adapters(&self, adapters: Vec<u32>, with_more: bool) {
        let mut claim = Claim {
            lazy: self,
            functions: adapters,
        };
        if with_more {
            claim.functions.extend(self.state.lock().take_named());
        }
        let numbers = claim.functions.iter().map(|number| number - self.count());
        let numbers: Vec<_> = numbers.collect();
        match piece::compile_adapters(&self.functions.skeleton, &numbers) {
            Ok(Compiled { bodies, loaded }) => {
                let mut state = self.state.lock();
                for (number, body) in bodies {
                    let number = (self.count() + number) as usize;
                    state.functions[number] = Function::Ready(body, Box::default());
                }
                state.donors.push(loaded);
            }
            // One of them is the cause.
            Err(_) if claim.functions.len() > 1 => {
                for number in std::mem::take(&mut claim.functions) {
                    self.compile_adapters(vec![number], false);
                }
            }
            Err(error) => self.fail(&claim.functions, &error),
        }
    }

    /// What of these has no code will have none.
    fn fail(&self, functions: &[u32], error: &CompileError) {
        let mut state = self.state.lock();
        for local in functions {
            let function = &mut state.functions[*local as usize];
            if matches!(function, Function::Absent | Function::Compiling) {
                *function = Function::Failed(error.clone());
            }
        }
        self.changed.notify_all();
    }

    fn compile_piece(&self, tier: BodyTier, functions: Vec<u32>, with_more: bool) {
        let mut claim = Claim {
            lazy: self,
            functions,
        };
        let mut piece = Piece::new(&self.functions.skeleton, tier);
        let mut callees = Vec::new();
        let mut adapters = Vec::new();
        let mut next = 0;
        let mut room = if with_more { self.room(TOGETHER) } else { 0 };
        let lowered = loop {
            let Some(local) = claim.functions.get(next) else {
                break Ok(());
            };
            let body = &self.functions.bodies[*local as usize].range;
            let bytes = &self.functions.bytes[body.start as usize..body.end as usize];
            let body = match piece.add(*local, bytes, body.start.into()) {
                Ok(body) => body,
                Err(error) => break Err(error),
            };
            adapters.extend(body.adapters.iter().map(|number| self.count() + number));
            callees.push(body.callees.clone().into_boxed_slice());
            if room > 0 {
                let mut state = self.state.lock();
                for callee in &body.callees {
                    let Body { tier: its, range } = &self.functions.bodies[*callee as usize];
                    let function = &mut state.functions[*callee as usize];
                    let weight = piece::weight(tier, range.len());
                    if *its == tier && weight <= room && matches!(function, Function::Absent) {
                        *function = Function::Compiling;
                        claim.functions.push(*callee);
                        room -= weight;
                    }
                }
            }
            next += 1;
        };
        match lowered.and_then(|()| piece.compile()) {
            Ok(Compiled { bodies, loaded }) => {
                if let Some(slots) = self.slots.get().and_then(Weak::upgrade) {
                    loaded.belongs_to(&slots.declaration());
                }
                let mut state = self.state.lock();
                for ((local, body), callees) in bodies.into_iter().zip(callees) {
                    state.functions[local as usize] = Function::Ready(body, callees);
                }
                state.name(adapters);
                state.donors.push(loaded);
            }
            // One of them is the cause.
            Err(_) if claim.functions.len() > 1 => {
                for local in std::mem::take(&mut claim.functions) {
                    self.compile_piece(tier, vec![local], false);
                }
            }
            Err(_) if tier == BodyTier::Singlepass => {
                let functions = std::mem::take(&mut claim.functions);
                self.compile_piece(BodyTier::Cranelift, functions, false);
            }
            Err(error) => self.fail(&claim.functions, &error),
        }
    }
}

impl State {
    /// These may be called next.
    fn expect(&mut self, callees: &[u32]) {
        let absent = |local: &&u32| matches!(self.functions[**local as usize], Function::Absent);
        let absent: Vec<_> = callees.iter().rev().filter(absent).copied().collect();
        self.likely.extend(absent);
    }

    fn name(&mut self, adapters: Vec<u32>) {
        for number in adapters {
            let is_absent = matches!(self.functions[number as usize], Function::Absent);
            if is_absent && !self.named.contains(&number) {
                self.named.push(number);
            }
        }
    }

    /// Takes the adapters that functions name.
    fn take_named(&mut self) -> Vec<u32> {
        let mut taken = std::mem::take(&mut self.named);
        taken.retain(|number| {
            let function = &mut self.functions[*number as usize];
            let is_absent = matches!(function, Function::Absent);
            if is_absent {
                *function = Function::Compiling;
            }
            is_absent
        });
        taken
    }

    /// What may be called next; or else the next of all `count` functions, where all are compiled.
    fn likeliest(&mut self, count: usize) -> Option<u32> {
        let next = self.next;
        self.likely.pop().or_else(|| {
            let is_one = (next as usize) < count;
            is_one.then(|| {
                self.next += 1;
                next
            })
        })
    }

    /// Takes what is to be compiled ahead: for Singlepass, `room` bytes.
    fn choose(&mut self, bodies: &[Body], room: usize) -> Vec<u32> {
        let is_last = self.likely.is_empty() && self.next as usize >= bodies.len();
        if self.named.len() >= ADAPTERS || is_last {
            let named = self.take_named();
            if !named.is_empty() {
                return named;
            }
        }
        let mut chosen = Vec::new();
        let mut taken = 0;
        while taken < room
            && let Some(local) = self.likeliest(bodies.len())
        {
            let function = &mut self.functions[local as usize];
            if matches!(function, Function::Absent) {
                *function = Function::Compiling;
                let Body { tier, range } = &bodies[local as usize];
                taken += piece::weight(*tier, range.len());
                chosen.push(local);
            }
        }
        chosen
    }
}

/// Functions that this thread compiles. What has not become of one, another thread may try.
struct Claim<'lazy> {
    lazy: &'lazy Lazy,
    functions: Vec<u32>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.lazy.state.lock();
        for local in &self.functions {
            let function = &mut state.functions[*local as usize];
            if matches!(function, Function::Compiling) {
                *function = Function::Absent;
            }
        }
        self.lazy.changed.notify_all();
    }
}

/// A stub was called.
///
/// # Safety
/// On a WebAssembly stack, from a stub of the [`Lazy`] at `owner`, whose instance keeps it alive; no destructor is owed in the
/// frames up to WebAssembly's.
unsafe extern "C-unwind" fn resolve(owner: *const (), local: u32) -> *const VMFunctionBody {
    let owner = owner.cast::<Lazy>();
    let called = on_host_stack(|| {
        // SAFETY: alive, by the caller's promise, and held by an `Arc` (`Lazy::new`).
        unsafe { Arc::increment_strong_count(owner) };
        // SAFETY: the count is this one's.
        let lazy = unsafe { Arc::from_raw(owner) };
        panics::catch("a stub", || lazy.call(local)).unwrap_or_else(|panicked| {
            let error = CompileError::unsupported(panicked.to_string());
            Err(NotCompiled(error))
        })
    });
    match called {
        Ok(body) => body.0,
        // SAFETY: the caller's promise.
        Err(error) => unsafe { raise_user_trap(Box::new(error)) },
    }
}

#[cfg(test)]
#[path = "lazy_tests.rs"]
mod tests;
