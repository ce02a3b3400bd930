//! Which module a file holds, known by its stat: a `file:` source seen before needs neither reading nor hashing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::error::CacheError;
use super::fields::Fields;
use super::file_stat::{FileStat, Observation};
use super::files::{self, Durability};
use super::key::ModuleHash;
use super::seal::Seals;

/// A file that had changed within this time when it was read is not recorded: it could change again, to the same size,
/// without getting other times (git's "racy index" problem). Two seconds is the tick of FAT, the coarsest file system in
/// use; ext3 and HFS+ have one, ext4 and APFS the kernel's tick (4 to 10 ms). What it costs: a file that was written just
/// before it is first compiled is hashed once more on the next run.
pub(super) const RACY_WINDOW: Duration = Duration::from_secs(2);

const MAGIC: [u8; 8] = *b"wcc-st1\n";
const STAT_AT: usize = 8;
const MODULE_AT: usize = STAT_AT + FileStat::ENCODED_LEN;
const SEAL_AT: usize = MODULE_AT + 32;
const LEN: usize = SEAL_AT + 32;

/// One sealed record a path.
///
/// Invariant: a module is returned only for a path and a stat equal in every field to those it was recorded for, under
/// this user's seal; and it is recorded only if no later change of the file can leave that stat as it is.
#[derive(Debug, Clone)]
pub struct StatIndex {
    dir: PathBuf,
    seals: Arc<Seals>,
}

impl StatIndex {
    pub(super) fn new(dir: PathBuf, seals: Arc<Seals>) -> Self {
        Self { dir, seals }
    }

    /// The module that the file at `path` (canonical, else the record is not found again) holds, if it still has this
    /// stat. Damaged and foreign records count as absent.
    pub fn lookup(&self, path: &Path, stat: &FileStat) -> Option<ModuleHash> {
        let record: [u8; LEN] = files::read_exactly(&self.record_path(path)).ok()??;
        let (sealed, seal) = record.split_last_chunk::<32>()?;
        let mut fields = Fields(sealed);
        if self.seal(path, sealed) != *seal
            || fields.bytes() != Some(MAGIC)
            || fields.bytes() != Some(stat.encode())
        {
            return None;
        }
        fields.bytes().map(ModuleHash::from_bytes)
    }

    /// Records that the file at `path` holds `module`. `before` was taken from the open file before its bytes were read,
    /// `after` when they had been. `false` if the file changed meanwhile or too recently to be sure.
    ///
    /// # Errors
    /// [`CacheError::Write`], [`CacheError::Full`].
    pub fn record(
        &self,
        path: &Path,
        before: &Observation,
        after: &FileStat,
        module: ModuleHash,
    ) -> Result<bool, CacheError> {
        if before.stat != *after || !before.unchanged_for(RACY_WINDOW) {
            return Ok(false);
        }
        let mut sealed = [0; SEAL_AT];
        sealed[..STAT_AT].copy_from_slice(&MAGIC);
        sealed[STAT_AT..MODULE_AT].copy_from_slice(&after.encode());
        sealed[MODULE_AT..].copy_from_slice(module.as_bytes());
        let seal = self.seal(path, &sealed);
        files::replace(
            &self.record_path(path),
            &[&sealed, seal.as_bytes()],
            Durability::Cheap,
        )?;
        Ok(true)
    }

    fn record_path(&self, path: &Path) -> PathBuf {
        let name = blake3::hash(path.as_os_str().as_encoded_bytes());
        self.dir.join(name.to_hex().as_str())
    }

