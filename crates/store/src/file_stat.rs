//! How a file is known to be the one that it was.

use std::fs::{File, Metadata};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a file system says of a file's identity and age. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// The file system.
    pub dev: u64,
    /// The file on it.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the contents, as programs may set it.
    pub mtime_ns: i128,
    /// Last change of contents or inode, as only the system sets it.
    pub ctime_ns: i128,
}

impl FileStat {
    /// Bytes of [`FileStat::encode`].
    pub const ENCODED_LEN: usize = 56;

    /// The stat in `metadata`.
    pub fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let ns = |seconds: i64, nanoseconds: i64| {
            i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
        };
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.size(),
            mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The last change, in ns.
    pub(super) fn newest(&self) -> i128 {
        self.mtime_ns.max(self.ctime_ns)
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; Self::ENCODED_LEN] {
        let mut out = [0; Self::ENCODED_LEN];
        out[..8].copy_from_slice(&self.dev.to_le_bytes());
        out[8..16].copy_from_slice(&self.ino.to_le_bytes());
        out[16..24].copy_from_slice(&self.size.to_le_bytes());
        out[24..40].copy_from_slice(&self.mtime_ns.to_le_bytes());
        out[40..].copy_from_slice(&self.ctime_ns.to_le_bytes());
        out
    }
}

/// A stat, and when it was taken: what is needed to tell whether a later change can hide behind the same stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// What was seen.
    pub stat: FileStat,
    /// A time not after the moment it was seen.
    pub at: SystemTime,
}

impl Observation {
    /// Stats an open file.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn of(file: &File) -> io::Result<Self> {
        let at = SystemTime::now();
        let stat = FileStat::of(&file.metadata()?);
        Ok(Self { stat, at })
    }

    /// Whether the file had last changed at least `window` before it was seen, so that any change after that moment
    /// gets other times, on file systems whose clock ticks at least once per `window`. Times in the future (a clock
    /// that was put back, a server's clock) never count.
    pub(super) fn unchanged_for(&self, window: Duration) -> bool {
        let Ok(at) = self.at.duration_since(UNIX_EPOCH) else {
            return false;
        };
        at.as_nanos() as i128 - self.stat.newest() >= window.as_nanos() as i128
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_within_the_window_is_not_settled() {
        let second = 1_000_000_000;
        let stat = FileStat {
            dev: 1,
            ino: 1,
            size: 1,
            mtime_ns: 100 * second,
            ctime_ns: 200 * second,
        };
        let seen = |millis| Observation {
            stat,
            at: UNIX_EPOCH + Duration::from_millis(millis),
        };
        let window = Duration::from_secs(2);
        assert!(seen(202_000).unchanged_for(window));
        assert!(!seen(201_999).unchanged_for(window));
        assert!(!seen(1).unchanged_for(window), "a time in the future");
        assert!(
            !Observation {
                stat,
                at: UNIX_EPOCH - Duration::from_secs(1)
            }
            .unchanged_for(window)
        );
    }
}
