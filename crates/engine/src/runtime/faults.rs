//! Signals of hardware faults: which are compiled code's, and which are the program's own.
//!
//! wasmer's handler turns faults of compiled code into traps. It takes a signal that was sent for a fault as well,
//! reads an instruction where there is none, and passes on no more than the signal's number to a handler without
//! `SA_SIGINFO`, which Node's is. So it stands between two handlers of ours: [`first`] lets only faults through to it,
//! and [`last`], which it takes for its predecessor, does what would happen without all three.
//!
//! libuv puts its own handler over all of them when a program listens to such a signal, and the default action when it no
//! longer does. A fault of compiled code would then be executed again for ever, or end the process, so [`retake`] is
//! called after either.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use libc::{c_int, c_void, sighandler_t, siginfo_t};
use parking_lot::Mutex;

type Action = libc::sigaction;
type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

struct Fault {
    signal: c_int,
    /// What was there before us, or was put over us since: never freed, because a handler may be using it. Null until
    /// then.
    previous: AtomicPtr<Action>,
    /// wasmer's handler, 0 until it is there.
    wasmers: AtomicUsize,
}

impl Fault {
    const fn of(signal: c_int) -> Self {
        Self {
            signal,
            previous: AtomicPtr::new(ptr::null_mut()),
            wasmers: AtomicUsize::new(0),
        }
    }

    fn previous(&self) -> Option<&'static Action> {
        // SAFETY: null, or a leaked action.
        unsafe { self.previous.load(Ordering::Acquire).as_ref() }
    }

    fn set_previous(&self, action: &'static Action) {
        self.previous
            .store(ptr::from_ref(action).cast_mut(), Ordering::Release);
    }
}

const SIGFPE: usize = cfg!(target_arch = "x86_64") as usize;
const SIGBUS: usize = cfg!(target_vendor = "apple") as usize;

/// Those that wasmer has a handler for.
static FAULTS: [Fault; 2 + SIGFPE + SIGBUS] = [
    Fault::of(libc::SIGSEGV),
    Fault::of(libc::SIGILL),
    #[cfg(target_arch = "x86_64")]
    Fault::of(libc::SIGFPE),
    #[cfg(target_vendor = "apple")]
    Fault::of(libc::SIGBUS),
];

/// For handlers, which may not make one.
static DEFAULT: OnceLock<&'static Action> = OnceLock::new();

fn fault(signal: c_int) -> Option<&'static Fault> {
    FAULTS.iter().find(|fault| fault.signal == signal)
}

/// The action, for as long as the process lives. One that was there before is not leaked again: libuv's handler comes
/// each time a program begins to listen, always with the same mask.
fn kept(action: Action) -> &'static Action {
    static KEPT: Mutex<Vec<&Action>> = Mutex::new(Vec::new());
    let same = |known: &&&Action| {
        known.sa_sigaction == action.sa_sigaction && known.sa_flags == action.sa_flags
    };
    let mut kept = KEPT.lock();
    let known = kept.iter().find(same).copied();
    known.unwrap_or_else(|| {
        let leaked = &*Box::leak(Box::new(action));
        kept.push(leaked);
        leaked
    })
}

fn default() -> Action {
    // SAFETY: all zeros is the default action, with an empty mask.
    unsafe { std::mem::zeroed() }
}

fn action(signal: c_int) -> Option<Action> {
    let mut action = MaybeUninit::uninit();
    // SAFETY: only asks for the action.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call wrote it.
    (asked == 0).then(|| unsafe { action.assume_init() })
}

fn put(signal: c_int, handler: Handler, flags: c_int) {
    let mut action = default();
    action.sa_sigaction = handler as *const () as sighandler_t;
    action.sa_flags = flags;
    // SAFETY: a valid action; what is refused stays as it is.
    unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
}

fn put_first(fault: &Fault, previous: &Action) {
    // As wasmer's. System calls that a signal interrupts go on as they would without us.
    let mut flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    if is_default(previous) || previous.sa_flags & libc::SA_RESTART != 0 {
        flags |= libc::SA_RESTART;
    }
    put(fault.signal, first, flags);
}

