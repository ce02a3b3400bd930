//! The store is stopped at every system call in turn, and every call to the file system fails in turn. Afterwards the
//! cache holds what it held or what it was to hold, whole; what is left over goes with the next sweep; and the next
//! write works.
//!
//! A child process (this file, started again) uses the store, and is traced: see [`tracer`]. What it does is in
//! [`scenario`], and what it then holds in [`holdings`]. Nothing depends on time: the calls are counted.

mod holdings;
mod scenario;
mod sequence;
mod tracer;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;

use holdings::Held;
use scenario::{SCENARIOS, Scenario};
use tracer::{Blow, Call, Ended};

const TEST: &str = "crash_points::the_cache_is_right_wherever_its_writer_is_stopped";
/// Cases at once. A write rests for 12 ms, a case for 60, so more than there are cores.
const AT_ONCE: usize = 24;

/// What can be made of a call.
fn blows(at: usize, call: &Call, folder: &Path) -> Vec<Blow> {
    let mut blows = vec![Blow::Kill(at)];
    let fail = |errnos: &[Errno]| -> Vec<Blow> {
        errnos.iter().map(|errno| Blow::Fail(at, *errno)).collect()
    };
    // The C library looks at files of its own.
    let ours = |path: &String| Path::new(path).starts_with(folder);
    if !call.paths.is_empty() && !call.paths.iter().any(ours) {
        return blows;
    }
    use Errno::{EDQUOT, EINTR, EIO, EMFILE, ENOLCK, ENOSPC, EOPNOTSUPP, EROFS};
    blows.extend(match call.number {
        libc::SYS_openat | libc::SYS_open if call.creates() => {
            fail(&[ENOSPC, EDQUOT, EROFS, EIO, EINTR])
        }
        // The C library does not try again to open a folder, and no file system is known that would have it do so.
        libc::SYS_openat | libc::SYS_open if call.on_folder => fail(&[EIO, EMFILE]),
        libc::SYS_openat | libc::SYS_open => fail(&[EIO, EMFILE, EINTR]),
        libc::SYS_write | libc::SYS_pwrite64 => {
            let mut blows = fail(&[ENOSPC, EDQUOT, EIO, EINTR]);
            blows.push(Blow::Short(at));
            blows
        }
        libc::SYS_read | libc::SYS_pread64 => {
            let mut blows = fail(&[EIO, EINTR]);
            blows.push(Blow::Short(at));
            blows
        }
        libc::SYS_fsync | libc::SYS_fdatasync => fail(&[ENOSPC, EDQUOT, EIO, EINTR]),
        libc::SYS_ftruncate => fail(&[ENOSPC, EDQUOT, EIO, EINTR]),
        libc::SYS_fallocate => fail(&[ENOSPC, EDQUOT, EIO, EINTR, EOPNOTSUPP]),
        libc::SYS_mkdir
        | libc::SYS_mkdirat
        | libc::SYS_rename
        | libc::SYS_renameat
        | libc::SYS_renameat2
        | libc::SYS_link
        | libc::SYS_linkat => fail(&[ENOSPC, EDQUOT, EROFS, EIO]),
        libc::SYS_unlink
        | libc::SYS_unlinkat
        | libc::SYS_rmdir
        | libc::SYS_utimensat
        | libc::SYS_chmod
        | libc::SYS_fchmod => fail(&[EROFS, EIO]),
        libc::SYS_flock => fail(&[ENOLCK, EIO]),
        libc::SYS_stat
        | libc::SYS_lstat
        | libc::SYS_fstat
        | libc::SYS_newfstatat
        | libc::SYS_statx
        | libc::SYS_statfs
        | libc::SYS_fstatfs
        | libc::SYS_lseek
        | libc::SYS_getdents64 => fail(&[EIO]),
        // Memory, time, random numbers, closing (of which nobody can make anything).
        _ => Vec::new(),
    });
    blows
}

