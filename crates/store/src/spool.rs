//! Modules whose optimizing tier was not done when their process ended, for the finisher to take.
//!
//! ```text
//! magic 8 │ key 32 │ partition length 8 │ parameters length 8 │ wasm length 8 │ blake3 of what follows 32 │ seal 32 │
//! partition │ parameters │ wasm
//! ```
//!
//! The seal is of the header, which holds the hash of the rest: lengths are authentic before anything is allocated.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{CacheError, InvalidReason};
use super::fields::Fields;
use super::files::{self, Durability};
use super::key::ArtifactKey;
use super::layout;
use super::seal::Seals;

const MAGIC: [u8; 8] = *b"wcc-sp1\n";
const SEALED_LEN: usize = 96;
const HEADER_LEN: usize = SEALED_LEN + 32;
/// A module that was taken so often in vain is not left again: it is too large for the cache, the compiler does not get to
/// its end, or nothing that a process leaves behind lives long here.
const MAX_TRIES: u64 = 3;

/// The largest partition name and parameters, in bytes: 1 MiB each.
const MAX_SMALL_LEN: u64 = 1 << 20;
/// The largest module, in bytes: 1 GiB, the limit of the WebAssembly JavaScript interface.
const MAX_WASM_LEN: u64 = 1 << 30;

/// The folder of unfinished modules, one file a key.
#[derive(Debug, Clone)]
pub struct Spool {
    dir: PathBuf,
    seals: Arc<Seals>,
}

/// An unfinished module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spooled {
    /// The artifact to make.
    pub key: ArtifactKey,
    /// The partition it is for.
    pub partition: String,
    /// What else the writer said of it.
    pub params: Vec<u8>,
    /// The module.
    pub wasm: Vec<u8>,
}

impl Spool {
    pub(super) fn new(dir: PathBuf, seals: Arc<Seals>) -> Self {
        Self { dir, seals }
    }

    /// Leaves a module for a finisher, and returns the path to give to it. Meant for the end of a process: nothing is
    /// flushed to the disk (the seal shows a torn file), so it costs a hash and a copy into the page cache.
    ///
    /// # Errors
    /// [`CacheError::TooLarge`], [`CacheError::Write`], [`CacheError::Full`].
    pub fn spool(
        &self,
        key: &ArtifactKey,
        partition: &str,
        wasm: &[u8],
        params: &[u8],
    ) -> Result<PathBuf, CacheError> {
        let path = self.path(key);
        CacheError::check_len(&path, "partition", partition.len(), MAX_SMALL_LEN)?;
        CacheError::check_len(&path, "parameters", params.len(), MAX_SMALL_LEN)?;
        CacheError::check_len(&path, "wasm", wasm.len(), MAX_WASM_LEN)?;
        let parts = [partition.as_bytes(), params, wasm];
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(key.as_bytes());
        let mut payload = blake3::Hasher::new();
        for part in parts {
            header.extend_from_slice(&(part.len() as u64).to_le_bytes());
            payload.update(part);
        }
        header.extend_from_slice(payload.finalize().as_bytes());
        let seal = self.seals.spool().update(&header).finalize();
        header.extend_from_slice(seal.as_bytes());
        files::replace(
            &path,
            &[&header, parts[0], parts[1], parts[2]],
            Durability::Cheap,
        )?;
        Ok(path)
    }

    /// The file of a module, whether it exists or not.
    pub(super) fn path(&self, key: &ArtifactKey) -> PathBuf {
        layout::of_key(&self.dir, key, layout::SPOOLED)
    }

    fn tries_path(&self, key: &ArtifactKey) -> PathBuf {
        layout::of_key(&self.dir, key, layout::TRIES)
    }

    fn tries(&self, key: &ArtifactKey) -> u64 {
        std::fs::symlink_metadata(self.tries_path(key))
            .map_or(0, |metadata| metadata.len().min(MAX_TRIES))
    }

