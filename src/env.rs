//! One Node environment: its references, its event loop, its way back from other threads.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Once};

use napi::sys;
use parking_lot::Mutex;
use wasm_compile_cache_engine::panics;
use wasm_compile_cache_engine::runtime::{self, WasmThread, Watched};
use wasm_compile_cache_engine::tier::{self, Mutator};
use wasm_compile_cache_engine::trace::EventQueue;
use wasmer_types::FunctionType;

use super::crossings::Crossings;
use super::js::{self, Env, Reference, Result, Scope, Value};
use super::pending;
use super::stopping;

type Task = Box<dyn FnOnce(Env) + Send>;

/// What other threads know of an environment.
pub struct EnvShared {
    /// `None` once the environment ends.
    queue: Mutex<Option<Queue>>,
    /// WebAssembly calls on the stack; written by the environment's thread only.
    depth: AtomicU32,
    /// `None` where the environment is never stopped by another thread.
    watched: Option<&'static Watched>,
}

struct Queue(sys::napi_threadsafe_function);

// SAFETY: thread-safe functions are made to be called from any thread; `EnvShared::queue` makes
// sure that nobody does once the environment ends.
unsafe impl Send for Queue {}

impl EnvShared {
    /// Runs `task` on the environment's thread, from its event loop; drops it if the environment
    /// ended.
    pub fn post(&self, task: Task) {
        let queue = self.queue.lock();
        let Some(queue) = queue.as_ref() else {
            return;
        };
        let data = Box::into_raw(Box::new(task));
        // SAFETY: the lock keeps the environment from ending meanwhile.
        let status = unsafe {
            sys::napi_call_threadsafe_function(
                queue.0,
                data.cast(),
                sys::ThreadsafeFunctionCallMode::nonblocking,
            )
        };
        if status != sys::Status::napi_ok {
            // SAFETY: Node-API did not take it.
            drop(unsafe { Box::from_raw(data) });
        }
    }

    /// A call into WebAssembly begins.
    fn enter(&self) {
        let depth = self.depth.load(Ordering::Relaxed);
        self.depth.store(depth + 1, Ordering::Relaxed);
        if let Some(watched) = self.watched {
            watched.enter();
        }
    }

    /// A call into WebAssembly ended.
    fn leave(&self) {
        let depth = self.depth.load(Ordering::Relaxed);
        self.depth.store(depth - 1, Ordering::Relaxed);
        if let Some(watched) = self.watched {
            watched.leave();
        }
    }
}

/// WebAssembly called the host; it comes back to WebAssembly when the value is dropped.
pub struct Outside {
    watched: Option<&'static Watched>,
    #[cfg(target_os = "linux")]
    _room: Option<super::nesting::Room>,
}

impl Drop for Outside {
    fn drop(&mut self) {
        if let Some(watched) = self.watched {
            watched.enter();
        }
    }
}

/// An environment as a thread that runs instances.
pub struct EnvMutator(pub Arc<EnvShared>);

impl Mutator for EnvMutator {
    fn when_idle(&self, task: Box<dyn FnOnce() + Send>) {
        let shared = Arc::clone(&self.0);
        self.0.post(Box::new(move |_| {
            // A nested event loop (an addon's) can run with WebAssembly frames below it.
            if shared.depth.load(Ordering::Relaxed) == 0 {
                task();
            } else {
                Self(Arc::clone(&shared)).when_idle(task);
            }
        }));
    }

    fn id(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

/// What the environment's own thread knows of it.
pub struct EnvState {
    pub env: Env,
    pub shared: Arc<EnvShared>,
    pub events: Arc<EventQueue>,
    pub thread: WasmThread,
    pub crossings: Arc<Crossings>,
    /// The signatures of functions that JavaScript has, by their numbers.
    pub signatures: RefCell<HashMap<FunctionType, usize>>,
    activation: Cell<Activation>,
    next_epoch: Cell<u64>,
    /// How many promises wait for other threads; the event loop is kept alive meanwhile.
    waiting: Cell<usize>,
    pub realm: OnceCell<Realm>,
    pub on_events: RefCell<Option<Reference>>,
    /// It reaches the remote cache for the process.
    pub serves: Cell<bool>,
    #[cfg(target_os = "linux")]
    pub stack_limit: super::nesting::Known,
    queue: sys::napi_threadsafe_function,
}

/// One call into WebAssembly and the handle scope that its imports share.
///
/// A scope for every import's call would cost more than the call. Handles made in one activation
/// are released together, at its end or after [`SCOPE_CALLS`] calls, whichever is first.
///
/// Invariant: scopes nest like activations: an inner one's is closed before its call returns.
#[derive(Clone, Copy)]
struct Activation {
    scope: sys::napi_handle_scope,
    /// Differs for any two scopes of an environment; 0 while there is none.
    epoch: u64,
    calls: u32,
}

impl Default for Activation {
    fn default() -> Self {
        Self {
            scope: ptr::null_mut(),
            epoch: 0,
            calls: 0,
        }
    }
}

/// A call into WebAssembly that is under way; knows the activation around it.
pub struct Active<'state> {
    state: &'state EnvState,
    outer: Activation,
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.state.close_scope();
        self.state.activation.set(self.outer);
        self.state.shared.leave();
    }
}