/// A cache folder in which a scenario was prepared.
fn prepared(scenario: &Scenario) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    scenario.prepare(&root(&dir));
    age(&root(&dir));
    dir
}

/// Waits until all files are so old that the store remembers what it verifies: what it does then depends on nothing else.
fn age(root: &Path) {
    const OLD: Duration = Duration::from_millis(60);
    for name in holdings::names(root) {
        let changed = root.join(name).symlink_metadata().map(|metadata| {
            let since = Duration::new(metadata.ctime() as u64, metadata.ctime_nsec() as u32);
            SystemTime::UNIX_EPOCH + since
        });
        if let Ok(Ok(age)) = changed.map(|changed| changed.elapsed()) {
            std::thread::sleep(OLD.saturating_sub(age));
        }
    }
}

fn root(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("cache")
}

fn run(index: usize, dir: &tempfile::TempDir, blow: Blow) -> Ended {
    let root = root(dir);
    let job = format!("{index} {}", root.display());
    tracer::run(TEST, &job, blow)
}

fn child(job: &str) -> ! {
    let (index, root) = job.split_once(' ').expect("the job has two parts");
    let scenario = &SCENARIOS[index.parse::<usize>().expect("the first is a number")];
    tracer::traced();
    tracer::interval(scenario.act(Path::new(root)))
}

/// What a scenario does when it is left alone.
struct Reference {
    /// In which the cache was.
    folder: PathBuf,
    calls: Vec<Call>,
    /// What is in the folder before and after, when it has been opened and swept.
    names: [BTreeSet<String>; 2],
}

fn swept_names(root: &Path) -> Result<BTreeSet<String>, String> {
    holdings::sweep(root)?;
    Ok(holdings::names(root).into_iter().collect())
}

fn reference(index: usize) -> Result<Reference, String> {
    let scenario = &SCENARIOS[index];
    let untouched = prepared(scenario);
    expect(
        "before",
        holdings::held(&root(&untouched))?,
        scenario.before,
    )?;
    let before = swept_names(&root(&untouched))?;

    let dir = prepared(scenario);
    let root = root(&dir);
    let there = holdings::names(&root);
    let Ended { calls, said } = run(index, &dir, Blow::None);
    expect("said", said.as_deref(), Some(scenario.says))?;
    expect("left over", litter(&root, &there), Vec::new())?;
    expect("after", holdings::held(&root)?, scenario.after)?;
    let durable = sequence::check(&calls, &root)?;
    expect("durable files", durable, scenario.durable)?;
    let names = [before, swept_names(&root)?];
    Ok(Reference {
        folder: dir.path().to_owned(),
        calls,
        names,
    })
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: {found:?}, expected {expected:?}"))
    }
}

/// What a process that goes on must not leave.
fn litter(root: &Path, was_there: &[String]) -> Vec<String> {
    let mut names = holdings::names(root);
    names.retain(|name| name.contains(".tmp-") && !was_there.contains(name));
    names
}

/// Each field is the one of before or of after.
fn is_between(held: Held, before: Held, after: Held) -> bool {
    let one = |is: &dyn Fn(Held) -> bool| is(before) || is(after);
    one(&|side| side.a == held.a)
        && one(&|side| side.b == held.b)
        && one(&|side| side.refused == held.refused)
        && one(&|side| side.spooled == held.spooled)
        && one(&|side| side.recorded == held.recorded)
        && one(&|side| side.head == held.head)
        && one(&|side| side.hits == held.hits)
}

