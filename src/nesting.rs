//! Room on V8's stack for WebAssembly and JavaScript that call each other in turns.
//!
//! V8 gives JavaScript 984 kB of a stack that has 8 MiB, as a rule, on a main thread. A call into
//! WebAssembly and out again takes 0.25 kB of them on the built-in engine and [`LEVEL`] on this one,
//! most of it in frames of Node-API and V8. So from [`SHALLOW`] levels on, V8's limit moves down by
//! that much with every further level, and back when the level ends; by [`FARTHEST`] at most, and
//! never into the last [`RESERVE`] bytes of what the thread really has. Where that is no more than
//! V8 uses already, in worker threads for instance, nothing happens.
//!
//! Invariant: outside such levels the limit is V8's own, to less than 1 kB. It cannot be read, so it
//! is measured once an environment: by calls of JavaScript that go deeper until V8 refuses one.
//!
//! Invariant: no limit that is set is below [`Limit::floor`], nor above the one that was measured.
//!
//! Invariant: a limit is set only while the isolate is current that it was measured in. A thread may have several, one
//! after the other or in turns, and a new one the address of an old one, so each environment has what was measured in its
//! own. Before it is relied on, the limit is moved and measured again.

use std::cell::{Cell, OnceCell};
use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use napi::sys;
use wasm_compile_cache_engine::features;

use super::env::EnvState;
use super::js::{self, Env, Value};
use super::pending::clear_exception;
use super::thrown::Thrown;

/// What a level takes of the stack, in bytes: measured, 3.3 kB on Node 20 and 2.7 kB on Node 26.
const LEVEL: usize = 3_072;

/// So many levels fit anyway; those that are not deeper pay nothing.
const SHALLOW: u32 = 32;

/// What stays for native code, which V8 does not ask for its limit at every call.
const RESERVE: usize = 512 << 10;

/// So far the limit moves at most, where the thread's stack has no limit: every level has a stack of
/// WebAssembly's own, whose memory stays.
const FARTHEST: usize = 6 << 20;

/// A level that has moved the limit; it moves back when the value is dropped.
pub struct Room {
    limit: &'static Limit,
    before: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.limit.set(self.before);
    }
}

const FEATURE: &str = "room on V8's stack for deep calls";

/// WebAssembly that is `depth` calls deep calls the host.
#[inline]
pub fn make_room(state: &EnvState, depth: u32) -> Option<Room> {
    if depth < SHALLOW {
        return None;
    }
    deeper(state)
}

#[cold]
fn deeper(state: &EnvState) -> Option<Room> {
    let limit = limit_of(state)?;
    if limit.v8.isolate() != limit.isolate {
        return None;
    }
    let before = limit.now.get();
    let lower = before.saturating_sub(LEVEL).max(limit.floor);
    if lower >= before {
        return None;
    }
    limit.set(lower);
    Some(Room { limit, before })
}

/// What an environment knows of its isolate's limit, once it was deep enough to ask.
pub type Known = OnceCell<Option<&'static Limit>>;

/// The limit of the environment's isolate, if it can be moved.
fn limit_of(state: &EnvState) -> Option<&'static Limit> {
    *state.stack_limit.get_or_init(|| {
        let found = Limit::find(state).unwrap_or_else(|reason| {
            features::off(FEATURE, reason);
            None
        });
        // Leaked: some hundred bytes for an environment that goes so deep.
        found.map(|limit| &*Box::leak(Box::new(limit)))
    })
}

/// Finds out now what is found out when calls are deep.
pub fn examine(state: &EnvState) {
    limit_of(state);
}

/// What V8 exports.
struct V8 {
    set: SetStackLimit,
    current: GetCurrent,
}

impl V8 {
    fn find() -> Option<Self> {
        let set = symbol(c"_ZN2v87Isolate13SetStackLimitEm")?;
        let current = symbol(c"_ZN2v87Isolate10GetCurrentEv")?;
        Some(Self {
            // SAFETY: the mangled name says so, except for the result, which is void in all of V8's versions.
            set: unsafe { std::mem::transmute::<*mut c_void, SetStackLimit>(set) },
            // SAFETY: as above; the result is a pointer in all of V8's versions.
            current: unsafe { std::mem::transmute::<*mut c_void, GetCurrent>(current) },
        })
    }

    /// The isolate that the thread is in; null if it is in none.
    fn isolate(&self) -> *mut c_void {
        // SAFETY: V8's function has no preconditions.
        unsafe { (self.current)() }
    }
}

/// The limit of one of V8's isolates, on this thread.
pub struct Limit {
    isolate: *mut c_void,
    v8: V8,
    now: Cell<usize>,
    /// It must not get below.
    floor: usize,
}

/// `v8::Isolate::SetStackLimit(uintptr_t)`, of V8's public interface.
type SetStackLimit = unsafe extern "C" fn(*mut c_void, usize);

/// `v8::Isolate::GetCurrent()`, likewise.
type GetCurrent = unsafe extern "C" fn() -> *mut c_void;