    /// Whether finishers have taken the module often enough in vain.
    pub fn is_hopeless(&self, key: &ArtifactKey) -> bool {
        self.tries(key) >= MAX_TRIES
    }

    /// The module is stored.
    pub(super) fn succeeded(&self, key: &ArtifactKey) {
        let path = self.tries_path(key);
        if path.exists() {
            files::discard(&path);
        }
    }

    /// Takes the module at `path`, which [`Spool::spool`] of a process of this user has returned, and removes the file.
    /// `None` if another finisher was faster. Only the file name counts: nothing outside the spool folder is touched.
    ///
    /// Invariant: of all that take one spool file, one gets it.
    ///
    /// # Errors
    /// [`CacheError::Invalid`] for anything this user's cache has not written (the file is removed if its name is one of
    /// the spool's).
    pub fn take(&self, path: &Path) -> Result<Option<Spooled>, CacheError> {
        let invalid = |reason| CacheError::Invalid {
            path: path.to_owned(),
            reason,
        };
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let key = layout::key_of(name, layout::SPOOLED)
            .ok_or_else(|| invalid(InvalidReason::WrongKey))?;
        let path = self.dir.join(name);
        let (file, len) = match files::open_private(&path) {
            Ok(Some((file, metadata))) => (file, metadata.len()),
            Ok(None) => return Ok(None),
            Err(reason) => {
                files::discard(&path);
                return Err(invalid(reason));
            }
        };
        // Whoever unlinks the name has taken it.
        if std::fs::remove_file(&path).is_err() {
            return Ok(None);
        }
        let tries = vec![b'.'; self.tries(&key) as usize + 1];
        // Where it cannot be counted, it is tried again.
        let _ = files::replace(&self.tries_path(&key), &[&tries], Durability::Cheap);
        self.read(file, len, key).map(Some).map_err(invalid)
    }

