//! How large the cache may become, and what goes when it would become larger.
//!
//! A process that writes an artifact first makes room for it, under a lock over all processes: so the limit holds at
//! every moment, not only after the next sweep. The room is taken by a temporary file that has its final length from
//! the start.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::files::{self, TEMP_PREFIX, each};
use super::layout;
use super::lock::{self, Held};

/// The default limit, in bytes: 1 GiB, or a tenth of the free disk if that is less.
pub(super) const DEFAULT_TOTAL: u64 = 1 << 30;
const FREE_DISK_SHARE: u64 = 10;

/// What the cache may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all that is stored, over all versions; `None`: 1 GiB, or a tenth of the disk's free space (the cache's own
    /// bytes counted as free) if that is less.
    pub total: Option<u64>,
    /// Bytes of the largest artifact's file.
    pub entry: u64,
}

impl Limits {
    /// The largest file where nothing else is said: 512 MiB.
    pub const DEFAULT_ENTRY: u64 = 512 << 20;

    /// The limit of all that is stored in `root`, which holds `used` bytes.
    pub(super) fn total(&self, root: &Path, used: u64) -> u64 {
        self.total.unwrap_or_else(|| {
            let share = (free_disk(root).saturating_add(used)) / FREE_DISK_SHARE;
            DEFAULT_TOTAL.min(share)
        })
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: None,
            entry: Self::DEFAULT_ENTRY,
        }
    }
}

/// Bytes that this user may still write to the file system of `path`; where the system does not say, as many as you like.
fn free_disk(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Why something is stored. The order is that of eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// Defective; for whoever looks into it.
    Quarantined,
    /// An artifact, or the bytes of a module.
    Kept,
    /// An artifact that some process has mapped: evicting it frees nothing before that process ends, and a process
    /// that starts meanwhile compiles it anew.
    Mapped,
    /// Being written, or about to be compiled. Never evicted; the sweep takes what was abandoned.
    Pending,
}

/// One thing that is stored, with its files.
#[derive(Debug)]
pub(super) struct Unit {
    /// Its main file.
    pub path: PathBuf,
    /// Bytes of all its files.
    pub len: u64,
    pub last_used: SystemTime,
    pub purpose: Purpose,
    /// The modification time of its main file.
    written: SystemTime,
    /// An artifact's note.
    note: Option<PathBuf>,
}

impl Unit {
    /// Removes its files; whoever has them open or mapped keeps them. What was put in their place meanwhile stays.
    pub fn remove(&self) -> io::Result<()> {
        let now = std::fs::symlink_metadata(&self.path).and_then(|metadata| metadata.modified());
        if now.is_ok_and(|written| written != self.written) {
            return Err(io::ErrorKind::NotFound.into());
        }
        std::fs::remove_file(&self.path)?;
        if let Some(note) = &self.note {
            files::discard(note);
        }
        Ok(())
    }
}

/// Everything of size that is stored in the folder of a version. Records, which are small and go with age, are left out.
pub(super) fn units(dir: &Path) -> Vec<Unit> {
    let mut units = Vec::new();
    each(dir, |name, entry| {
        if let Some(stem) = layout::stem_of(name, layout::ENTRY) {
            let note = dir.join(format!("{stem}.{}", layout::NOTE));
            let used = std::fs::symlink_metadata(&note).and_then(|metadata| metadata.modified());
            units.extend(unit(entry.path(), Purpose::Kept, used.ok(), Some(note)));
        } else if name.starts_with(TEMP_PREFIX) {
            units.extend(unit(entry.path(), Purpose::Pending, None, None));
        }
    });
    let parts = [
        (layout::QUARANTINE, Purpose::Quarantined),
        (layout::WASM, Purpose::Kept),
        (layout::SPOOL, Purpose::Pending),
    ];
    for (part, purpose) in parts {
        each(&dir.join(part), |name, entry| {
            let purpose = if name.starts_with(TEMP_PREFIX) {
                Purpose::Pending
            } else {
                purpose
            };
            units.extend(unit(entry.path(), purpose, None, None));
        });
    }
    units
}

fn unit(
    path: PathBuf,
    purpose: Purpose,
    used: Option<SystemTime>,
    note: Option<PathBuf>,
) -> Option<Unit> {
    // Gone meanwhile, or not a file: then it takes nothing.
    let metadata = std::fs::symlink_metadata(&path).ok()?;
    let written = metadata.modified().unwrap_or(UNIX_EPOCH);
    metadata.is_file().then(|| Unit {
        len: metadata.len(),
        last_used: used.unwrap_or(written),
        written,
        path,
        purpose,
        note,
    })
}

