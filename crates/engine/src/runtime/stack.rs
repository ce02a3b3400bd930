//! Room for native code at the end of a WebAssembly stack.
//!
//! Traps that wasmer raises from its library calls take a backtrace on the WebAssembly stack. Where
//! that ran into the guard page, the coroutine would be reset in the middle of native code, with
//! libgcc's or the allocator's lock held for ever. So the last [`ZONE`] bytes of every stack are a
//! zone of their own: WebAssembly code that touches it overflows, native code gets it.
//!
//! Invariant: WebAssembly stacks are never unmapped (wasmer pools them), and all have the size of
//! [`STACK`], so that their base shows where the zone is. That is checked once for each stack: its
//! guard page must lie right behind what is taken for its end. Of one where it does not, only the first
//! frame is known; it gets no zone, shows no frames, and is not interrupted.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;
use std::ptr;
use std::sync::LazyLock;

use super::guard;
use super::levels::{DeepLevel, SHALLOW};
use super::notes::Notes;
use super::unwind::{self, Frame};
use super::waiting::Waiting;
use crate::features;
use parking_lot::Mutex;
use wasmer_types::RawValue;
use wasmer_vm::{TrapHandlerFn, VMContext, VMFunctionBody, VMTrampoline};

/// WebAssembly runs on stacks of its own; V8's default stack is about 1 MiB, and baseline frames
/// are some three times as large as V8's.
pub(super) const STACK: usize = 4 << 20;

/// Prepares for signals, whose handler must not allocate, and installs wasmer's handlers, which turn
/// hardware faults into traps.
pub fn init_traps() {
    super::guard::see_host_handler();
    #[cfg(target_os = "linux")]
    linux::native_code();
    super::faults::install();
}

/// A backtrace takes some 10 KiB. No zone where there is no handler for it.
pub(super) const ZONE: usize = if cfg!(target_os = "linux") {
    64 << 10
} else {
    0
};

/// What [`enter`] is to run; it takes the place of the body.
#[repr(C)]
pub(super) struct ActiveCall {
    trampoline: VMTrampoline,
    body: *const VMFunctionBody,
    zone: *const CallStack,
    /// Where the zone of the call's stack begins, 0 until that is known, or if it is not.
    start: Cell<usize>,
    /// An address in the first frame of the call's stack, 0 until there is one.
    top: Cell<usize>,
    /// While an import runs, the frame of the dynamic trampoline that called it; 0 otherwise.
    host: Cell<usize>,
    waiting: Waiting,
    /// The call around this one.
    outer: *const ActiveCall,
    /// How many there are around it.
    depth: usize,
}

impl ActiveCall {
    /// Where the zone of the call's stack begins, 0 if it has none yet.
    pub(super) fn start(&self) -> usize {
        self.start.get()
    }

    /// The frame that called the import that is running, or that threw; 0 if none is.
    pub(super) fn host(&self) -> usize {
        self.host.get()
    }
}

/// Guards the stack it finds itself on, then runs the entry behind `entry`.
///
/// # Safety
/// `entry` must point at an [`ActiveCall`] that fits `vmctx` and `values`, with this thread's zone.
pub(super) unsafe extern "C-unwind" fn enter(
    vmctx: *mut VMContext,
    entry: *const VMFunctionBody,
    values: *mut RawValue,
) {
    // SAFETY: the caller's promise.
    let entry = unsafe { &*entry.cast::<ActiveCall>() };
    // SAFETY: the caller's promise.
    unsafe { &*entry.zone }.guard(entry);
    // SAFETY: the caller's promise.
    unsafe { (entry.trampoline)(vmctx, entry.body, values) }
}

/// The zone of the stack that runs on this thread.
pub(super) struct CallStack {
    /// The base of the stack that was used last: the one that the next call gets, mostly.
    last: Cell<usize>,
    /// The call under way, null if there is none.
    entry: Cell<*const ActiveCall>,
    /// The zone that was given to native code, 0 if none.
    opened: Cell<usize>,
    pub(super) notes: Notes,
}

/// What a thread needs to enter WebAssembly; looked up once, because thread-local storage is slow to
/// reach from a library that was loaded at run time.
#[derive(Clone, Copy)]
pub struct WasmThread(*const CallStack);

impl WasmThread {
    /// The calling thread's.
    pub fn current() -> Self {
        Self(zone())
    }

    pub(super) fn zone(self) -> *const CallStack {
        self.0
    }
}

