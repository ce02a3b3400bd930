//! Damaged artifacts are refused, each with its reason: cut off at every length, and damaged in thousands of ways.
//!
//! What an artifact holds means nothing to the store. Real ones are damaged in the engine's tests and in
//! `__test__/corruption.test.js`, which looks at what a program sees.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use wasm_compile_cache_store::{ArtifactKey, Entry, Label, Lookup, ModuleHash, Settings, Store};

/// Random damages a thread: of all threads 5,000, and under full stress (`STRESS=1`, npm run stress) 100,000.
fn cases() -> u64 {
    let share = std::env::var("STRESS").map_or(0.0, |text| text.parse().expect("a share"));
    1_250 + (23_750.0 * f64::clamp(share, 0.0, 1.0)) as u64
}

/// Threads that deal them, each in a cache of its own.
const THREADS: u64 = 4;

/// An artifact as the cache stored it.
struct Artifact {
    key: ArtifactKey,
    module: ModuleHash,
    /// Its file's bytes.
    bytes: Vec<u8>,
    image_len: usize,
    meta_len: usize,
}

/// Two artifacts, and the seal key of their cache.
struct Stored {
    dir: tempfile::TempDir,
    artifacts: [Artifact; 2],
}

static STORED: LazyLock<Stored> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let store = Store::open(settings(&dir.path().join("cache"))).expect("the cache opens");
    let artifacts = [3, 5].map(|seed| stored(&store, seed));
    Stored { dir, artifacts }
});

fn settings(directory: &Path) -> Settings {
    Settings {
        directory: Some(directory.to_owned()),
        engine: "engine".to_owned(),
        ..Settings::default()
    }
}

/// Writes an artifact whose image is code and gaps, as those of modules are.
fn stored(store: &Store, seed: u64) -> Artifact {
    let mut random = Random(seed);
    let mut image: Vec<u8> = (0..5 * PAGE + 200).map(|_| random.next() as u8).collect();
    for gap in [PAGE - 300..PAGE, 3 * PAGE..4 * PAGE + 100] {
        image[gap].fill(0);
    }
    let meta: Vec<u8> = (0..700).map(|_| random.next() as u8).collect();
    let module = ModuleHash::from_bytes([seed as u8; 32]);
    let key = ArtifactKey::new(&module, &[("engine", "1")], "");
    let label = Label {
        source: format!("/a/module-{seed}.wasm"),
        ..Label::default()
    };
    store
        .write(&key, module, &image, &meta, &label)
        .expect("there is room");
    Artifact {
        key,
        module,
        bytes: fs::read(store.entry_path(&key)).expect("it was stored"),
        image_len: image.len(),
        meta_len: meta.len(),
    }
}

/// A cache with the same seal key and the same two artifacts, whose notes say that they are right.
struct Copy {
    _dir: tempfile::TempDir,
    writable: Store,
    read_only: Store,
    /// When the first artifact's file was last changed, as programs may set it.
    modified: SystemTime,
}

impl Copy {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is a temporary folder");
        let key = Path::new("cache/seal.key");
        fs::copy(STORED.dir.path().join(key), dir.path().join("seal.key"))
            .expect("the key is ours");
        let writable = Store::open(settings(dir.path())).expect("the cache opens");
        for artifact in &STORED.artifacts {
            let path = writable.entry_path(&artifact.key);
            fs::write(&path, &artifact.bytes).expect("the folder is ours");
            // As soon as the file is old enough to be told from a later one, that it was verified is remembered.
            while !found(&writable, artifact).expect("it is right").remembered {
                std::thread::yield_now();
            }
        }
        let read_only = Store::open_read_only(settings(dir.path()))
            .expect("the cache opens")
            .expect("the cache is there");
        let metadata = fs::metadata(writable.entry_path(&STORED.artifacts[0].key));
        let modified = metadata.and_then(|metadata| metadata.modified());
        Self {
            _dir: dir,
            writable,
            read_only,
            modified: modified.expect("the file has a time"),
        }
    }

    fn path(&self) -> PathBuf {
        self.writable.entry_path(&STORED.artifacts[0].key)
    }

    fn note(&self, artifact: &Artifact) -> PathBuf {
        self.writable.entry_path(&artifact.key).with_extension("ok")
    }

    /// Changes the first artifact's file where it is, and puts its time back: size and times look as they did, but for
    /// the change time, which no program can set.
    fn overwrite(&self, bytes: &[u8]) {
        let options = File::options().write(true).open(self.path());
        let mut file = options.expect("the file is ours");
        file.seek(SeekFrom::Start(0)).expect("files can seek");
        file.write_all(bytes).expect("there is room");
        file.set_len(bytes.len() as u64).expect("files can shrink");
        file.set_modified(self.modified).expect("the file is ours");
    }
}

