//! The heads of cached modules: when a stream has brought a module up to its code section, its head shows whether the
//! artifact is probably there, so that the baseline tier need not be started.
//!
//! Empty files, not sealed: a head that is wrong costs time (a baseline that starts late or for nothing), no more. The
//! whole module's hash decides what runs.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use super::error::CacheError;
use super::files::{self, Durability, Existing};

/// One empty file a head.
#[derive(Debug, Clone)]
pub struct Heads {
    dir: PathBuf,
    writable: bool,
}

impl Heads {
    pub(super) fn new(dir: PathBuf, writable: bool) -> Self {
        Self { dir, writable }
    }

    /// Whether a module that begins with bytes of this hash was cached. (Let the hash take in the engine's fingerprint
    /// and the partition, too, if these should count.)
    pub fn known_head(&self, hash: &[u8; 32]) -> bool {
        let Ok(Some((file, metadata))) = files::open_private(&self.path(hash)) else {
            return false;
        };
        if self.writable {
            files::mark_used(&file, &metadata, SystemTime::now());
        }
        true
    }

    /// Remembers that a module that begins with bytes of this hash was cached.
    ///
    /// # Errors
    /// [`CacheError::Write`], [`CacheError::Full`].
    pub fn remember_head(&self, hash: &[u8; 32]) -> Result<(), CacheError> {
        let path = self.path(hash);
        match files::put(&path, &[], Durability::Cheap, Existing::Keep) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(CacheError::write(&path, error))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, hash: &[u8; 32]) -> PathBuf {
        self.dir.join(hex::encode(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_known_once_it_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let heads = Heads::new(dir.path().to_owned(), true);
        let (one, two) = ([1; 32], [2; 32]);
        assert!(!heads.known_head(&one));
        heads.remember_head(&one).unwrap();
        heads.remember_head(&one).unwrap();
        assert!(heads.known_head(&one));
        assert!(!heads.known_head(&two));
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error() {
        let heads = Heads::new("/nonexistent/heads".into(), true);
        assert!(!heads.known_head(&[1; 32]));
        assert_eq!(
            heads.remember_head(&[1; 32]).unwrap_err().code(),
            "ERR_WASM_CACHE_WRITE"
        );
    }
}
