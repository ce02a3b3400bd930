//! The end of the process, which compiler threads live to see.
//!
//! From the moment when wasmer's handler of `exit` has run, dropping code unmaps it and leaves its unwind information
//! registered, and loading code panics. The unwinder of that panic reads all that is registered (libgcc before 13
//! looks there first), and ended the process with SIGSEGV.
//!
//! Invariant: code is unmapped before wasmer's handler runs, or not at all.

use std::panic::catch_unwind;
use std::sync::Once;

use parking_lot::{Mutex, RwLock};

/// Whether `exit` was called. Locked for reading while code is unmapped.
static CALLED: RwLock<bool> = RwLock::new(false);

/// What is to be done then, in this order.
static LAST: Mutex<Vec<fn()>> = Mutex::new(Vec::new());

extern "C" fn on_exit() {
    *CALLED.write() = true;
    let last = std::mem::take(&mut *LAST.lock());
    for work in last {
        // Nothing may unwind out of here.
        let _ = catch_unwind(work);
    }
}

/// Has `work` done when `exit` was called, while the other threads are there, if code was loaded.
pub(super) fn when_called(work: fn()) {
    LAST.lock().push(work);
}

/// Code was loaded: wasmer's handler is registered, and ours will run before it.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler takes nothing and does not unwind. If there is no room for it, code is unmapped as before.
        let _ = unsafe { libc::atexit(on_exit) };
    });
}

/// Calls `unmap`, unless the process ends.
pub(super) fn before(unmap: impl FnOnce()) {
    let called = CALLED.read();
    if !*called {
        unmap();
    }
}