fn found(store: &Store, artifact: &Artifact) -> Result<Entry, String> {
    match store.lookup(&artifact.key, artifact.module) {
        Lookup::Hit(entry) => Ok(entry),
        Lookup::Miss => Err("miss".to_owned()),
        Lookup::Invalid(reason) => Err(reason.as_str().to_owned()),
    }
}

/// splitmix64: the same damages in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A part of `len` bytes, of at most `most`.
    fn part(&mut self, len: usize, most: usize) -> Range<usize> {
        let part = 1 + self.below(most.min(len));
        let start = self.below(len - part + 1);
        start..start + part
    }
}

const PAGE: usize = 4096;

/// Damages a file. The last are files that are right, of another module and of an earlier compile of this one.
type Damage = fn(&mut Random, &mut Vec<u8>, &[Vec<u8>]);

/// What can happen to a file.
const DAMAGES: [(&str, Damage); 12] = [
    ("bits flipped", |random, bytes, _| {
        for _ in 0..=random.below(8) {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
    }),
    ("bytes overwritten", |random, bytes, _| {
        for at in random.part(bytes.len(), 64) {
            bytes[at] = random.next() as u8;
        }
    }),
    ("a bit of the footer flipped", |random, bytes, _| {
        let at = bytes.len() - 1 - random.below(128);
        bytes[at] ^= 1 << random.below(8);
    }),
    ("two blocks exchanged", |random, bytes, _| {
        let half = bytes.len() / 2;
        let first = random.part(half, PAGE);
        let second = half + random.below(half - first.len() + 1);
        for (offset, at) in first.enumerate() {
            bytes.swap(at, second + offset);
        }
    }),
    ("a page of zeros", |random, bytes, _| {
        let page = random.below(bytes.len().div_ceil(PAGE)) * PAGE;
        let end = bytes.len().min(page + PAGE);
        bytes[page..end].fill(0);
    }),
    ("zeros from somewhere to the end", |random, bytes, _| {
        let start = random.below(bytes.len());
        bytes[start..].fill(0);
    }),
    ("cut off, and zeros up to its length", |random, bytes, _| {
        let len = bytes.len();
        bytes.truncate(random.below(len));
        bytes.resize(len + random.below(PAGE), 0);
    }),
    ("its tail twice", |random, bytes, _| {
        let start = random.below(bytes.len());
        bytes.extend_from_within(start..);
    }),
    ("a part missing", |random, bytes, _| {
        let part = random.part(bytes.len(), PAGE);
        bytes.drain(part);
    }),
    ("a part too much", |random, bytes, _| {
        let part = random.part(bytes.len(), PAGE);
        let copy = bytes[part.clone()].to_vec();
        bytes.splice(part.end..part.end, copy);
    }),
    ("exchanged for another one", |_, bytes, others| {
        bytes.clone_from(&others[0]);
    }),
    (
        "begun as itself and ended as another one",
        |random, bytes, others| {
            let other = &others[random.below(others.len())];
            let at = random.below(bytes.len().min(other.len()));
            bytes.truncate(at);
            bytes.extend_from_slice(&other[at..]);
        },
    ),
];

#[test]
fn an_artifact_that_was_cut_off_anywhere_is_refused() {
    let cache = Copy::new();
    let [artifact, _] = &STORED.artifacts;
    let whole = artifact.bytes.len();
    assert!((10_000..60_000).contains(&whole), "{whole} bytes");
    let mut reasons = BTreeMap::new();
    for len in (0..whole).rev() {
        let file = File::options().write(true).open(cache.path());
        let file = file.expect("the file is ours");
        file.set_len(len as u64).expect("files can shrink");
        file.set_modified(cache.modified).expect("the file is ours");
        let reason = found(&cache.read_only, artifact).expect_err("it was cut off");
        assert_eq!(
            reason,
            if len < 128 { "truncated" } else { "bad-magic" },
            "{len}"
        );
        *reasons.entry(reason).or_insert(0) += 1;
    }
    println!("{whole} lengths: {reasons:?}");
    cache.overwrite(&artifact.bytes);
    assert!(
        !found(&cache.read_only, artifact)
            .expect("it is right")
            .remembered
    );
}

#[test]
fn an_artifact_that_was_damaged_in_any_way_is_refused() {
    let [artifact, other] = &STORED.artifacts;
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| std::thread::spawn(move || deal(thread, artifact, other)))
        .collect();
    let mut reasons: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for thread in threads {
        for (what, count) in thread.join().expect("every damage is refused") {
            *reasons.entry(what).or_default() += count;
        }
    }
    for ((damage, reason), count) in &reasons {
        println!("{count:6} {damage}: {reason}");
    }
    assert_eq!(reasons.values().sum::<u64>(), cases() * THREADS);
    for (damage, _) in DAMAGES {
        assert!(reasons.keys().any(|(name, _)| *name == damage), "{damage}");
    }
}

