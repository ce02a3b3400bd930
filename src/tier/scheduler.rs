//! The process' compiler threads.

use std::num::NonZero;
use std::sync::LazyLock;
use std::thread;

use crossbeam_channel::{Sender, select_biased, unbounded};

type Task = Box<dyn FnOnce() + Send>;

/// The number of cores that this process may use.
pub fn cores() -> NonZero<usize> {
    thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// The optimizing tier leaves one core to the program.
pub fn optimizing_threads() -> NonZero<usize> {
    NonZero::new(cores().get() - 1).unwrap_or(NonZero::<usize>::MIN)
}

/// Starts threads that run what `next` gives them.
fn pool(
    name: &str,
    threads: usize,
    background: bool,
    next: impl Fn() -> Option<Task> + Clone + Send + 'static,
) {
    for _ in 0..threads {
        let next = next.clone();
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
            if background {
                lower_priority();
            }
            while let Some(task) = next() {
                task();
            }
        });
        // Out of threads: the tasks wait for those that could be started. If none could, `run`
        // runs tasks where they are submitted.
        if spawned.is_err() {
            break;
        }
    }
}

fn run(queue: &Sender<Task>, task: Task) {
    if let Err(unsent) = queue.send(task) {
        (unsent.0)();
    }
}

struct Baseline {
    lowering: Sender<Task>,
    compiling: Sender<Task>,
}

static BASELINE: LazyLock<Baseline> = LazyLock::new(|| {
    let (lowering, first) = unbounded::<Task>();
    let (compiling, second) = unbounded::<Task>();
    pool("wasm-baseline", cores().get(), false, move || {
        select_biased! {
            recv(first) -> task => task.ok(),
            recv(second) -> task => task.ok(),
        }
    });
    Baseline {
        lowering,
        compiling,
    }
});

/// Runs `task` on one of as many threads as there are cores, before all that is to be compiled there.
pub fn lowering(task: Task) {
    run(&BASELINE.lowering, task);
}

/// Runs `task` on one of these threads when nothing is to be lowered.
pub fn compiling(task: Task) {
    run(&BASELINE.compiling, task);
}

/// Runs `task` behind all earlier ones on a thread of low priority. Threads that it starts
/// (Cranelift's) inherit the priority on Linux.
pub fn optimizing(task: Task) {
    static QUEUE: LazyLock<Sender<Task>> = LazyLock::new(|| {
        let (queue, tasks) = unbounded::<Task>();
        pool("wasm-optimizing", 1, true, move || tasks.recv().ok());
        queue
    });
    run(&QUEUE, task);
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
