//! A process that was left behind, and gives way to all others for as long as it lives.

use super::{finisher, turn};

/// Lets everything else on the machine go first, as far as the system lets us: where it is refused, the process merely
/// competes. If it `waits`, it compiles while they leave it room only (`turn.rs`), and has the kernel's idle class; else it
/// has the lowest priority. Threads that are started later inherit it on Linux. For the main thread of a process that nobody
/// waits for: whoever inherits the process knows it as a finisher.
pub fn rest(waits: bool) {
    finisher::be_known();
    give_way(waits);
    if waits {
        turn::govern();
    }
}

/// Ends this process with the one that has started it, whose id is `parent`: a process that is stopped could not look.
/// Whether it will; where there is no such thing, it ends by itself.
pub fn end_with(parent: u32) -> bool {
    #[cfg(target_os = "linux")]
    {
        let kill = Some(rustix::process::Signal::KILL);
        let is_set = rustix::process::set_parent_process_death_signal(kill).is_ok();
        // It may have ended before.
        let now = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get());
        is_set && now == i32::try_from(parent).ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = parent;
        true
    }
}

#[cfg(target_os = "linux")]
fn give_way(to_all: bool) {
    for thread in threads() {
        // What is wanted now gets something on a busy machine, too.
        if !(to_all && idle(thread)) {
            let thread = rustix::process::Pid::from_raw(thread);
            let _ = rustix::process::setpriority_process(thread, 19);
        }
        let (thread, idle) = (thread, IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT);
        // SAFETY: takes three numbers.
        unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, thread, idle) };
    }
    // Out of memory, the system ends this process first.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}

/// See ioprio_set(2).
#[cfg(target_os = "linux")]
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
#[cfg(target_os = "linux")]
const IOPRIO_CLASS_IDLE: libc::c_int = 3;
#[cfg(target_os = "linux")]
const IOPRIO_CLASS_SHIFT: libc::c_int = 13;

/// The threads of the process, as the kernel numbers them; 0 is the calling one.
#[cfg(target_os = "linux")]
fn threads() -> Vec<libc::pid_t> {
    let mut threads = vec![0];
    let others = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let others = others.flatten().map(|entry| entry.file_name());
    threads.extend(others.filter_map(|name| name.to_str()?.parse::<libc::pid_t>().ok()));
    threads
}

/// Has a thread run only where a core has nothing else to do; whether that could be had.
#[cfg(target_os = "linux")]
fn idle(thread: libc::pid_t) -> bool {
    let priority: libc::c_int = 0;
    let call = libc::SYS_sched_setscheduler;
    // musl's function refuses.
    // SAFETY: the kernel reads a number, which is there.
    unsafe { libc::syscall(call, thread, libc::SCHED_IDLE, &raw const priority) == 0 }
}

#[cfg(target_vendor = "apple")]
fn give_way(_: bool) {
    // SAFETY: takes three numbers; 0 is this process.
    unsafe { libc::setpriority(libc::PRIO_DARWIN_PROCESS, 0, libc::PRIO_DARWIN_BG) };
}

/// Node can do here what we could.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn give_way(_: bool) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::super::scheduler;
    use super::*;

    fn rests() -> bool {
        // SAFETY: takes a number; 0 is the calling thread.
        let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
        let nice = rustix::process::getpriority_process(None).expect("a priority");
        i32::try_from(policy) == Ok(libc::SCHED_IDLE) || nice == 19
    }

    #[test]
    fn all_threads_rest_those_that_are_started_later_too() {
        all_rest(true);
    }

    #[test]
    fn also_in_a_process_that_is_wanted_now() {
        all_rest(false);
    }

    fn all_rest(waits: bool) {
        let (wake, woken) = channel();
        let earlier = thread::spawn(move || {
            let _: Result<(), _> = woken.recv();
            rests()
        });
        assert!(!rests());
        rest(waits);
        assert!(rests());
        drop(wake);
        assert!(earlier.join().expect("no panic"));
        assert!(thread::spawn(rests).join().expect("no panic"));
        let (tell, told) = channel();
        scheduler::optimizing(Box::new(move || {
            // As Cranelift's threads.
            let under = thread::spawn(rests).join().expect("no panic");
            let _ = tell.send(rests() && under);
        }));
        assert_eq!(told.recv(), Ok(true));
        let first = std::fs::read_to_string("/proc/self/oom_score_adj");
        assert_eq!(first.expect("is readable").trim(), "1000");
        let name = std::fs::read_to_string("/proc/thread-self/comm");
        assert_eq!(name.expect("is readable").trim(), "wasm-finisher");
    }
}
