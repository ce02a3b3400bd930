//! What the file system of a cache can do, for the doctor.

use std::fs::TryLockError;

use super::{Store, limits};

impl Store {
    /// Whether a lock that somebody holds is refused to others: without that, processes compile the same module twice, and
    /// the limit may be passed for a while.
    pub fn has_locks(&self) -> bool {
        if !self.is_writable() {
            return false;
        }
        let Some(_held) = limits::right(self.root()) else {
            return false;
        };
        let second = std::fs::File::open(limits::lock_path(self.root()));
        second.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[test]
    fn an_ordinary_file_system_has_locks() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            directory: Some(dir.path().join("cache")),
            ..Settings::default()
        };
        assert!(Store::open(settings).unwrap().has_locks());
    }
}
