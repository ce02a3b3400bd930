//! The process' compiler threads.

use std::num::NonZero;
use std::sync::OnceLock;
use std::thread;

use crossbeam_channel::{Sender, unbounded};

type Task = Box<dyn FnOnce() + Send>;

/// The number of cores that this process may use.
pub fn cores() -> NonZero<usize> {
    thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// The optimizing tier leaves one core to the program.
pub fn optimizing_threads() -> NonZero<usize> {
    NonZero::new(cores().get() - 1).unwrap_or(NonZero::<usize>::MIN)
}

fn pool(name: &str, threads: usize, background: bool) -> Sender<Task> {
    let (sender, receiver) = unbounded::<Task>();
    for _ in 0..threads {
        let receiver = receiver.clone();
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
            if background {
                lower_priority();
            }
            for task in receiver {
                task();
            }
        });
        // Out of threads: the tasks wait for those that could be started. If none could, `spawn`
        // below runs tasks where they are submitted.
        if spawned.is_err() {
            break;
        }
    }
    sender
}

/// Runs `task` on one of as many threads as there are cores.
pub fn baseline(task: Task) {
    static POOL: OnceLock<Sender<Task>> = OnceLock::new();
    let pool = POOL.get_or_init(|| pool("wasm-baseline", cores().get(), false));
    if let Err(unsent) = pool.send(task) {
        (unsent.0)();
    }
}

/// Runs `task` behind all earlier ones on a thread of low priority. Threads that it starts
/// (Cranelift's) inherit the priority on Linux.
pub fn optimizing(task: Task) {
    static POOL: OnceLock<Sender<Task>> = OnceLock::new();
    let pool = POOL.get_or_init(|| pool("wasm-optimizing", 1, true));
    if let Err(unsent) = pool.send(task) {
        (unsent.0)();
    }
}

/// Lets the program's own threads go first. Best effort: where it is refused, compiling merely
/// competes.
#[cfg(target_os = "linux")]
fn lower_priority() {
    // `setpriority(PRIO_PROCESS, 0)` means the calling thread on Linux.
    let _ = rustix::process::nice(5);
}

#[cfg(not(target_os = "linux"))]
fn lower_priority() {}