    fn read(&self, mut file: File, len: u64, key: ArtifactKey) -> Result<Spooled, InvalidReason> {
        let io = |error: std::io::Error| InvalidReason::from_read(&error);
        let mut header = [0; HEADER_LEN];
        file.read_exact(&mut header).map_err(io)?;
        let truncated = InvalidReason::Truncated;
        let (sealed, seal) = header.split_last_chunk::<32>().ok_or(truncated)?;
        let mut fields = Fields(sealed);
        if fields.bytes() != Some(MAGIC) {
            return Err(InvalidReason::BadMagic);
        }
        if fields.bytes() != Some(*key.as_bytes()) {
            return Err(InvalidReason::WrongKey);
        }
        if self.seals.spool().update(sealed).finalize() != *seal {
            return Err(InvalidReason::SealMismatch);
        }
        let mut lens = [0_u64; 3];
        for part in &mut lens {
            *part = fields.u64().ok_or(truncated)?;
        }
        let payload: [u8; 32] = fields.bytes().ok_or(truncated)?;
        let total = lens
            .iter()
            .try_fold(HEADER_LEN as u64, |sum, part| sum.checked_add(*part));
        if total != Some(len) {
            return Err(truncated);
        }
        let mut hasher = blake3::Hasher::new();
        let mut part = |len: u64| {
            let mut bytes = Vec::new();
            bytes
                .try_reserve_exact(usize::try_from(len).unwrap_or(usize::MAX))
                .map_err(|_| InvalidReason::TooLarge)?;
            bytes.resize(len as usize, 0);
            file.read_exact(&mut bytes).map_err(io)?;
            hasher.update(&bytes);
            Ok(bytes)
        };
        let (partition, params, wasm) = (part(lens[0])?, part(lens[1])?, part(lens[2])?);
        if hasher.finalize() != payload {
            return Err(InvalidReason::SealMismatch);
        }
        let partition = String::from_utf8(partition).map_err(|_| InvalidReason::SealMismatch)?;
        Ok(Spooled {
            key,
            partition,
            params,
            wasm,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const KEY: ArtifactKey = ArtifactKey::from_bytes([3; 32]);

    fn spool() -> (tempfile::TempDir, Spool) {
        let dir = tempfile::tempdir().unwrap();
        let seals = Arc::new(Seals::open(dir.path()).unwrap());
        let folder = dir.path().join("spool");
        fs::create_dir(&folder).unwrap();
        (dir, Spool::new(folder, seals))
    }

    fn reason(result: Result<Option<Spooled>, CacheError>) -> &'static str {
        match result {
            Err(CacheError::Invalid { reason, .. }) => reason.as_str(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_spooled_is_taken_once() {
        let (_dir, spool) = spool();
        let path = spool.spool(&KEY, "site", b"\0asm", b"params").unwrap();
        assert_eq!(
            spool.spool(&KEY, "site", b"\0asm", b"params").unwrap(),
            path
        );
        let taken = spool.take(&path).unwrap().unwrap();
        let wanted = Spooled {
            key: KEY,
            partition: "site".into(),
            params: b"params".into(),
            wasm: b"\0asm".into(),
        };
        assert_eq!(taken, wanted);
        assert_eq!(spool.take(&path).unwrap(), None);
        assert!(!path.exists());
    }

    #[test]
    fn of_eight_takers_one_gets_it() {
        let (_dir, spool) = spool();
        for _ in 0..50 {
            let path = spool.spool(&KEY, "", &[5; 4096], b"").unwrap();
            let taken = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|_| scope.spawn(|| spool.take(&path).unwrap().is_some()))
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .filter(|got| *got)
                    .count()
            });
            assert_eq!(taken, 1);
        }
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_refused() {
        let (_dir, spool) = spool();
        let path = spool.spool(&KEY, "p", b"wasm", b"q").unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            fs::write(&path, &good[..at]).unwrap();
            reason(spool.take(&path));
            assert!(!path.exists());
            let mut bad = good.clone();
            bad[at] ^= 4;
            fs::write(&path, &bad).unwrap();
            reason(spool.take(&path));
        }
        fs::write(&path, [good.as_slice(), b"x"].concat()).unwrap();
        assert_eq!(reason(spool.take(&path)), "truncated");
        fs::write(&path, &good).unwrap();
        assert!(spool.take(&path).unwrap().is_some());
    }

    #[test]
    fn paths_elsewhere_are_not_touched() {
        let (dir, spool) = spool();
        let outside = dir.path().join("precious.spool");
        fs::write(&outside, "x").unwrap();
        for path in [&outside, Path::new("/"), Path::new(""), Path::new("..")] {
            assert_eq!(reason(spool.take(path)), "wrong-key");
        }
        let outside = dir.path().join(format!("{KEY}.spool"));
        fs::write(&outside, "x").unwrap();
        assert_eq!(
            spool.take(&outside).unwrap(),
            None,
            "looked for in the spool folder, where it is not"
        );
        assert!(outside.exists());
        let path = spool.spool(&KEY, "", b"", b"").unwrap();
        let other = path.with_file_name(format!("{}.spool", ArtifactKey::from_bytes([4; 32])));
        fs::rename(&path, &other).unwrap();
        assert_eq!(reason(spool.take(&other)), "wrong-key");
    }

    #[test]
    fn a_link_is_removed_and_not_followed() {
        let (dir, spool) = spool();
        let path = spool.spool(&KEY, "", b"wasm", b"").unwrap();
        let aside = dir.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        std::os::unix::fs::symlink(&aside, &path).unwrap();
        assert_eq!(reason(spool.take(&path)), "not-regular");
        assert!(aside.exists() && fs::symlink_metadata(&path).is_err());
    }

    #[test]
    fn too_long_parameters_are_refused() {
        let (_dir, spool) = spool();
        let error = spool
            .spool(&KEY, "", b"", &vec![0; (1 << 20) + 1])
            .unwrap_err();
        assert_eq!(error.code(), "ERR_WASM_CACHE_TOO_LARGE");
    }
}
