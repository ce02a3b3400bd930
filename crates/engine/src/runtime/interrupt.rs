//! Ending WebAssembly on a thread whose environment is to stop.
//!
//! V8 ends a thread by a request that its own code looks for at every loop and call; ours does not look. So a thread of
//! ours looks, every [`TICK`], for threads that have been in WebAssembly since the last time, and sends each a signal:
//! only a thread itself may ask its environment. If that is to stop, the signal's handler has the thread go on in [`end`],
//! which leaves WebAssembly by a trap that nothing can catch.
//!
//! Invariant: WebAssembly is left from compiled code only, which holds no lock and owes no destructor. A thread that is
//! found in a library call (filling a memory, for example) finishes that one, and its next one is [`end`].
//!
//! Invariant: a [`Watched`] is never freed, because the signal's handler may look at it at any time.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasmer_vm::{VMBuiltinFunctionIndex, VMInstance, raise_user_trap};

use super::signal;
use super::stack::{CallStack, WasmThread};

/// WebAssembly was ended, because its environment is to stop.
#[derive(Debug, thiserror::Error)]
#[error("the environment is to stop")]
pub(super) struct Interrupted;

/// Whether the environment behind the pointer is to stop.
///
/// It is asked on the environment's thread, inside WebAssembly and from a signal's handler, so it must neither allocate
/// nor lock.
pub type Question = unsafe fn(*mut c_void) -> bool;

/// How often the watching thread looks. A thread is ended within two ticks; a signal costs it some microseconds.
const TICK: Duration = Duration::from_millis(20);

/// After so many ticks without WebAssembly the watching thread sleeps until the next call.
const PATIENCE: u32 = 50;

/// One environment that another thread may stop.
pub struct Watched {
    next: *const Self,
    /// The id of the environment's thread, 0 while there is no environment.
    thread: AtomicI32,
    /// Counts the ways into WebAssembly and out of it: odd while inside.
    stay: AtomicU64,
    /// `stay` at the last tick; the watching thread's.
    seen: AtomicU64,
    /// A signal is under way.
    asked: AtomicBool,
    /// The environment's; used by its thread only.
    question: Cell<Option<(Question, *mut c_void)>>,
    zone: Cell<*const CallStack>,
}

// SAFETY: the cells are used by one thread, `next` never changes, and the rest is atomic.
unsafe impl Sync for Watched {}

/// All that ever were, linked by `next`.
static ALL: AtomicPtr<Watched> = AtomicPtr::new(ptr::null_mut());

/// Held while environments come and go, and while the watching thread looks: who holds it may send signals to the
/// threads in the list. Says whether the watching thread was started.
static WATCH: Mutex<bool> = Mutex::new(false);

static WAKE: Condvar = Condvar::new();

/// The watching thread sleeps, or is about to.
static ASLEEP: AtomicBool = AtomicBool::new(true);

fn all() -> impl Iterator<Item = &'static Watched> {
    let mut next = ALL.load(Ordering::Acquire).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: null, or one of the list, which are never freed.
        let watched = unsafe { next.as_ref() }?;
        next = watched.next;
        Some(watched)
    })
}

impl Watched {
    /// Whether the calling thread's environment may have to be told to leave WebAssembly, and can be.
    pub fn is_needed() -> bool {
        signal::thread_to_watch().is_some()
    }

    /// Watches the calling thread's environment until [`Self::end`]. `None` where this is not needed, because the thread
    /// is the process's first, or not possible.
    pub fn begin(
        thread: WasmThread,
        question: Question,
        environment: *mut c_void,
    ) -> Option<&'static Self> {
        let id = signal::thread_to_watch()?;
        let _watch = WATCH.lock();
        let watched = all()
            .find(|watched| watched.thread.load(Ordering::Relaxed) == 0)
            .unwrap_or_else(|| {
                let made = Box::leak(Box::new(Self {
                    next: ALL.load(Ordering::Relaxed),
                    thread: AtomicI32::new(0),
                    stay: AtomicU64::new(0),
                    seen: AtomicU64::new(0),
                    asked: AtomicBool::new(false),
                    question: Cell::new(None),
                    zone: Cell::new(ptr::null()),
                }));
                ALL.store(made, Ordering::Release);
                made
            });
        watched.question.set(Some((question, environment)));
        watched.zone.set(thread.zone());
        watched.thread.store(id, Ordering::Relaxed);
        Some(watched)
    }

    /// The environment ends; called on its thread, outside WebAssembly.
    pub fn end(&self) {
        let _watch = WATCH.lock();
        self.thread.store(0, Ordering::Relaxed);
        self.question.set(None);
        self.asked.store(false, Ordering::Relaxed);
        self.stay.store(0, Ordering::Relaxed);
        self.seen.store(0, Ordering::Relaxed);
    }

    /// The thread enters WebAssembly, or comes back to it.
    #[inline]
    pub fn enter(&self) {
        self.step();
        if ASLEEP.load(Ordering::Relaxed) {
            wake();
        }
    }

    /// The thread leaves WebAssembly, for good or to call the host.
    #[inline]
    pub fn leave(&self) {
        self.step();
    }

    /// Whether the thread is in WebAssembly, and not in what that called.
    pub fn is_inside(&self) -> bool {
        !self.stay.load(Ordering::Relaxed).is_multiple_of(2)
    }

    #[inline]
    fn step(&self) {
        let stay = self.stay.load(Ordering::Relaxed);
        self.stay.store(stay + 1, Ordering::Relaxed);
    }

    /// Whether anything happened since the last tick; asks a thread that stayed inside.
    fn look(&self) -> bool {
        let thread = self.thread.load(Ordering::Relaxed);
        let stay = self.stay.load(Ordering::Relaxed);
        let inside = !stay.is_multiple_of(2);
        let stayed = self.seen.swap(stay, Ordering::Relaxed) == stay;
        if thread != 0 && inside && stayed && !self.asked.swap(true, Ordering::Relaxed) {
            let sent = signal::send(thread);
            if !sent {
                self.asked.store(false, Ordering::Relaxed);
            }
        }
        inside || !stayed
    }
}