/// Deals one blow, and looks at what is left.
fn case(index: usize, reference: &Reference, blow: Blow) -> Result<(), String> {
    let scenario = &SCENARIOS[index];
    let dir = prepared(scenario);
    let root = root(&dir);
    let there = holdings::names(&root);
    let Ended { calls, said } = run(index, &dir, blow);
    let at = match blow {
        Blow::None => return Err("no blow".into()),
        Blow::Kill(at) | Blow::Fail(at, _) | Blow::Short(at) => at,
    };
    let hit = calls.get(at).map(|call| call.number);
    expect("the call", hit, Some(reference.calls[at].number))?;

    let harmless = matches!(blow, Blow::Short(_) | Blow::Fail(_, Errno::EINTR));
    if harmless {
        expect("said", said.as_deref(), Some(scenario.says))?;
    }
    // What a failed unlink leaves is the sweep's to take.
    let removes = calls[at].removes();
    if said.is_some() && !removes {
        expect("left over", litter(&root, &there), Vec::new())?;
    }
    let held = holdings::held(&root)?;
    if said.as_deref() == Some(scenario.says) && !removes {
        // What is refused may stay, and is refused again; nobody is told that a count is lost.
        let Held { refused, hits, .. } = held;
        let after = Held {
            refused,
            hits,
            ..scenario.after
        };
        if scenario.tells {
            expect("after", held, after)?;
        }
    }
    // If one cannot be evicted, the next one is.
    let evictable = |held: Held| Held {
        a: held.a.filter(|_| !removes),
        ..held
    };
    let [held_by, before, after] = [held, scenario.before, scenario.after].map(evictable);
    if !is_between(held_by, before, after) {
        return Err(format!("{held:?} is neither of before nor of after"));
    }
    let names = swept_names(&root)?;
    let [before, after] = &reference.names;
    if let Some(name) = names
        .iter()
        .find(|name| !before.contains(*name) && !after.contains(*name))
    {
        return Err(format!("{name} is left when all is swept"));
    }
    if let Some(name) = before.intersection(after).find(|name| {
        // What is put aside or counted may not be: it is for statistics.
        let matters = !name.contains("/quarantine/") && !name.ends_with(".tries");
        !names.contains(*name) && matters && !removes
    }) {
        return Err(format!("{name} is gone when all is swept"));
    }
    let kept = holdings::held(&root)?;
    expect(
        "entries after the sweep",
        [kept.a, kept.b],
        [held.a, held.b],
    )?;
    holdings::write_next(&root)
}

/// Does all jobs on several threads; the errors.
fn all<T: Sync, R: Send>(jobs: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = work(job);
                    results.lock().expect("no thread panics here").push(result);
                }
            });
        }
    });
    results.into_inner().expect("no thread panics here")
}

fn references() -> Vec<(usize, Reference)> {
    let indices: Vec<usize> = (0..SCENARIOS.len()).collect();
    all(&indices, |index| match reference(*index) {
        Ok(reference) => (*index, reference),
        Err(error) => panic!("{}: {error}", SCENARIOS[*index].name),
    })
}

#[test]
fn the_cache_is_right_wherever_its_writer_is_stopped() {
    if let Some(job) = tracer::job() {
        child(&job);
    }
    let references = references();
    let mut jobs = Vec::new();
    for (index, reference) in &references {
        for (at, call) in reference.calls.iter().enumerate() {
            jobs.extend(
                blows(at, call, &reference.folder)
                    .into_iter()
                    .map(|blow| (*index, reference, blow)),
            );
        }
    }
    let errors: Vec<String> = all(&jobs, |(index, reference, blow)| {
        case(*index, reference, *blow)
            .err()
            .map(|error| format!("{}, {blow:?}: {error}", SCENARIOS[*index].name))
    })
    .into_iter()
    .flatten()
    .collect();
    println!("{} cases", jobs.len());
    assert!(
        errors.is_empty(),
        "{} of {}:\n{}",
        errors.len(),
        jobs.len(),
        errors.join("\n")
    );
}

#[test]
fn temporary_names_are_unique() {
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        for (_, reference) in references() {
            for name in sequence::temporary_names(&reference.calls) {
                assert!(seen.insert(name.to_owned()), "{name}");
            }
        }
    }
    assert!(seen.len() > SCENARIOS.len(), "{seen:?}");
}
