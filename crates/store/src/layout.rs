//! What the files and folders of a cache are called (where they are: the crate's head).

use std::path::{Path, PathBuf};

use super::files::each;
use super::footer;
use super::key::ArtifactKey;

/// The user's key.
pub(super) const SEAL_KEY: &str = "seal.key";
/// Held while a damaged key is replaced.
pub(super) const SEAL_LOCK: &str = "seal.lock";
/// Held while room is made.
pub(super) const LIMIT_LOCK: &str = "limit.lock";

/// Held by the process that judges modules.
pub(super) const JUDGE_LOCK: &str = "judge.lock";

/// The folder, in the root, of modules that wait to be judged.
pub(super) const SEEN: &str = "seen";
/// The folder, in the root, of what was found.
pub(super) const VERDICTS: &str = "verdicts";

/// Of an artifact.
pub(super) const ENTRY: &str = "cwasm";
/// Of the note that one was verified.
pub(super) const NOTE: &str = "ok";
/// Of a flight.
pub(super) const LOCK: &str = "lock";
/// Of a module that waits for a finisher.
pub(super) const SPOOLED: &str = "spool";
/// One byte for each time that such a module was taken and nothing came of it.
pub(super) const TRIES: &str = "tries";

/// The folder of defective artifacts.
pub(super) const QUARANTINE: &str = "quarantine";
/// The folder of modules that wait for a finisher.
pub(super) const SPOOL: &str = "spool";
/// The folder of modules' bytes.
pub(super) const WASM: &str = "wasm";
/// The folder of the records of files.
pub(super) const STAT: &str = "stat";
/// The folder of the heads.
pub(super) const HEADS: &str = "heads";
/// The folder of the records of URLs.
pub(super) const URL: &str = "url";
/// The folders of small files that are made anew when needed.
pub(super) const RECORDS: [&str; 3] = [STAT, HEADS, URL];
/// All folders of a version.
pub(super) const PARTS: [&str; 6] = [STAT, HEADS, SPOOL, WASM, URL, QUARANTINE];

/// What all processes have counted.
pub(super) const COUNTERS: &str = "counters";
/// Its modification time is that of the last sweep.
pub(super) const SWEPT: &str = "swept";

/// The file of an artifact, or what belongs to it, in the folder of its version.
pub(super) fn of_key(dir: &Path, key: &ArtifactKey, extension: &str) -> PathBuf {
    dir.join(format!("{key}.{extension}"))
}

/// The key that a file of [`of_key`] is called by.
pub(super) fn key_of(name: &str, extension: &str) -> Option<ArtifactKey> {
    ArtifactKey::from_hex(stem_of(name, extension)?)
}

/// A name without its extension.
pub(super) fn stem_of<'name>(name: &'name str, extension: &str) -> Option<&'name str> {
    name.strip_suffix(extension)?.strip_suffix('.')
}

/// The folder of this version's files.
pub(super) fn version(root: &Path, engine: &str) -> PathBuf {
    let format = footer::FORMAT_VERSION;
    root.join(format!("v{format}-{}-{engine}", env!("CARGO_PKG_VERSION")))
}

/// Whether a folder is called as [`version`] calls them: `v`, a format, a version with three numbers, an engine. A user may
/// have named a directory for the cache that has other things in it.
fn is_version(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = || {
        let (format, rest) = name.strip_prefix('v')?.split_once('-')?;
        let (version, engine) = rest.split_once('-')?;
        let numbers: Vec<_> = version.split('.').collect();
        Some(
            is_number(format)
                && numbers.len() == 3
                && numbers.into_iter().all(is_number)
                && !engine.is_empty(),
        )
    };
    parsed().unwrap_or_default()
}

/// Calls `visit` with the files of [`SEEN`] or [`VERDICTS`], and whether each is complete. A user may have named a directory
/// that has a folder of that name with other things in it.
pub(super) fn each_judged(
    root: &Path,
    folder: &str,
    mut visit: impl FnMut(&std::fs::DirEntry, bool),
) {
    let dir = root.join(folder);
    if !std::fs::symlink_metadata(&dir).is_ok_and(|metadata| metadata.is_dir()) {
        return;
    }
    each(&dir, |name, entry| {
        if let Some(extension) = judged_extension(name) {
            visit(entry, extension != "tmp");
        }
    });
}

/// The last extension of a name that JavaScript gives (`lib/front/sample.js`): a word, and a hash of 64 bits.
fn judged_extension(name: &str) -> Option<&str> {
    let (stem, extensions) = name.split_once('.')?;
    let (_, hash) = stem.rsplit_once('-')?;
    let is_hash = hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let extension = extensions.rsplit('.').next()?;
    (is_hash && matches!(extension, "wasm" | "json" | "tmp")).then_some(extension)
}

/// The folders of all versions in `root`, of formats that are known or not.
pub(super) fn versions(root: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    each(root, |name, entry| {
        if is_version(name) && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    });
    folders
}
