//! Removing what crashed and killed processes left behind.

use std::fs::DirEntry;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::files::{self, Durability, TEMP_PREFIX, each};
use super::key::ArtifactKey;
use super::lock::Flight;
use super::{layout, limits};

/// Between two sweeps, and the age from which a temporary or spool file has no living owner: the longest write and the
/// longest compile are minutes.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Records that were not used for so long are forgotten, so that they do not grow without bound (a file's, which is not
/// marked when it is used, is made anew at the price of one hash). Artifacts of other versions that were not used for so long go, too: this one
/// cannot use them.
const MEMORY: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// More records of a kind than this are not kept.
const MAX_RECORDS: usize = 10_000;
/// How long defective artifacts are kept.
const QUARANTINED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// When finishers may try again to compile what they have failed at.
const FORGIVEN: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// So long modules wait to be judged.
const SEEN: Duration = Duration::from_secs(24 * 60 * 60);
/// After so long without a change, verdicts are found anew.
const VERDICT: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// The flight that a sweeping process holds; no artifact has this key.
const SWEEPER: ArtifactKey = ArtifactKey::from_bytes([0; 32]);

/// What a sweep removed: temporary files, spool files, notes without their entry and locks that nobody holds, older than
/// an hour; modules that wait for a judge after a day; defective artifacts after a week; records, and artifacts of other
/// versions, after 30 days without use; verdicts after 90. Never an artifact of this version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Sweeps all versions in `root`, of which `dir` is this one's folder, unless somebody does or did within the hour
/// before `now`.
pub(super) fn if_due(root: &Path, dir: &Path, now: SystemTime) -> Option<Swept> {
    if !is_due(dir, now) {
        return None;
    }
    // Where there are no locks, two may sweep at once: what one has removed the other does not find.
    let flight = Flight::try_acquire(dir, &SWEEPER);
    if matches!(flight, Ok(None)) {
        return None;
    }
    files::replace(&dir.join(layout::SWEPT), &[], Durability::Cheap).ok()?;
    Some(self::now(root, dir, now))
}

/// Whether nobody swept within the hour before `now`.
pub(super) fn is_due(dir: &Path, now: SystemTime) -> bool {
    std::fs::symlink_metadata(dir.join(layout::SWEPT))
        .map_or(true, |metadata| is_older(&metadata, HOUR, now))
}

/// Sweeps without asking when that was last done.
///
/// Invariant: nothing is removed that a living process still needs, whatever is swept when: not a young file, not a lock
/// that is held, not an entry.
pub(super) fn now(root: &Path, dir: &Path, now: SystemTime) -> Swept {
    let mut swept = Swept::default();
    each(root, |name, entry| {
        if name.starts_with(TEMP_PREFIX) {
            swept.remove(entry, HOUR, now);
        }
    });
    for (folder, age) in [(layout::SEEN, SEEN), (layout::VERDICTS, VERDICT)] {
        layout::each_judged(root, folder, |entry, is_complete| {
            swept.remove(entry, if is_complete { age } else { HOUR }, now);
        });
    }
    for folder in layout::versions(root) {
        swept.version(&folder, now);
        if folder != dir {
            swept.other_version(&folder, now);
        }
    }
    swept
}

fn is_old(entry: &DirEntry, age: Duration, now: SystemTime) -> bool {
    entry
        .metadata()
        .is_ok_and(|metadata| is_older(&metadata, age, now))
}

/// A time in the future counts as old by its distance: a clock that was put back must not keep litter for ever.
fn is_older(metadata: &std::fs::Metadata, age: Duration, now: SystemTime) -> bool {
    let Ok(modified) = metadata.modified() else {
        return false;
    };
    now.duration_since(modified)
        .unwrap_or_else(|error| error.duration())
        > age
}

