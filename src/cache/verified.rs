//! The note that an artifact's file was hashed whole and found right: `<key>.ok`, 32 bytes.
//!
//! It is a seal over the file's stat, its footer and its metadata. While the stat is the same, the contents are, and a
//! 50 MB image need not be hashed again. It is a note only: lost, torn or stale, the file is hashed once more.

use std::path::Path;
use std::time::Duration;

use super::file_stat::{FileStat, Observation};
use super::files::{self, Durability};
use super::footer;
use super::seal::Seals;

/// How long a file must have been unchanged before its stat is believed: several ticks of the coarsest clock of the
/// file systems that caches live on (10 ms with HZ=100; ext4, xfs, btrfs, tmpfs and APFS keep nanoseconds).
///
/// Shorter than for sources (`stat_index::RACY_WINDOW`): nothing but an accident writes to a cache file in place.
pub(super) const SETTLE: Duration = Duration::from_millis(50);
/// The same for a file system whose times are whole seconds, FAT's being even ones.
const SETTLE_COARSE: Duration = Duration::from_secs(2);

/// What is remembered of a file.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub stat: &'a FileStat,
    pub footer: &'a [u8; footer::LEN],
    pub meta: &'a [u8],
}

impl Subject<'_> {
    fn tag(&self, seals: &Seals) -> blake3::Hash {
        seals
            .verified()
            .update(&self.stat.encode())
            .update(self.footer)
            .update(self.meta)
            .finalize()
    }

    /// Whether `note` says that this very file was verified.
    pub fn is_noted(&self, note: &Path, seals: &Seals) -> bool {
        matches!(files::read_exactly::<32>(note), Ok(Some(tag)) if self.tag(seals) == tag)
    }

    /// Writes `note`. A failure is not worth telling: the next lookup hashes again.
    pub fn write_note(&self, note: &Path, seals: &Seals) {
        let _ = files::replace(note, &[self.tag(seals).as_bytes()], Durability::Cheap);
    }
}

/// Whether what was seen can be remembered.
///
/// Invariant: the note of a file is written only if any change made after it was seen, before it was hashed, would give
/// the file another stat.
pub(super) fn can_be_noted(seen: &Observation) -> bool {
    let coarse = seen.stat.ctime_ns % 1_000_000_000 == 0;
    seen.settled(if coarse { SETTLE_COARSE } else { SETTLE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const STAT: FileStat = FileStat {
        dev: 1,
        ino: 2,
        size: 3,
        mtime_ns: 4,
        ctime_ns: 5,
    };

    #[test]
    fn a_note_holds_for_one_stat_footer_metadata_and_key() {
        let dir = tempfile::tempdir().unwrap();
        let seals = Seals::open(dir.path()).unwrap();
        let note = dir.path().join("x.ok");
        let footer = [1; footer::LEN];
        let subject = Subject {
            stat: &STAT,
            footer: &footer,
            meta: b"meta",
        };
        assert!(!subject.is_noted(&note, &seals));
        subject.write_note(&note, &seals);
        assert!(subject.is_noted(&note, &seals));
        let stats = [
            FileStat { dev: 0, ..STAT },
            FileStat { ino: 0, ..STAT },
            FileStat { size: 0, ..STAT },
            FileStat {
                mtime_ns: 0,
                ..STAT
            },
            FileStat {
                ctime_ns: 0,
                ..STAT
            },
        ];
        for stat in &stats {
            assert!(!Subject { stat, ..subject }.is_noted(&note, &seals));
        }
        assert!(
            !Subject {
                footer: &[2; footer::LEN],
                ..subject
            }
            .is_noted(&note, &seals)
        );
        assert!(
            !Subject {
                meta: b"",
                ..subject
            }
            .is_noted(&note, &seals)
        );
        let other = tempfile::tempdir().unwrap();
        assert!(!subject.is_noted(&note, &Seals::open(other.path()).unwrap()));
    }

    #[test]
    fn a_damaged_note_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let seals = Seals::open(dir.path()).unwrap();
        let note = dir.path().join("x.ok");
        let subject = Subject {
            stat: &STAT,
            footer: &[1; footer::LEN],
            meta: b"",
        };
        subject.write_note(&note, &seals);
        let good = std::fs::read(&note).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x80;
            std::fs::write(&note, &bad).unwrap();
            assert!(!subject.is_noted(&note, &seals));
            std::fs::write(&note, &good[..at]).unwrap();
            assert!(!subject.is_noted(&note, &seals));
        }
        std::fs::write(&note, [good.as_slice(), b"x"].concat()).unwrap();
        assert!(!subject.is_noted(&note, &seals));
    }

    #[test]
    fn a_fresh_file_is_not_noted() {
        let ns = 1_000_000_123;
        let stat = FileStat {
            mtime_ns: ns,
            ctime_ns: ns,
            ..STAT
        };
        let seen = |stat, millis| Observation {
            stat,
            at: UNIX_EPOCH + Duration::from_millis(millis),
        };
        assert!(!can_be_noted(&seen(stat, 1_050)));
        assert!(can_be_noted(&seen(stat, 1_051)));
        let coarse = FileStat {
            mtime_ns: 1_000_000_000,
            ctime_ns: 1_000_000_000,
            ..STAT
        };
        assert!(!can_be_noted(&seen(coarse, 2_999)));
        assert!(can_be_noted(&seen(coarse, 3_000)));
    }
}
