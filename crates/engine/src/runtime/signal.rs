//! The signal that makes a thread look whether it is to stop (see `interrupt.rs`).
//!
//! A real-time signal that nobody else uses: libuv can install any other one's handler over ours when a program listens
//! to it, and two copies of this library would have to pass theirs on to each other. Node's inspector has `SIGUSR1`.
//! Whoever sends it to the process without being asked ends it, as without us.

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub(super) use linux::{send, thread_to_watch};

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub(super) use elsewhere::{send, thread_to_watch};

/// No thread is watched.
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod elsewhere {
    pub fn thread_to_watch() -> Option<i32> {
        None
    }

    pub fn send(_thread: i32) -> bool {
        false
    }
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod linux {
    use std::mem::MaybeUninit;
    use std::ptr;
    use std::sync::OnceLock;

    use libc::{c_int, c_void, siginfo_t, ucontext_t};

    use crate::runtime::faults::end_by;
    use crate::runtime::interrupt::{Verdict, end, judge};
    use crate::runtime::stack::is_native_code;

    /// The code of a signal that we send to ourselves. The kernel lets a process give any negative one, and nobody else's
    /// functions give this (`sigaction(2)`). In 16 bits, which is what qemu-user passes on of it.
    const OURS: c_int = -(u16::from_be_bytes(*b"wc") as c_int);

    fn thread() -> i32 {
        // SAFETY: always succeeds. The C library's function for it is a young one.
        (unsafe { libc::syscall(libc::SYS_gettid) }) as i32
    }

    fn process() -> i32 {
        // SAFETY: always succeeds.
        unsafe { libc::getpid() }
    }

    /// The calling thread's id, unless it is the process's first, which nobody stops, or there is no signal for it.
    pub fn thread_to_watch() -> Option<i32> {
        let thread = thread();
        (thread != process() && signal().is_some()).then_some(thread)
    }

    /// Sends the signal to a thread that has not ended; whether that worked.
    pub fn send(thread: i32) -> bool {
        let Some(signal) = signal() else {
            return false;
        };
        // Without our handler the signal would end the process.
        if action(signal).is_none_or(|action| action.sa_sigaction != handler()) {
            return false;
        }
        // SAFETY: all zeros is valid.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        info.si_code = OURS;
        let info = &raw const info;
        // SAFETY: at worst there is no such thread.
        let sent =
            unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, process(), thread, signal, info) };
        sent == 0
    }

    /// The last signals, which qemu-user takes handlers for and cannot send: it has some for itself.
    const LAST: c_int = 4;

    /// The signal, once our handler is there for it; from the end, because others begin at the beginning.
    fn signal() -> Option<c_int> {
        static SIGNAL: OnceLock<Option<c_int>> = OnceLock::new();
        *SIGNAL.get_or_init(|| {
            (libc::SIGRTMIN()..=libc::SIGRTMAX() - LAST)
                .rev()
                .find(|signal| install(*signal))
        })
    }

    fn action(signal: c_int) -> Option<libc::sigaction> {
        let mut action = MaybeUninit::uninit();
        // SAFETY: only asks for the action.
        let asked = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
        // SAFETY: the call wrote it.
        (asked == 0).then(|| unsafe { action.assume_init() })
    }

    fn handler() -> usize {
        on_signal as *const () as usize
    }

    /// Installs our handler if nobody's is there.
    fn install(signal: c_int) -> bool {
        if action(signal).is_none_or(|action| action.sa_sigaction != libc::SIG_DFL) {
            return false;
        }
        // SAFETY: all zeros is a valid action.
        let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
        ours.sa_sigaction = handler();
        // On the alternate stack, which wasmer makes before a thread enters WebAssembly: a WebAssembly stack may be full.
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        let mut previous = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: both are valid actions.
        if unsafe { libc::sigaction(signal, &ours, previous.as_mut_ptr()) } != 0 {
            return false;
        }
        // SAFETY: the call wrote it.
        let previous = unsafe { previous.assume_init() };
        if previous.sa_sigaction == libc::SIG_DFL {
            return true;
        }
        // Another thread was faster.
        // SAFETY: a valid action.
        unsafe { libc::sigaction(signal, &previous, ptr::null_mut()) };
        false
    }

    /// Allocates nothing, locks nothing and panics nowhere.
    extern "C" fn on_signal(signal: c_int, info: *const siginfo_t, context: *mut c_void) {
        // SAFETY: the kernel passes it for SA_SIGINFO handlers.
        if unsafe { (*info).si_code } != OURS {
            end_by(signal);
            return;
        }
        // SAFETY: the kernel passes it for SA_SIGINFO handlers.
        let context = unsafe { &mut *context.cast::<ucontext_t>() };
        let (pc, sp) = place(context);
        if judge(thread(), sp, || is_native_code(pc)) == Verdict::End {
            // The frames below are never returned to; what may lie under the stack pointer is not missed either.
            go_on(context, end as *const () as usize, sp & !15);
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn place(context: &ucontext_t) -> (usize, usize) {
        let registers = &context.uc_mcontext.gregs;
        let pc = registers[libc::REG_RIP as usize];
        let sp = registers[libc::REG_RSP as usize];
        (pc as usize, sp as usize)
    }

    /// As if `pc` had been called with the stack pointer at `sp`, a multiple of 16.
    #[cfg(target_arch = "x86_64")]
    fn go_on(context: &mut ucontext_t, pc: usize, sp: usize) {
        let registers = &mut context.uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = pc as i64;
        // The return address, which is not used.
        registers[libc::REG_RSP as usize] = (sp - size_of::<usize>()) as i64;
    }

    #[cfg(target_arch = "aarch64")]
    fn place(context: &ucontext_t) -> (usize, usize) {
        let registers = &context.uc_mcontext;
        (registers.pc as usize, registers.sp as usize)
    }

    /// As if `pc` had been called with the stack pointer at `sp`, a multiple of 16.
    #[cfg(target_arch = "aarch64")]
    fn go_on(context: &mut ucontext_t, pc: usize, sp: usize) {
        let registers = &mut context.uc_mcontext;
        registers.pc = pc as u64;
        registers.sp = sp as u64;
    }
}
