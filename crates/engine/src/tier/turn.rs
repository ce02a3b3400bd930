//! When a process that gives way may work: while the machine has nothing else to do.
//!
//! The kernel's idle class keeps such a process off a processor that others want, but not off the other half of a core whose
//! first half they have, nor off the caches. So it stops between two functions while others are busy, and goes on a second
//! after they have ended. On a machine that is always busy it gets a small share of the time, so that it ends.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wasmer_compiler::{FunctionMiddleware, ModuleMiddleware};
use wasmer_types::LocalFunctionIndex;

/// How often it is looked.
const TICK: Duration = Duration::from_millis(100);
/// So long nothing else must have run.
const QUIET: Duration = Duration::from_secs(1);
/// Of every so many ticks one is taken in any case, once the process has waited for so long.
const PATIENCE: Duration = Duration::from_secs(10);
const SHARE: u32 = 40;

struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

/// Whether compilers of this process wait for their turn.
static GOVERNED: AtomicBool = AtomicBool::new(false);

pub(super) fn is_governed() -> bool {
    GOVERNED.load(Ordering::Relaxed)
}

static GATE: Gate = Gate {
    closed: Mutex::new(false),
    opened: Condvar::new(),
};

/// Returns when it is this process' turn; at once in a process that does not wait for it.
pub(super) fn wait() {
    let mut closed = GATE.closed.lock();
    while *closed {
        GATE.opened.wait(&mut closed);
    }
}

fn set(closed: bool) {
    *GATE.closed.lock() = closed;
    if !closed {
        GATE.opened.notify_all();
    }
}

/// Whether it is this process' turn now; always in a process that does not wait for it.
pub fn is_open() -> bool {
    !*GATE.closed.lock()
}

/// What the process of this id takes is this process' own from here on, as long as that lives and nothing else is named.
pub fn count_as_own(process: u32) {
    CHILD.store(process, Ordering::Relaxed);
}

/// See [`count_as_own`]; 0: none.
static CHILD: AtomicU32 = AtomicU32::new(0);

/// Has a compiler wait before each function.
#[derive(Debug)]
pub(super) struct Turn;

impl ModuleMiddleware for Turn {
    fn generate_function_middleware<'a>(
        &self,
        _: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        wait();
        Box::new(Unchanged)
    }
}

/// Leaves a function as it is.
#[derive(Debug)]
struct Unchanged;

impl FunctionMiddleware<'_> for Unchanged {}

/// What the gate does next.
#[derive(Debug)]
struct Rule {
    /// Since when nothing else has run; `None` while something does.
    quiet: Option<Instant>,
    begun: Instant,
    ticks: u32,
}

impl Rule {
    const fn new(now: Instant) -> Self {
        Self {
            quiet: None,
            begun: now,
            ticks: 0,
        }
    }

    /// Whether the gate is closed until the next tick.
    fn closes(&mut self, busy: bool, now: Instant) -> bool {
        self.ticks = self.ticks.wrapping_add(1);
        if busy {
            self.quiet = None;
        } else {
            self.quiet.get_or_insert(now);
        }
        let is_quiet = self
            .quiet
            .is_some_and(|since| now.duration_since(since) >= QUIET);
        let is_owed =
            now.duration_since(self.begun) >= PATIENCE && self.ticks.is_multiple_of(SHARE);
        !is_quiet && !is_owed
    }
}