/// Marks an open artifact as mapped, as long as `file` is open. Where there are no locks it is not marked.
pub(super) fn mark_mapped(file: &File) {
    // `is_mapped` of another process has the lock for a moment.
    for _ in 0..lock::PATIENCE {
        if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            return;
        }
        std::thread::sleep(lock::MOMENT);
    }
}

fn is_mapped(path: &Path) -> bool {
    let mut options = OpenOptions::new();
    options.read(true);
    files::no_follow(&mut options);
    let Ok(file) = options.open(path) else {
        return false;
    };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// What was evicted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Artifacts, modules' bytes and quarantined files.
    pub units: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Evicts what was least recently used until `needed` bytes more fit under the limit, and everything that was not used
/// for `max_age`. What would not fit if all were evicted evicts nothing.
///
/// Invariant: whatever is evicted, it is unlinked: nobody who has it open or mapped notices.
pub(super) fn evict(
    root: &Path,
    needed: u64,
    limits: &Limits,
    max_age: Option<Duration>,
    now: SystemTime,
) -> Evicted {
    let mut units: Vec<_> = layout::versions(root)
        .iter()
        .flat_map(|dir| units(dir))
        .collect();
    let mut used: u64 = units.iter().map(|unit| unit.len).sum();
    let limit = limits.total(root, used);
    let mut evicted = Evicted::default();
    let is_over_age = |unit: &Unit| {
        max_age.is_some_and(|max| {
            now.duration_since(unit.last_used)
                .is_ok_and(|age| age > max)
        })
    };
    if used.saturating_add(needed) <= limit && !units.iter().any(is_over_age) {
        return evicted;
    }
    let pending = units.extract_if(.., |unit| unit.purpose == Purpose::Pending);
    let pending: u64 = pending.map(|unit| unit.len).sum();
    let can_fit = needed == 0 || pending.saturating_add(needed) <= limit;
    for unit in &mut units {
        if unit.purpose == Purpose::Kept && unit.note.is_some() && is_mapped(&unit.path) {
            unit.purpose = Purpose::Mapped;
        }
    }
    units.sort_by_key(|unit| (unit.purpose, unit.last_used));
    for unit in &units {
        let is_full = used.saturating_add(needed) > limit;
        if ((is_full && can_fit) || is_over_age(unit)) && unit.remove().is_ok() {
            used -= unit.len;
            evicted.units += 1;
            evicted.bytes += unit.len;
        }
    }
    evicted
}

/// Bytes of everything of size that is stored.
pub(super) fn used(root: &Path) -> u64 {
    let folders = layout::versions(root);
    folders
        .iter()
        .flat_map(|dir| units(dir))
        .map(|unit| unit.len)
        .sum()
}

/// What is in quarantine.
pub(super) fn quarantined(root: &Path) -> Evicted {
    let folders = layout::versions(root);
    let units = folders.iter().flat_map(|dir| units(dir));
    units
        .filter(|unit| unit.purpose == Purpose::Quarantined)
        .fold(Evicted::default(), Evicted::and)
}

/// Removes everything but what is being written, and all records.
pub(super) fn clear(root: &Path) -> Evicted {
    let mut cleared = Evicted::default();
    for dir in layout::versions(root) {
        for unit in units(&dir) {
            if unit.purpose != Purpose::Pending && unit.remove().is_ok() {
                cleared = cleared.and(unit);
            }
        }
        for part in layout::RECORDS {
            each(&dir.join(part), |name, entry| {
                if !name.starts_with(TEMP_PREFIX) {
                    files::discard(&entry.path());
                }
            });
        }
        files::discard(&dir.join(layout::COUNTERS));
    }
    for folder in [layout::SEEN, layout::VERDICTS] {
        layout::each_judged(root, folder, |entry, is_complete| {
            if is_complete {
                files::discard(&entry.path());
            }
        });
    }
    cleared
}

impl Evicted {
    fn and(self, unit: Unit) -> Self {
        Self {
            units: self.units + 1,
            bytes: self.bytes + unit.len,
        }
    }
}

/// Waits for the right to make room in `root`; `None` where there are no locks, or whoever has it does not go on: the
/// limit may then be passed by what is written at the same time, until the next write.
pub(super) fn right(root: &Path) -> Option<Held> {
    lock::wait(&lock_path(root)).ok()
}

/// The file whose lock is [`right`].
pub(super) fn lock_path(root: &Path) -> PathBuf {
    root.join(layout::LIMIT_LOCK)
}
