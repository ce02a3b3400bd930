//! Artifacts: looked up, verified, written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::error::{CacheError, InvalidReason};
use super::file_stat::{FileStat, Observation};
use super::files::{self, Durability};
use super::footer::{self, Footer};
use super::heads::Heads;
use super::key::{ArtifactKey, ModuleHash};
use super::lock::Flight;
use super::seal::Seals;
use super::spool::Spool;
use super::stat_index::StatIndex;
use super::verified::{self, Subject};
use super::{folder, sweep};

/// The largest image that is kept, in bytes: 2 GiB. Bounds the time a hostile file can cost.
pub const MAX_IMAGE_LEN: u64 = 2 << 30;
/// The largest metadata blob that is kept, in bytes: 16 MiB. Bounds the memory a hostile file can cost.
pub const MAX_META_LEN: u64 = 16 << 20;

pub(super) const ENTRY_EXTENSION: &str = "cwasm";
pub(super) const NOTE_EXTENSION: &str = "ok";
/// Read at once while hashing. A buffer that stays in the second-level cache beats a larger one.
const CHUNK: usize = 256 << 10;

/// One user's cache directory. Cheap to clone; every method may be called from any thread.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    dir: PathBuf,
    writable: bool,
    seals: Arc<Seals>,
    stat_index: StatIndex,
    heads: Heads,
    spool: Spool,
}

/// What a lookup found.
#[derive(Debug)]
pub enum Lookup {
    /// A verified artifact.
    Hit(Entry),
    /// Nothing of that name.
    Miss,
    /// Something that is not what was stored. It was removed (unless the system would not even let it be read, or the
    /// store is read-only): compile, write, tell.
    Invalid(InvalidReason),
}

/// A verified artifact. It stays whole while `file` is open or mapped, even when it is evicted or replaced.
#[derive(Debug)]
pub struct Entry {
    /// Open for reading, at offset 0, where the image begins.
    pub file: File,
    /// Its name when it was opened. [`Entry::map_path`] is safer to open.
    pub path: PathBuf,
    /// Bytes of the image; what follows in the file is not the image's.
    pub image_len: u64,
    /// The blob that was written with it.
    pub meta: Vec<u8>,
    /// Whether an earlier verification was relied on, rather than the image hashed now.
    pub remembered: bool,
}

impl Entry {
    /// A name under which a loader that wants a path opens the very file that was verified, as long as `self` lives: on
    /// Linux that of the descriptor. Elsewhere `path`, which may name a newer artifact of the same key by then.
    pub fn map_path(&self) -> PathBuf {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            let path = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
            if path.exists() {
                return path;
            }
        }
        self.path.clone()
    }
}

impl Store {
    /// Where the store of `dir` (the user's cache directory if `None`) is, absolute; nothing is
    /// opened or made.
    ///
    /// # Errors
    /// The user has no cache directory, or the current directory is gone.
    pub fn locate(dir: Option<PathBuf>) -> Result<PathBuf, CacheError> {
        folder::locate(dir)
    }

    /// Opens the cache in `dir`, or in `wasm-compile-cache` of the platform's cache directory, making what is missing.
    ///
    /// # Errors
    /// If a directory cannot be made, is a symbolic link, belongs to another user or can be written by one; if the seal
    /// key can be neither read nor made. A directory on a read-only file system will do once it has all these.
    pub fn open(dir: Option<PathBuf>) -> Result<Self, CacheError> {
        let root = folder::locate(dir)?;
        folder::prepare_root(&root)?;
        let dir = versioned(&root);
        folder::prepare(&dir)?;
        for path in parts(&dir) {
            folder::prepare(&path)?;
        }
        let seals = Seals::open(&root)?;
        Ok(Self::new(root, dir, seals, true))
    }

    /// Opens a cache that is there, and changes nothing in it: not by this call, nor by lookups. `None` if there is none.
    ///
    /// Whatever writes ([`Store::write`], [`Store::spool`], …) must not be used then.
    ///
    /// # Errors
    /// If a directory is a symbolic link, belongs to another user or can be written by one.
    pub fn open_read_only(dir: Option<PathBuf>) -> Result<Option<Self>, CacheError> {
        let root = folder::locate(dir)?;
        if !folder::inspect_root(&root)? {
            return Ok(None);
        }
        let dir = versioned(&root);
        if !folder::inspect(&dir)? {
            return Ok(None);
        }
        for path in parts(&dir) {
            if !folder::inspect(&path)? {
                return Ok(None);
            }
        }
        Ok(Seals::open_read_only(&root).map(|seals| Self::new(root, dir, seals, false)))
    }

