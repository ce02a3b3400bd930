//! One compile of a module at a time, over all processes.
//!
//! The system frees the lock when its holder dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::CacheError;
use super::files;
use super::key::ArtifactKey;

/// [`Flight::is_held`] holds a shared lock for a moment; taking the lock waits out such moments.
const PATIENCE: u32 = 3;
/// Rounds of finding that the lock file was removed by its last holder.
const ATTEMPTS: u32 = 64;

/// The right to compile one module, until dropped.
///
/// Invariant: at most one flight of a key exists over all processes and threads, and a killed holder's is free at once.
#[derive(Debug)]
pub struct Flight {
    /// Open, hence locked.
    _file: File,
    path: PathBuf,
}

impl Flight {
    /// Takes the flight of `key`, whose entries are in `dir`; `None` while somebody else has it. Does not wait (3 ms at
    /// most).
    ///
    /// # Errors
    /// [`CacheError::Lock`] where the file system has no locks or the file cannot be made.
    pub fn try_acquire(dir: &Path, key: &ArtifactKey) -> Result<Option<Self>, CacheError> {
        let path = lock_path(dir, key);
        match try_lock(&path) {
            Ok(file) => Ok(file.map(|file| Self { _file: file, path })),
            Err(source) => Err(CacheError::Lock { path, source }),
        }
    }

    /// Whether somebody has the flight of `key`. An answer about the past, as soon as it is given.
    pub fn is_held(dir: &Path, key: &ArtifactKey) -> bool {
        let mut options = OpenOptions::new();
        options.read(true);
        files::no_follow(&mut options);
        let Ok(file) = options.open(lock_path(dir, key)) else {
            return false;
        };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Removed before it is unlocked: whoever locks this file later sees that it lost its name, and starts over.
        #[cfg(unix)]
        let _ = std::fs::remove_file(&self.path);
        #[cfg(not(unix))]
        let _ = &self.path;
    }
}

pub(super) const EXTENSION: &str = "lock";

fn lock_path(dir: &Path, key: &ArtifactKey) -> PathBuf {
    dir.join(format!("{key}.{EXTENSION}"))
}

/// Locks `path`, waiting up to a second.
pub(super) fn wait(path: &Path) -> io::Result<File> {
    for _ in 0..200 {
        if let Some(file) = try_lock(path)? {
            return Ok(file);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let mut patience = PATIENCE;
    for _ in 0..ATTEMPTS {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        files::no_follow(&mut options);
        let file = options.open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a regular file",
            ));
        }
        match file.try_lock() {
            Ok(()) if still_named(&file, path)? => return Ok(Some(file)),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if patience > 0 => {
                patience -= 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => {
                // Nobody holds it: where there are no locks, their files would only pile up.
                #[cfg(unix)]
                let _ = std::fs::remove_file(path);
                return Err(error);
            }
        }
    }
    Ok(None)
}

/// Whether `path` still names this file, so that others would lock the same.
#[cfg(unix)]
fn still_named(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lock files are not removed here.
#[cfg(not(unix))]
fn still_named(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
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
        #[cfg(unix)]
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

    #[cfg(unix)]
    #[test]
    fn a_killed_process_frees_its_flight() {
        use std::process::{Command, Stdio};
        let dir = tempfile::tempdir().unwrap();
        let path = lock_path(dir.path(), &KEY);
        let script = "exec 9>\"$0\"; flock -x 9; echo; exec sleep 60";
        let Ok(mut child) = Command::new("sh")
            .args(["-c", script])
            .arg(&path)
            .stdout(Stdio::piped())
            .spawn()
        else {
            return;
        };
        let mut byte = [0];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
        assert!(Flight::try_acquire(dir.path(), &KEY).unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Flight::try_acquire(dir.path(), &KEY).unwrap().is_some());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_locks_place_is_an_error_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        std::os::unix::fs::symlink(&target, lock_path(dir.path(), &KEY)).unwrap();
        assert_eq!(
            Flight::try_acquire(dir.path(), &KEY).unwrap_err().code(),
            "ERR_WASM_CACHE_LOCK"
        );
        assert!(!target.exists());
        assert!(!Flight::is_held(dir.path(), &KEY));
    }
}
