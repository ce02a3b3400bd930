//! What is done to a cache, and what it must hold before and after.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wasm_compile_cache::cache::{
    ArtifactKey, CacheError, Entry, FileStat, InvalidReason, Label, Limits, Lookup, ModuleHash,
    Observation, Resource, Settings, Store,
};

const A: ArtifactKey = ArtifactKey::from_bytes([0xaa; 32]);
const B: ArtifactKey = ArtifactKey::from_bytes([0xbb; 32]);
/// The entry that is written when all is over.
const NEXT: ArtifactKey = ArtifactKey::from_bytes([0xcc; 32]);
const MODULE: ModuleHash = ModuleHash::from_bytes([0x33; 32]);
const HEAD: [u8; 32] = [0x44; 32];
/// Records of counts that are too many to be kept apart.
const MANY: usize = 400;
const SOURCE: &str = "/somewhere/module.wasm";
const HOURS: Duration = Duration::from_secs(2 * 60 * 60);

/// A content of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Old,
    New,
}

impl Content {
    fn image(self) -> Vec<u8> {
        let (seed, len) = match self {
            Self::Old => (7_u32, 40_000),
            Self::New => (11, 70_001),
        };
        (0..len)
            .map(|at: u32| (at.wrapping_mul(seed) >> 3) as u8)
            .collect()
    }