/// This thread's zone; its address stays the same while the thread lives.
fn zone() -> *const CallStack {
    thread_local! {
        static ZONE: CallStack = const { CallStack::new() };
    }
    ZONE.with(std::ptr::from_ref)
}

impl CallStack {
    const fn new() -> Self {
        Self {
            last: Cell::new(0),
            entry: Cell::new(ptr::null()),
            opened: Cell::new(0),
            notes: Notes::new(),
        }
    }

    /// Before a call: what [`enter`] is to run.
    #[inline]
    pub(super) fn entry(
        &self,
        trampoline: VMTrampoline,
        body: *const VMFunctionBody,
    ) -> ActiveCall {
        ActiveCall {
            trampoline,
            body,
            zone: self,
            start: Cell::new(0),
            top: Cell::new(0),
            host: Cell::new(0),
            waiting: Waiting::new(),
            outer: self.entry.get(),
            depth: self.current().map_or(0, |outer| outer.depth + 1),
        }
    }

    /// The call is under way until the value is dropped. `None` where there are too many.
    #[inline]
    pub(super) fn begin<'entry>(&'entry self, entry: &'entry ActiveCall) -> Option<Inside<'entry>> {
        let level = if entry.depth < SHALLOW {
            None
        } else {
            Some(DeepLevel::begin(mappings())?)
        };
        self.entry.set(entry);
        self.notes.forget();
        Some(Inside {
            entry,
            _level: level,
        })
    }

    /// The innermost call under way.
    #[inline]
    fn current(&self) -> Option<&ActiveCall> {
        // SAFETY: null, or of a call that has not returned: `Inside` takes it out before.
        unsafe { self.entry.get().as_ref() }
    }

    /// The calls under way, the innermost first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &ActiveCall> {
        // SAFETY: as in `current`; a call around another lives longer than that one.
        std::iter::successors(self.current(), |entry| unsafe { entry.outer.as_ref() })
    }

    /// The call under way calls an import, by the dynamic trampoline whose frame is at `frame`; called
    /// by the function that goes to the host's stack. Inlined: [`Waiting::begin`].
    #[inline(always)]
    pub(super) fn calls_host(&self, frame: usize) {
        if let Some(entry) = self.current() {
            entry.host.set(frame);
            entry.waiting.begin();
        }
    }

    /// The import is over, and the call goes on.
    #[inline(always)]
    pub(super) fn host_returned(&self) {
        if let Some(entry) = self.current() {
            entry.host.set(0);
            entry.waiting.end();
        }
    }

    /// Protects the zone of the stack that is current, once.
    #[inline]
    fn guard(&self, entry: &ActiveCall) {
        let here = 0_u8;
        let top = &raw const here as usize;
        entry.top.set(top);
        // This is the first frame of the stack, so its base is the end of the page.
        let base = top.next_multiple_of(PAGE);
        if self.last.get() == base || protect_once(base) {
            self.last.set(base);
            entry.start.set(base - STACK);
        }
    }

    /// Whether a frame of the call under way is as `unwind` takes it to be.
    #[cold]
    pub(super) fn check_frame(&self, frame: *const Frame) -> Result<(), &'static str> {
        let stack = self.current().map_or(0..0, |entry| match entry.start() {
            0 => readable_below(entry.top.get()),
            start => start + ZONE..start + STACK,
        });
        unwind::check(frame, &stack, is_library)
    }

    /// Whether a stack pointer is on the WebAssembly stack that was entered last, with room for a backtrace. The frame
    /// of compiled code may reach into the zone, as long as nothing there was touched.
    pub(super) fn is_on_stack(&self, sp: usize) -> bool {
        // SAFETY: null, or of a call that has not returned: `Inside` takes it out before.
        let entry = unsafe { self.entry.get().as_ref() };
        let start = entry.map_or(0, |entry| entry.start.get());
        start != 0 && (start + ZONE / 2..start + STACK).contains(&sp)
    }
}

/// A call that is under way.
pub(super) struct Inside<'entry> {
    entry: &'entry ActiveCall,
    _level: Option<DeepLevel<'static>>,
}

impl Drop for Inside<'_> {
    /// Takes back the zone if native code got it.
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this thread's, which is alive.
        let zone = unsafe { &*self.entry.zone };
        zone.entry.set(self.entry.outer);
        let start = zone.opened.replace(0);
        if start != 0 {
            protect(start, false);
        }
    }
}

