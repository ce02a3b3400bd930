//! What is done to a cache, and what it must hold before and after.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use wasm_compile_cache_store::{ArtifactKey, CacheError, Lookup, ModuleHash, Resource, Store};

use super::holdings::{
    A, B, Content, HEAD, HOURS, Held, MODULE, NEXT, SOURCE, observation, spool_path, try_open,
    try_write,
};

/// Records of counts that are too many to be kept apart.
const MANY: usize = 400;

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

fn write(store: &Store, key: ArtifactKey, content: Content) {
    try_write(store, &key, content).expect("the entry is written");
}

fn spool(store: &Store, content: Content) {
    store
        .spool()
        .spool(&B, "partition", content.spooled(), b"parameters")
        .expect("the module is spooled");
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