    fn meta(self) -> &'static [u8] {
        match self {
            Self::Old => b"the old metadata",
            Self::New => b"the newer metadata",
        }
    }

    fn spooled(self) -> &'static [u8] {
        self.meta()
    }

    fn module(self) -> ModuleHash {
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

/// One use of a cache.
pub struct Scenario {
    pub name: &'static str,
    /// Makes the cache ready in a folder.
    prepare: fn(&Path),
    /// Done by the child, in the interval that is traced; says what came of it.
    act: Act,
    /// The limit of the child's cache, in bytes.
    total: Option<u64>,
    pub before: Held,
    pub after: Held,
    /// What `act` says if nothing hinders it.
    pub says: &'static str,
    /// Whether that tells what became of everything.
    pub tells: bool,
    /// How many files it puts in place that must outlive a power cut.
    pub durable: usize,
}

enum Act {
    /// With the cache that the child has opened.
    Use(fn(&Store) -> String),
    /// With the folder.
    Open,
}

const NOTHING: Held = Held {
    a: None,
    b: None,
    refused: false,
    spooled: None,
    recorded: None,
    head: false,
    hits: 0,
};
const OLD: Held = Held {
    a: Some(Content::Old),
    ..NOTHING
};
const NEW: Held = Held {
    a: Some(Content::New),
    ..NOTHING
};
const BOTH: Held = Held {
    b: Some(Content::New),
    ..OLD
};

/// Everything a process does with the store.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "open in a new folder",
        prepare: |_| {},
        act: Act::Open,
        total: None,
        before: NOTHING,
        after: NOTHING,
        says: "done",
        tells: true,
        durable: 1,
    },
    Scenario {
        name: "open with a damaged seal key",
        prepare: |root| {
            open(root);
            fs::write(root.join("seal.key"), "short").expect("the key is ours");
        },
        act: Act::Open,
        total: None,
        before: NOTHING,
        after: NOTHING,
        says: "done",
        tells: true,
        durable: 1,
    },
    Scenario {
        name: "open again",
        prepare: |root| write(&open(root), A, Content::Old),
        act: Act::Open,
        total: None,
        before: OLD,
        after: OLD,
        says: "done",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "write",
        prepare: |root| write(&open(root), A, Content::Old),
        act: Act::Use(|store| done(try_write(store, &B, Content::New))),
        total: None,
        before: OLD,
        after: BOTH,
        says: "done",
        tells: true,
        durable: 1,
    },
    Scenario {
        name: "replace",
        prepare: |root| write(&open(root), A, Content::Old),
        act: Act::Use(|store| done(try_write(store, &A, Content::New))),
        total: None,
        before: OLD,
        after: NEW,
        says: "done",
        tells: true,
        durable: 1,
    },
    Scenario {
        name: "look up what is known to be right",
        prepare: |root| write(&open(root), A, Content::Old),
        act: Act::Use(|store| looked_up(store.lookup(&A, MODULE))),
        total: None,
        before: OLD,
        after: OLD,
        says: "hit",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "look up what was not verified yet",
        prepare: |root| {
            let store = open(root);
            write(&store, A, Content::Old);
            fs::remove_file(store.entry_path(&A).with_extension("ok")).expect("it was noted");
        },
        act: Act::Use(|store| looked_up(store.lookup(&A, MODULE))),
        total: None,
        before: OLD,
        after: OLD,
        says: "hit",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "look up what is not there",
        prepare: |root| write(&open(root), A, Content::Old),
        act: Act::Use(|store| looked_up(store.lookup(&B, MODULE))),
        total: None,
        before: OLD,
        after: OLD,
        says: "miss",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "look up what is damaged",
        prepare: |root| {
            let store = open(root);
            write(&store, A, Content::Old);
            write(&store, B, Content::New);
            damage(&store.entry_path(&B));
        },
        act: Act::Use(|store| looked_up(store.lookup(&B, MODULE))),
        total: None,
        before: Held {
            refused: true,
            ..OLD
        },
        after: OLD,
        says: "invalid seal-mismatch",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "remove",
        prepare: |root| {
            let store = open(root);
            write(&store, A, Content::Old);
            write(&store, B, Content::New);
        },
        act: Act::Use(|store| done(store.remove(&B))),
        total: None,
        before: BOTH,
        after: OLD,
        says: "done",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "spool",
        prepare: |root| write(&open(root), A, Content::Old),
        act: Act::Use(|store| {
            done(
                store
                    .spool()
                    .spool(&B, "partition", Content::New.spooled(), b"parameters"),
            )
        }),
        total: None,
        before: OLD,
        after: Held {
            spooled: Some(Content::New),
            ..OLD
        },
        says: "done",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "spool again",
        prepare: |root| spool(&open(root), Content::Old),
        act: Act::Use(|store| {
            done(
                store
                    .spool()
                    .spool(&B, "partition", Content::New.spooled(), b"parameters"),
            )
        }),
        total: None,
        before: Held {
            spooled: Some(Content::Old),
            ..NOTHING
        },
        after: Held {
            spooled: Some(Content::New),
            ..NOTHING
        },
        says: "done",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "take",
        prepare: |root| spool(&open(root), Content::New),
        act: Act::Use(|store| match store.spool().take(&spool_path(store)) {
            Ok(Some(taken)) if taken.wasm == Content::New.spooled() => "done".into(),
            Ok(taken) => format!("{taken:?}"),
            Err(error) => error.code().into(),
        }),
        total: None,
        before: Held {
            spooled: Some(Content::New),
            ..NOTHING
        },
        after: NOTHING,
        says: "done",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "record a file",
        prepare: |root| record(&open(root), Content::Old),
        act: Act::Use(|store| {
            done(store.stat_index().record(
                Path::new(SOURCE),
                &observation(),
                &observation().stat,
                Content::New.module(),
            ))
        }),
        total: None,
        before: Held {
            recorded: Some(Content::Old),
            ..NOTHING
        },
        after: Held {
            recorded: Some(Content::New),
            ..NOTHING
        },
        says: "done",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "remember a head",
        prepare: |root| {
            open(root);
        },
        act: Act::Use(|store| done(store.heads().remember_head(&HEAD))),
        total: None,
        before: NOTHING,
        after: Held {
            head: true,
            ..NOTHING
        },
        says: "done",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "sweep",
        prepare: |root| {
            let store = open(root);
            write(&store, A, Content::Old);
            let dir = store.directory();
            for path in [
                root.join(".tmp-one"),
                dir.join(".tmp-two"),
                dir.join("stat/.tmp-three"),
                dir.join("wasm/.tmp-four"),
                dir.join(format!("{B}.ok")),
                dir.join(format!("{B}.lock")),
                dir.join(format!("spool/{NEXT}.spool")),
            ] {
                let litter = File::create(path).expect("the folder is ours");
                litter
                    .set_modified(SystemTime::now() - HOURS)
                    .expect("the file is ours");
            }
        },
        act: Act::Use(|store| {
            let swept = store.sweep_if_due(SystemTime::now());
            swept.map_or_else(
                || "not due".into(),
                |swept| format!("{} files", swept.files),
            )
        }),
        total: None,
        before: OLD,
        after: OLD,
        says: "7 files",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "take off and land",
        prepare: |root| write(&open(root), A, Content::Old),
        act: Act::Use(|store| match store.flight(&B) {
            Ok(Some(_)) => "done".into(),
            other => format!("{other:?}"),
        }),
        total: None,
        before: OLD,
        after: OLD,
        says: "done",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "evict",
        prepare: |root| {
            let store = open(root);
            write(&store, A, Content::Old);
            write(&store, B, Content::New);
        },
        act: Act::Use(|store| done(try_write(store, &B, Content::New))),
        total: Some(150_000),
        before: BOTH,
        after: Held { a: None, ..BOTH },
        says: "done",
        tells: true,
        durable: 1,
    },
    Scenario {
        name: "prune",
        prepare: |root| {
            let store = open(root);
            write(&store, B, Content::New);
            write(&store, A, Content::Old);
        },
        act: Act::Use(|store| {
            let evicted = store.prune(Some(100_000), None, SystemTime::now());
            format!("{} evicted", evicted.units)
        }),
        total: None,
        before: BOTH,
        after: OLD,
        says: "1 evicted",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "clear",
        prepare: |root| {
            let store = open(root);
            write(&store, A, Content::Old);
            write(&store, B, Content::New);
            record(&store, Content::New);
            store
                .heads()
                .remember_head(&HEAD)
                .expect("it is remembered");
            count_hit(&store);
        },
        act: Act::Use(|store| format!("{} evicted", store.clear().units)),
        total: None,
        before: Held {
            recorded: Some(Content::New),
            head: true,
            hits: 1,
            ..BOTH
        },
        after: NOTHING,
        says: "2 evicted",
        tells: false,
        durable: 0,
    },
    Scenario {
        name: "verify all",
        prepare: |root| {
            let store = open(root);
            write(&store, A, Content::Old);
            write(&store, B, Content::New);
            damage(&store.entry_path(&B));
        },
        act: Act::Use(|store| {
            let (good, bad) = store.verify_all();
            format!("{good} good, {} bad", bad.len())
        }),
        total: None,
        before: Held {
            refused: true,
            ..OLD
        },
        after: OLD,
        says: "1 good, 1 bad",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "count behind what a crash has torn off",
        prepare: |root| {
            let store = open(root);
            write(&store, A, Content::Old);
            count_hit(&store);
            let path = store.directory().join("counters");
            let mut file = File::options()
                .append(true)
                .open(path)
                .expect("it was counted");
            file.write_all(b"torn off").expect("the file is ours");
        },
        act: Act::Use(|store| {
            let found = looked_up(store.lookup(&A, MODULE));
            store.record_counts();
            found
        }),
        total: None,
        before: Held { hits: 1, ..OLD },
        after: Held { hits: 2, ..OLD },
        says: "hit",
        tells: true,
        durable: 0,
    },
    Scenario {
        name: "keep what a URL gave",
        prepare: |root| write(&open(root), A, Content::Old),
        act: Act::Use(|store| {
            let bytes = Content::New.image();
            let resource = Resource {
                module: ModuleHash::of(&bytes),
                len: bytes.len() as u64,
                policy: "{}".into(),
            };
            let kept = store
                .write_wasm(&resource.module, &bytes)
                .and_then(|()| store.resources().record("http://host/", "", &resource));
            kept.map_or_else(|error| error.code().into(), |()| "done".into())
        }),
        total: None,
        before: OLD,
        after: OLD,
        says: "done",
        tells: false,
        durable: 0,
    },
    Scenario {
        name: "add up the counts",
        prepare: |root| {
            let store = open(root);
            write(&store, A, Content::Old);
            count_hit(&store);
            let path = store.directory().join("counters");
            let record = fs::read(&path).expect("it was counted");
            fs::write(&path, record.repeat(MANY)).expect("the file is ours");
        },
        act: Act::Use(|store| {
            let found = looked_up(store.lookup(&A, MODULE));
            store.record_counts();
            found
        }),
        total: None,
        before: Held {
            hits: MANY as u64,
            ..OLD
        },
        after: Held {
            hits: MANY as u64 + 1,
            ..OLD
        },
        says: "hit",
        tells: true,
        durable: 0,
    },
];

