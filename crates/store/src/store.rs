//! One user's cache: opened, written to, kept below its limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::artifact::{Entry, MAX_IMAGE_LEN, MAX_META_LEN};
use super::counters::{Counters, Counts, Remote};
use super::error::CacheError;
use super::file_stat::FileStat;
use super::files::{self, Durability, Existing, Pending};
use super::footer::{self, Footer};
use super::heads::Heads;
use super::inventory::{self, Item};
use super::key::{ArtifactKey, ModuleHash};
use super::label::{self, Label};
use super::limits::{self, Evicted, Limits};
use super::lock::{Claim, Flight};
use super::resources::Resources;
use super::seal::Seals;
use super::spool::Spool;
use super::stat_index::StatIndex;
use super::wasm_files::WasmFiles;
use super::{folder, layout, sweep, verified};

/// Where a cache is, and what it may take.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `None`: `wasm-compile-cache` in the platform's cache directory.
    pub directory: Option<PathBuf>,
    /// Name and version of the engine; part of the folder's name. Letters, digits, dots and hyphens.
    pub engine: String,
    /// How much it may hold.
    pub limits: Limits,
}

/// An artifact that is whole, and has no name yet; dropped, it never was.
pub struct Staged {
    pending: Pending,
    file: File,
    path: PathBuf,
    key: ArtifactKey,
    module: ModuleHash,
    image_len: u64,
    meta: Vec<u8>,
}

impl Staged {
    /// What gets its name, and what is to be had then.
    fn split(self) -> (Pending, Named) {
        let named = Named {
            file: self.file,
            path: self.path,
            key: self.key,
            module: self.module,
        };
        (self.pending, named)
    }

    /// What a lookup would give: to be loaded while the disk is slow.
    ///
    /// # Errors
    /// No further file may be open.
    pub fn entry(&self) -> io::Result<Entry> {
        Ok(Entry {
            file: self.pending.reopen()?,
            path: self.path.clone(),
            image_len: self.image_len,
            meta: self.meta.clone(),
            remembered: false,
            is_due: false,
        })
    }
}

/// An artifact that has its name, and may be lost with it when the machine crashes.
pub struct Named {
    file: File,
    path: PathBuf,
    key: ArtifactKey,
    module: ModuleHash,
}

/// What an artifact is made of.
pub struct Contents<'a> {
    /// Bytes of the image.
    pub image_len: u64,
    /// Bytes of the metadata.
    pub meta_len: u64,
    /// The one, and then the other.
    pub bytes: &'a mut dyn Read,
}

/// So much is read, hashed and written at a time, while it is in the processor's cache.
const PART: usize = 256 << 10;

/// Gives `take` the next `length` bytes, of what becomes `path`.
fn copy(
    path: &Path,
    bytes: &mut dyn Read,
    length: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), CacheError> {
    let mut part = vec![0; PART];
    let mut left = length;
    while left > 0 {
        let part = &mut part[..left.min(PART as u64) as usize];
        bytes
            .read_exact(part)
            .map_err(|source| CacheError::Contents {
                path: path.to_owned(),
                source,
            })?;
        take(part).map_err(|error| CacheError::write(path, error))?;
        left -= part.len() as u64;
    }
    Ok(())
}

