//! Artifacts: looked up, verified, quarantined.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::artifact::{Entry, Lookup, MAX_IMAGE_LEN, MAX_META_LEN};
use super::counters::MissReason;
use super::error::{CacheError, InvalidReason};
use super::file_stat::{FileStat, Observation};
use super::footer::{self, Footer};
use super::key::{ArtifactKey, ModuleHash};
use super::label::{self, Label};
use super::store::Store;
use super::verified::{self, Noted, Subject, Trust};
use super::{files, inventory, layout, limits};

/// Read at once while hashing. A buffer that stays in the second-level cache beats a larger one.
pub(super) const CHUNK: usize = 256 << 10;

impl Store {
    /// Finds the artifact of `key`, compiled from the bytes of `module`.
    ///
    /// Reads and hashes the whole file the first time it is seen (about 20 ms for 50 MB); after that its metadata only.
    ///
    /// Invariant: a hit is byte for byte what [`Store::write`] of this user was given for this key and module.
    pub fn lookup(&self, key: &ArtifactKey, module: ModuleHash) -> Lookup {
        let found = self.find(key, module);
        match &found {
            Lookup::Hit(_) => self.counters.hit(),
            // `why_missing` knows more.
            Lookup::Miss => {}
            Lookup::Invalid(reason) => self.counters.miss(MissReason::Invalid(*reason)),
        }
        found
    }

    fn find(&self, key: &ArtifactKey, module: ModuleHash) -> Lookup {
        match files::open_private(&self.entry_path(key)) {
            Ok(Some((file, metadata))) => {
                limits::mark_mapped(&file);
                let trust = Trust::Noted {
                    used: self.writable,
                };
                self.look_into(file, &metadata, key, module, trust)
                    .map_or_else(Lookup::Invalid, Lookup::Hit)
            }
            Ok(None) => Lookup::Miss,
            Err(reason) => {
                self.reject(key, None, reason);
                Lookup::Invalid(reason)
            }
        }
    }

    /// The entry in `file`, which has the name of `key`, or had it.
    pub(super) fn look_into(
        &self,
        file: File,
        metadata: &Metadata,
        key: &ArtifactKey,
        module: ModuleHash,
        trust: Trust,
    ) -> Result<Entry, InvalidReason> {
        self.examine(file, self.entry_path(key), key, &module, trust)
            .inspect_err(|reason| self.reject(key, Some(FileStat::of(metadata)), *reason))
    }

    /// What [`Store::lookup`] would find; nothing is counted, and what is defective stays where it is.
    pub fn peek(&self, key: &ArtifactKey, module: ModuleHash) -> Lookup {
        let path = self.entry_path(key);
        let examined = match files::open_private(&path) {
            Ok(Some((file, _))) => {
                self.examine(file, path, key, &module, Trust::Noted { used: false })
            }
            Ok(None) => return Lookup::Miss,
            Err(reason) => Err(reason),
        };
        examined.map_or_else(Lookup::Invalid, Lookup::Hit)
    }

    /// Why a lookup for `module` and `partition` found nothing; counts it.
    pub fn why_missing(&self, module: &ModuleHash, partition: &str) -> MissReason {
        let reason = self.reason_missing(module, partition);
        self.counters.miss(reason);
        reason
    }

    /// As [`Store::why_missing`], uncounted.
    pub fn reason_missing(&self, module: &ModuleHash, partition: &str) -> MissReason {
        let near = inventory::of_module(&self.root, module);
        if near.iter().any(|item| item.label.partition == partition) {
            MissReason::OtherEngine
        } else if near.is_empty() {
            MissReason::Absent
        } else {
            MissReason::OtherPartition
        }
    }

    fn examine(
        &self,
        mut file: File,
        path: PathBuf,
        key: &ArtifactKey,
        module: &ModuleHash,
        trust: Trust,
    ) -> Result<Entry, InvalidReason> {
        let io = |error: io::Error| InvalidReason::from_read(&error);
        let now = SystemTime::now();
        let seen = Observation::of(&file).map_err(io)?;
        let (footer, bytes) = inventory::read_footer(&mut file)?;
        footer.check(key, module)?;
        let Footer {
            image_len,
            meta_len,
            label_len,
            ..
        } = footer;
        if image_len > MAX_IMAGE_LEN
            || meta_len > MAX_META_LEN
            || u64::from(label_len) > label::MAX_LEN
        {
            return Err(InvalidReason::TooLarge);
        }
        let mut meta = vec![0; meta_len as usize];
        file.seek(SeekFrom::Start(image_len)).map_err(io)?;
        file.read_exact(&mut meta).map_err(io)?;

        let note = self.note_path(key);
        let subject = Subject {
            stat: &seen.stat,
            footer: &bytes,
            meta: &meta,
        };
        let (used, tick) = match trust {
            Trust::Noted { used } => (used, None),
            Trust::Written(tick) => (true, tick),
            Trust::Nothing => (false, None),
        };
        let noted = (!matches!(trust, Trust::Nothing))
            .then(|| subject.noted(&note, &self.seals, now, used))
            .flatten();
        if noted.is_none() {
            let mut label = vec![0; label_len as usize];
            file.read_exact(&mut label).map_err(io)?;
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            let mut hasher = self.seals.entry();
            hash(&mut file, image_len, &mut hasher).map_err(io)?;
            footer::verify(&bytes, hasher.update(&meta).update(&label))?;
            if self.writable && verified::can_be_noted(&seen, tick) {
                subject.write_note(&note, &self.seals, now, used);
            }
        }
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        Ok(Entry {
            file,
            path,
            image_len,
            meta,
            remembered: noted.is_some(),
            is_due: noted.is_some_and(|Noted { is_due }| is_due),
        })
    }

