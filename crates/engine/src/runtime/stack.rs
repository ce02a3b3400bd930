//! Room for native code at the end of a WebAssembly stack.
//!
//! Traps that wasmer raises from its library calls take a backtrace on the WebAssembly stack. Where
//! that ran into the guard page, the coroutine would be reset in the middle of native code, with
//! libgcc's or the allocator's lock held for ever. So the last [`ZONE`] bytes of every stack are a
//! zone of their own: WebAssembly code that touches it overflows, native code gets it.
//!
//! Invariant: WebAssembly stacks are never unmapped (wasmer pools them), and all have the size of
//! [`STACK`], so that their base tells where the zone is.

use std::cell::Cell;
use std::collections::HashSet;
use std::ops::Range;
use std::ptr;
use std::sync::LazyLock;

use super::levels::{DeepLevel, SHALLOW};
use super::notes::Notes;
use super::waiting::Waiting;
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
pub(super) struct Entry {
    trampoline: VMTrampoline,
    body: *const VMFunctionBody,
    zone: *const Zone,
    /// Where the zone of the call's stack begins, 0 until that is known.
    start: Cell<usize>,
    /// While an import runs, the frame of the dynamic trampoline that called it; 0 otherwise.
    host: Cell<usize>,
    waiting: Waiting,
    /// The call around this one.
    outer: *const Entry,
    /// How many there are around it.
    depth: usize,
}

impl Entry {
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
/// `entry` must point at an [`Entry`] that fits `vmctx` and `values`, with this thread's zone.
pub(super) unsafe extern "C-unwind" fn enter(
    vmctx: *mut VMContext,
    entry: *const VMFunctionBody,
    values: *mut RawValue,
) {
    // SAFETY: the caller's promise.
    let entry = unsafe { &*entry.cast::<Entry>() };
    // SAFETY: the caller's promise.
    unsafe { &*entry.zone }.guard(entry);
    // SAFETY: the caller's promise.
    unsafe { (entry.trampoline)(vmctx, entry.body, values) }
}

/// The zone of the stack that runs on this thread.
pub(super) struct Zone {
    /// The base of the stack that was used last: the one that the next call gets, mostly.
    last: Cell<usize>,
    /// The call under way, null if there is none.
    entry: Cell<*const Entry>,
    /// The zone that was given to native code, 0 if none.
    opened: Cell<usize>,
    pub(super) notes: Notes,
}

/// What a thread needs to enter WebAssembly; looked up once, because thread-local storage is slow to
/// reach from a library that was loaded at run time.
#[derive(Clone, Copy)]
pub struct WasmThread(*const Zone);

impl WasmThread {
    /// The calling thread's.
    pub fn current() -> Self {
        Self(zone())
    }

    pub(super) fn zone(self) -> *const Zone {
        self.0
    }
}

/// This thread's zone; its address stays the same while the thread lives.
fn zone() -> *const Zone {
    thread_local! {
        static ZONE: Zone = const { Zone::new() };
    }
    ZONE.with(std::ptr::from_ref)
}

impl Zone {
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
    pub(super) fn entry(&self, trampoline: VMTrampoline, body: *const VMFunctionBody) -> Entry {
        Entry {
            trampoline,
            body,
            zone: self,
            start: Cell::new(0),
            host: Cell::new(0),
            waiting: Waiting::new(),
            outer: self.entry.get(),
            depth: self.current().map_or(0, |outer| outer.depth + 1),
        }
    }

    /// The call is under way until the value is dropped. `None` where there are too many.
    #[inline]
    pub(super) fn begin<'entry>(&'entry self, entry: &'entry Entry) -> Option<Inside<'entry>> {
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
    fn current(&self) -> Option<&Entry> {
        // SAFETY: null, or of a call that has not returned: `Inside` takes it out before.
        unsafe { self.entry.get().as_ref() }
    }

    /// The calls under way, the innermost first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
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
    fn guard(&self, entry: &Entry) {
        let here = 0_u8;
        // This is the first frame of the stack, so its base is the end of the page.
        let base = (&raw const here as usize).next_multiple_of(PAGE);
        entry.start.set(base - STACK);
        if self.last.replace(base) != base {
            protect_once(base);
        }
    }

    /// Whether a stack pointer is on the WebAssembly stack that was entered last, and above its zone.
    pub(super) fn is_on_stack(&self, sp: usize) -> bool {
        // SAFETY: null, or of a call that has not returned: `Inside` takes it out before.
        let entry = unsafe { self.entry.get().as_ref() };
        let start = entry.map_or(0, |entry| entry.start.get());
        start != 0 && (start + ZONE..start + STACK).contains(&sp)
    }
}

/// A call that is under way.
pub(super) struct Inside<'entry> {
    entry: &'entry Entry,
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
        visit(Activation {
            entry: ptr::from_ref(entry) as usize,
            waiting: &entry.waiting,
            stack: start + closed..start + STACK,
        });
    }
}

