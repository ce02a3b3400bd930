//! The user's key, and the seals made with it.
//!
//! Each kind of file is sealed with its own key, derived from the user's, so that no file can pass for another kind.

use std::fmt;
use std::io;
use std::path::Path;

use super::error::{CacheError, InvalidReason};
use super::files::{self, Durability, Existing};
use super::layout::{SEAL_KEY, SEAL_LOCK};
use super::lock;

/// Rounds of "somebody else was faster" before giving up; more than one is rare already.
const ATTEMPTS: usize = 16;

/// The keyed hashes of one user's cache.
pub struct Seals {
    entry: [u8; 32],
    verified: [u8; 32],
    stat: [u8; 32],
    spool: [u8; 32],
    resource: [u8; 32],
}

impl Seals {
    /// Reads the key in `root`, or makes it.
    ///
    /// Invariant: all processes and threads that open the same directory get the same key, also when they all are the
    /// first: it appears complete, under a name that is not replaced.
    ///
    /// A key that others could read, or of the wrong size, is replaced: what it sealed does not verify any more.
    pub fn open(root: &Path) -> Result<Self, CacheError> {
        let path = root.join(SEAL_KEY);
        let unusable = |source: io::Error| CacheError::seal_key(&path, source);
        for _ in 0..ATTEMPTS {
            match read(&path) {
                Ok(Some(key)) => return Ok(Self::derive(&key)),
                Ok(None) => {}
                Err(InvalidReason::Io(kind)) => return Err(unusable(kind.into())),
                Err(_) => {
                    // Looked at again under the lock: the next one must not throw away what the first has made.
                    let _lock = lock::wait(&root.join(SEAL_LOCK)).map_err(&unusable)?;
                    if read(&path).is_err() {
                        files::discard(&path);
                    }
                }
            }
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(|error| unusable(io::Error::other(error)))?;
            match files::put(&path, &[&key], Durability::Durable, Existing::Keep) {
                Ok(()) => return Ok(Self::derive(&key)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(unusable(error)),
            }
        }
        Err(unusable(io::Error::other("it cannot be replaced")))
    }

    /// Reads the key in `root`; `None` if there is none that can be used.
    pub fn open_read_only(root: &Path) -> Option<Self> {
        let key = read(&root.join(SEAL_KEY)).ok().flatten()?;
        Some(Self::derive(&key))
    }

    fn derive(key: &[u8; 32]) -> Self {
        let derive = |context: &str| blake3::derive_key(context, key);
        Self {
            entry: derive("wasm-compile-cache 2026-01 seal of entries v1"),
            verified: derive("wasm-compile-cache 2026-01 seal of verifications v1"),
            stat: derive("wasm-compile-cache 2026-01 seal of stat records v1"),
            spool: derive("wasm-compile-cache 2026-01 seal of spool files v1"),
            resource: derive("wasm-compile-cache 2026-01 seal of resources v1"),
        }
    }

    /// For an artifact's file.
    pub fn entry(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.entry)
    }

    /// For the note that an artifact's file was verified.
    pub fn verified(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.verified)
    }

    /// For the record of a `file:` source.
    pub fn stat(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.stat)
    }

    /// For a spool file.
    pub fn spool(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.spool)
    }

    /// For the record of a URL.
    pub fn resource(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.resource)
    }
}

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seals(…)")
    }
}

fn read(path: &Path) -> Result<Option<[u8; 32]>, InvalidReason> {
    use std::os::unix::fs::MetadataExt;
    let Some((file, metadata)) = files::open_private(path)? else {
        return Ok(None);
    };
    if metadata.mode() & 0o077 != 0 {
        return Err(InvalidReason::UnsafeMode);
    }
    files::read_opened(&file, &metadata).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::Barrier;

    fn race(root: &Path) -> [u8; 32] {
        let barrier = Barrier::new(8);
        let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
            let open = || {
                barrier.wait();
                Seals::open(root).unwrap().entry
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(Seals::open(root).unwrap().entry, keys[0]);
        keys[0]
    }

    #[test]
    fn eight_threads_that_are_all_first_get_one_key() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            race(dir.path());
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no litter");
        }
    }

    #[test]
    fn eight_threads_that_all_find_a_damaged_key_get_one_key() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let before = Seals::open(dir.path()).unwrap().entry;
            fs::write(dir.path().join(SEAL_KEY), "short").unwrap();
            assert_ne!(race(dir.path()), before);
        }
    }

    #[test]
    fn each_kind_of_file_has_its_own_key() {
        let seals = Seals::derive(&[7; 32]);
        let keys = std::collections::HashSet::from([
            seals.entry,
            seals.verified,
            seals.stat,
            seals.spool,
            seals.resource,
        ]);
        assert_eq!(keys.len(), 5);
        assert!(!format!("{seals:?}").contains('['));
    }

    #[test]
    fn two_directories_have_two_keys() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        assert_ne!(
            Seals::open(dirs[0].path()).unwrap().entry,
            Seals::open(dirs[1].path()).unwrap().entry
        );
    }

    #[test]
    fn a_key_that_others_could_read_is_replaced() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SEAL_KEY);
        let first = Seals::open(dir.path()).unwrap().entry;
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let second = Seals::open(dir.path()).unwrap().entry;
        assert_ne!(first, second);
        let aside = dir.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        symlink(&aside, &path).unwrap();
        let third = Seals::open(dir.path()).unwrap().entry;
        assert_ne!(second, third);
        assert!(aside.exists(), "the link was removed, not what it names");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        fs::remove_file(&path).unwrap();
        fs::create_dir_all(path.join("full")).unwrap();
        assert_eq!(
            Seals::open(dir.path()).unwrap_err().code(),
            "ERR_WASM_CACHE_SEAL_KEY"
        );
    }
}