impl Swept {
    fn version(&mut self, dir: &Path, now: SystemTime) {
        each(dir, |name, entry| {
            if let Some(key) = layout::key_of(name, layout::LOCK) {
                // Taking a free lock and dropping it removes the file, in the one way that is safe.
                if is_old(entry, HOUR, now) && matches!(Flight::try_acquire(dir, &key), Ok(Some(_)))
                {
                    self.files += 1;
                }
            } else if let Some(key) = layout::key_of(name, layout::NOTE) {
                if !layout::of_key(dir, &key, layout::ENTRY).exists() {
                    self.remove(entry, HOUR, now);
                }
            } else if name.starts_with(TEMP_PREFIX) {
                self.remove(entry, HOUR, now);
            }
        });
        let parts = [
            (layout::SPOOL, HOUR),
            (layout::QUARANTINE, QUARANTINED),
            // These are evicted, and do not go with age.
            (layout::WASM, Duration::MAX),
        ];
        for (part, age) in parts
            .into_iter()
            .chain(layout::RECORDS.map(|part| (part, MEMORY)))
        {
            let mut kept = Vec::new();
            each(&dir.join(part), |name, entry| {
                let age = if name.starts_with(TEMP_PREFIX) {
                    HOUR
                } else if name.ends_with(layout::TRIES) {
                    FORGIVEN
                } else {
                    age
                };
                if !self.remove(entry, age, now)
                    && let Ok(metadata) = entry.metadata()
                {
                    kept.push((metadata.modified().unwrap_or(now), entry.path()));
                }
            });
            if layout::RECORDS.contains(&part)
                && let Some(excess) = kept.len().checked_sub(MAX_RECORDS)
            {
                kept.sort_unstable();
                for (_, path) in &kept[..excess] {
                    files::discard(path);
                    self.files += 1;
                }
            }
        }
    }

    /// Artifacts that nobody used for long, and then the folder.
    fn other_version(&mut self, dir: &Path, now: SystemTime) {
        let mut is_used = false;
        for unit in limits::units(dir) {
            let age = now.duration_since(unit.last_used).unwrap_or_default();
            if age > MEMORY && unit.remove().is_ok() {
                self.files += 1;
                self.bytes += unit.len;
            } else {
                is_used = true;
            }
        }
        let is_old =
            std::fs::symlink_metadata(dir).is_ok_and(|metadata| is_older(&metadata, MEMORY, now));
        if !is_used && is_old && std::fs::remove_dir_all(dir).is_ok() {
            self.files += 1;
        }
    }