/// Closes and opens the gate from here on, where it can be seen what others do.
#[cfg(target_os = "linux")]
pub(super) fn govern() {
    let Some(mut last) = Usage::now() else { return };
    GOVERNED.store(true, Ordering::Relaxed);
    set(true);
    let governor = move || {
        let mut rule = Rule::new(Instant::now());
        loop {
            std::thread::sleep(TICK);
            let Some(usage) = Usage::now() else {
                set(false);
                return;
            };
            set(rule.closes(usage.is_busy_since(&last), Instant::now()));
            last = usage;
        }
    };
    let started = std::thread::Builder::new()
        .name("wasm-turn".to_owned())
        .spawn(governor);
    if started.is_err() {
        set(false);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) const fn govern() {}

/// CPU time that was used, in the kernel's ticks: by all, and by this process (proc(5)).
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Usage {
    all: u64,
    idle: u64,
    own: u64,
    processors: u64,
}

#[cfg(target_os = "linux")]
impl Usage {
    fn now() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let own = std::fs::read_to_string("/proc/self/stat").ok()?;
        let mut usage = Self::of(&stat, &own)?;
        let child = CHILD.load(Ordering::Relaxed);
        if child != 0 {
            // Once it has ended, its time is among that of this process' children.
            usage.own += std::fs::read_to_string(format!("/proc/{child}/stat"))
                .ok()
                .and_then(|of_child| Self::of(&stat, &of_child))
                .map_or(0, |usage| usage.own);
        }
        Some(usage)
    }

    fn of(stat: &str, own: &str) -> Option<Self> {
        let numbers = |text: &str| -> Vec<u64> {
            text.split_whitespace()
                .filter_map(|number| number.parse().ok())
                .collect()
        };
        let mut lines = stat.lines();
        // user nice system idle iowait irq softirq steal; the rest is in these.
        let times = numbers(lines.next()?.strip_prefix("cpu ")?);
        let all = times.get(..8)?.iter().sum();
        let idle = times.get(3..5)?.iter().sum();
        let processors = lines.take_while(|line| line.starts_with("cpu")).count() as u64;
        // Behind the name, which may be anything: state is the first, utime the 12th, stime the 13th, then those of children
        // that have ended.
        let (_, fields) = own.rsplit_once(") ")?;
        let fields: Vec<_> = fields.split(' ').collect();
        let time = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            all,
            idle,
            own: (11..=14).map(time).sum::<Option<u64>>()?,
            processors,
        })
    }

    /// Whether others took so much that this process would be felt: less than half of the machine is left, and more than
    /// the system itself takes now and then.
    fn is_busy_since(&self, last: &Self) -> bool {
        let all = self.all.saturating_sub(last.all);
        let others = all
            .saturating_sub(self.idle.saturating_sub(last.idle))
            .saturating_sub(self.own.saturating_sub(last.own));
        let processors = self.processors.max(1);
        let allowed = (processors.saturating_sub(2) * 50).max(15);
        // In hundredths of a processor.
        others * 100 * processors > allowed * all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn the_gate_opens_a_second_after_others_have_ended_and_closes_at_once() {
        let start = Instant::now();
        let mut rule = Rule::new(start);
        assert!(rule.closes(true, start));
        assert!(rule.closes(false, after(start, 100)));
        assert!(rule.closes(false, after(start, 1000)));
        assert!(!rule.closes(false, after(start, 1100)));
        assert!(rule.closes(true, after(start, 1200)));
        assert!(rule.closes(false, after(start, 1300)));
    }

    #[test]
    fn beside_others_that_never_end_it_gets_a_share() {
        let start = Instant::now();
        let mut rule = Rule::new(start);
        let open: Vec<u64> = (1..=400)
            .filter(|tick| !rule.closes(true, after(start, tick * 100)))
            .collect();
        assert!(open.iter().all(|tick| *tick >= 100), "{open:?}");
        assert_eq!(open.len(), 8);
    }

    #[cfg(target_os = "linux")]
    mod usage {
        use super::super::Usage;

        fn usage(busy: u64, idle: u64, own: u64, processors: usize) -> Usage {
            let each = "cpu0 1 2 3 4 5 6 7 8 9 10\n".repeat(processors);
            let stat = format!("cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n{each}intr 1\n");
            let own = format!("7 (a name) of) R 1 2 3 4 5 6 7 8 9 10 {own} 0 0 0 20\n");
            Usage::of(&stat, &own).expect("is whole")
        }

        #[test]
        fn what_this_process_takes_is_nobody_elses() {
            let start = usage(1000, 1000, 500, 2);
            assert_eq!((start.own, start.processors), (500, 2));
            assert!(!usage(1020, 1000, 520, 2).is_busy_since(&start));
            assert!(usage(1020, 1000, 510, 2).is_busy_since(&start));
            assert!(!usage(1001, 1019, 500, 2).is_busy_since(&start));
            assert!(usage(1002, 1018, 500, 2).is_busy_since(&start));
        }

        #[test]
        fn half_of_a_large_machine_may_be_others() {
            let start = usage(0, 0, 0, 64);
            assert!(!usage(300, 340, 0, 64).is_busy_since(&start));
            assert!(usage(320, 320, 0, 64).is_busy_since(&start));
        }

        #[test]
        fn another_kernels_files_are_no_answer() {
            assert!(Usage::of("", "").is_none());
            assert!(Usage::of("cpu  1 2\n", "1 (a) R 1").is_none());
            assert!(Usage::now().is_some());
        }
    }
}
