//! The bytes of modules, by their hash: what is left to compile when a URL's artifact is gone, or its server says that
//! nothing changed.
//!
//! Not sealed: the name is the hash of the contents, which is compared whenever they are read.

use std::io::Read;
use std::path::PathBuf;
use std::time::SystemTime;

use super::error::InvalidReason;
use super::files;
use super::key::ModuleHash;

/// The largest module, in bytes: 1 GiB, the limit of the WebAssembly JavaScript interface.
const MAX_WASM_LEN: u64 = 1 << 30;

/// One file a module. [`Store::write_wasm`](super::Store::write_wasm) writes them.
#[derive(Debug, Clone)]
pub struct WasmFiles {
    dir: PathBuf,
}

impl WasmFiles {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The file of a module, whether it exists or not.
    pub fn path(&self, module: &ModuleHash) -> PathBuf {
        self.dir.join(hex::encode(module.as_bytes()))
    }

    /// Whether there is a file of this module, with this many bytes. What is in it, [`WasmFiles::read`] says.
    pub fn has(&self, module: &ModuleHash, len: u64) -> bool {
        std::fs::symlink_metadata(self.path(module))
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == len)
    }

    /// Marks the file of a module as used; `false` if there is none of this length.
    pub(super) fn touch(&self, module: &ModuleHash, len: u64, now: SystemTime) -> bool {
        let Ok(Some((file, metadata))) = files::open_private(&self.path(module)) else {
            return false;
        };
        if metadata.len() != len {
            return false;
        }
        files::mark_used(&file, &metadata, now);
        true
    }

    /// The bytes of a module. A file that holds others is removed, where `writable`.
    ///
    /// Invariant: what is returned has the hash `module`.
    pub fn read(&self, module: &ModuleHash, now: SystemTime, writable: bool) -> Option<Vec<u8>> {
        let path = self.path(module);
        let bytes = files::open_private(&path)
            .map(|opened| opened.map(|(file, metadata)| read(file, &metadata, now, writable)));
        match bytes {
            Ok(None) => None,
            Ok(Some(Ok(bytes))) if ModuleHash::of(&bytes) == *module => Some(bytes),
            // The system would not let it be read: that does not prove it bad.
            Ok(Some(Err(()))) | Err(InvalidReason::Io(_)) => None,
            Ok(Some(Ok(_))) | Err(_) => {
                if writable {
                    files::discard(&path);
                }
                None
            }
        }
    }
}

fn read(
    mut file: std::fs::File,
    metadata: &std::fs::Metadata,
    now: SystemTime,
    used: bool,
) -> Result<Vec<u8>, ()> {
    if used {
        files::mark_used(&file, metadata, now);
    }
    let len = metadata.len().min(MAX_WASM_LEN);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len as usize).map_err(|_| ())?;
    Read::by_ref(&mut file)
        .take(len)
        .read_to_end(&mut bytes)
        .map_err(|_| ())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    const BYTES: &[u8] = b"\0asm some module";

    fn files() -> (tempfile::TempDir, WasmFiles, ModuleHash) {
        let dir = tempfile::tempdir().unwrap();
        let files = WasmFiles::new(dir.path().to_owned());
        let module = ModuleHash::of(BYTES);
        fs::write(files.path(&module), BYTES).unwrap();
        (dir, files, module)
    }

    #[test]
    fn bytes_are_found_by_their_hash() {
        let (_dir, files, module) = files();
        let now = SystemTime::now();
        assert_eq!(files.read(&module, now, true).as_deref(), Some(BYTES));
        let other = ModuleHash::of(b"other");
        assert_eq!(files.read(&other, now, true), None);
        assert!(files.has(&module, BYTES.len() as u64));
        assert!(!files.has(&module, 3) && !files.has(&other, BYTES.len() as u64));
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_removed_unless_the_store_is_read_only() {
        let (_dir, files, module) = files();
        let path = files.path(&module);
        for at in 0..BYTES.len() {
            let mut bad = BYTES.to_vec();
            bad[at] ^= 0x10;
            for bytes in [&BYTES[..at], &bad] {
                fs::write(&path, bytes).unwrap();
                assert_eq!(files.read(&module, SystemTime::now(), false), None);
                assert!(path.exists());
                assert_eq!(files.read(&module, SystemTime::now(), true), None);
                assert!(!path.exists());
            }
        }
    }

    #[test]
    fn a_link_is_removed_and_not_followed() {
        let (dir, files, module) = files();
        let aside = dir.path().join("aside");
        fs::rename(files.path(&module), &aside).unwrap();
        std::os::unix::fs::symlink(&aside, files.path(&module)).unwrap();
        assert!(!files.has(&module, BYTES.len() as u64));
        assert_eq!(files.read(&module, SystemTime::now(), true), None);
        assert!(aside.exists());
        assert!(fs::symlink_metadata(files.path(&module)).is_err());
    }

    #[test]
    fn a_use_is_marked() {
        let (_dir, files, module) = files();
        let path = files.path(&module);
        let old = SystemTime::now() - Duration::from_secs(600);
        let age = || {
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            modified.duration_since(old).unwrap()
        };
        let file = fs::File::options().write(true).open(&path).unwrap();
        for used in [true, false] {
            file.set_modified(old).unwrap();
            if used {
                files.read(&module, SystemTime::now(), true).unwrap();
            } else {
                assert!(!files.touch(&module, 3, SystemTime::now()));
                assert_eq!(age(), Duration::ZERO);
                assert!(files.touch(&module, BYTES.len() as u64, SystemTime::now()));
            }
            assert!(age() >= Duration::from_secs(599));
        }
    }
}
