//! What is in the cache, for people and tools, as the files themselves say: seals are not checked here.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::InvalidReason;
use super::files;
use super::footer::{self, Footer};
use super::key::{ArtifactKey, ModuleHash};
use super::label::{self, Label};
use super::layout;
use super::limits::{self, Purpose};

/// A lookup that found nothing looks at no more artifacts than this for the reason.
const MAX_SEARCHED: usize = 256;

/// An artifact in the cache.
#[derive(Debug, Clone)]
pub struct Item {
    /// What it is found by.
    pub key: ArtifactKey,
    /// The module it was compiled from.
    pub module: ModuleHash,
    /// Where it came from.
    pub label: Label,
    /// Bytes of its file and its note.
    pub len: u64,
    /// To the minute.
    pub last_used: SystemTime,
    /// Its file.
    pub path: PathBuf,
}

/// Footer and label of an artifact's open file.
pub(super) fn describe(
    file: &mut File,
) -> Result<(Footer, [u8; footer::LEN], Label), InvalidReason> {
    let io = |error: io::Error| InvalidReason::from_read(&error);
    let (footer, bytes) = read_footer(file)?;
    if u64::from(footer.label_len) > label::MAX_LEN {
        return Err(InvalidReason::TooLarge);
    }
    let mut label = vec![0; footer.label_len as usize];
    // `read_footer` has made sure that the parts add up.
    file.seek(SeekFrom::Start(footer.image_len + footer.meta_len))
        .map_err(io)?;
    file.read_exact(&mut label).map_err(io)?;
    Ok((footer, bytes, Label::decode(&label).unwrap_or_default()))
}

/// The footer of an artifact's open file, whose parts add up to the file's size.
pub(super) fn read_footer(file: &mut File) -> Result<(Footer, [u8; footer::LEN]), InvalidReason> {
    let io = |error: io::Error| InvalidReason::from_read(&error);
    let len = file.metadata().map_err(io)?.len();
    let footer_at = len
        .checked_sub(footer::LEN as u64)
        .ok_or(InvalidReason::Truncated)?;
    let mut bytes = [0; footer::LEN];
    file.seek(SeekFrom::Start(footer_at)).map_err(io)?;
    file.read_exact(&mut bytes).map_err(io)?;
    Ok((Footer::parse(&bytes, len)?, bytes))
}

/// All artifacts in the folders of all versions whose files can be read.
pub(super) fn items(root: &Path) -> Vec<Item> {
    artifacts(root).filter_map(item).collect()
}

/// The artifacts of one module.
pub(super) fn of_module(root: &Path, module: &ModuleHash) -> Vec<Item> {
    let searched = artifacts(root).take(MAX_SEARCHED).filter_map(item);
    searched.filter(|item| item.module == *module).collect()
}

fn artifacts(root: &Path) -> impl Iterator<Item = limits::Unit> {
    let folders = layout::versions(root).into_iter();
    let units = folders.flat_map(|dir| limits::units(&dir));
    units.filter(|unit| {
        unit.purpose == Purpose::Kept
            && unit
                .path
                .extension()
                .is_some_and(|extension| extension == layout::ENTRY)
    })
}

fn item(unit: limits::Unit) -> Option<Item> {
    let (mut file, _) = files::open_private(&unit.path).ok()??;
    let (footer, _, label) = describe(&mut file).ok()?;
    Some(Item {
        key: footer.key,
        module: footer.module,
        label,
        len: unit.len,
        last_used: unit.last_used,
        path: unit.path,
    })
}