/// So far the limit is moved to see whether V8 heeds it.
const TRIAL: usize = 64 << 10;

/// So exactly it is measured: a frame of JavaScript's, and one of ours.
const EXACTLY: usize = 4 << 10;

impl Limit {
    /// `None` where there is no more room than V8 uses.
    ///
    /// # Errors
    /// V8 does not do what is expected of it.
    fn find(state: &EnvState) -> Result<Option<Self>, &'static str> {
        let Some(v8) = V8::find() else {
            return Err("this Node does not export v8::Isolate::SetStackLimit and GetCurrent");
        };
        let isolate = v8.isolate();
        if isolate.is_null() {
            return Err("V8 does not say in which isolate JavaScript runs");
        }
        let (Some(now), Some(end)) = (measure(state), stack_end()) else {
            return Ok(None);
        };
        let floor = (end + RESERVE).max(now.saturating_sub(FARTHEST));
        if floor + TRIAL > now {
            return Ok(None);
        }
        let limit = Self {
            isolate,
            v8,
            now: Cell::new(now),
            floor,
        };
        limit.set(now - TRIAL);
        let moved = measure(state);
        limit.set(now);
        match moved {
            // The environment ends.
            None => Ok(None),
            Some(moved) if moved.abs_diff(now - TRIAL) <= EXACTLY => Ok(Some(limit)),
            Some(_) => Err("V8 does not heed the limit of the stack that it is given"),
        }
    }

    fn set(&self, limit: usize) {
        // In another isolate, whose limit was not measured, nothing is changed.
        if self.v8.isolate() != self.isolate {
            return;
        }
        self.now.set(limit);
        // SAFETY: the isolate that is current, which lives as long as JavaScript runs; as `limit` is not
        // below the floor, the stack goes on below it for at least `RESERVE` bytes.
        unsafe { (self.v8.set)(self.isolate, limit) };
    }
}

/// A function of the program that has loaded us.
fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a valid name.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// Where this thread's stack ends.
fn stack_end() -> Option<usize> {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: has no preconditions.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: the thread is alive.
    if unsafe { libc::pthread_getattr_np(this, attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: written by the successful call.
    let mut attributes = unsafe { attributes.assume_init() };
    let (mut end, mut size) = (ptr::null_mut(), 0);
    // SAFETY: initialized attributes, and places for the results.
    let status = unsafe { libc::pthread_attr_getstack(&raw const attributes, &mut end, &mut size) };
    // SAFETY: initialized, and not used again.
    unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
    if status != 0 {
        return None;
    }
    #[cfg(target_env = "musl")]
    if is_main_thread() {
        return end_of_main(end as usize + size);
    }
    Some(end as usize)
}

/// How far down the stack of the main thread may grow: musl tells how far it has.
#[cfg(target_env = "musl")]
fn end_of_main(top: usize) -> Option<usize> {
    let mut limit = MaybeUninit::uninit();
    // SAFETY: a place for the result.
    if unsafe { libc::getrlimit(libc::RLIMIT_STACK, limit.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: written by the successful call.
    let limit = unsafe { limit.assume_init() }.rlim_cur;
    let usual = || FARTHEST + 2 * RESERVE;
    let size = usize::try_from(limit)
        .ok()
        .filter(|_| limit != libc::RLIM_INFINITY);
    Some(top.saturating_sub(size.unwrap_or_else(usual)))
}

#[cfg(target_env = "musl")]
fn is_main_thread() -> bool {
    // SAFETY: has no preconditions.
    let process = unsafe { libc::getpid() };
    // SAFETY: as above.
    process == unsafe { libc::gettid() }
}

/// V8's limit, to less than 1 kB.
fn measure(state: &EnvState) -> Option<usize> {
    let env = state.env;
    // Leaked, as a debugger may get hold of the function.
    let lowest: &Cell<usize> = Box::leak(Box::new(Cell::new(usize::MAX)));
    let data = ptr::from_ref(lowest).cast_mut().cast();
    let visit = js::raw_function(env, "", note_frame, data).ok()?;
    let descend = state.descend()?.get().ok()?;
    // SAFETY: live values, and no result is wanted.
    let called = js::check(unsafe {
        sys::napi_call_function(env, descend, descend, 1, &visit, ptr::null_mut())
    });
    let refused = matches!(called, Err(Thrown::Pending));
    if refused {
        // A RangeError that nobody is to see.
        clear_exception(env);
    }
    // An environment that ends refuses every call.
    (refused && !state.is_stopping()).then(|| lowest.get())
}

/// Notes where its frame is.
unsafe extern "C" fn note_frame(env: Env, info: sys::napi_callback_info) -> Value {
    let data = js::callback_data(env, info);
    // SAFETY: `measure` passed it; leaked.
    let lowest = unsafe { &*data.cast::<Cell<usize>>() };
    let here = 0_u8;
    lowest.set(&raw const here as usize);
    ptr::null_mut()
}