    fn seal(&self, path: &Path, sealed: &[u8]) -> blake3::Hash {
        // `sealed` has a fixed length, so the two cannot run into each other.
        self.seals
            .stat()
            .update(sealed)
            .update(path.as_os_str().as_encoded_bytes())
            .finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::UNIX_EPOCH;

    const STAT: FileStat = FileStat {
        dev: 1,
        ino: 2,
        size: 3,
        mtime_ns: 4_000_000_000,
        ctime_ns: 5_000_000_000,
    };
    const MODULE: ModuleHash = ModuleHash::from_bytes([7; 32]);

    fn seen(stat: FileStat, seconds: u64) -> Observation {
        Observation {
            stat,
            at: UNIX_EPOCH + Duration::from_secs(seconds),
        }
    }

    fn index() -> (tempfile::TempDir, StatIndex) {
        let dir = tempfile::tempdir().unwrap();
        let seals = Arc::new(Seals::open(dir.path()).unwrap());
        let stat = dir.path().join("stat");
        fs::create_dir(&stat).unwrap();
        (dir, StatIndex::new(stat, seals))
    }

    #[test]
    fn a_record_holds_for_its_path_and_every_field_of_its_stat() {
        let (_dir, index) = index();
        let path = Path::new("/m.wasm");
        assert_eq!(index.lookup(path, &STAT), None);
        assert!(index.record(path, &seen(STAT, 7), &STAT, MODULE).unwrap());
        assert_eq!(index.lookup(path, &STAT), Some(MODULE));
        assert_eq!(index.lookup(Path::new("/n.wasm"), &STAT), None);
        let others = [
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
        for other in &others {
            assert_eq!(index.lookup(path, other), None);
            assert!(
                !index.record(path, &seen(STAT, 7), other, MODULE).unwrap(),
                "it changed while it was read"
            );
        }
        let later = ModuleHash::from_bytes([8; 32]);
        assert!(
            index
                .record(path, &seen(others[4], 9), &others[4], later)
                .unwrap()
        );
        assert_eq!(
            (index.lookup(path, &STAT), index.lookup(path, &others[4])),
            (None, Some(later))
        );
    }

    #[test]
    fn a_file_that_changed_just_now_or_in_the_future_is_not_recorded() {
        let (_dir, index) = index();
        let path = Path::new("/m.wasm");
        assert!(!index.record(path, &seen(STAT, 6), &STAT, MODULE).unwrap());
        assert!(!index.record(path, &seen(STAT, 1), &STAT, MODULE).unwrap());
        let ahead = FileStat {
            mtime_ns: 100_000_000_000,
            ..STAT
        };
        assert!(!index.record(path, &seen(ahead, 9), &ahead, MODULE).unwrap());
        assert_eq!(index.lookup(path, &STAT), None);
    }

    #[test]
    fn a_moved_or_damaged_record_is_absent() {
        let (_dir, index) = index();
        let (path, other) = (Path::new("/m.wasm"), Path::new("/n.wasm"));
        index.record(path, &seen(STAT, 7), &STAT, MODULE).unwrap();
        let record = index.record_path(path);
        let good = fs::read(&record).unwrap();
        fs::write(index.record_path(other), &good).unwrap();
        assert_eq!(index.lookup(other, &STAT), None);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&record, &bad).unwrap();
            assert_eq!(index.lookup(path, &STAT), None);
            fs::write(&record, &good[..at]).unwrap();
            assert_eq!(index.lookup(path, &STAT), None);
        }
        fs::write(&record, &good).unwrap();
        assert_eq!(index.lookup(path, &STAT), Some(MODULE));
    }

    #[test]
    fn a_real_file_is_found_until_it_is_touched() {
        use std::fs::File;
        use std::time::SystemTime;
        let (dir, index) = index();
        let path = dir.path().join("m.wasm");
        fs::write(&path, "one").unwrap();
        let file = File::open(&path).unwrap();
        let fresh = Observation::of(&file).unwrap();
        assert!(!index.record(&path, &fresh, &fresh.stat, MODULE).unwrap());
        let later = Observation {
            at: SystemTime::now() + RACY_WINDOW,
            ..fresh
        };
        assert!(index.record(&path, &later, &later.stat, MODULE).unwrap());
        let stat = || FileStat::of(&fs::metadata(&path).unwrap());
        assert_eq!(index.lookup(&path, &stat()), Some(MODULE));
        // Same size, and the modification time put back: the change time shows it.
        std::thread::sleep(Duration::from_millis(20));
        let modified = file.metadata().unwrap().modified().unwrap();
        fs::write(&path, "two").unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        assert_eq!(stat().mtime_ns, fresh.stat.mtime_ns);
        assert_eq!(index.lookup(&path, &stat()), None);
    }
}