#[cold]
fn wake() {
    let mut started = WATCH.lock();
    if !*started {
        let spawned = std::thread::Builder::new()
            .name("wasm-interrupt".to_owned())
            .spawn(watch);
        *started = spawned.is_ok();
    }
    ASLEEP.store(!*started, Ordering::Relaxed);
    WAKE.notify_one();
}

fn watch() {
    let mut watch = WATCH.lock();
    let mut quiet = 0;
    loop {
        WAKE.wait_for(&mut watch, TICK);
        let mut busy = false;
        for watched in all() {
            busy |= watched.look();
        }
        quiet = if busy { 0 } else { quiet + 1 };
        // A call that began without seeing that we are about to sleep is seen a tick later, at the latest.
        if quiet == PATIENCE || busy {
            ASLEEP.store(!busy, Ordering::Relaxed);
        }
        if quiet > PATIENCE {
            while ASLEEP.load(Ordering::Relaxed) {
                WAKE.wait(&mut watch);
            }
            quiet = 0;
        }
    }
}

/// What the signal's handler is to do with the thread it interrupted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Continue,
    /// Have it go on in [`end`].
    End,
}

/// Asked by the signal's handler; `sp` and `in_native_code` say where its thread was.
pub(super) fn judge(thread: i32, sp: usize, in_native_code: impl Fn() -> bool) -> Verdict {
    let mut verdict = Verdict::Continue;
    for watched in all() {
        if watched.thread.load(Ordering::Relaxed) != thread
            || !watched.asked.swap(false, Ordering::Relaxed)
        {
            continue;
        }
        // SAFETY: this thread's, which is alive.
        let zone = unsafe { &*watched.zone.get() };
        let Some((question, environment)) = watched.question.get() else {
            continue;
        };
        // On the host's stack the thread may hold V8's locks.
        // SAFETY: the environment is this thread's, which has not ended because it is in WebAssembly.
        if !zone.is_on_stack(sp) || !unsafe { question(environment) } {
            continue;
        }
        if in_native_code() {
            close_libraries();
        } else {
            verdict = Verdict::End;
        }
    }
    verdict
}

/// Leaves WebAssembly. Compiled code is made to go on here, or calls it in the place of a library function.
pub(super) extern "C" fn end() -> ! {
    let interrupted = Box::new(Interrupted);
    // SAFETY: on a WebAssembly stack, called from compiled code (module head), and this frame owes no destructor.
    unsafe { raise_user_trap(interrupted) }
}

thread_local! {
    /// The tables of library functions in this thread's instances. Without a destructor, so that it can be used
    /// whatever else of the thread is gone.
    static LIBRARIES: ManuallyDrop<RefCell<Vec<*mut usize>>> =
        const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// The table of library functions of an instance, known to [`close_libraries`] until this is dropped.
pub(super) struct Library(*mut usize);

impl Library {
    /// To be dropped on this thread, before the instance.
    pub(super) fn of(instance: &VMInstance) -> Self {
        let offset = instance.vmoffsets().vmctx_builtin_functions_begin() as usize;
        // SAFETY: the table lies in the instance's `VMContext`.
        let table = unsafe { instance.vmctx_ptr().cast::<u8>().add(offset) }.cast();
        LIBRARIES.with(|libraries| libraries.borrow_mut().push(table));
        Self(table)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        LIBRARIES.with(|libraries| {
            let mut libraries = libraries.borrow_mut();
            if let Some(at) = libraries.iter().rposition(|table| *table == self.0) {
                libraries.swap_remove(at);
            }
            if libraries.is_empty() {
                // Nothing frees it later.
                *libraries = Vec::new();
            }
        });
    }
}

/// Makes every library call of the calling thread's instances end WebAssembly, once its environment is to stop.
pub fn close_libraries() {
    LIBRARIES.with(|libraries| {
        // It changes outside WebAssembly only, where no signal's handler comes here.
        let Ok(libraries) = libraries.try_borrow() else {
            return;
        };
        for table in libraries.iter() {
            for index in 0..VMBuiltinFunctionIndex::builtin_functions_total_number() as usize {
                // SAFETY: below the table's length.
                let entry = unsafe { table.add(index) };
                // SAFETY: the instance is alive, and only this thread's compiled code reads its table.
                unsafe { entry.write_volatile(end as *const () as usize) };
            }
        }
    });
}
