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
        // A relative HOME would put a cache into every folder that a program is started in.
        None => dirs::cache_dir()
            .filter(|dir| dir.is_absolute())
            .ok_or(CacheError::NoDirectory)?
            .join(NAME),
    };
    let absolute =
        std::path::absolute(&dir).map_err(|source| CacheError::Create { path: dir, source })?;
    Ok(absolute.components().collect())
}

/// Makes the directory and its parents where missing (0700), and checks it and the way to it.
///
/// Invariant: a directory that was prepared is a directory, not a link to one, belongs to the effective user, and no
/// other user but root can write to it, nor move it away and put another in its place. So its name stays good after the
/// check, and what is in it may be used by name. (Groups that may write to a directory above it are trusted.)
pub(super) fn prepare_root(path: &Path) -> Result<(), CacheError> {
    check_way(path)?;
    prepare(path)?;
    // What was missing on the way may have been made by somebody else meanwhile.
    check_way(path)
}

/// As [`prepare`], for a folder in a cache: where it is missing and cannot be made, it is empty. Whoever writes to it
/// is told.
pub(super) fn prepare_part(path: &Path) -> Result<(), CacheError> {
    match prepare(path) {
        Err(_) if matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound) => {
            Ok(())
        }
        prepared => prepared,
    }
}

/// As [`prepare_root`], but makes nothing: `false` if the directory is missing.
pub(super) fn inspect_root(path: &Path) -> Result<bool, CacheError> {
    check_way(path)?;
    inspect(path)
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
        Err(source) => return Err(CacheError::create(path, source)),
    }
    check(path)
}

fn create(path: &Path) -> Result<(), CacheError> {
    use std::os::unix::fs::DirBuilderExt;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| CacheError::create(path, source))
}

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

/// Links that are followed on the way to the cache; Linux follows as many.
const MAX_LINKS: u32 = 40;

/// Checks every directory and link that leads to `path` and exists: whoever may rename one of them can put another
/// directory in the place of the cache, at any time.
fn check_way(path: &Path) -> Result<(), CacheError> {
    let mut links = MAX_LINKS;
    path.parent().map_or(Ok(()), |way| lead(way, &mut links))
}

fn lead(way: &Path, links: &mut u32) -> Result<(), CacheError> {
    use std::os::unix::fs::MetadataExt;
    for part in way.ancestors() {
        // What is missing is made, and what cannot be checked is an error when the cache itself is opened.
        let Ok(metadata) = std::fs::symlink_metadata(part) else {
            continue;
        };
        let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != user && owner != 0 && is_known(owner) {
            return Err(CacheError::WrongOwner {
                path: part.to_owned(),
                owner,
                user,
            });
        }
        if metadata.is_symlink() {
            let target = std::fs::read_link(part).ok();
            let target = target.and_then(|target| Some(part.parent()?.join(target)));
            if let Some(target) = target
                && *links > 0
            {
                *links -= 1;
                lead(&target, links)?;
            }
            continue;
        }
        // The sticky bit, as /tmp has it, leaves renaming to owners. Group-writable directories pass: a home under a
        // umask of 002 has them, with a group of one.
        let mode = metadata.mode() & 0o7777;
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            return Err(CacheError::UnsafeMode {
                path: part.to_owned(),
                mode,
            });
        }
    }
    Ok(())
}

/// Whether this is a user, rather than the number under which a user namespace (a sandbox's, a rootless container's)
/// shows all whom it does not know, root of the system among them.
#[cfg(target_os = "linux")]
fn is_known(user: u32) -> bool {
    // Each line: first number inside, first outside, how many (user_namespaces(7)).
    let Ok(map) = std::fs::read_to_string("/proc/self/uid_map") else {
        return true;
    };
    let user = u64::from(user);
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), Some(_), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return true;
        };
        (first..first + count).contains(&user)
    })
}

#[cfg(not(target_os = "linux"))]
fn is_known(_user: u32) -> bool {
    true
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
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        prepare_root(&path).unwrap();
        if rustix::process::geteuid().is_root() {
            chown(&path, Some(12345), None).unwrap();
            assert_eq!(
                prepare_root(&path).unwrap_err().code(),
                "ERR_WASM_CACHE_WRONG_OWNER"
            );
        }
    }

    #[test]
    fn whoever_could_move_the_cache_away_is_refused_wherever_on_the_way() {
        use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
        let dir = tempfile::tempdir().unwrap();
        // Reached through a link that leads elsewhere, by a way of its own.
        let real = dir.path().join("elsewhere/below");
        fs::create_dir_all(&real).unwrap();
        fs::create_dir(dir.path().join("links")).unwrap();
        let link = dir.path().join("links/link");
        symlink("../elsewhere/below", &link).unwrap();
        let path = link.join("home/cache");
        let refused = |code: &str, at: &Path| {
            let error = prepare_root(&path).unwrap_err();
            assert_eq!(error.code(), code);
            assert_eq!(
                error.path().and_then(|path| path.canonicalize().ok()),
                at.canonicalize().ok()
            );
            assert!(!real.join("home").exists(), "nothing is made there");
        };
        let way = [dir.path().to_owned(), dir.path().join("links")];
        let way = way.iter().cloned();
        let way = way.chain([dir.path().join("elsewhere"), real.clone()]);
        let root = rustix::process::geteuid().is_root();
        for at in way {
            let mode = fs::metadata(&at).unwrap().permissions();
            fs::set_permissions(&at, fs::Permissions::from_mode(0o707)).unwrap();
            refused("ERR_WASM_CACHE_UNSAFE_MODE", &at);
            fs::set_permissions(&at, mode).unwrap();
            if root {
                chown(&at, Some(12345), None).unwrap();
                refused("ERR_WASM_CACHE_WRONG_OWNER", &at);
                // In a sticky directory, its owner may rename everything.
                fs::set_permissions(&at, fs::Permissions::from_mode(0o1777)).unwrap();
                refused("ERR_WASM_CACHE_WRONG_OWNER", &at);
                chown(&at, Some(0), None).unwrap();
                fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        if root {
            lchown(&link, Some(12345), None).unwrap();
            let error = inspect_root(&path).unwrap_err();
            assert_eq!(
                (error.code(), error.path()),
                ("ERR_WASM_CACHE_WRONG_OWNER", Some(&*link))
            );
            lchown(&link, Some(0), None).unwrap();
        }
        prepare_root(&path).unwrap();
        assert!(inspect_root(&path).unwrap());
        assert!(real.join("home/cache").is_dir());
    }

    #[test]
    fn links_that_lead_in_a_circle_come_to_an_end() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("circle", dir.path().join("circle")).unwrap();
        assert_eq!(
            prepare_root(&dir.path().join("circle/cache"))
                .unwrap_err()
                .code(),
            "ERR_WASM_CACHE_CREATE"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn users_whom_the_namespace_knows_are_known() {
        assert!(is_known(rustix::process::geteuid().as_raw()));
        assert!(!is_known(u32::MAX));
    }
}
