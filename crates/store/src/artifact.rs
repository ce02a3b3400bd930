//! What a lookup gives.

use std::fs::File;
use std::path::PathBuf;

use super::error::InvalidReason;

/// The largest image that is kept, in bytes: 2 GiB. Bounds the time a hostile file can cost.
pub const MAX_IMAGE_LEN: u64 = 2 << 30;
/// The largest metadata blob that is kept, in bytes: 16 MiB. Bounds the memory a hostile file can cost.
pub const MAX_META_LEN: u64 = 16 << 20;

/// What a lookup found.
#[derive(Debug)]
pub enum Lookup {
    /// A verified artifact.
    Hit(Entry),
    /// Nothing of that name.
    Miss,
    /// Something that is not what was stored. It was removed (unless the system would not even let it be read, or the
    /// store is read-only): compile, write, emit an event.
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
    /// Whether that was so long ago that [`Store::verify_again`](super::Store::verify_again) should look.
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