/// How many import calls share one handle scope.
const SCOPE_CALLS: u32 = 128;

impl EnvState {
    /// A call into WebAssembly begins; it ends when the value is dropped.
    pub fn begin_activation(&self) -> Active<'_> {
        self.shared.enter();
        let outer = self.activation.replace(Activation::default());
        Active { state: self, outer }
    }

    /// WebAssembly calls the host.
    pub fn leave_for_host(&self) -> Outside {
        // A memory's functions are called from outside, too.
        let inside = self.shared.watched.filter(|watched| watched.is_inside());
        if let Some(watched) = inside {
            watched.leave();
        }
        Outside {
            watched: inside,
            #[cfg(target_os = "linux")]
            _room: super::nesting::make_room(self, self.shared.depth.load(Ordering::Relaxed)),
        }
    }

    /// Whether another thread has stopped the environment: no JavaScript will run in it.
    pub fn is_stopping(&self) -> bool {
        // SAFETY: the environment's thread, as for all of `EnvState`.
        self.shared.watched.is_some() && unsafe { stopping::is_stopping(self.env.cast()) }
    }

    /// Makes sure that the current activation has a scope; its epoch.
    pub fn open_activation(&self) -> Result<u64> {
        let mut activation = self.activation.get();
        if activation.calls >= SCOPE_CALLS {
            self.close_scope();
            activation = Activation::default();
        }
        if activation.scope.is_null() {
            // SAFETY: `scope` is writable.
            js::check(unsafe { sys::napi_open_handle_scope(self.env, &mut activation.scope) })?;
            activation.epoch = self.next_epoch.get();
            self.next_epoch.set(activation.epoch + 1);
        }
        activation.calls += 1;
        self.activation.set(activation);
        Ok(activation.epoch)
    }

    fn close_scope(&self) {
        let activation = self.activation.get();
        if !activation.scope.is_null() {
            // SAFETY: opened by `open_activation` and closed once, because the field is reset.
            unsafe { sys::napi_close_handle_scope(self.env, activation.scope) };
            self.activation.set(Activation::default());
        }
    }
}

/// What `lib/process/native.js` hands over.
pub struct Realm {
    pub arena: *mut u8,
    pub _arena: Reference,
    pub compile_error: Reference,
    pub link_error: Reference,
    pub runtime_error: Reference,
    pub memory_grow: Reference,
    pub memory_length: Reference,
    pub memory_wait: Reference,
    pub memory_notify: Reference,
    pub exception_from_wasm: Reference,
    pub call_import: Reference,
    pub fault: Reference,
    pub pass: Reference,
    pub hold_unit: Reference,
    pub descend: Reference,
}

/// Bytes of the arena: 1,000 values (the limit of parameters and of results) of 16 bytes, and [`FAILED`].
pub const ARENA_BYTES: usize = 16_384;

/// Where the arena has a 32-bit word that says whether the last call failed.
///
/// Node drops what is thrown once the environment is to stop, and JavaScript would go on as if the call had returned.
pub const FAILED: usize = ARENA_BYTES - 4;