/// No handler.
fn is_default(action: &Action) -> bool {
    [libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction)
}

/// Installs wasmer's handlers, and ours around them; once, for ours would be taken for what was there before them.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(surround);
}

fn surround() {
    DEFAULT.get_or_init(|| kept(default()));
    for fault in &FAULTS {
        if let Some(action) = action(fault.signal) {
            fault.set_previous(kept(action));
            put(
                fault.signal,
                last,
                libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER,
            );
        }
    }
    wasmer_vm::init_traps();
    for fault in &FAULTS {
        if let (Some(wasmers), Some(previous)) = (action(fault.signal), fault.previous()) {
            fault.wasmers.store(wasmers.sa_sigaction, Ordering::Release);
            put_first(fault, previous);
        }
    }
}

/// libuv has put its handler, or the default action, in the place of ours.
pub fn retake(signal: c_int) {
    let Some(fault) = fault(signal) else { return };
    let Some(action) = action(signal) else { return };
    if fault.wasmers.load(Ordering::Acquire) == 0
        || action.sa_sigaction == first as *const () as sighandler_t
    {
        return;
    }
    fault.set_previous(kept(action));
    put_first(fault, &action);
}

/// macOS' `SI_USER` and `SI_QUEUE`, which the crate libc does not have.
const SENT: [c_int; 2] = [0x1_0001, 0x1_0002];

/// Whether a process or a thread sent the signal; the kernel's own have other codes (`sigaction(2)`).
fn is_sent(info: &siginfo_t) -> bool {
    info.si_code <= 0 || cfg!(target_vendor = "apple") && SENT.contains(&info.si_code)
}

/// Ends the process as the signal's default action does, now or when its handler returns.
pub(super) fn end_by(signal: c_int) {
    reset(signal);
    // SAFETY: at worst it fails.
    unsafe { libc::raise(signal) };
}

fn reset(signal: c_int) {
    // SAFETY: a valid action.
    unsafe { libc::sigaction(signal, &default(), ptr::null_mut()) };
}

/// Like [`last`], it allocates nothing, locks nothing and panics nowhere.
extern "C" fn first(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let wasmers = fault(signal).map_or(0, |fault| fault.wasmers.load(Ordering::Acquire));
    // SAFETY: the kernel passes it for SA_SIGINFO handlers.
    if is_sent(unsafe { &*info }) || wasmers == 0 {
        last(signal, info, context);
    } else {
        call(wasmers, signal, info, context);
    }
}

/// What would be done about the signal without us.
extern "C" fn last(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(fault) = fault(signal) else { return };
    let Some(previous) = fault.previous() else {
        return;
    };
    // SAFETY: the kernel passes it for SA_SIGINFO handlers.
    let sent = is_sent(unsafe { &*info });
    match previous.sa_sigaction {
        libc::SIG_IGN if sent => {}
        libc::SIG_DFL if sent => end_by(signal),
        // Executed again, the instruction ends the process. The kernel lets nobody ignore a fault.
        libc::SIG_DFL | libc::SIG_IGN => reset(signal),
        handler => {
            if previous.sa_flags & libc::SA_RESETHAND != 0
                && let Some(default) = DEFAULT.get()
            {
                fault.set_previous(default);
            }
            block(signal, previous);
            call(handler, signal, info, context);
        }
    }
}

/// Blocks what the kernel would have blocked for a handler; it takes the mask back when ours returns.
fn block(signal: c_int, action: &Action) {
    let mut mask = action.sa_mask;
    if action.sa_flags & libc::SA_NODEFER == 0 {
        // SAFETY: a valid mask.
        unsafe { libc::sigaddset(&mut mask, signal) };
    }
    // SAFETY: a valid mask.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &mask, ptr::null_mut()) };
}

/// With all arguments whatever the handler's flags are, as the kernel does: Node's has no SA_SIGINFO and reads them.
fn call(handler: sighandler_t, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: a handler that was installed is a function, and takes as many of these as it declares.
    let handler = unsafe { std::mem::transmute::<sighandler_t, Handler>(handler) };
    handler(signal, info, context);
}