/// A call of this thread that is under way.
pub(super) struct Activation<'entry> {
    /// An address in the frame, on the host's stack, that entered.
    pub(super) entry: usize,
    pub(super) waiting: &'entry Waiting,
    /// Its own stack, as far as it can be read.
    pub(super) stack: Range<usize>,
}

/// Whether a call of this thread is under way.
pub(super) fn is_inside() -> bool {
    // SAFETY: this thread's, which is alive.
    unsafe { &*zone() }.current().is_some()
}

/// Calls `visit` with the calls of this thread that are under way, the innermost first.
pub(super) fn each_activation(mut visit: impl FnMut(Activation<'_>)) {
    // SAFETY: this thread's, which is alive.
    let zone = unsafe { &*zone() };
    for entry in zone.entries() {
        let start = entry.start.get();
        let closed = if zone.opened.get() == start { 0 } else { ZONE };
        let stack = if start == 0 {
            readable_below(entry.top.get())
        } else {
            start + closed..start + STACK
        };
        visit(Activation {
            entry: ptr::from_ref(entry) as usize,
            waiting: &entry.waiting,
            stack,
        });
    }
}

/// What can be read of a stack of which only an address in the first frame is known; 0 for a call that has none yet.
fn readable_below(top: usize) -> Range<usize> {
    let mut start = top - top % PAGE;
    while start > top.saturating_sub(STACK) && guard::is_readable(start - PAGE) {
        start -= PAGE;
    }
    start..top - top % size_of::<u64>()
}

/// Stacks begin at a page's end; a larger page's end is one, too.
const PAGE: usize = 4096;

/// Protects the zone of a stack that is used for the first time; whether it is where it is taken to be.
#[cold]
fn protect_once(base: usize) -> bool {
    /// By their bases, whether the stacks have a zone.
    static GUARDED: LazyLock<Mutex<HashMap<usize, bool>>> = LazyLock::new(Mutex::default);
    let mut guarded = GUARDED.lock();
    if let Some(known) = guarded.get(&base) {
        return *known;
    }
    let checked = check(base);
    guarded.insert(base, checked.is_ok());
    drop(guarded);
    match checked {
        Ok(()) => protect(base - STACK, false),
        Err(reason) => features::off("room for native code at the end of a stack", reason),
    }
    checked.is_ok()
}

/// Whether a stack that ends at `base` has [`STACK`] bytes, and a guard page behind them.
fn check(base: usize) -> Result<(), &'static str> {
    const WORD: usize = size_of::<u64>();
    let Some(start) = base.checked_sub(STACK).filter(|start| *start >= PAGE) else {
        return Err("a stack of WebAssembly lies at the beginning of the address space");
    };
    if !guard::is_readable(start) {
        return Err("a stack of WebAssembly has not the size that wasmer was asked for");
    }
    if guard::is_readable(start - WORD) && cfg!(target_os = "linux") {
        return Err("a stack of WebAssembly has no guard page behind it");
    }
    Ok(())
}

#[cfg(target_os = "linux")]
pub(super) use linux::handler;

#[cfg(target_os = "linux")]
use linux::protect;

/// How many mappings a stack is: its guard page, the rest, and the zone where that is one of its own.
#[cfg(target_os = "linux")]
use linux::mappings;

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub(super) use linux::is_native_code;

/// Whether an address is known to be in a library's code.
fn is_library(at: usize) -> bool {
    #[cfg(target_os = "linux")]
    return linux::is_native_code(at);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = at;
        false
    }
}

/// There is no zone.
#[cfg(not(target_os = "linux"))]
fn protect(_start: usize, _open: bool) {}

/// They are not counted.
#[cfg(not(target_os = "linux"))]
fn mappings() -> usize {
    0
}