impl EnvState {
    /// Made when the addon is loaded into an environment; freed when that ends.
    pub fn create(env: Env) -> *const Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            runtime::init_traps();
            panics::listen();
        });
        let thread = WasmThread::current();
        let shared = Arc::new(EnvShared {
            queue: Mutex::new(None),
            depth: AtomicU32::new(0),
            watched: stopping::watch(env, thread),
        });
        let queue = thread_safe_function(env);
        *shared.queue.lock() = (!queue.is_null()).then_some(Queue(queue));

        // The state's address, for tasks that come back to its thread.
        let address = Arc::new(AtomicPtr::new(ptr::null_mut::<Self>()));
        let notified = Arc::clone(&address);
        let weak = Arc::downgrade(&shared);
        let events = EventQueue::new(Box::new(move || {
            let Some(shared) = weak.upgrade() else { return };
            let notified = Arc::clone(&notified);
            shared.post(Box::new(move |env| {
                let state = notified.load(Ordering::Relaxed);
                // SAFETY: runs on the environment's thread while it is alive.
                if let Some(state) = unsafe { state.as_ref() } {
                    state.tell_events(env);
                }
            }));
        }));
        events.hears_of_the_process();
        let state = Box::into_raw(Box::new(Self {
            env,
            shared,
            events,
            thread,
            crossings: Crossings::begin(),
            signatures: RefCell::default(),
            activation: Cell::new(Activation::default()),
            next_epoch: Cell::new(1),
            waiting: Cell::new(0),
            realm: OnceCell::new(),
            on_events: RefCell::new(None),
            serves: Cell::new(false),
            #[cfg(target_os = "linux")]
            stack_limit: OnceCell::new(),
            queue,
        }));
        address.store(state, Ordering::Relaxed);
        // SAFETY: `end` fits the data. Hooks run in reverse order of their adding, so that this
        // one runs before the thread-safe function's own.
        unsafe { sys::napi_add_env_cleanup_hook(env, Some(end), state.cast()) };
        state
    }

    pub fn compile_error(&self) -> Option<&Reference> {
        Some(&self.realm.get()?.compile_error)
    }

    pub fn link_error(&self) -> Option<&Reference> {
        Some(&self.realm.get()?.link_error)
    }

    pub fn runtime_error(&self) -> Option<&Reference> {
        Some(&self.realm.get()?.runtime_error)
    }

    pub fn memory_grow(&self) -> Option<&Reference> {
        Some(&self.realm.get()?.memory_grow)
    }

    pub fn memory_length(&self) -> Option<&Reference> {
        Some(&self.realm.get()?.memory_length)
    }

    pub fn memory_wait(&self) -> Option<&Reference> {
        Some(&self.realm.get()?.memory_wait)
    }

    pub fn memory_notify(&self) -> Option<&Reference> {
        Some(&self.realm.get()?.memory_notify)
    }

    pub fn exception_from_wasm(&self) -> Option<&Reference> {
        Some(&self.realm.get()?.exception_from_wasm)
    }

    pub fn call_import(&self) -> Option<&Reference> {
        Some(&self.realm.get()?.call_import)
    }

    pub fn fault(&self) -> Option<&Reference> {
        Some(&self.realm.get()?.fault)
    }

    pub fn pass(&self) -> Option<&Reference> {
        Some(&self.realm.get()?.pass)
    }

    pub fn hold_unit(&self) -> Option<&Reference> {
        Some(&self.realm.get()?.hold_unit)
    }

    #[cfg(target_os = "linux")]
    pub fn descend(&self) -> Option<&Reference> {
        Some(&self.realm.get()?.descend)
    }

    /// Where arguments and results pass; null before `init`.
    pub fn arena(&self) -> *mut u8 {
        self.realm
            .get()
            .map_or(ptr::null_mut(), |realm| realm.arena)
    }

    /// How a call ended.
    pub fn say_failed(&self, failed: bool) {
        // SAFETY: in the arena, which is there because a function was made.
        let word = unsafe { self.arena().add(FAILED) }.cast::<u32>();
        // SAFETY: aligned as the arena is, and JavaScript does not run.
        unsafe { word.write(u32::from(failed)) };
    }

    /// A promise begins to wait: keeps the event loop alive until the matching [`Self::settled`].
    pub fn waits(&self) {
        self.waiting.set(self.waiting.get() + 1);
        // SAFETY: the environment's thread, and the queue lives as long as the environment.
        unsafe { sys::napi_ref_threadsafe_function(self.env, self.queue) };
    }

    /// A promise was settled.
    pub fn settled(&self) {
        self.waiting.set(self.waiting.get().saturating_sub(1));
        if self.waiting.get() == 0 {
            // SAFETY: as in `waits`.
            unsafe { sys::napi_unref_threadsafe_function(self.env, self.queue) };
        }
    }
}

impl EnvState {
    fn tell_events(&self, env: Env) {
        let listener = self.on_events.borrow();
        let Some(listener) = listener.as_ref() else {
            return;
        };
        let told = listener
            .get()
            .and_then(|listener| js::call(env, listener, &[]));
        if told.is_err() {
            pending::clear_exception(env);
        }
    }
}

fn thread_safe_function(env: Env) -> sys::napi_threadsafe_function {
    let mut queue = ptr::null_mut();
    let Ok(name) = js::string(env, "wasm-compile-cache") else {
        return queue;
    };
    // SAFETY: `run` fits the data that `EnvShared::post` sends.
    unsafe {
        sys::napi_create_threadsafe_function(
            env,
            ptr::null_mut(),
            ptr::null_mut(),
            name,
            0,
            1,
            ptr::null_mut(),
            None,
            ptr::null_mut(),
            Some(run),
            &mut queue,
        );
    }
    if !queue.is_null() {
        // SAFETY: just made.
        unsafe { sys::napi_unref_threadsafe_function(env, queue) };
    }
    queue
}

/// Runs one task; `env` is null when the environment is ending.
unsafe extern "C" fn run(env: Env, _: Value, _: *mut c_void, data: *mut c_void) {
    // SAFETY: `EnvShared::post` sent a boxed task.
    let task = unsafe { Box::from_raw(data.cast::<Task>()) };
    if env.is_null() {
        return;
    }
    // Whoever waits for the task is not called back; the event says why.
    let _ = panics::catch("a task", || {
        let _scope = Scope::open(env);
        task(env);
    });
}

/// The environment ends: no thread may post to it any more.
unsafe extern "C" fn end(data: *mut c_void) {
    // SAFETY: the state that `create` leaked, handed back once.
    let state = unsafe { Box::from_raw(data.cast::<EnvState>()) };
    *state.shared.queue.lock() = None;
    state.crossings.end();
    if state.serves.get() {
        tier::remote_ended();
    }
    if let Some(watched) = state.shared.watched {
        watched.end();
        stopping::check_ended(state.env);
    }
    // References die with the environment; deleting them now could meet its teardown.
    std::mem::forget(state);
}