/// One thread's part of the damages: how often which reason was given.
fn deal(
    thread: u64,
    artifact: &'static Artifact,
    other: &'static Artifact,
) -> BTreeMap<(&'static str, String), u64> {
    let cache = Copy::new();
    // The same key for other contents: what an earlier compile could have left.
    let earlier = {
        let aside = Copy::new();
        let image = &other.bytes[..other.image_len];
        let meta = &other.bytes[other.image_len..][..other.meta_len];
        let label = Label::default();
        aside
            .writable
            .write(&artifact.key, artifact.module, image, meta, &label)
            .expect("there is room");
        fs::read(aside.path()).expect("it was written")
    };
    let others = [other.bytes.clone(), earlier];
    let note = fs::read(cache.note(artifact)).expect("it is noted");
    let theirs = fs::read(cache.note(other)).expect("it is noted");
    let mut random = Random(thread);
    let mut reasons = BTreeMap::new();
    let mut case = 0;
    while case < cases() {
        let (damage, deal) = DAMAGES[random.below(DAMAGES.len())];
        let mut bytes = artifact.bytes.clone();
        deal(&mut random, &mut bytes, &others);
        if bytes == artifact.bytes || bytes == others[1] {
            // Nothing was damaged.
            continue;
        }
        case += 1;
        cache.overwrite(&bytes);
        // The note is the true one, another file's, or noise.
        let stale = match case % 8 {
            0 => Some(theirs.clone()),
            1 => Some((0..note.len()).map(|_| random.next() as u8).collect()),
            _ => None,
        };
        if let Some(stale) = &stale {
            fs::write(cache.note(artifact), stale).expect("the note is ours");
        }
        let reason = found(&cache.read_only, artifact)
            .err()
            .unwrap_or_else(|| panic!("thread {thread}, case {case}, {damage}: it was served"));
        assert!(
            [
                "truncated",
                "bad-magic",
                "wrong-version",
                "wrong-key",
                "wrong-module",
                "seal-mismatch"
            ]
            .contains(&reason.as_str()),
            "thread {thread}, case {case}, {damage}: {reason}"
        );
        *reasons.entry((damage, reason)).or_insert(0) += 1;
        if stale.is_some() {
            fs::write(cache.note(artifact), &note).expect("the note is ours");
        }
        if case % 1000 == 0 {
            cache.overwrite(&artifact.bytes);
            found(&cache.read_only, artifact).expect("what is right is served");
        }
    }
    reasons
}

#[test]
fn a_damaged_artifact_is_put_aside_and_written_anew() {
    let cache = Copy::new();
    let [artifact, other] = &STORED.artifacts;
    let others = [other.bytes.clone()];
    let image = &artifact.bytes[..artifact.image_len];
    let meta = &artifact.bytes[artifact.image_len..][..artifact.meta_len];
    for (seed, (damage, deal)) in DAMAGES.iter().enumerate() {
        let mut bytes = artifact.bytes.clone();
        deal(&mut Random(seed as u64), &mut bytes, &others);
        cache.overwrite(&bytes);
        let reason = found(&cache.writable, artifact).expect_err(damage);
        let aside = format!("quarantine/{}.{reason}", artifact.key);
        let aside = fs::read(cache.writable.directory().join(aside));
        assert!(aside.expect(damage) == bytes, "{damage}");
        assert_eq!(found(&cache.writable, artifact).expect_err(damage), "miss");
        assert!(!cache.note(artifact).exists(), "{damage}");
        let label = Label::default();
        cache
            .writable
            .write(&artifact.key, artifact.module, image, meta, &label)
            .expect("there is room");
        found(&cache.writable, artifact).expect(damage);
    }
}

#[test]
fn two_files_that_took_each_others_place_are_refused() {
    for with_notes in [false, true] {
        let cache = Copy::new();
        let exchange = |[one, two]: [PathBuf; 2]| {
            let aside = one.with_extension("aside");
            for (from, to) in [(&one, &aside), (&two, &one), (&aside, &two)] {
                fs::rename(from, to).expect("the files are ours");
            }
        };
        let artifacts = STORED.artifacts.each_ref();
        exchange(artifacts.map(|artifact| cache.writable.entry_path(&artifact.key)));
        if with_notes {
            exchange(artifacts.map(|artifact| cache.note(artifact)));
        }
        for artifact in artifacts {
            assert_eq!(
                found(&cache.writable, artifact).expect_err("it is another's"),
                "wrong-key"
            );
        }
    }
}