    /// Takes an entry that is defective out of the way, if the name still means the file that was looked at (`stat`).
    fn reject(&self, key: &ArtifactKey, stat: Option<FileStat>, reason: InvalidReason) {
        // The system's refusal (too many open files, a bad disk) does not prove the entry bad.
        if self.writable && !matches!(reason, InvalidReason::Io(_)) {
            let path = self.entry_path(key);
            let now = std::fs::symlink_metadata(&path)
                .ok()
                .map(|metadata| FileStat::of(&metadata));
            // Else a writer has put a new one there meanwhile.
            if stat.is_none() || now == stat {
                // What is no file of ours is not worth keeping, nor could it be.
                if reason == InvalidReason::NotRegular || !self.quarantine(&path, key, reason) {
                    files::discard(&path);
                }
                files::discard(&self.note_path(key));
            }
        }
    }

    /// Puts a defective entry aside, where nothing is looked up; one a key and reason is enough.
    fn quarantine(&self, path: &Path, key: &ArtifactKey, reason: InvalidReason) -> bool {
        let aside = self
            .dir
            .join(layout::QUARANTINE)
            .join(format!("{key}.{reason}"));
        let is_aside = std::fs::rename(path, &aside).is_ok();
        if is_aside {
            // Its age counts from now.
            let mut options = OpenOptions::new();
            options.read(true);
            files::no_follow(&mut options);
            let _ = options
                .open(&aside)
                .and_then(|file| file.set_modified(SystemTime::now()));
            self.counters.quarantined();
        }
        is_aside
    }

    /// Hashes the artifact of `key` whole, whatever was noted; one that is defective is quarantined.
    ///
    /// For background threads: whoever has it mapped goes on with what is in memory.
    ///
    /// # Errors
    /// [`CacheError::Invalid`].
    pub fn verify_again(&self, key: &ArtifactKey) -> Result<(), CacheError> {
        let path = self.entry_path(key);
        let (mut file, metadata) = match files::open_private(&path) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(()),
            Err(reason) => {
                self.reject(key, None, reason);
                return Err(CacheError::Invalid { path, reason });
            }
        };
        let checked = inventory::read_footer(&mut file).and_then(|(footer, _)| {
            self.examine(file, path.clone(), key, &footer.module, Trust::Nothing)
        });
        match checked {
            Ok(_) => Ok(()),
            Err(reason) => {
                self.reject(key, Some(FileStat::of(&metadata)), reason);
                Err(CacheError::Invalid { path, reason })
            }
        }
    }

    /// [`Store::verify_again`] for every artifact of this version: how many are good, and what is wrong with the others.
    pub fn verify_all(&self) -> (u64, Vec<CacheError>) {
        let mut good = 0;
        let mut bad = Vec::new();
        for unit in limits::units(&self.dir) {
            let name = unit.path.file_name().and_then(|name| name.to_str());
            let key = name.and_then(|name| layout::key_of(name, layout::ENTRY));
            let Some(key) = key else {
                continue;
            };
            match self.verify_again(&key) {
                Ok(()) => good += 1,
                Err(error) => bad.push(error),
            }
        }
        (good, bad)
    }

    /// The artifact of `key`, of whatever module, with its label; verified whole.
    pub fn read(&self, key: &ArtifactKey) -> Option<(Entry, ModuleHash, Label)> {
        let path = self.entry_path(key);
        let (mut file, _) = files::open_private(&path).ok()??;
        let (footer, _, label) = inventory::describe(&mut file).ok()?;
        let entry = self
            .examine(file, path, key, &footer.module, Trust::Nothing)
            .ok()?;
        Some((entry, footer.module, label))
    }
}

/// Feeds the next `len` bytes of `file` to `hasher`.
fn hash(file: &mut File, len: u64, hasher: &mut blake3::Hasher) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut left = len;
    while left > 0 {
        let part = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let part = &mut buffer[..part];
        file.read_exact(part)?;
        hasher.update(part);
        left -= part.len() as u64;
    }
    Ok(())
}
