//! What can go wrong, in words a person can act on, with codes that programs can compare.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the cache could not do what was asked. None of these is a reason to fail a compile: warn, go on without.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The platform names no cache directory.
    #[error(
        "no cache directory is known for this user: set HOME, or WASM_COMPILE_CACHE to a directory"
    )]
    NoDirectory,
    /// A directory is missing and cannot be made.
    #[error("cannot create the cache directory {}: {source}. Make it writable, or set WASM_COMPILE_CACHE", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A cache directory is a symbolic link.
    #[error("the cache directory {} is a symbolic link: name the real directory in WASM_COMPILE_CACHE", path.display())]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// Something that is no directory stands in the way.
    #[error("{} is not a directory: remove it, or set WASM_COMPILE_CACHE to a directory", path.display())]
    NotDirectory {
        /// What stands in the way.
        path: PathBuf,
    },
    /// The directory, or one that leads to it, belongs to another user, who could replace what is in it.
    #[error("{} belongs to user {owner}, who could put anything into the compile cache of user {user}: set WASM_COMPILE_CACHE to a directory of your own", path.display())]
    WrongOwner {
        /// The directory, or a directory or link on the way to it.
        path: PathBuf,
        /// The user id that owns it.
        owner: u32,
        /// The effective user id of this process.
        user: u32,
    },
    /// Other users may write to the directory (or, without a sticky bit, to one that leads to it).
    #[error("others can write to {} (mode {mode:03o}): chmod go-w it, or set WASM_COMPILE_CACHE", path.display())]
    UnsafeMode {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The seal key cannot be read, made or replaced.
    #[error("the cache's seal key {} is unusable: {source}. Make its folder writable, or remove the key: modules are then compiled anew", path.display())]
    SealKey {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or directory cannot be read.
    #[error("cannot read {} in the compile cache: {source}. Check its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {} in the compile cache: {source}. Make its folder writable, or set WASM_COMPILE_CACHE", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was to be written cannot be read; the cache is as it was.
    #[error("what was to be written to {} cannot be read: {source}", path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No space, or the quota is used up.
    #[error("no space left to write {} in the compile cache: {source}. Free some, or set WASM_COMPILE_CACHE", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More bytes than the cache keeps in one file.
    #[error("{len} bytes of {what} for {} are over the compile cache's limit of {limit}: the module is not cached", path.display())]
    TooLarge {
        /// The file that was not written.
        path: PathBuf,
        /// "artifact", "image", "metadata", "label", "wasm", "partition" or "parameters".
        what: &'static str,
        /// Bytes given.
        len: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The file system has no working locks, or the lock file cannot be made.
    #[error("cannot lock {} in the compile cache: {source}. Make its folder writable, or set WASM_COMPILE_CACHE to a local directory", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that this user's cache did not write, or that was damaged since.
    #[error("{} is not a usable file of this compile cache ({reason}): it was removed, and is made anew when it is needed", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: InvalidReason,
    },
}

impl CacheError {
    /// A stable code, `ERR_WASM_CACHE_…`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoDirectory => "ERR_WASM_CACHE_NO_DIRECTORY",
            Self::Create { .. } => "ERR_WASM_CACHE_CREATE",
            Self::Symlink { .. } => "ERR_WASM_CACHE_SYMLINK",
            Self::NotDirectory { .. } => "ERR_WASM_CACHE_NOT_DIRECTORY",
            Self::WrongOwner { .. } => "ERR_WASM_CACHE_WRONG_OWNER",
            Self::UnsafeMode { .. } => "ERR_WASM_CACHE_UNSAFE_MODE",
            Self::SealKey { .. } => "ERR_WASM_CACHE_SEAL_KEY",
            Self::Read { .. } | Self::Contents { .. } => "ERR_WASM_CACHE_READ",
            Self::Write { .. } => "ERR_WASM_CACHE_WRITE",
            Self::Full { .. } => "ERR_WASM_CACHE_FULL",
            Self::TooLarge { .. } => "ERR_WASM_CACHE_TOO_LARGE",
            Self::Lock { .. } => "ERR_WASM_CACHE_LOCK",
            Self::Invalid { .. } => "ERR_WASM_CACHE_INVALID",
        }
    }

    /// The file or directory concerned, where there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::NoDirectory => None,
            Self::Create { path, .. }
            | Self::Symlink { path }
            | Self::NotDirectory { path }
            | Self::WrongOwner { path, .. }
            | Self::UnsafeMode { path, .. }
            | Self::SealKey { path, .. }
            | Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::Contents { path, .. }
            | Self::Full { path, .. }
            | Self::TooLarge { path, .. }
            | Self::Lock { path, .. }
            | Self::Invalid { path, .. } => Some(path),
        }
    }

    /// What is wrong, in as few words as there are: the defect's stable name, or the code.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { reason, .. } => reason.as_str(),
            other => other.code(),
        }
    }

    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&source) {
            Self::Full { path, source }
        } else {
            Self::Write { path, source }
        }
    }

    pub(super) fn seal_key(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&source) {
            Self::Full { path, source }
        } else {
            Self::SealKey { path, source }
        }
    }

    pub(super) fn create(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&source) {
            Self::Full { path, source }
        } else {
            Self::Create { path, source }
        }
    }

    /// The disk is not full yet, but the cache must not be what fills it.
    pub(super) fn share_is_used_up(path: &Path) -> Self {
        let words = "the cache takes a tenth of the free disk at most";
        Self::Full {
            path: path.to_owned(),
            source: io::Error::new(io::ErrorKind::StorageFull, words),
        }
    }

    pub(super) fn check_len(
        path: &Path,
        what: &'static str,
        len: usize,
        limit: u64,
    ) -> Result<(), Self> {
        let len = len as u64;
        if len <= limit {
            Ok(())
        } else {
            Err(Self::TooLarge {
                path: path.to_owned(),
                what,
                len,
                limit,
            })
        }
    }
}

