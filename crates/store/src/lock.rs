//! One compile of a module at a time, over all processes.
//!
//! The system frees the lock when its holder dies, however it dies, and wakes those who wait for it. A holder that ends its
//! flight removes the lock file first, so that the process that wakes knows which of the two it was.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::CacheError;
use super::files;
use super::key::ArtifactKey;
use super::layout;

/// [`Flight::is_held`] holds a shared lock for a moment; taking the lock waits out such moments.
pub(super) const PATIENCE: u32 = 3;
/// Between two attempts.
pub(super) const MOMENT: Duration = Duration::from_millis(1);
/// Rounds of finding that the lock file was removed by its last holder.
const ATTEMPTS: u32 = 64;

/// A locked file, until dropped.
#[derive(Debug)]
pub(super) struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // Closing does not unlock while a child that has been forked, and has not yet become its program, has a copy.
        let _ = self.0.unlock();
    }
}

/// The right to compile one module, until dropped.
///
/// Invariant: at most one flight of a key exists over all processes and threads, and a killed holder's is free at once.
#[derive(Debug)]
pub struct Flight {
    file: Held,
    path: PathBuf,
}

impl Flight {
    /// Takes the flight of `key`, whose entries are in `dir`; `None` while somebody else has it. Does not wait (3 ms at
    /// most).
    ///
    /// # Errors
    /// [`CacheError::Lock`] where the file system has no locks or the file cannot be made.
    pub fn try_acquire(dir: &Path, key: &ArtifactKey) -> Result<Option<Self>, CacheError> {
        let path = layout::of_key(dir, key, layout::LOCK);
        match try_lock(&path) {
            Ok(file) => Ok(file.map(|file| Self { file, path })),
            Err(source) => {
                if has_no_locks(&source) {
                    // Nobody holds it, and there would be ever more of them.
                    files::discard(&path);
                }
                Err(CacheError::Lock { path, source })
            }
        }
    }

    /// Blocks, in the kernel, while somebody else has the flight of `key`. `None` if its holder has ended it: look for
    /// what it has made. A flight whose holder died passes to one of those who wait; the others go on waiting, for it.
    ///
    /// # Errors
    /// As [`Flight::try_acquire`].
    pub fn wait(dir: &Path, key: &ArtifactKey) -> Result<Option<Self>, CacheError> {
        let path = layout::of_key(dir, key, layout::LOCK);
        match inherit(&path) {
            Ok(file) => Ok(file.map(|file| Self { file, path })),
            Err(source) => Err(CacheError::Lock { path, source }),
        }
    }

    /// Whether a process has the flight of `key`. The answer is about the past as soon as it is given.
    pub fn is_held(dir: &Path, key: &ArtifactKey) -> bool {
        let mut options = OpenOptions::new();
        options.read(true);
        files::no_follow(&mut options);
        let Ok(file) = options.open(layout::of_key(dir, key, layout::LOCK)) else {
            return false;
        };
        let locked = file.try_lock_shared();
        let _ = file.unlock();
        matches!(locked, Err(TryLockError::WouldBlock))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Removed before it is unlocked: whoever locks this file later sees that it lost its name, and starts over.
        if still_named(&self.file.0, &self.path).unwrap_or_default() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What one process of the user has at a time, until dropped.
#[derive(Debug)]
pub struct Claim {
    _held: Held,
}

impl Claim {
    /// Claims what the lock file at `path` stands for; `None` while somebody else has it, or where there are no locks.
    pub(super) fn take(path: &Path) -> Option<Self> {
        let held = try_lock(path).ok().flatten();
        held.map(|held| Self { _held: held })
    }
}

/// How often [`wait`] looks: for a second. No test is to fail because a machine is slow: a minute.
const WAITS: u32 = if cfg!(test) { 12_000 } else { 200 };

/// Locks `path`, waiting up to a second.
pub(super) fn wait(path: &Path) -> io::Result<Held> {
    for _ in 0..WAITS {
        if let Some(file) = try_lock(path)? {
            return Ok(file);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn try_lock(path: &Path) -> io::Result<Option<Held>> {
    let mut patience = PATIENCE;
    for _ in 0..ATTEMPTS {
        let file = open(path, true)?;
        match file.try_lock() {
            Ok(()) => {
                let held = Held(file);
                if still_named(&held.0, path)? {
                    return Ok(Some(held));
                }
            }
            Err(TryLockError::WouldBlock) if patience > 0 => {
                patience -= 1;
                std::thread::sleep(MOMENT);
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// Waits until nobody holds the lock file at `path`, and takes it if its holder died.
fn inherit(path: &Path) -> io::Result<Option<Held>> {
    let file = match open(path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    // Shared, so that all who wait are woken at once: after a flight that was ended, none of them needs the lock.
    uninterrupted(|| file.lock_shared())?;
    if !still_named(&file, path)? {
        return Ok(None);
    }
    // One after the other. Unlocked between the two, because where a lock is converted in one step, two who share it would
    // wait for each other.
    file.unlock()?;
    uninterrupted(|| file.lock())?;
    let held = Held(file);
    Ok(still_named(&held.0, path)?.then_some(held))
}

/// A signal whose handler ran on this thread ends a wait.
fn uninterrupted(lock: impl Fn() -> io::Result<()>) -> io::Result<()> {
    loop {
        match lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            locked => return locked,
        }
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(create)
        .truncate(false);
    files::no_follow(&mut options);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    Ok(file)
}

/// Whether it is the file system that has no locks.
fn has_no_locks(error: &io::Error) -> bool {
    use libc::{EINVAL, ENOLCK, ENOSYS, EOPNOTSUPP};
    let code = error.raw_os_error();
    matches!(code, Some(EINVAL | ENOLCK | ENOSYS | EOPNOTSUPP))
}

/// Whether `path` still names this file, so that others would lock the same.
fn still_named(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const KEY: ArtifactKey = ArtifactKey::from_bytes([1; 32]);

    #[test]
    fn a_flight_is_exclusive_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Flight::is_held(dir.path(), &KEY));
        let flight = Flight::try_acquire(dir.path(), &KEY).unwrap().unwrap();
        assert!(Flight::is_held(dir.path(), &KEY));
        assert!(Flight::try_acquire(dir.path(), &KEY).unwrap().is_none());
        assert!(
            Flight::try_acquire(dir.path(), &ArtifactKey::from_bytes([2; 32]))
                .unwrap()
                .is_some()
        );
        drop(flight);
        assert!(!Flight::is_held(dir.path(), &KEY));
        assert!(Flight::try_acquire(dir.path(), &KEY).unwrap().is_some());
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            0,
            "no litter"
        );
    }

    #[test]
    fn never_two_at_once_while_lock_files_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let (holders, flights) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        Flight::is_held(dir.path(), &KEY);
                        if let Some(flight) = Flight::try_acquire(dir.path(), &KEY).unwrap() {
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                            flights.fetch_add(1, Ordering::SeqCst);
                            std::thread::yield_now();
                            holders.fetch_sub(1, Ordering::SeqCst);
                            drop(flight);
                        }
                    }
                });
            }
        });
        assert!(flights.into_inner() > 0);
    }