/// Stacks begin at a page's end; a larger page's end is one, too.
const PAGE: usize = 4096;

#[cold]
fn protect_once(base: usize) {
    /// Bases of the stacks that have a zone.
    static GUARDED: LazyLock<Mutex<HashSet<usize>>> = LazyLock::new(Mutex::default);
    if GUARDED.lock().insert(base) {
        protect(base - STACK, false);
    }
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
        if unsafe { libc::madvise(zone, ZONE, MADV_GUARD_INSTALL) } != 0 {
            SPLITS.store(true, Ordering::Relaxed);
            // SAFETY: as above.
            unsafe { libc::mprotect(zone, ZONE, PROT_NONE) };
        }
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
        if signal != libc::SIGSEGV {
            return false;
        }
        // SAFETY: the kernel passes it for SA_SIGINFO handlers.
        let info = unsafe { &*info };
        // SAFETY: SIGSEGV has an address.
        let address = unsafe { info.si_addr() } as usize;
        // SAFETY: this thread's, which is alive.
        let zone = unsafe { &*zone() };
        // SAFETY: the kernel passes it for SA_SIGINFO handlers.
        let registers = registers(unsafe { &*context.cast::<libc::ucontext_t>() });
        zone.notes.fault(registers);
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
            stack: context.sp as usize,
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
mod tests {
    use std::error::Error;

    use wasmer_vm::Trap;

    use super::super::frames::READS;
    use super::super::scan::each_word;
    use super::*;

    unsafe extern "C" fn trampoline(_: *mut VMContext, _: *const VMFunctionBody, _: *mut RawValue) {
    }

    const FRAMES: usize = 8;

    /// A stack with a chain of frames, all of which return to address 1; its start and the innermost frame.
    fn stack() -> (usize, usize) {
        let words = vec![1_usize; STACK / size_of::<usize>()].leak();
        let start = words.as_ptr() as usize;
        let first = words.len() - 2 * FRAMES;
        for frame in (first..words.len() - 2).step_by(2) {
            words[frame] = start + (frame + 2) * size_of::<usize>();
        }
        (start, start + first * size_of::<usize>())
    }

    /// Runs `innermost` in so many calls, all of which wait for the host, on one stack.
    fn nest(zone: &Zone, calls: usize, stack: (usize, usize), innermost: &mut dyn FnMut(&Entry)) {
        let entry = zone.entry(trampoline, ptr::null());
        entry.start.set(stack.0);
        entry.host.set(stack.1);
        entry.waiting.wait_at(stack.1);
        let _inside = zone.begin(&entry).expect("few calls");
        if calls == 1 {
            innermost(&entry);
        } else {
            nest(zone, calls - 1, stack, innermost);
        }
    }

    fn reads(action: impl FnOnce()) -> usize {
        let before = READS.get();
        action();
        READS.get() - before
    }

    #[test]
    fn stacks_are_read_as_far_as_is_asked_for() {
        let (zone, stack) = (Zone::new(), stack());
        for depth in [20, 2000] {
            nest(&zone, depth, stack, &mut |entry| {
                let trap = Trap::user(Box::<dyn Error + Send + Sync>::from("thrown"));
                let record = || zone.notes.fail(Some(&trap), entry.start(), entry.host());
                assert_eq!(reads(record), 0);
                // The call that failed is among those under way here.
                let traced = reads(|| assert_eq!(zone.trace(10, 18).len(), 18));
                assert_eq!(traced, 18 * 2 * FRAMES);
                assert_eq!(reads(|| assert!(zone.trace(0, 18).len() <= 1)), 0);
            });
        }
    }

    #[test]
    fn of_a_call_that_waits_what_it_uses_is_scanned() {
        // SAFETY: this thread's, which is alive.
        let (zone, stack) = (unsafe { &*zone() }, stack());
        let scanned = || each_word(&mut |_: u64| {});
        nest(zone, 3, stack, &mut |_| {
            assert!(scanned() < 100);
            zone.host_returned();
            assert!(scanned() > (STACK - ZONE) / size_of::<u64>());
        });
    }
}