/// One user's cache directory. Cheap to clone; every method may be called from any thread.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) root: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) writable: bool,
    limits: Limits,
    pub(super) seals: Arc<Seals>,
    pub(super) counters: Arc<Counters>,
    stat_index: StatIndex,
    heads: Heads,
    spool: Spool,
    wasm_files: WasmFiles,
    resources: Resources,
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
        let dir = layout::version(&root, &settings.engine);
        folder::prepare(&dir)?;
        for part in layout::PARTS {
            folder::prepare_part(&dir.join(part))?;
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
        let dir = layout::version(&root, &settings.engine);
        if !folder::inspect(&dir)? {
            return Ok(None);
        }
        for part in layout::PARTS {
            folder::inspect(&dir.join(part))?;
        }
        let seals = Seals::open_read_only(&root);
        Ok(seals.map(|seals| Self::new(root, dir, seals, false, settings.limits)))
    }

    fn new(root: PathBuf, dir: PathBuf, seals: Seals, writable: bool, limits: Limits) -> Self {
        let seals = Arc::new(seals);
        let part = |name: &str| dir.join(name);
        Self {
            stat_index: StatIndex::new(part(layout::STAT), Arc::clone(&seals)),
            heads: Heads::new(part(layout::HEADS), writable),
            spool: Spool::new(part(layout::SPOOL), Arc::clone(&seals)),
            wasm_files: WasmFiles::new(part(layout::WASM)),
            resources: Resources::new(part(layout::URL), Arc::clone(&seals)),
            counters: Arc::new(Counters::new(&dir)),
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

    /// The right to judge modules, for one process of the user at a time; `None` while another has it, and where there are
    /// no locks.
    pub fn claim_judge(&self) -> Option<Claim> {
        Claim::take(&self.root.join(layout::JUDGE_LOCK))
    }

    /// The file of an artifact, whether it exists or not.
    pub fn entry_path(&self, key: &ArtifactKey) -> PathBuf {
        layout::of_key(&self.dir, key, layout::ENTRY)
    }

    /// Stores an artifact, replacing what was there. It survives a crash of the machine once this returns.
    ///
    /// For background threads: it makes room, flushes to the disk, waits for a tick of the clock (12 ms), and reads it back,
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
        let contents = Contents {
            image_len: image.len() as u64,
            meta_len: meta.len() as u64,
            bytes: &mut image.chain(meta),
        };
        self.keep(self.stage(key, module, contents, label)?)
    }

    /// The first half of [`Store::write`]: writes all of an artifact, which has no name yet, and can be mapped already.
    ///
    /// # Errors
    /// [`CacheError::Full`], [`CacheError::TooLarge`], [`CacheError::Write`], [`CacheError::Contents`].
    pub fn stage(
        &self,
        key: &ArtifactKey,
        module: ModuleHash,
        contents: Contents<'_>,
        label: &Label,
    ) -> Result<Staged, CacheError> {
        self.stage_uncounted(key, module, contents, label)
            .inspect_err(|error| {
                if !matches!(error, CacheError::Contents { .. }) {
                    self.counters.write_failed();
                }
            })
    }

    fn stage_uncounted(
        &self,
        key: &ArtifactKey,
        module: ModuleHash,
        contents: Contents<'_>,
        label: &Label,
    ) -> Result<Staged, CacheError> {
        let path = self.entry_path(key);
        let label = label.encode();
        let Contents {
            image_len,
            meta_len,
            bytes,
        } = contents;
        CacheError::check_len(&path, "image", image_len as usize, MAX_IMAGE_LEN)?;
        CacheError::check_len(&path, "metadata", meta_len as usize, MAX_META_LEN)?;
        CacheError::check_len(&path, "label", label.len(), label::MAX_LEN)?;
        let footer = Footer {
            key: *key,
            module,
            image_len,
            meta_len,
            label_len: label.len() as u32,
        };
        let length = image_len + meta_len + (label.len() + footer::LEN) as u64;
        let mut pending = self.reserve(&path, length as usize)?;
        let mut hasher = self.seals.entry();
        let mut meta = Vec::with_capacity(meta_len as usize);
        copy(&path, bytes, image_len, |part| {
            hasher.update(part);
            pending.write(&[part])
        })?;
        copy(&path, bytes, meta_len, |part| {
            meta.extend_from_slice(part);
            Ok(())
        })?;
        let footer = footer.seal(hasher.update(&meta).update(&label));
        let written = pending.write(&[&meta, &label, &footer]).and_then(|()| {
            // Opened now: its name may be evicted at once.
            let file = pending.reopen()?;
            limits::mark_mapped(&file);
            Ok(file)
        });
        let file = written.map_err(|error| CacheError::write(&path, error))?;
        Ok(Staged {
            pending,
            file,
            path,
            key: *key,
            module,
            image_len,
            meta,
        })
    }

    /// The second half of [`Store::write`]: gives it its name, once it survives a crash of the machine.
    ///
    /// # Errors
    /// [`CacheError::Write`], and [`CacheError::Invalid`] if what is read back is not what was written.
    pub fn keep(&self, staged: Staged) -> Result<Entry, CacheError> {
        let (pending, named) = staged.split();
        let finished = pending.finish(Durability::Durable, Existing::Replace);
        let finished = finished.map_err(|error| CacheError::write(&named.path, error));
        let key = named.key;
        self.counted(&key, finished.and_then(|()| self.look_back(named)))
    }

    /// The first half of [`Store::keep`] for what can be had again: it can be found now, and whoever finds it hashes it.
    ///
    /// # Errors
    /// [`CacheError::Write`].
    pub fn name(&self, staged: Staged) -> Result<Named, CacheError> {
        let (pending, named) = staged.split();
        if let Err(error) = pending.name(Existing::Replace) {
            self.counters.write_failed();
            return Err(CacheError::write(&named.path, error));
        }
        Ok(named)
    }

    /// The second half: makes it survive a crash of the machine.
    ///
    /// # Errors
    /// As [`Store::keep`].
    pub fn settle(&self, named: Named) -> Result<Entry, CacheError> {
        let key = named.key;
        let synced = named.file.sync_all();
        let synced = synced.and_then(|()| files::sync_name(&named.path));
        let synced = synced.map_err(|error| CacheError::write(&named.path, error));
        self.counted(&key, synced.and_then(|()| self.look_back(named)))
    }

    fn counted(
        &self,
        key: &ArtifactKey,
        kept: Result<Entry, CacheError>,
    ) -> Result<Entry, CacheError> {
        match &kept {
            Ok(entry) => {
                self.counters.wrote(entry.image_len);
                self.spool.succeeded(key);
            }
            Err(_) => self.counters.write_failed(),
        }
        kept
    }

    /// Reads back what was written, and remembers that it is whole.
    fn look_back(&self, named: Named) -> Result<Entry, CacheError> {
        let Named {
            file,
            path,
            key,
            module,
        } = named;
        let metadata = file.metadata();
        let metadata = metadata.map_err(|error| CacheError::write(&path, error))?;
        let stat = FileStat::of(&metadata);
        let probe = Pending::new(&path).ok();
        let tick = probe.and_then(|probe| verified::tick_after(&probe, &stat));
        let trust = verified::Trust::Written(tick);
        self.look_into(file, &metadata, &key, module, trust)
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

    /// What came of asking another cache for an artifact, or of giving it one.
    pub fn count_remote(&self, outcome: Remote, bytes: u64, time: Duration) {
        self.counters.remote(outcome, bytes, time);
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

    /// Removes everything that can be made anew, of every version, and all that was seen or judged; the key, locks that are
    /// held and what is being written stay.
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

    pub(super) fn note_path(&self, key: &ArtifactKey) -> PathBuf {
        layout::of_key(&self.dir, key, layout::NOTE)
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

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
