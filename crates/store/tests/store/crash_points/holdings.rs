//! What a cache holds, as whoever opens it next finds it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wasm_compile_cache_store::{
    ArtifactKey, CacheError, Entry, FileStat, InvalidReason, Label, Limits, Lookup, ModuleHash,
    Observation, Settings, Store,
};

pub const A: ArtifactKey = ArtifactKey::from_bytes([0xaa; 32]);
pub const B: ArtifactKey = ArtifactKey::from_bytes([0xbb; 32]);
/// The entry that is written when all is over.
pub const NEXT: ArtifactKey = ArtifactKey::from_bytes([0xcc; 32]);
pub const MODULE: ModuleHash = ModuleHash::from_bytes([0x33; 32]);
pub const HEAD: [u8; 32] = [0x44; 32];
pub const SOURCE: &str = "/somewhere/module.wasm";
pub const HOURS: Duration = Duration::from_secs(2 * 60 * 60);

/// A content of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Old,
    New,
}

impl Content {
    pub fn image(self) -> Vec<u8> {
        let (seed, len) = match self {
            Self::Old => (7_u32, 40_000),
            Self::New => (11, 70_001),
        };
        (0..len)
            .map(|at: u32| (at.wrapping_mul(seed) >> 3) as u8)
            .collect()
    }

    pub fn meta(self) -> &'static [u8] {
        match self {
            Self::Old => b"the old metadata",
            Self::New => b"the newer metadata",
        }
    }

    pub fn spooled(self) -> &'static [u8] {
        self.meta()
    }

    pub fn module(self) -> ModuleHash {
        ModuleHash::of(self.meta())
    }
}

/// What a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    pub a: Option<Content>,
    pub b: Option<Content>,
    /// The entry of `b` is not what was stored, and was refused.
    pub refused: bool,
    pub spooled: Option<Content>,
    pub recorded: Option<Content>,
    pub head: bool,
    /// Lookups that processes which ended have counted.
    pub hits: u64,
}

pub fn try_open(root: &Path, total: Option<u64>) -> Result<Store, CacheError> {
    Store::open(Settings {
        directory: Some(root.to_owned()),
        engine: "engine".into(),
        limits: Limits {
            total,
            ..Limits::default()
        },
    })
}

pub fn try_write(store: &Store, key: &ArtifactKey, content: Content) -> Result<Entry, CacheError> {
    let label = Label::default();
    store.write(key, MODULE, &content.image(), content.meta(), &label)
}

pub fn spool_path(store: &Store) -> PathBuf {
    store.directory().join(format!("spool/{B}.spool"))
}

pub fn observation() -> Observation {
    Observation {
        stat: FileStat {
            dev: 1,
            ino: 2,
            size: 3,
            mtime_ns: 4,
            ctime_ns: 5,
        },
        at: SystemTime::now(),
    }
}

/// What a fresh handle finds for `key`; an error for anything that was never stored.
fn content(
    store: &Store,
    key: &ArtifactKey,
) -> Result<Result<Option<Content>, InvalidReason>, String> {
    match store.lookup(key, MODULE) {
        Lookup::Miss => Ok(Ok(None)),
        Lookup::Invalid(reason) => Ok(Err(reason)),
        Lookup::Hit(mut entry) => {
            let mut image = Vec::new();
            entry
                .file
                .read_to_end(&mut image)
                .map_err(|error| error.to_string())?;
            image.truncate(entry.image_len as usize);
            [Content::Old, Content::New]
                .into_iter()
                .find(|content| content.image() == image && content.meta() == entry.meta)
                .map(|content| Ok(Some(content)))
                .ok_or_else(|| format!("the entry of {key} was never stored"))
        }
    }
}

/// What the cache in `root` holds for whoever opens it next; an error for what nobody ever stored.
pub fn held(root: &Path) -> Result<Held, String> {
    let store = try_open(root, None).map_err(|error| format!("it does not open: {error}"))?;
    let hits = store.counts().1.hits;
    let entries = || Ok::<_, String>([content(&store, &A)?, content(&store, &B)?]);
    let [a, b] = entries()?;
    let refused = b.is_err();
    let (a, b) = (
        a.map_err(|reason| format!("the entry is {reason}"))?,
        b.unwrap_or_default(),
    );
    if entries()? != [Ok(a), Ok(b)] {
        return Err("two lookups differ".into());
    }
    let seen = observation();
    let recorded = store.stat_index().lookup(Path::new(SOURCE), &seen.stat);
    let path = spool_path(&store);
    // What is taken is gone, and this is a look only.
    let aside = root.join("aside");
    let there = fs::hard_link(&path, &aside).is_ok();
    let spooled = store
        .spool()
        .take(&path)
        .map_err(|error| error.to_string())?;
    if there {
        fs::rename(&aside, &path).map_err(|error| error.to_string())?;
    }
    let which = |is: &dyn Fn(Content) -> bool| {
        [Content::Old, Content::New]
            .into_iter()
            .find(|content| is(*content))
    };
    Ok(Held {
        a,
        b,
        refused,
        spooled: spooled
            .map(|taken| {
                which(&|content| content.spooled() == taken.wasm).ok_or("a module nobody spooled")
            })
            .transpose()?,
        recorded: recorded
            .map(|module| {
                which(&|content| content.module() == module).ok_or("a module nobody recorded")
            })
            .transpose()?,
        head: store.heads().known_head(&HEAD),
        hits,
    })
}

/// Sweeps as a process does that opens the cache two hours later.
pub fn sweep(root: &Path) -> Result<(), String> {
    let store = try_open(root, None).map_err(|error| error.to_string())?;
    store
        .sweep_if_due(SystemTime::now() + HOURS)
        .map(|_| ())
        .ok_or_else(|| "a sweep that is due is not made".into())
}

/// Writes one more entry, and finds it.
pub fn write_next(root: &Path) -> Result<(), String> {
    let store = try_open(root, None).map_err(|error| error.to_string())?;
    try_write(&store, &NEXT, Content::New).map_err(|error| format!("the next write: {error}"))?;
    match content(&store, &NEXT)? {
        Ok(Some(Content::New)) => Ok(()),
        other => Err(format!("the next write is found as {other:?}")),
    }
}

/// All files and folders below `root`, without the notes of entries, which may be there or not.
pub fn names(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let noted = path.extension().is_some_and(|extension| extension == "ok")
                && path.with_extension("cwasm").exists();
            if !noted {
                let name = path.strip_prefix(root).unwrap_or(&path);
                found.push(name.to_string_lossy().into_owned());
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}
