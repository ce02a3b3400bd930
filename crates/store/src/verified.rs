//! The note that an artifact's file was hashed whole and found right: `<key>.ok`, 40 bytes.
//!
//! ```text
//! when it was hashed, in seconds since 1970 8 │ seal of that, the file's stat, its footer and its metadata 32
//! ```
//!
//! While the stat is the same, the contents are (unless the disk lies: [`RECHECK`]), and a 50 MB image need not be
//! hashed again. It is a note only: lost, torn or stale, the file is hashed once more.
//!
//! The note's own modification time is that of the artifact's last use, to the minute.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::fields::Fields;
use super::file_stat::{FileStat, Observation};
use super::files::{self, Durability, Existing, Pending};
use super::footer;
use super::seal::Seals;

/// How long a file must have been unchanged before its stat is believed: several ticks of the coarsest clock of the
/// file systems that caches live on (10 ms with HZ=100; ext4, xfs, btrfs, tmpfs and APFS keep nanoseconds).
///
/// Shorter than for sources (`stat_index::RACY_WINDOW`): nothing but an accident writes to a cache file in place.
pub(super) const UNCHANGED: Duration = Duration::from_millis(50);
/// The same for a file system whose times are whole seconds, FAT's being even ones.
const UNCHANGED_COARSE: Duration = Duration::from_secs(2);
/// After this time a file is hashed again, in the background: disks forget without telling the file system.
const RECHECK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const TIME_LEN: usize = 8;
const LEN: usize = TIME_LEN + 32;

/// What the verification of an artifact may rely on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trust {
    /// The note of an earlier one. `used`: the artifact is used by this.
    Noted { used: bool },
    /// As `Noted`, and used; after the file was written, its file system's clock reached this.
    Written(Option<Tick>),
    /// Nothing: it is hashed.
    Nothing,
}

/// What is remembered of a file.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Of the file.
    pub stat: &'a FileStat,
    /// As it is in the file.
    pub footer: &'a [u8; footer::LEN],
    /// As it is in the file.
    pub meta: &'a [u8],
}

/// What a note says of a file that it vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// The file should be hashed again before long.
    pub is_due: bool,
}

impl Subject<'_> {
    fn tag(&self, seals: &Seals, time: [u8; TIME_LEN]) -> blake3::Hash {
        seals
            .verified()
            .update(&time)
            .update(&self.stat.encode())
            .update(self.footer)
            .update(self.meta)
            .finalize()
    }

    /// What `note` says, if it is about this very file. Where `used`, the note is marked with the time.
    pub fn noted(&self, note: &Path, seals: &Seals, now: SystemTime, used: bool) -> Option<Noted> {
        let (file, metadata) = files::open_private(note).ok()??;
        let bytes: [u8; LEN] = files::read_opened(&file, &metadata).ok()?;
        let mut fields = Fields(&bytes);
        let (time, tag): ([u8; TIME_LEN], [u8; 32]) = (fields.bytes()?, fields.bytes()?);
        if self.tag(seals, time) != tag {
            return None;
        }
        if used {
            files::mark_used(&file, &metadata, now);
        }
        let hashed = UNIX_EPOCH.checked_add(Duration::from_secs(u64::from_le_bytes(time)));
        let age = hashed.and_then(|hashed| now.duration_since(hashed).ok());
        Some(Noted {
            is_due: age.is_none_or(|age| age >= RECHECK),
        })
    }

    /// Writes `note`; unless the artifact is `used` by that, the time of its last use stays. A failure is not worth
    /// telling: the next lookup hashes again.
    pub fn write_note(&self, note: &Path, seals: &Seals, now: SystemTime, used: bool) {
        let last_use = std::fs::symlink_metadata(note).and_then(|metadata| metadata.modified());
        let time = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = time.as_secs().to_le_bytes();
        let tag = self.tag(seals, time);
        let parts: [&[u8]; 2] = [&time, tag.as_bytes()];
        let _ = Pending::new(note).and_then(|mut pending| {
            pending.write(&parts)?;
            if let Ok(last_use) = last_use
                && !used
            {
                pending.set_modified(last_use)?;
            }
            pending.finish(Durability::Cheap, Existing::Replace)
        });
    }
}

/// Whether what was seen can be remembered; `tick` is what the file system's clock had reached by then, where that was
/// asked for ([`tick_after`]).
///
/// Invariant: the note of a file is written only if any change made after it was seen, before it was hashed, would give
/// the file another stat.
pub(super) fn can_be_noted(seen: &Observation, tick: Option<Tick>) -> bool {
    let coarse = seen.stat.ctime_ns % 1_000_000_000 == 0;
    tick.is_some_and(|Tick(tick)| tick > seen.stat.newest())
        || seen.unchanged_for(if coarse { UNCHANGED_COARSE } else { UNCHANGED })
}

/// A time that a file system has given to a file, in ns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tick(i128);

