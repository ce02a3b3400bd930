//! Artifacts: looked up, verified, written.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::counters::{Counters, Counts, MissReason};
use super::error::{CacheError, InvalidReason};
use super::file_stat::{FileStat, Observation};
use super::files::{self, Durability, Existing, Pending};
use super::footer::{self, Footer};
use super::heads::Heads;
use super::inventory::{self, Item};
use super::key::{ArtifactKey, ModuleHash};
use super::label::{self, Label};
use super::limits::{self, Evicted, Limits};
use super::lock::Flight;
use super::resources::Resources;
use super::seal::Seals;
use super::spool::Spool;
use super::stat_index::StatIndex;
use super::verified::{self, Noted, Subject};
use super::wasm_files::{self, WasmFiles};
use super::{folder, spool, sweep};

/// The largest image that is kept, in bytes: 2 GiB. Bounds the time a hostile file can cost.
pub const MAX_IMAGE_LEN: u64 = 2 << 30;
/// The largest metadata blob that is kept, in bytes: 16 MiB. Bounds the memory a hostile file can cost.
pub const MAX_META_LEN: u64 = 16 << 20;

pub(super) const ENTRY_EXTENSION: &str = "cwasm";
pub(super) const NOTE_EXTENSION: &str = "ok";
/// The folder of defective artifacts.
pub(super) const QUARANTINE: &str = "quarantine";
/// Read at once while hashing. A buffer that stays in the second-level cache beats a larger one.
const CHUNK: usize = 256 << 10;

/// Where a cache is, and what it may take.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `None`: `wasm-compile-cache` in the platform's cache directory.
    pub directory: Option<PathBuf>,
    /// Name and version of the engine; part of the folder's name. Letters, digits, dots and hyphens.
    pub engine: String,
    /// See there.
    pub limits: Limits,
}

/// One user's cache directory. Cheap to clone; every method may be called from any thread.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    dir: PathBuf,
    writable: bool,
    limits: Limits,
    seals: Arc<Seals>,
    counters: Arc<Counters>,
    stat_index: StatIndex,
    heads: Heads,
    spool: Spool,
    wasm_files: WasmFiles,
    resources: Resources,
}

