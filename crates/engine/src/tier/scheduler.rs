//! The process' compiler threads.

use std::io;
use std::num::NonZero;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select_biased, unbounded};

use crate::panics;

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
                lower_priority(NICE);
            }
            work(next);
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
    checking: Sender<Task>,
    compiling: Sender<Task>,
}

static BASELINE: LazyLock<Baseline> = LazyLock::new(|| {
    let (checking, first) = unbounded::<Task>();
    let (compiling, second) = unbounded::<Task>();
    pool("wasm-baseline", cores().get(), false, move || {
        select_biased! {
            recv(first) -> task => task.ok(),
            recv(second) -> task => task.ok(),
        }
    });
    Baseline {
        checking,
        compiling,
    }
});

/// Runs `task` on one of as many threads as there are cores, before all that is to be compiled there.
pub fn checking(task: Task) {
    run(&BASELINE.checking, task);
}

/// Runs `task` on one of these threads when nothing is to be checked.
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

/// Runs `task`, which is short, on a thread of its own after a while; at once where no thread can be started.
pub fn later(delay: Duration, task: Task) {
    static QUEUE: LazyLock<Sender<(Instant, Task)>> = LazyLock::new(|| {
        let (queue, coming) = unbounded::<(Instant, Task)>();
        let mut waiting: Vec<(Instant, Task)> = Vec::new();
        let next = move || loop {
            let first = waiting.iter().enumerate().min_by_key(|(_, (at, _))| *at);
            let Some((index, (at, _))) = first else {
                waiting.push(coming.recv().ok()?);
                continue;
            };
            match coming.recv_deadline(*at) {
                Ok(another) => waiting.push(another),
                Err(RecvTimeoutError::Timeout) => return Some(waiting.swap_remove(index).1),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        };
        let thread = thread::Builder::new().name("wasm-later".to_owned());
        let _ = thread.spawn(|| work(next));
        queue
    });
    if let Err(unsent) = QUEUE.send((Instant::now() + delay, task)) {
        (unsent.0.1)();
    }
}

/// Runs what `next` gives.
fn work(mut next: impl FnMut() -> Option<Task>) {
    while let Some(task) = next() {
        // What it was to make is missing, which whoever waits for it finds.
        let _ = panics::catch("a compiler's thread", task);
    }
}

/// So long a thread that has compiled waits for the next module: programs that compile small ones compile many.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs `task`, which may wait for others, on a thread that has nothing else to do.
///
/// # Errors
/// No thread could be started.
pub fn compile_aside(task: impl FnOnce() + Send + 'static) -> io::Result<()> {
    /// A task can be sent only while a thread waits for one.
    static IDLE: LazyLock<(Sender<Task>, Receiver<Task>)> = LazyLock::new(|| bounded(0));
    let Err(unsent) = IDLE.0.try_send(Box::new(task)) else {
        return Ok(());
    };
    let mut task = unsent.into_inner();
    let thread = thread::Builder::new().name("wasm-compile".to_owned());
    let work = move || {
        loop {
            task();
            match IDLE.1.recv_timeout(PATIENCE) {
                Ok(next) => task = next,
                Err(_) => break,
            }
        }
    };
    thread.spawn(work).map(drop)
}

/// Of threads in the background.
pub(super) const NICE: i32 = 5;

/// Lets the program's own threads go first. Best effort: where it is refused, compiling merely
/// competes.
#[cfg(target_os = "linux")]
pub(super) fn lower_priority(nice: i32) {
    // `setpriority(PRIO_PROCESS, 0)` means the calling thread on Linux.
    let _ = rustix::process::nice(nice);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lower_priority(_nice: i32) {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_thread_that_has_compiled_takes_the_next_module() {
        let (told, hears) = channel();
        let mut threads = HashSet::new();
        let fresh = (0..1000).all(|_| {
            let told = told.clone();
            let tell = move || told.send(thread::current().id()).expect("is heard");
            compile_aside(tell).expect("there are threads");
            threads.insert(hears.recv().expect("it ran"))
        });
        assert!(!fresh, "each had a thread of its own");
    }
}
