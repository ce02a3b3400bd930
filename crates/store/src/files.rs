//! What the cache does to files: open one safely, read a small one, put one in place.

use std::fs::{DirEntry, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::{CacheError, InvalidReason};
use super::file_stat::FileStat;

/// How every name that is not yet complete begins.
pub(super) const TEMP_PREFIX: &str = ".tmp-";

/// Opens a regular file of ours for reading; `None` if there is none. Never follows a link, never blocks on a pipe.
///
/// Invariant: what is returned is a regular file that belongs to the effective user and that no other user can write,
/// as the open descriptor says, not the name.
pub(super) fn open_private(path: &Path) -> Result<Option<(File, Metadata)>, InvalidReason> {
    let mut options = OpenOptions::new();
    options.read(true);
    no_follow(&mut options);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if is_special(&error) => return Err(InvalidReason::NotRegular),
        Err(error) => return Err(InvalidReason::Io(error.kind())),
    };
    let metadata = file
        .metadata()
        .map_err(|error| InvalidReason::Io(error.kind()))?;
    if !metadata.is_file() {
        return Err(InvalidReason::NotRegular);
    }
    check_owner_and_mode(&metadata)?;
    Ok(Some((file, metadata)))
}

/// Makes `options` refuse a symbolic link as the last component, and return at once from a pipe.
pub(super) fn no_follow(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .mode(0o600);
}

/// Whether opening failed because of what the file is: a link (ELOOP), a socket (ENXIO).
fn is_special(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO))
}

fn check_owner_and_mode(metadata: &Metadata) -> Result<(), InvalidReason> {
    use std::os::unix::fs::MetadataExt;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(InvalidReason::WrongOwner);
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(InvalidReason::UnsafeMode);
    }
    Ok(())
}

/// The whole of a small private file; an error if it has any other length.
pub(super) fn read_exactly<const N: usize>(path: &Path) -> Result<Option<[u8; N]>, InvalidReason> {
    open_private(path)?
        .map(|(file, metadata)| read_opened(&file, &metadata))
        .transpose()
}

/// As [`read_exactly`], from what [`open_private`] returned.
pub(super) fn read_opened<const N: usize>(
    mut file: &File,
    metadata: &Metadata,
) -> Result<[u8; N], InvalidReason> {
    if metadata.len() != N as u64 {
        return Err(InvalidReason::Truncated);
    }
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)
        .map_err(|error| InvalidReason::from_read(&error))?;
    Ok(bytes)
}

/// Whether a file must outlive a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Flush it and its name. Costs a disk's round trip.
    Durable,
    /// A note whose loss costs a little work, and whose seal shows whether it is torn.
    Cheap,
}

/// What to do when the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// The new file takes its place, at once.
    Replace,
    /// An error of kind `AlreadyExists`.
    Keep,
}

/// A file that is being written under a unique temporary name (0600), in the folder that it will be in.
///
/// Invariant: the name appears with the whole content or not at all, and a failure leaves no temporary file.
pub(super) struct Pending {
    temp: tempfile::NamedTempFile,
    path: PathBuf,
}

impl Pending {
    /// A file that will be `path`.
    pub fn new(path: &Path) -> io::Result<Self> {
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let temp = tempfile::Builder::new()
            .prefix(TEMP_PREFIX)
            .rand_bytes(12)
            .tempfile_in(folder)?;
        Ok(Self {
            temp,
            path: path.to_owned(),
        })
    }

    /// Gives it its final length at once: who counts the cache's bytes counts it, and a full disk shows before anything
    /// is written.
    pub fn reserve(&self, len: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if len > 0 {
            use rustix::fs::{FallocateFlags, fallocate};
            use rustix::io::{Errno, retry_on_intr};
            let file = self.temp.as_file();
            match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, len)) {
                // The file system cannot, or does not say so in the right words (9p, some FUSE ones).
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => {}
                result => return result.map_err(Into::into),
            }
        }
        self.temp.as_file().set_len(len)
    }

    /// Appends `parts`, one after the other, to what was written before.
    pub fn write(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        for part in parts {
            self.temp.as_file_mut().write_all(part)?;
        }
        Ok(())
    }

    /// The file, open for reading; it stays whole when it has got its name and lost it again.
    pub fn reopen(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true);
        no_follow(&mut options);
        options.open(self.temp.path())
    }

    /// What is known of it.
    pub fn stat(&self) -> io::Result<FileStat> {
        Ok(FileStat::of(&self.temp.as_file().metadata()?))
    }

    /// Gives it another modification time.
    pub fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.temp.as_file().set_modified(time)
    }

    /// Gives it its name.
    pub fn finish(self, durability: Durability, existing: Existing) -> io::Result<()> {
        if durability == Durability::Cheap {
            return self.name(existing);
        }
        self.temp.as_file().sync_all()?;
        let path = self.path.clone();
        self.name(existing)?;
        sync_name(&path)
    }

    /// As [`Pending::finish`], when it is to survive no crash of the machine.
    pub fn name(self, existing: Existing) -> io::Result<()> {
        match existing {
            Existing::Replace => match self.temp.persist(&self.path) {
                // A folder in a file's place would make every write fail. One that is not empty is not ours to delete.
                Err(error)
                    if error.error.kind() == io::ErrorKind::IsADirectory
                        && std::fs::remove_dir(&self.path).is_ok() =>
                {
                    error.file.persist(&self.path)?
                }
                persisted => persisted?,
            },
            Existing::Keep => self.temp.persist_noclobber(&self.path)?,
        };
        Ok(())
    }
}