    #[test]
    fn what_was_waited_for_is_free_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = wait(&path).unwrap();
        // As a child has one between its fork and its exec.
        let _copy = held.0.try_clone().unwrap();
        assert!(try_lock(&path).unwrap().is_none());
        drop(held);
        assert!(try_lock(&path).unwrap().is_some());
    }

    /// A process that has the flight of [`KEY`] until it is killed.
    fn holder(dir: &Path) -> std::process::Child {
        use std::process::{Command, Stdio};
        let mut child = Command::new("sh")
            .args(["-c", "exec 9>\"$0\"; flock -x 9; echo; exec sleep 600"])
            .arg(layout::of_key(dir, &KEY, layout::LOCK))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut byte = [0];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
        child
    }

    /// Returns when so many wait for the flight of [`KEY`] in the kernel.
    #[cfg(target_os = "linux")]
    fn until_waiting(dir: &Path, count: usize) {
        use std::os::unix::fs::MetadataExt;
        let inode = std::fs::metadata(layout::of_key(dir, &KEY, layout::LOCK))
            .unwrap()
            .ino();
        let waiting = || {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            let blocked = locks.lines().filter(|line| line.contains("-> FLOCK"));
            blocked
                .filter(|line| line.contains(&format!(":{inode} ")))
                .count()
        };
        while waiting() < count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_killed_process_frees_its_flight() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = holder(dir.path());
        assert!(Flight::try_acquire(dir.path(), &KEY).unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Flight::try_acquire(dir.path(), &KEY).unwrap().is_some());
    }

    #[test]
    fn where_there_is_no_flight_nobody_waits() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Flight::wait(dir.path(), &KEY).unwrap().is_none());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn all_who_wait_go_on_when_the_flight_ends() {
        let dir = tempfile::tempdir().unwrap();
        let flight = Flight::try_acquire(dir.path(), &KEY).unwrap().unwrap();
        // As a child has one between its fork and its exec.
        let _copy = flight.file.0.try_clone().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(Flight::wait(dir.path(), &KEY).unwrap().is_none()));
            }
            until_waiting(dir.path(), 8);
            drop(flight);
        });
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn one_of_those_who_wait_inherits_the_flight_of_a_killed_process() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let mut child = holder(dir.path());
            let (sender, landed) = std::sync::mpsc::channel();
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    let sender = sender.clone();
                    let dir = dir.path();
                    scope.spawn(move || sender.send(Flight::wait(dir, &KEY).unwrap()).unwrap());
                }
                until_waiting(dir.path(), 8);
                child.kill().unwrap();
                child.wait().unwrap();
                let inherited = landed.recv().unwrap();
                assert!(inherited.is_some());
                until_waiting(dir.path(), 7);
                assert!(Flight::try_acquire(dir.path(), &KEY).unwrap().is_none());
                drop(inherited);
                for _ in 0..7 {
                    assert!(landed.recv().unwrap().is_none());
                }
            });
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_link_in_the_locks_place_is_an_error_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        std::os::unix::fs::symlink(&target, layout::of_key(dir.path(), &KEY, layout::LOCK))
            .unwrap();
        assert_eq!(
            Flight::try_acquire(dir.path(), &KEY).unwrap_err().code(),
            "ERR_WASM_CACHE_LOCK"
        );
        assert_eq!(
            Flight::wait(dir.path(), &KEY).unwrap_err().code(),
            "ERR_WASM_CACHE_LOCK"
        );
        assert!(!target.exists());
        assert!(!Flight::is_held(dir.path(), &KEY));
    }
}