/// What the verification of an artifact may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// The note of an earlier one. `used`: the artifact is used by this.
    Noted { used: bool },
    /// Nothing: it is hashed.
    Nothing,
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
    /// Whether that was so long ago that [`Store::verify_again`] should look.
    pub is_due: bool,
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

    /// Opens the cache, making what is missing.
    ///
    /// # Errors
    /// If a directory cannot be made, is a symbolic link, belongs to another user or can be written by one; if the seal
    /// key can be neither read nor made. A directory on a read-only file system will do once it has all these.
    pub fn open(settings: Settings) -> Result<Self, CacheError> {
        let root = folder::locate(settings.directory)?;
        folder::prepare_root(&root)?;
        let dir = versioned(&root, &settings.engine);
        folder::prepare(&dir)?;
        for path in parts(&dir) {
            folder::prepare_part(&path)?;
        }
        let seals = Seals::open(&root)?;
        Ok(Self::new(root, dir, seals, true, settings.limits))
    }

    /// Opens a cache that is there, and changes nothing in it: not by this call, nor by lookups. `None` if there is none.
    ///
    /// Whatever writes ([`Store::write`], [`Store::spool`], …) must not be used then.
    ///
    /// # Errors
    /// If a directory is a symbolic link, belongs to another user or can be written by one.
    pub fn open_read_only(settings: Settings) -> Result<Option<Self>, CacheError> {
        let root = folder::locate(settings.directory)?;
        if !folder::inspect_root(&root)? {
            return Ok(None);
        }
        let dir = versioned(&root, &settings.engine);
        if !folder::inspect(&dir)? {
            return Ok(None);
        }
        for path in parts(&dir) {
            folder::inspect(&path)?;
        }
        let seals = Seals::open_read_only(&root);
        Ok(seals.map(|seals| Self::new(root, dir, seals, false, settings.limits)))
    }

    fn new(root: PathBuf, dir: PathBuf, seals: Seals, writable: bool, limits: Limits) -> Self {
        let seals = Arc::new(seals);
        let [stat, heads, spool, wasm, url, _quarantine] = parts(&dir);
        Self {
            stat_index: StatIndex::new(stat, Arc::clone(&seals)),
            heads: Heads::new(heads, writable),
            spool: Spool::new(spool, Arc::clone(&seals)),
            wasm_files: WasmFiles::new(wasm),
            resources: Resources::new(url, Arc::clone(&seals)),
            counters: Arc::new(Counters::new(&dir, Arc::clone(&seals))),
            root,
            dir,
            writable,
            limits,
            seals,
        }
    }

    /// Whether anything may be written.
    pub fn is_writable(&self) -> bool {
        self.writable
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

    /// The bytes of fetched modules.
    pub fn wasm_files(&self) -> &WasmFiles {
        &self.wasm_files
    }

    /// The records of URLs.
    pub fn resources(&self) -> &Resources {
        &self.resources
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
                self.look_into(file, &metadata, key, module)
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
    fn look_into(
        &self,
        file: File,
        metadata: &Metadata,
        key: &ArtifactKey,
        module: ModuleHash,
    ) -> Result<Entry, InvalidReason> {
        let trust = Trust::Noted {
            used: self.writable,
        };
        self.examine(file, self.entry_path(key), key, &module, trust)
            .inspect_err(|reason| self.reject(key, FileStat::of(metadata), *reason))
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
        let subject = seen.as_ref().map(|seen| Subject {
            stat: &seen.stat,
            footer: &bytes,
            meta: &meta,
        });
        let used = matches!(trust, Trust::Noted { used: true });
        let noted = subject
            .filter(|_| trust != Trust::Nothing)
            .and_then(|subject| subject.noted(&note, &self.seals, now, used));
        if noted.is_none() {
            let mut label = vec![0; label_len as usize];
            file.read_exact(&mut label).map_err(io)?;
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            let mut hasher = self.seals.entry();
            hash(&mut file, image_len, &mut hasher).map_err(io)?;
            footer::verify(&bytes, hasher.update(&meta).update(&label))?;
            if let Some(subject) = subject
                && self.writable
                && seen.as_ref().is_some_and(verified::can_be_noted)
            {
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
                .and_then(|metadata| FileStat::of(&metadata));
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
        let aside = self.dir.join(QUARANTINE).join(format!("{key}.{reason}"));
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
                self.reject(key, FileStat::of(&metadata), reason);
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
            let key = name
                .and_then(|name| name.strip_suffix(ENTRY_EXTENSION)?.strip_suffix('.'))
                .and_then(ArtifactKey::from_hex);
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

    /// The artifact of `key`, of whatever module, with what is told of it; verified whole.
    pub fn read(&self, key: &ArtifactKey) -> Option<(Entry, ModuleHash, Label)> {
        let path = self.entry_path(key);
        let (mut file, _) = files::open_private(&path).ok()??;
        let (footer, _, label) = inventory::describe(&mut file).ok()?;
        let entry = self
            .examine(file, path, key, &footer.module, Trust::Nothing)
            .ok()?;
        Some((entry, footer.module, label))
    }

    /// Stores an artifact, replacing what was there. It survives a crash of the machine once this returns.
    ///
    /// For background threads: it makes room, flushes to the disk, waits until the file is 50 ms old, and reads it back,
    /// so that the first lookup already finds it verified.
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
        label: &Label,
    ) -> Result<Entry, CacheError> {
        let written = self.write_uncounted(key, module, image, meta, label);
        match &written {
            Ok(entry) => {
                self.counters.wrote(entry.image_len);
                self.spool.succeeded(key);
            }
            Err(_) => self.counters.write_failed(),
        }
        written
    }

    fn write_uncounted(
        &self,
        key: &ArtifactKey,
        module: ModuleHash,
        image: &[u8],
        meta: &[u8],
        label: &Label,
    ) -> Result<Entry, CacheError> {
        let path = self.entry_path(key);
        let label = label.encode();
        CacheError::check_len(&path, "image", image.len(), MAX_IMAGE_LEN)?;
        CacheError::check_len(&path, "metadata", meta.len(), MAX_META_LEN)?;
        CacheError::check_len(&path, "label", label.len(), label::MAX_LEN)?;
        let footer = Footer {
            key: *key,
            module,
            image_len: image.len() as u64,
            meta_len: meta.len() as u64,
            label_len: label.len() as u32,
        };
        let mut hasher = self.seals.entry();
        let footer = footer.seal(hasher.update(image).update(meta).update(&label));
        let parts = [image, meta, &label, &footer];
        let mut pending = self.reserve(&path, parts.iter().map(|part| part.len()).sum())?;
        let written = pending.write(&parts).and_then(|()| {
            // Opened now: its name may be evicted at once.
            let file = pending.reopen()?;
            limits::mark_mapped(&file);
            pending.finish(Durability::Durable, Existing::Replace)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        });
        let (file, metadata) = written.map_err(|error| CacheError::write(&path, error))?;
        std::thread::sleep(verified::SETTLE);
        self.look_into(file, &metadata, key, module)
            .map_err(|reason| CacheError::Invalid { path, reason })
    }

    /// Keeps the bytes of a module; those that are there already are marked as used.
    ///
    /// # Errors
    /// [`CacheError::Full`], [`CacheError::TooLarge`], [`CacheError::Write`].
    pub fn write_wasm(&self, module: &ModuleHash, bytes: &[u8]) -> Result<(), CacheError> {
        let (path, now) = (self.wasm_files.path(module), SystemTime::now());
        if self.wasm_files.touch(module, bytes.len() as u64, now) {
            return Ok(());
        }
        let mut pending = self.reserve(&path, bytes.len())?;
        pending
            .write(&[bytes])
            // A torn file shows when it is read, and costs a download.
            .and_then(|()| pending.finish(Durability::Cheap, Existing::Replace))
            .map_err(|error| CacheError::write(&path, error))
    }

    /// [`Spool::spool`] within the limits; `None` if that was done in vain before.
    ///
    /// # Errors
    /// As there.
    pub fn leave(
        &self,
        key: &ArtifactKey,
        partition: &str,
        wasm: &[u8],
        params: &[u8],
    ) -> Result<Option<PathBuf>, CacheError> {
        if self.spool.is_hopeless(key) {
            return Ok(None);
        }
        let path = self.spool.path(key);
        CacheError::check_len(&path, "artifact", wasm.len(), self.limits.entry)?;
        let _right = limits::right(&self.root);
        self.make_room(&path, wasm.len())?;
        self.spool.spool(key, partition, wasm, params).map(Some)
    }

    /// A file for `len` bytes that will be `path`; for it others are evicted.
    fn reserve(&self, path: &Path, len: usize) -> Result<Pending, CacheError> {
        CacheError::check_len(path, "artifact", len, self.limits.entry)?;
        let _right = limits::right(&self.root);
        self.make_room(path, len)?;
        let pending =
            Pending::new(path).and_then(|pending| pending.reserve(len as u64).map(|()| pending));
        pending.map_err(|error| CacheError::write(path, error))
    }

    /// Evicts until `len` bytes more may be stored. For who has [`limits::right`].
    fn make_room(&self, path: &Path, len: usize) -> Result<(), CacheError> {
        let now = SystemTime::now();
        let evicted = limits::evict(&self.root, len as u64, &self.limits, None, now);
        self.counters.evicted(evicted.units);
        let used = limits::used(&self.root);
        let limit = self.limits.total(&self.root, used);
        // What is left is being written by others, or waits to be compiled.
        let left = limit.saturating_sub(used);
        if len as u64 > left && self.limits.total.is_none() && limit < limits::DEFAULT_TOTAL {
            return Err(CacheError::share_is_used_up(path));
        }
        CacheError::check_len(path, "artifact", len, left)
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

    /// The engine did not take what a lookup found: the hit that was counted is none.
    pub fn count_unloadable(&self) {
        self.counters.unloadable();
    }

    /// All artifacts in the cache, of every version.
    pub fn items(&self) -> Vec<Item> {
        inventory::items(&self.root)
    }

    /// The artifacts of one module (of some hundred that are looked at), of every version.
    pub fn items_of(&self, module: &ModuleHash) -> Vec<Item> {
        inventory::of_module(&self.root, module)
    }

    /// What is stored, in bytes, and how many bytes may be.
    pub fn usage(&self) -> Usage {
        let bytes = limits::used(&self.root);
        Usage {
            bytes,
            limit: self.limits.total(&self.root, bytes),
            quarantined: limits::quarantined(&self.root),
        }
    }

    /// What this process has counted, and what all have.
    pub fn counts(&self) -> (Counts, Counts) {
        (self.counters.process(), self.counters.total())
    }

    /// The process ends.
    pub fn record_counts(&self) {
        if self.writable {
            self.counters.record();
        }
    }

    /// Evicts what was least recently used until `max_bytes` are left, and what was not used for `max_age`; sweeps.
    pub fn prune(
        &self,
        max_bytes: Option<u64>,
        max_age: Option<Duration>,
        now: SystemTime,
    ) -> Evicted {
        if !self.writable {
            return Evicted::default();
        }
        sweep::now(&self.root, &self.dir, now);
        let limits = Limits {
            total: max_bytes.or(self.limits.total),
            ..self.limits
        };
        let _right = limits::right(&self.root);
        let evicted = limits::evict(&self.root, 0, &limits, max_age, now);
        self.counters.evicted(evicted.units);
        evicted
    }

    /// Removes everything that can be made anew, of every version; the key, locks that are held and what is being written
    /// stay.
    pub fn clear(&self) -> Evicted {
        if !self.writable {
            return Evicted::default();
        }
        let _right = limits::right(&self.root);
        limits::clear(&self.root)
    }

    /// Removes what crashed and killed processes left behind; see [`sweep`](super::Swept). Of all processes one does so,
    /// once an hour at most: call it as often as is convenient. `None` if it was not due.
    pub fn sweep_if_due(&self, now: SystemTime) -> Option<sweep::Swept> {
        sweep::if_due(&self.root, &self.dir, now)
    }

    /// Whether [`Store::sweep_if_due`] would sweep.
    pub fn is_sweep_due(&self, now: SystemTime) -> bool {
        sweep::is_due(&self.dir, now)
    }

    fn note_path(&self, key: &ArtifactKey) -> PathBuf {
        self.dir.join(format!("{key}.{NOTE_EXTENSION}"))
    }
}

/// What is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of artifacts, modules and quarantined files, of every version.
    pub bytes: u64,
    /// The most there may be.
    pub limit: u64,
    /// Quarantined files.
    pub quarantined: Evicted,
}

/// The folder of this version's files.
fn versioned(root: &Path, engine: &str) -> PathBuf {
    let format = footer::FORMAT_VERSION;
    root.join(format!("v{format}-{}-{engine}", env!("CARGO_PKG_VERSION")))
}

/// The folders in it: of the records of files, of the heads, of the spooled modules, of modules' bytes, of the records of
/// URLs, of defective artifacts.
fn parts(dir: &Path) -> [PathBuf; 6] {
    let names = [
        "stat",
        "heads",
        spool::FOLDER,
        wasm_files::FOLDER,
        "url",
        QUARANTINE,
    ];
    names.map(|name| dir.join(name))
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