    fn remove(&mut self, entry: &DirEntry, age: Duration, now: SystemTime) -> bool {
        let Ok(metadata) = entry.metadata() else {
            return false;
        };
        let is_removed = is_older(&metadata, age, now)
            && !metadata.is_dir()
            && std::fs::remove_file(entry.path()).is_ok();
        if is_removed {
            self.files += 1;
            self.bytes += metadata.len();
        }
        is_removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const KEY: ArtifactKey = ArtifactKey::from_bytes([1; 32]);
    const HELD: ArtifactKey = ArtifactKey::from_bytes([2; 32]);

    fn names(dir: &Path) -> Vec<String> {
        let mut names = Vec::new();
        each(dir, |name, entry| {
            if entry.metadata().unwrap().is_dir() {
                names.extend(
                    self::names(&entry.path())
                        .iter()
                        .map(|below| format!("{name}/{below}")),
                );
            } else {
                names.push(name.to_owned());
            }
        });
        names.sort();
        names
    }

    fn folder(dir: &tempfile::TempDir) -> std::path::PathBuf {
        dir.path().join("v1-0.1.0-engine")
    }

    fn littered() -> (tempfile::TempDir, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["stat", "heads", "spool", "url", "quarantine", "wasm"] {
            fs::create_dir_all(self::folder(&dir).join(folder)).unwrap();
        }
        let orphan = format!("{HELD}.ok");
        let (entry, note, spool) = (
            format!("{KEY}.cwasm"),
            format!("{KEY}.ok"),
            format!("spool/{KEY}.spool"),
        );
        let mut names = Vec::new();
        for name in [
            ".tmp-a",
            "stat/.tmp-b",
            "wasm/.tmp-h",
            "wasm/i",
            "stat/c",
            "heads/d",
            "url/f",
            "quarantine/g",
            "foreign",
            &orphan,
            &entry,
            &note,
            &spool,
        ] {
            fs::write(folder(&dir).join(name), "12").unwrap();
            names.push(name.to_owned());
        }
        fs::write(dir.path().join(".tmp-e"), "12").unwrap();
        names.sort();
        (dir, names)
    }

    #[test]
    fn nothing_young_is_touched() {
        let (dir, names) = littered();
        assert_eq!(
            now(dir.path(), &folder(&dir), SystemTime::now()),
            Swept::default()
        );
        assert_eq!(self::names(&folder(&dir)), names);
    }

    #[test]
    fn after_an_hour_litter_goes_and_entries_stay() {
        let (dir, _) = littered();
        fs::write(folder(&dir).join(format!("{KEY}.lock")), "").unwrap();
        let _held = Flight::try_acquire(&folder(&dir), &HELD).unwrap().unwrap();
        let swept = now(dir.path(), &folder(&dir), SystemTime::now() + HOUR + HOUR);
        let mut left = [
            "foreign",
            "heads/d",
            "quarantine/g",
            "stat/c",
            "url/f",
            "wasm/i",
        ]
        .map(String::from)
        .to_vec();
        left.extend([
            format!("{KEY}.cwasm"),
            format!("{KEY}.ok"),
            format!("{HELD}.lock"),
        ]);
        let expected = Swept {
            files: 7,
            bytes: 12,
        };
        assert_eq!(swept, expected);
        left.sort();
        assert_eq!(names(&folder(&dir)), left);
        now(dir.path(), &folder(&dir), SystemTime::now() + MEMORY + HOUR);
        left.retain(|name| !name.contains('/') || name == "wasm/i");
        assert_eq!(names(&folder(&dir)), left);
    }

    /// What a user may have in a folder of such a name, sorted.
    const FOREIGN: [&str; 5] = [
        "2026-07.json",
        "a8045-93bb0ebb71257be1",
        "a8045-93bb0ebb71257be1.txt",
        "foreign.wasm",
        "x.tmp",
    ];

    #[test]
    fn what_waits_for_a_judge_goes_after_a_day_and_verdicts_after_ninety() {
        let (dir, _) = littered();
        let left = |folder: &str| names(&dir.path().join(folder));
        for folder in ["seen", "verdicts"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            let [a, b] = ["a8045-93bb0ebb71257be1", "url-93bb0ebb71257be2"];
            let temporary = format!("{a}.json.77.k3x.tmp");
            let ours = [format!("{a}.wasm"), format!("{b}.json"), temporary];
            for name in ours.iter().map(String::as_str).chain(FOREIGN) {
                fs::write(dir.path().join(folder).join(name), "12").unwrap();
            }
        }
        let start = SystemTime::now();
        let sweep = |age| now(dir.path(), &folder(&dir), start + age);
        sweep(HOUR / 2);
        let all = FOREIGN.len() + 3;
        assert_eq!([left("seen").len(), left("verdicts").len()], [all, all]);
        sweep(HOUR + HOUR);
        let is_temporary = |name: &String| name.contains(".77.");
        assert!(
            !left("seen")
                .iter()
                .chain(&left("verdicts"))
                .any(is_temporary)
        );
        assert_eq!(
            [left("seen").len(), left("verdicts").len()],
            [all - 1, all - 1]
        );
        sweep(SEEN + HOUR);
        assert_eq!(left("seen"), FOREIGN);
        sweep(VERDICT - HOUR);
        assert_eq!(left("verdicts").len(), all - 1);
        sweep(VERDICT + HOUR);
        assert_eq!(left("verdicts"), FOREIGN);
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_is_not_followed() {
        let (dir, _) = littered();
        let elsewhere = tempfile::tempdir().unwrap();
        let precious = elsewhere.path().join("a8045-93bb0ebb71257be1.json");
        fs::write(&precious, "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("verdicts")).unwrap();
        let later = SystemTime::now() + VERDICT + HOUR;
        now(dir.path(), &folder(&dir), later);
        limits::clear(dir.path());
        assert!(precious.exists());
    }

    #[test]
    fn no_more_records_are_kept_than_needed_and_the_oldest_go() {
        let (dir, _) = littered();
        let stat = folder(&dir).join("stat");
        let start = SystemTime::now();
        for number in 0..MAX_RECORDS + 5 {
            let file = fs::File::create(stat.join(number.to_string())).unwrap();
            let age = Duration::from_secs(60 + number as u64);
            file.set_modified(start - age).unwrap();
        }
        now(dir.path(), &folder(&dir), start);
        // Beside them are `c` and a temporary file, both young.
        assert_eq!(fs::read_dir(&stat).unwrap().count(), MAX_RECORDS);
        assert!(stat.join("0").exists() && stat.join("c").exists());
        let oldest = (MAX_RECORDS + 4).to_string();
        assert!(!stat.join(oldest).exists());
    }

    #[test]
    fn once_an_hour_by_one() {
        let (dir, _) = littered();
        let start = SystemTime::now();
        let flight = Flight::try_acquire(&folder(&dir), &SWEEPER).unwrap();
        assert_eq!(if_due(dir.path(), &folder(&dir), start), None);
        drop(flight);
        assert!(if_due(dir.path(), &folder(&dir), start).is_some());
        assert_eq!(if_due(dir.path(), &folder(&dir), start + HOUR / 2), None);
        assert!(if_due(dir.path(), &folder(&dir), start + HOUR + HOUR).is_some());
    }
}