impl Scenario {
    /// Makes the cache in `root` ready.
    pub fn prepare(&self, root: &Path) {
        (self.prepare)(root);
    }

    /// In the child: what is to be traced.
    pub fn act(&self, root: &Path) -> Box<dyn FnOnce() -> String> {
        match self.act {
            Act::Use(act) => {
                let store = try_open(root, self.total).expect("the cache opens");
                Box::new(move || act(&store))
            }
            Act::Open => {
                let root = root.to_owned();
                Box::new(move || done(try_open(&root, None)))
            }
        }
    }
}

/// Opens the cache as a process does.
fn open(root: &Path) -> Store {
    try_open(root, None).expect("the cache opens")
}

fn try_open(root: &Path, total: Option<u64>) -> Result<Store, CacheError> {
    Store::open(Settings {
        directory: Some(root.to_owned()),
        engine: "engine".into(),
        limits: Limits {
            total,
            ..Limits::default()
        },
    })
}

fn try_write(store: &Store, key: &ArtifactKey, content: Content) -> Result<Entry, CacheError> {
    let label = Label::default();
    store.write(key, MODULE, &content.image(), content.meta(), &label)
}

fn write(store: &Store, key: ArtifactKey, content: Content) {
    try_write(store, &key, content).expect("the entry is written");
}

fn spool(store: &Store, content: Content) {
    store
        .spool()
        .spool(&B, "partition", content.spooled(), b"parameters")
        .expect("the module is spooled");
}

fn spool_path(store: &Store) -> PathBuf {
    store.directory().join(format!("spool/{B}.spool"))
}

/// Finds the entry of A, and counts that as a process does that ends.
fn count_hit(store: &Store) {
    assert!(matches!(store.lookup(&A, MODULE), Lookup::Hit(_)));
    store.record_counts();
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("the entry is there");
    bytes[100] ^= 1;
    fs::write(path, bytes).expect("the entry is ours");
}

fn record(store: &Store, content: Content) {
    let seen = observation();
    let recorded =
        store
            .stat_index()
            .record(Path::new(SOURCE), &seen, &seen.stat, content.module());
    assert!(recorded.expect("the file is recorded"));
}

fn observation() -> Observation {
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

fn done<T>(result: Result<T, CacheError>) -> String {
    result.map_or_else(|error| error.code().into(), |_| "done".into())
}

fn looked_up(lookup: Lookup) -> String {
    match lookup {
        Lookup::Hit(_) => "hit".into(),
        Lookup::Miss => "miss".into(),
        Lookup::Invalid(reason) => format!("invalid {reason}"),
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
