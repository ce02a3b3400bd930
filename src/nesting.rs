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
//! is measured once a thread: by calls of JavaScript that go deeper until V8 refuses one.
//!
//! Invariant: no limit that is set is below [`Limit::floor`], nor above the one that was measured.

use std::cell::{Cell, OnceCell};
use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use napi::sys;

use super::env::EnvState;
use super::js::{self, Env, Value};
use super::thrown::{Thrown, clear_exception};

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
    thread_local! {
        // Leaked: some hundred bytes for a thread that goes so deep.
        static LIMIT: OnceCell<Option<&'static Limit>> = const { OnceCell::new() };
    }
    let find = || Limit::find(state).map(|limit| &*Box::leak(Box::new(limit)));
    let limit = LIMIT.with(|limit| *limit.get_or_init(find))?;
    let before = limit.now.get();
    let lower = before.saturating_sub(LEVEL).max(limit.floor);
    if lower >= before {
        return None;
    }
    limit.set(lower);
    Some(Room { limit, before })
}

/// V8's limit on this thread.
struct Limit {
    isolate: *mut c_void,
    set: SetStackLimit,
    now: Cell<usize>,
    /// It must not get below.
    floor: usize,
}

/// `v8::Isolate::SetStackLimit(uintptr_t)`, of V8's public interface.
type SetStackLimit = unsafe extern "C" fn(*mut c_void, usize);

/// `v8::Isolate::GetCurrent()`, likewise.
type GetCurrent = unsafe extern "C" fn() -> *mut c_void;

impl Limit {
    /// `None` where there is no more room than V8 uses, or V8 does not let us.
    fn find(state: &EnvState) -> Option<Self> {
        let set = symbol(c"_ZN2v87Isolate13SetStackLimitEm")?;
        // SAFETY: the mangled name says so, but for the result, which is void in all of V8's versions.
        let set = unsafe { std::mem::transmute::<*mut c_void, SetStackLimit>(set) };
        let current = symbol(c"_ZN2v87Isolate10GetCurrentEv")?;
        // SAFETY: as above; the result is a pointer in all of V8's versions.
        let current = unsafe { std::mem::transmute::<*mut c_void, GetCurrent>(current) };
        let now = measure(state)?;
        let floor = (stack_end()? + RESERVE).max(now.saturating_sub(FARTHEST));
        // SAFETY: this thread is in its isolate: JavaScript has called.
        let isolate = unsafe { current() };
        let found = !isolate.is_null() && floor < now;
        found.then(|| Self {
            isolate,
            set,
            now: Cell::new(now),
            floor,
        })
    }

    fn set(&self, limit: usize) {
        self.now.set(limit);
        // SAFETY: this thread's isolate, which lives as long as JavaScript runs; as `limit` is not
        // below the floor, the stack goes on below it for at least `RESERVE` bytes.
        unsafe { (self.set)(self.isolate, limit) };
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
    (status == 0).then_some(end as usize)
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