    fn new(root: PathBuf, dir: PathBuf, seals: Seals, writable: bool) -> Self {
        let seals = Arc::new(seals);
        let [stat, heads, spool] = parts(&dir);
        Self {
            stat_index: StatIndex::new(stat, Arc::clone(&seals)),
            heads: Heads::new(heads),
            spool: Spool::new(spool, Arc::clone(&seals)),
            root,
            dir,
            writable,
            seals,
        }
    }

    /// The cache directory: what to give to `open` to get the same cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of this version's files, in the cache directory.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// The records of `file:` sources.
    pub fn stat_index(&self) -> &StatIndex {
        &self.stat_index
    }

    /// The heads of cached modules.
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// The modules that wait for a finisher.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// [`Flight::try_acquire`] in this cache.
    ///
    /// # Errors
    /// As there.
    pub fn flight(&self, key: &ArtifactKey) -> Result<Option<Flight>, CacheError> {
        Flight::try_acquire(&self.dir, key)
    }

    /// [`Flight::wait`] in this cache.
    ///
    /// # Errors
    /// As there.
    pub fn wait_for_flight(&self, key: &ArtifactKey) -> Result<Option<Flight>, CacheError> {
        Flight::wait(&self.dir, key)
    }

    /// [`Flight::is_held`] in this cache.
    pub fn in_flight(&self, key: &ArtifactKey) -> bool {
        Flight::is_held(&self.dir, key)
    }

    /// The file of an artifact, whether it exists or not.
    pub fn entry_path(&self, key: &ArtifactKey) -> PathBuf {
        self.dir.join(format!("{key}.{ENTRY_EXTENSION}"))
    }