/// The tick of the coarsest kernel clock is 10 ms (HZ=100).
const TICK: Duration = Duration::from_millis(12);

/// Waits until the clock of the file system that `probe` is on gives later times than those of `stat`: a tick of the
/// kernel's. Where that is not enough, the rest of [`UNCHANGED`], and `None`.
///
/// The same system calls every time, so that tests can stop a writer at each of them.
pub(super) fn tick_after(probe: &Pending, stat: &FileStat) -> Option<Tick> {
    std::thread::sleep(TICK);
    let ticked = probe
        .set_modified(SystemTime::now())
        .and_then(|()| probe.stat());
    match ticked {
        Ok(FileStat { ctime_ns, .. }) if ctime_ns > stat.newest() => Some(Tick(ctime_ns)),
        _ => {
            std::thread::sleep(UNCHANGED - TICK);
            None
        }
    }
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
        let now = SystemTime::now();
        assert_eq!(subject.noted(&note, &seals, now, false), None);
        subject.write_note(&note, &seals, now, true);
        assert!(subject.noted(&note, &seals, now, false).is_some());
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
            let subject = Subject { stat, ..subject };
            assert_eq!(subject.noted(&note, &seals, now, false), None);
        }
        let footer = &[2; footer::LEN];
        let others = [
            Subject { footer, ..subject },
            Subject {
                meta: b"",
                ..subject
            },
        ];
        for other in others {
            assert_eq!(other.noted(&note, &seals, now, false), None);
        }
        let other = tempfile::tempdir().unwrap();
        let stranger = Seals::open(other.path()).unwrap();
        assert_eq!(subject.noted(&note, &stranger, now, false), None);
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
        let now = SystemTime::now();
        subject.write_note(&note, &seals, now, true);
        let good = std::fs::read(&note).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x80;
            std::fs::write(&note, &bad).unwrap();
            assert_eq!(subject.noted(&note, &seals, now, false), None);
            std::fs::write(&note, &good[..at]).unwrap();
            assert_eq!(subject.noted(&note, &seals, now, false), None);
        }
        std::fs::write(&note, [good.as_slice(), b"x"].concat()).unwrap();
        assert_eq!(subject.noted(&note, &seals, now, false), None);
    }

    #[test]
    fn a_note_says_when_the_file_was_last_used_and_when_to_hash_it_again() {
        let dir = tempfile::tempdir().unwrap();
        let seals = Seals::open(dir.path()).unwrap();
        let note = dir.path().join("x.ok");
        let subject = Subject {
            stat: &STAT,
            footer: &[1; footer::LEN],
            meta: b"",
        };
        let start = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        subject.write_note(&note, &seals, start, true);
        let modified = || std::fs::metadata(&note).unwrap().modified().unwrap();
        let noted = |now, used| subject.noted(&note, &seals, now, used).unwrap();
        assert!(!noted(start + RECHECK - files::USE_TICK, true).is_due);
        assert_eq!(modified(), start + RECHECK - files::USE_TICK);
        assert!(noted(start + RECHECK, false).is_due);
        assert_eq!(modified(), start + RECHECK - files::USE_TICK);
        assert!(!noted(start + RECHECK - files::USE_TICK / 2, true).is_due);
        assert_eq!(
            modified(),
            start + RECHECK - files::USE_TICK,
            "within the tick"
        );
        assert!(
            noted(start - files::USE_TICK, true).is_due,
            "a clock put back"
        );
        assert_eq!(modified(), start - files::USE_TICK);
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
        assert!(!can_be_noted(&seen(stat, 1_050), None));
        assert!(can_be_noted(&seen(stat, 1_051), None));
        let coarse = FileStat {
            mtime_ns: 1_000_000_000,
            ctime_ns: 1_000_000_000,
            ..STAT
        };
        assert!(!can_be_noted(&seen(coarse, 2_999), None));
        assert!(can_be_noted(&seen(coarse, 3_000), None));
        // The file system's own clock says more than the time of day.
        assert!(can_be_noted(&seen(stat, 1_000), Some(Tick(ns + 1))));
        assert!(!can_be_noted(&seen(stat, 1_000), Some(Tick(ns))));
    }

    #[test]
    fn a_tick_is_later_than_what_was_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("x")).unwrap();
        let stat = FileStat::of(&file.metadata().unwrap());
        let probe = Pending::new(&dir.path().join("y")).unwrap();
        let Tick(tick) = tick_after(&probe, &stat).unwrap();
        assert!(tick > stat.newest());
        file.set_len(1).unwrap();
        let changed = FileStat::of(&file.metadata().unwrap());
        assert!(changed.ctime_ns >= tick);
        // One hour ahead: no clock gets there.
        let ahead = FileStat {
            mtime_ns: stat.mtime_ns + 3_600_000_000_000,
            ..stat
        };
        assert!(tick_after(&probe, &ahead).is_none());
    }
}