/// Makes a file's name survive a crash of the machine.
pub(super) fn sync_name(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_folder)
}

/// Writes `parts` one after the other to a [`Pending`] file, then gives it its name.
pub(super) fn put(
    path: &Path,
    parts: &[&[u8]],
    durability: Durability,
    existing: Existing,
) -> io::Result<()> {
    let mut pending = Pending::new(path)?;
    pending.write(parts)?;
    pending.finish(durability, existing)
}

/// As [`put`], replacing, with the error of the cache.
pub(super) fn replace(
    path: &Path,
    parts: &[&[u8]],
    durability: Durability,
) -> Result<(), CacheError> {
    put(path, parts, durability, Existing::Replace).map_err(|error| CacheError::write(path, error))
}

/// Makes a folder's names durable. File systems that cannot (some network ones say EINVAL) are taken at their word.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// Calls `visit` with everything in `dir` that has a printable name; what cannot be read is skipped.
pub(super) fn each(dir: &Path, mut visit: impl FnMut(&str, &DirEntry)) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if let Some(name) = entry.file_name().to_str() {
            visit(name, &entry);
        }
    }
}

/// How exactly the last use is known. A use within this time of the last costs no write.
pub(super) const USE_TICK: Duration = Duration::from_secs(60);

/// Marks an open file with the time of its use, to the minute, as its modification time.
pub(super) fn mark_used(file: &File, metadata: &Metadata, now: SystemTime) {
    let last_use = metadata.modified().unwrap_or(UNIX_EPOCH);
    // A time in the future is put right, too.
    if now
        .duration_since(last_use)
        .map_or(true, |age| age >= USE_TICK)
    {
        // Another user's clock and rights do not matter: who cannot mark it is served all the same.
        let _ = file.set_modified(now);
    }
}

/// Removes whatever has this name, without following it: a file, a link, an empty folder.
pub(super) fn discard(path: &Path) {
    if std::fs::remove_file(path).is_err() {
        // A folder in an entry's place would make every write fail. One that is not empty is not ours to delete.
        let _ = std::fs::remove_dir(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn put_makes_a_private_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        put(
            &path,
            &[b"x", b"", b"yz"],
            Durability::Durable,
            Existing::Keep,
        )
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"xyz");
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
                0o600
            );
        }
        let error = put(&path, &[b"2"], Durability::Cheap, Existing::Keep).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"xyz");
        put(&path, &[b"3"], Durability::Cheap, Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"3");
        let (empty, full) = (dir.path().join("e"), dir.path().join("f"));
        fs::create_dir(&empty).unwrap();
        put(&empty, &[b"4"], Durability::Cheap, Existing::Replace).unwrap();
        assert_eq!(fs::read(&empty).unwrap(), b"4");
        fs::create_dir_all(full.join("precious")).unwrap();
        put(&full, &[b"5"], Durability::Cheap, Existing::Replace).unwrap_err();
        let mut left = names(dir.path());
        left.sort();
        assert_eq!(left, ["a", "e", "f"]);
    }

    #[test]
    fn replacing_leaves_an_open_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        put(&path, &[b"old"], Durability::Cheap, Existing::Replace).unwrap();
        let (mut file, _) = open_private(&path).unwrap().unwrap();
        put(&path, &[b"newer"], Durability::Cheap, Existing::Replace).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "old");
    }

    #[test]
    fn only_regular_private_files_of_ours_are_opened() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        put(&at("good"), &[b"x"], Durability::Cheap, Existing::Keep).unwrap();
        symlink(at("good"), at("link")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        let mkfifo = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status()
            .unwrap();
        assert!(mkfifo.success());
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        assert!(open_private(&at("good")).unwrap().is_some());
        assert!(open_private(&at("none")).unwrap().is_none());
        for name in ["link", "folder", "pipe", "socket"] {
            assert_eq!(
                open_private(&at(name)).err(),
                Some(InvalidReason::NotRegular),
                "{name}"
            );
        }
        for mode in [0o620, 0o602, 0o666] {
            fs::set_permissions(at("good"), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                open_private(&at("good")).err(),
                Some(InvalidReason::UnsafeMode)
            );
        }
        fs::set_permissions(at("good"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(open_private(&at("good")).unwrap().is_some());
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(at("good"), Some(12345), None).unwrap();
            assert_eq!(
                open_private(&at("good")).err(),
                Some(InvalidReason::WrongOwner)
            );
        }
    }
}