/// Whether there is no more room: on the disk, in the user's quota, or under the process' limit of a file's size.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Why a file of the cache was not used. [`InvalidReason::as_str`] is stable, for events and statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidReason {
    /// Shorter than a footer, or its parts do not add up to its size.
    Truncated,
    /// No footer of ours at its end; most truncations look like this.
    BadMagic,
    /// Another version of the format.
    WrongVersion,
    /// Another artifact's file under this name.
    WrongKey,
    /// The artifact of other wasm bytes.
    WrongModule,
    /// Its parts are larger than the cache ever writes.
    TooLarge,
    /// Not what was sealed with this user's key.
    SealMismatch,
    /// A symbolic link, directory, pipe, device or socket.
    NotRegular,
    /// Owned by another user.
    WrongOwner,
    /// Others may write to it.
    UnsafeMode,
    /// The system refused to open or read it.
    Io(io::ErrorKind),
}

impl InvalidReason {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::BadMagic => "bad-magic",
            Self::WrongVersion => "wrong-version",
            Self::WrongKey => "wrong-key",
            Self::WrongModule => "wrong-module",
            Self::TooLarge => "too-large",
            Self::SealMismatch => "seal-mismatch",
            Self::NotRegular => "not-regular",
            Self::WrongOwner => "wrong-owner",
            Self::UnsafeMode => "unsafe-mode",
            Self::Io(_) => "io",
        }
    }

    /// An error while reading: the file's fault if it ended too soon, else the system's.
    pub(super) fn from_read(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            kind => Self::Io(kind),
        }
    }
}

impl fmt::Display for InvalidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_its_own_code_and_names_the_path() {
        let error = CacheError::write(Path::new("/x/y"), io::ErrorKind::StorageFull.into());
        assert_eq!(error.code(), "ERR_WASM_CACHE_FULL");
        assert_eq!(error.path(), Some(Path::new("/x/y")));
        assert!(error.to_string().contains("/x/y"));
        type Made = (fn(&Path, io::Error) -> CacheError, &'static str);
        let made: [Made; 3] = [
            (CacheError::write, "ERR_WASM_CACHE_WRITE"),
            (CacheError::create, "ERR_WASM_CACHE_CREATE"),
            (CacheError::seal_key, "ERR_WASM_CACHE_SEAL_KEY"),
        ];
        for (make, code) in made {
            use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
            for kind in [StorageFull, QuotaExceeded, FileTooLarge] {
                let error = make(Path::new("/x/y"), kind.into());
                assert_eq!(error.code(), "ERR_WASM_CACHE_FULL");
            }
            let error = make(Path::new("/x/y"), ReadOnlyFilesystem.into());
            assert_eq!(error.code(), code);
        }
    }

    #[test]
    fn a_read_that_ends_early_is_truncation() {
        assert_eq!(
            InvalidReason::from_read(&io::ErrorKind::UnexpectedEof.into()).as_str(),
            "truncated"
        );
        assert_eq!(
            InvalidReason::from_read(&io::ErrorKind::PermissionDenied.into()).as_str(),
            "io"
        );
    }
}