/// No handler.
#[cfg(not(target_os = "linux"))]
pub(super) fn handler() -> Option<*const TrapHandlerFn<'static>> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ops::Range;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    use libc::{PROT_NONE, PROT_READ, PROT_WRITE, c_int, c_void, siginfo_t};

    use super::super::guard;
    use super::super::notes::Registers;
    use super::{TrapHandlerFn, ZONE, zone};

    /// Makes pages inaccessible within a mapping (Linux 6.13), where `mprotect` splits it in two.
    const MADV_GUARD_INSTALL: c_int = 102;

    /// Takes that back.
    const MADV_GUARD_REMOVE: c_int = 103;

    /// Whether zones are mappings of their own.
    static SPLITS: AtomicBool = AtomicBool::new(false);

    /// Best effort: without its zone a stack works as wasmer made it.
    pub fn protect(start: usize, open: bool) {
        let zone = start as *mut c_void;
        if open {
            // SAFETY: the zone is the unused end of a stack that is never unmapped (module head). Fails
            // where it was not this that closed it.
            unsafe { libc::madvise(zone, ZONE, MADV_GUARD_REMOVE) };
            // SAFETY: as above.
            unsafe { libc::mprotect(zone, ZONE, PROT_READ | PROT_WRITE) };
            return;
        }
        // SAFETY: as above.
        let told = unsafe { libc::madvise(zone, ZONE, MADV_GUARD_INSTALL) };
        if told != 0 || !holds(start) {
            SPLITS.store(true, Ordering::Relaxed);
            // SAFETY: as above.
            unsafe { libc::mprotect(zone, ZONE, PROT_NONE) };
        }
    }

    /// Whether what the kernel has just promised is so; looked at once. qemu-user promises all that it does not know.
    fn holds(start: usize) -> bool {
        static HOLDS: OnceLock<bool> = OnceLock::new();
        *HOLDS.get_or_init(|| !guard::is_readable(start))
    }

    pub fn mappings() -> usize {
        2 + usize::from(SPLITS.load(Ordering::Relaxed))
    }

    /// Gives native code the zone.
    #[inline]
    pub fn handler() -> Option<*const TrapHandlerFn<'static>> {
        static HANDLER: &TrapHandlerFn<'static> = &on_signal;
        Some(std::ptr::from_ref(HANDLER))
    }

    fn on_signal(signal: c_int, info: *const siginfo_t, context: *const c_void) -> bool {
        // SAFETY: this thread's, which is alive.
        let zone = unsafe { &*zone() };
        // SAFETY: the kernel passes it for SA_SIGINFO handlers.
        let registers = registers(unsafe { &*context.cast::<libc::ucontext_t>() });
        zone.notes.fault(registers);
        if signal != libc::SIGSEGV {
            return false;
        }
        // SAFETY: the kernel passes it for SA_SIGINFO handlers.
        let info = unsafe { &*info };
        // SAFETY: SIGSEGV has an address.
        let address = unsafe { info.si_addr() } as usize;
        let start = zone.current().map_or(0, |entry| entry.start.get());
        if start == 0 || !(start..start + ZONE).contains(&address) || zone.opened.get() != 0 {
            return false;
        }
        if !is_native_code(registers.pc) {
            return false;
        }
        zone.opened.set(start);
        protect(start, true);
        true
    }

    #[cfg(target_arch = "x86_64")]
    fn registers(context: &libc::ucontext_t) -> Registers {
        let register = |index: c_int| context.uc_mcontext.gregs[index as usize] as usize;
        Registers {
            pc: register(libc::REG_RIP),
            stack: register(libc::REG_RSP),
            frame: register(libc::REG_RBP),
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn registers(context: &libc::ucontext_t) -> Registers {
        let context = &context.uc_mcontext;
        Registers {
            pc: context.pc as usize,
            frame: context.regs[29] as usize,
            link: context.regs[30] as usize,
        }
    }

    /// Whether the program counter is in a library that was loaded before WebAssembly could run.
    pub fn is_native_code(at: usize) -> bool {
        native_code().iter().any(|code| code.contains(&at))
    }

    /// The code of the libraries that are loaded, this one and those it needs among them. What
    /// compilers made at run time is in none.
    pub fn native_code() -> &'static [Range<usize>] {
        static CODE: OnceLock<Vec<Range<usize>>> = OnceLock::new();
        CODE.get_or_init(|| {
            let mut code = Vec::new();
            // SAFETY: `collect` takes the vector back as what it is.
            unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut code).cast()) };
            code
        })
    }

    unsafe extern "C" fn collect(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        code: *mut c_void,
    ) -> c_int {
        // SAFETY: `native_code` passed its vector.
        let code = unsafe { &mut *code.cast::<Vec<Range<usize>>>() };
        // SAFETY: the dynamic linker passes a valid description.
        let info = unsafe { &*info };
        for index in 0..usize::from(info.dlpi_phnum) {
            // SAFETY: below the number of headers.
            let header = unsafe { info.dlpi_phdr.add(index) };
            // SAFETY: a valid header.
            let header = unsafe { &*header };
            if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 {
                let start = info.dlpi_addr as usize + header.p_vaddr as usize;
                code.push(start..start + header.p_memsz as usize);
            }
        }
        0
    }
}

#[cfg(test)]
#[path = "stack_tests.rs"]
mod tests;
