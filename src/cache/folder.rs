//! The directories of the cache: made private, and refused if they are not.

use std::fs::DirBuilder;
use std::io;
use std::path::{Path, PathBuf};

use super::error::CacheError;

/// The directory under the platform's cache directory.
const NAME: &str = "wasm-compile-cache";

/// Makes `dir` absolute, without trailing slashes or dots (`link/` would be followed, `link` is not); the default
/// directory if it is `None`.
pub(super) fn locate(dir: Option<PathBuf>) -> Result<PathBuf, CacheError> {
    let dir = match dir {
        Some(dir) => dir,
        None => dirs::cache_dir().ok_or(CacheError::NoDirectory)?.join(NAME),
    };
    let absolute =
        std::path::absolute(&dir).map_err(|source| CacheError::Create { path: dir, source })?;
    Ok(absolute.components().collect())
}

/// Makes the directory and its parents where missing (0700), and checks it and its parent.
///
/// Invariant: a directory that was prepared is a directory, not a link to one, belongs to the effective user, and no
/// other user can write to it, nor move it away and put another in its place.
pub(super) fn prepare_root(path: &Path) -> Result<(), CacheError> {
    prepare(path)?;
    check_parent(path)
}

/// As [`prepare_root`], but makes nothing: `false` if the directory is missing.
pub(super) fn inspect_root(path: &Path) -> Result<bool, CacheError> {
    Ok(inspect(path)? && check_parent(path).map(|()| true)?)
}

/// As [`inspect_root`], for a directory whose parent was inspected.
pub(super) fn inspect(path: &Path) -> Result<bool, CacheError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        _ => check(path).map(|()| true),
    }
}

/// As [`prepare_root`], for a directory whose parent was prepared.
pub(super) fn prepare(path: &Path) -> Result<(), CacheError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)?,
        Err(source) => {
            return Err(CacheError::Create {
                path: path.to_owned(),
                source,
            });
        }
    }
    check(path)
}

fn create(path: &Path) -> Result<(), CacheError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path).map_err(|source| CacheError::Create {
        path: path.to_owned(),
        source,
    })
}

#[cfg(unix)]
fn check(path: &Path) -> Result<(), CacheError> {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::fs::OpenOptionsExt;
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
        .open(path);
    let read = |source| CacheError::Read {
        path: path.to_owned(),
        source,
    };
    let dir = match opened {
        Ok(dir) => dir,
        Err(source) => {
            // Which errno a link gives differs between systems; only the message depends on this second look.
            return Err(match std::fs::symlink_metadata(path) {
                Ok(metadata) if metadata.is_symlink() => CacheError::Symlink {
                    path: path.to_owned(),
                },
                Ok(metadata) if !metadata.is_dir() => CacheError::NotDirectory {
                    path: path.to_owned(),
                },
                _ => read(source),
            });
        }
    };
    let metadata = dir.metadata().map_err(read)?;
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(CacheError::WrongOwner {
            path: path.to_owned(),
            owner: metadata.uid(),
            user,
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(CacheError::UnsafeMode {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check(path: &Path) -> Result<(), CacheError> {
    let metadata = std::fs::symlink_metadata(path).map_err(|source| CacheError::Read {
        path: path.to_owned(),
        source,
    })?;
    if metadata.is_symlink() {
        return Err(CacheError::Symlink {
            path: path.to_owned(),
        });
    }
    if !metadata.is_dir() {
        return Err(CacheError::NotDirectory {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// A parent that everybody may write to needs the sticky bit (as /tmp has), or anybody could swap the directory.
/// Group-writable parents pass: a home under a umask of 002 has them, with a group of one.
#[cfg(unix)]
fn check_parent(path: &Path) -> Result<(), CacheError> {
    use std::os::unix::fs::MetadataExt;
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    let metadata = std::fs::metadata(parent).map_err(|source| CacheError::Read {
        path: parent.to_owned(),
        source,
    })?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return Err(CacheError::UnsafeMode {
            path: parent.to_owned(),
            mode,
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_parent(_path: &Path) -> Result<(), CacheError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_default_is_in_the_platforms_cache_directory() {
        let path = locate(None).unwrap();
        assert!(path.is_absolute());
        assert!(path.ends_with(NAME));
        assert_eq!(
            locate(Some("/a//b/./c/".into())).unwrap(),
            Path::new("/a/b/c")
        );
        assert!(locate(Some("relative".into())).unwrap().is_absolute());
        assert_eq!(
            locate(Some("".into())).unwrap_err().code(),
            "ERR_WASM_CACHE_CREATE"
        );
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(
            prepare_root(&file).unwrap_err().code(),
            "ERR_WASM_CACHE_NOT_DIRECTORY"
        );
        assert_eq!(
            prepare_root(&file.join("below")).unwrap_err().code(),
            "ERR_WASM_CACHE_CREATE"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_unwritable_place_is_an_error() {
        // Root may write nearly everywhere, not here.
        let error = prepare_root(Path::new("/proc/self/cache")).unwrap_err();
        assert_eq!(error.code(), "ERR_WASM_CACHE_CREATE");
        assert!(error.to_string().contains("/proc/self/cache"));
    }

    #[cfg(unix)]
    #[test]
    fn directories_are_made_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        prepare_root(&path).unwrap();
        prepare_root(&path).unwrap();
        for made in [&path, path.parent().unwrap()] {
            assert_eq!(
                fs::metadata(made).unwrap().permissions().mode() & 0o7777,
                0o700
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_strangers_and_open_doors_are_refused() {
        use std::os::unix::fs::{PermissionsExt, chown, symlink};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache");
        prepare_root(&path).unwrap();
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(
            prepare_root(&link).unwrap_err().code(),
            "ERR_WASM_CACHE_SYMLINK"
        );
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        assert_eq!(
            prepare_root(&dir.path().join("dangling"))
                .unwrap_err()
                .code(),
            "ERR_WASM_CACHE_SYMLINK"
        );
        for mode in [0o770, 0o707, 0o777, 0o1777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                prepare_root(&path).unwrap_err().code(),
                "ERR_WASM_CACHE_UNSAFE_MODE"
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        prepare_root(&path).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = prepare_root(&path).unwrap_err();
        assert_eq!(
            (error.code(), error.path()),
            ("ERR_WASM_CACHE_UNSAFE_MODE", Some(dir.path()))
        );
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        prepare_root(&path).unwrap();
        if rustix::process::geteuid().is_root() {
            chown(&path, Some(12345), None).unwrap();
            assert_eq!(
                prepare_root(&path).unwrap_err().code(),
                "ERR_WASM_CACHE_WRONG_OWNER"
            );
        }
    }
}