    /// Finds the artifact of `key`, compiled from the bytes of `module`.
    ///
    /// Reads and hashes the whole file the first time it is seen (about 20 ms for 50 MB); after that its metadata only.
    ///
    /// Invariant: a hit is byte for byte what [`Store::write`] of this user was given for this key and module.
    pub fn lookup(&self, key: &ArtifactKey, module: ModuleHash) -> Lookup {
        let path = self.entry_path(key);
        let (file, metadata) = match files::open_private(&path) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Lookup::Miss,
            Err(reason) => return self.reject(key, None, reason),
        };
        match self.examine(file, path, key, &module) {
            Ok(entry) => Lookup::Hit(entry),
            Err(reason) => self.reject(key, FileStat::of(&metadata), reason),
        }
    }

    fn examine(
        &self,
        mut file: File,
        path: PathBuf,
        key: &ArtifactKey,
        module: &ModuleHash,
    ) -> Result<Entry, InvalidReason> {
        let io = |error: io::Error| InvalidReason::from_read(&error);
        let seen = Observation::of(&file).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let footer_at = len
            .checked_sub(footer::LEN as u64)
            .ok_or(InvalidReason::Truncated)?;
        let mut bytes = [0; footer::LEN];
        file.seek(SeekFrom::Start(footer_at)).map_err(io)?;
        file.read_exact(&mut bytes).map_err(io)?;
        let Footer {
            image_len,
            meta_len,
            ..
        } = Footer::parse(&bytes, len, key, module)?;
        if image_len > MAX_IMAGE_LEN || meta_len > MAX_META_LEN {
            return Err(InvalidReason::TooLarge);
        }
        let mut meta = vec![0; meta_len as usize];
        file.seek(SeekFrom::Start(image_len)).map_err(io)?;
        file.read_exact(&mut meta).map_err(io)?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;

        let note = self.note_path(key);
        let subject = seen.as_ref().map(|seen| Subject {
            stat: &seen.stat,
            footer: &bytes,
            meta: &meta,
        });
        let remembered = subject.is_some_and(|subject| subject.is_noted(&note, &self.seals));
        if !remembered {
            let mut hasher = self.seals.entry();
            hash(&mut file, image_len, &mut hasher).map_err(io)?;
            footer::verify(&bytes, hasher.update(&meta))?;
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            if let Some(subject) = subject
                && self.writable
                && seen.as_ref().is_some_and(verified::can_be_noted)
            {
                subject.write_note(&note, &self.seals);
            }
        }
        Ok(Entry {
            file,
            path,
            image_len,
            meta,
            remembered,
        })
    }

    /// Removes an entry that is defective, if the name still means the file that was looked at (`stat`).
    fn reject(&self, key: &ArtifactKey, stat: Option<FileStat>, reason: InvalidReason) -> Lookup {
        // The system's refusal (too many open files, a bad disk) does not prove the entry bad.
        if self.writable && !matches!(reason, InvalidReason::Io(_)) {
            let path = self.entry_path(key);
            let now = std::fs::symlink_metadata(&path)
                .ok()
                .and_then(|metadata| FileStat::of(&metadata));
            // Else a writer has put a new one there meanwhile.
            if stat.is_none() || now == stat {
                files::discard(&path);
                files::discard(&self.note_path(key));
            }
        }
        Lookup::Invalid(reason)
    }

    /// Stores an artifact, replacing what was there. It survives a crash of the machine once this returns.
    ///
    /// For background threads: it flushes to the disk, waits until the file is 50 ms old, and reads it back, so that
    /// the first lookup already finds it verified.
    ///
    /// Invariant: however it fails, the old entry or the new one is there, whole, and no other file.
    ///
    /// # Errors
    /// [`CacheError::Full`], [`CacheError::TooLarge`], [`CacheError::Write`], and [`CacheError::Invalid`] if what is read
    /// back is not what was written.
    pub fn write(
        &self,
        key: &ArtifactKey,
        module: ModuleHash,
        image: &[u8],
        meta: &[u8],
    ) -> Result<Entry, CacheError> {
        let path = self.entry_path(key);
        CacheError::check_len(&path, "image", image.len(), MAX_IMAGE_LEN)?;
        CacheError::check_len(&path, "metadata", meta.len(), MAX_META_LEN)?;
        let footer = Footer {
            key: *key,
            module,
            image_len: image.len() as u64,
            meta_len: meta.len() as u64,
        };
        let footer = footer.seal(self.seals.entry().update(image).update(meta));
        files::replace(&path, &[image, meta, &footer], Durability::Durable)?;
        std::thread::sleep(verified::SETTLE);
        match self.lookup(key, module) {
            Lookup::Hit(entry) => Ok(entry),
            Lookup::Miss => Err(CacheError::write(
                &path,
                io::Error::other("it was removed again at once"),
            )),
            Lookup::Invalid(reason) => Err(CacheError::Invalid { path, reason }),
        }
    }

    /// Evicts an artifact, unless the store is read-only. Whoever has it mapped keeps it.
    ///
    /// # Errors
    /// [`CacheError::Write`] if it exists and cannot be removed.
    pub fn remove(&self, key: &ArtifactKey) -> Result<(), CacheError> {
        if !self.writable {
            return Ok(());
        }
        files::discard(&self.note_path(key));
        let path = self.entry_path(key);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(CacheError::write(&path, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes what crashed and killed processes left behind; see [`sweep`](super::Swept). Of all processes one does so,
    /// once an hour at most: call it as often as is convenient. `None` if it was not due.
    pub fn sweep_if_due(&self, now: SystemTime) -> Option<sweep::Swept> {
        sweep::if_due(&self.root, &self.dir, now)
    }

    fn note_path(&self, key: &ArtifactKey) -> PathBuf {
        self.dir.join(format!("{key}.{NOTE_EXTENSION}"))
    }
}

/// The folder of this version's files.
fn versioned(root: &Path) -> PathBuf {
    root.join(format!(
        "v{}-{}",
        footer::FORMAT_VERSION,
        env!("CARGO_PKG_VERSION")
    ))
}

/// The folders in it: of the records of files, of the heads, of the spooled modules.
fn parts(dir: &Path) -> [PathBuf; 3] {
    ["stat", "heads", "spool"].map(|name| dir.join(name))
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

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
