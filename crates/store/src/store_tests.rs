//! [`Store`] on real files.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};

use super::super::artifact::Lookup;
use super::super::file_stat::FileStat;
use super::super::footer;
use super::super::lookup::CHUNK;
use super::super::verified::Subject;
use super::*;

#[path = "eviction_tests.rs"]
mod eviction;

const MODULE: ModuleHash = ModuleHash::from_bytes([2; 32]);
const KEY: ArtifactKey = ArtifactKey::from_bytes([1; 32]);

fn settings(directory: impl Into<PathBuf>) -> Settings {
    Settings {
        directory: Some(directory.into()),
        engine: "engine-1".to_owned(),
        limits: Limits::default(),
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(settings(dir.path().join("cache"))).unwrap();
    (dir, store)
}

fn label() -> Label {
    Label {
        source: "file:///a.wasm".to_owned(),
        fingerprint: vec![("engine".to_owned(), "1".to_owned())],
        wasm_len: 3,
        created: 4,
        ..Label::default()
    }
}

fn write(store: &Store, image: &[u8], meta: &[u8]) -> Result<Entry, CacheError> {
    store.write(&KEY, MODULE, image, meta, &label())
}

fn hit(lookup: Lookup) -> Entry {
    match lookup {
        Lookup::Hit(entry) => entry,
        other => panic!("{other:?}"),
    }
}

fn reason(lookup: Lookup) -> &'static str {
    match lookup {
        Lookup::Invalid(reason) => reason.as_str(),
        other => panic!("{other:?}"),
    }
}

fn image(mut entry: Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.file.read_to_end(&mut bytes).unwrap();
    assert_eq!(
        bytes.len() as u64,
        entry.image_len + (entry.meta.len() + label().encode().len() + footer::LEN) as u64
    );
    bytes.truncate(entry.image_len as usize);
    bytes
}

fn entries(store: &Store) -> Vec<String> {
    entries_in(store.directory())
}

fn entries_in(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = names.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

/// Puts `bytes` in the entry's place as a stranger would, with no note of a verification.
fn plant(store: &Store, bytes: &[u8]) {
    let path = store.entry_path(&KEY);
    files::discard(&store.note_path(&KEY));
    files::discard(&path);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    files::no_follow(&mut options);
    options.open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn what_is_written_is_found_by_every_process_of_the_user() {
    let (_dir, store) = store();
    assert!(matches!(store.lookup(&KEY, MODULE), Lookup::Miss));
    let written = write(&store, b"image", b"meta").unwrap();
    assert_eq!(
        (written.image_len, written.meta.as_slice()),
        (5, b"meta".as_slice())
    );
    assert_eq!(image(written), b"image");
    let again = Store::open(settings(store.root())).unwrap();
    let entry = hit(again.lookup(&KEY, MODULE));
    assert!(entry.remembered, "verified when it was written");
    assert_eq!(entry.meta, b"meta");
    assert_eq!(
        fs::read(entry.map_path()).unwrap(),
        fs::read(&entry.path).unwrap()
    );
    assert_eq!(image(entry), b"image");
    write(&store, b"", b"").unwrap();
    assert_eq!(image(hit(store.lookup(&KEY, MODULE))), b"");
    store.remove(&KEY).unwrap();
    store.remove(&KEY).unwrap();
    assert!(matches!(store.lookup(&KEY, MODULE), Lookup::Miss));
    assert_eq!(entries(&store), [""; 0]);
}

#[test]
fn large_images_and_chunk_boundaries_verify() {
    let (_dir, store) = store();
    for len in [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17] {
        let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        write(&store, &bytes, b"m").unwrap();
        files::discard(&store.note_path(&KEY));
        let entry = hit(store.lookup(&KEY, MODULE));
        assert!(!entry.remembered);
        assert_eq!(image(entry), bytes);
    }
}

#[test]
fn every_truncation_and_every_changed_byte_is_refused_and_put_aside() {
    let (_dir, store) = store();
    write(&store, b"the image", b"meta").unwrap();
    let good = fs::read(store.entry_path(&KEY)).unwrap();
    for at in 0..good.len() {
        plant(&store, &good[..at]);
        let said = reason(store.lookup(&KEY, MODULE));
        assert!(
            if at < footer::LEN {
                said == "truncated"
            } else {
                said == "bad-magic"
            },
            "{at} {said}"
        );
        assert_eq!(entries(&store), [""; 0], "{at}");
        for bit in [1, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= bit;
            plant(&store, &bad);
            reason(store.lookup(&KEY, MODULE));
            assert!(matches!(store.lookup(&KEY, MODULE), Lookup::Miss), "{at}");
        }
    }
    plant(&store, &[b"x", good.as_slice()].concat());
    assert_eq!(reason(store.lookup(&KEY, MODULE)), "truncated");
    plant(&store, &good);
    assert_eq!(image(hit(store.lookup(&KEY, MODULE))), b"the image");
}

#[test]
fn a_change_in_place_is_noticed_in_spite_of_the_note() {
    let (_dir, store) = store();
    write(&store, b"the image", b"meta").unwrap();
    assert!(hit(store.lookup(&KEY, MODULE)).remembered);
    let path = store.entry_path(&KEY);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all(b"T").unwrap();
    file.set_modified(modified).unwrap();
    drop(file);
    assert_eq!(reason(store.lookup(&KEY, MODULE)), "seal-mismatch");
    assert_eq!(entries(&store), [""; 0]);
}

#[test]
fn a_fresh_file_is_verified_each_time_until_it_has_settled() {
    let (_dir, store) = store();
    write(&store, b"image", b"").unwrap();
    let good = fs::read(store.entry_path(&KEY)).unwrap();
    plant(&store, &good);
    // As fresh as can be, however long this thread is kept from going on.
    let file = files::open_private(&store.entry_path(&KEY))
        .unwrap()
        .unwrap()
        .0;
    let ahead = SystemTime::now() + Duration::from_secs(3600);
    file.set_modified(ahead).unwrap();
    assert!(!hit(store.lookup(&KEY, MODULE)).remembered);
    assert!(!store.note_path(&KEY).exists());
    file.set_modified(SystemTime::now()).unwrap();
    std::thread::sleep(verified::UNCHANGED);
    assert!(!hit(store.lookup(&KEY, MODULE)).remembered);
    assert!(hit(store.lookup(&KEY, MODULE)).remembered);
    // A copy has another inode: the note is not its.
    let copy = store.directory().join("copy");
    fs::copy(store.entry_path(&KEY), &copy).unwrap();
    fs::rename(&copy, store.entry_path(&KEY)).unwrap();
    assert!(!hit(store.lookup(&KEY, MODULE)).remembered);
}

#[test]
fn an_artifact_is_not_served_for_another_key_module_or_user() {
    let (_dir, store) = store();
    let other = ArtifactKey::from_bytes([9; 32]);
    write(&store, b"image", b"").unwrap();
    fs::copy(store.entry_path(&KEY), store.entry_path(&other)).unwrap();
    assert_eq!(reason(store.lookup(&other, MODULE)), "wrong-key");
    assert_eq!(
        reason(store.lookup(&KEY, ModuleHash::of(b"other"))),
        "wrong-module"
    );
    write(&store, b"image", b"").unwrap();
    fs::remove_file(store.root().join("seal.key")).unwrap();
    let stranger = Store::open(settings(store.root())).unwrap();
    assert_eq!(reason(stranger.lookup(&KEY, MODULE)), "seal-mismatch");
}

#[test]
fn hostile_lengths_cost_neither_memory_nor_time() {
    let (_dir, store) = store();
    let lens = [
        (0, MAX_META_LEN + 1),
        (MAX_IMAGE_LEN + 1, 0),
        (0, 1 << 60),
        (1 << 60, 0),
        (u64::MAX, 128),
    ];
    for (image_len, meta_len) in lens {
        let footer = Footer {
            key: KEY,
            module: MODULE,
            image_len,
            meta_len,
            label_len: 0,
        }
        .seal(&mut store.seals.entry());
        plant(&store, &footer);
        assert_eq!(reason(store.lookup(&KEY, MODULE)), "truncated");
        plant(&store, b"");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(store.entry_path(&KEY))
            .unwrap();
        // A sparse file of the size that is claimed, where the file system allows one.
        let Some(end) = image_len
            .checked_add(meta_len)
            .filter(|end| file.set_len(*end).is_ok())
        else {
            continue;
        };
        file.seek(SeekFrom::Start(end)).unwrap();
        file.write_all(&footer).unwrap();
        drop(file);
        assert_eq!(reason(store.lookup(&KEY, MODULE)), "too-large");
    }
}

#[test]
fn links_strangers_files_and_open_doors_are_refused_and_not_followed() {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    let (dir, store) = store();
    write(&store, b"image", b"").unwrap();
    let (path, aside) = (store.entry_path(&KEY), dir.path().join("aside"));
    let good = fs::read(&path).unwrap();
    fs::rename(&path, &aside).unwrap();
    symlink(&aside, &path).unwrap();
    assert_eq!(reason(store.lookup(&KEY, MODULE)), "not-regular");
    assert!(aside.exists() && fs::symlink_metadata(&path).is_err());
    symlink(&aside, &path).unwrap();
    write(&store, b"new", b"").unwrap();
    assert_eq!(
        (
            fs::read(&aside).unwrap(),
            image(hit(store.lookup(&KEY, MODULE)))
        ),
        (good.clone(), b"new".to_vec())
    );
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(reason(store.lookup(&KEY, MODULE)), "not-regular");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(reason(store.lookup(&KEY, MODULE)), "not-regular");
    for mode in [0o620, 0o602] {
        plant(&store, &good);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(reason(store.lookup(&KEY, MODULE)), "unsafe-mode");
    }
    if rustix::process::geteuid().is_root() {
        plant(&store, &good);
        chown(&path, Some(12345), None).unwrap();
        assert_eq!(reason(store.lookup(&KEY, MODULE)), "wrong-owner");
    }
    assert!(matches!(store.lookup(&KEY, MODULE), Lookup::Miss));
    fs::create_dir_all(path.join("full")).unwrap();
    assert_eq!(reason(store.lookup(&KEY, MODULE)), "not-regular");
    assert_eq!(
        write(&store, b"", b"").unwrap_err().code(),
        "ERR_WASM_CACHE_WRITE"
    );
}

#[test]
fn readers_and_writers_at_once_see_whole_entries_only() {
    let (_dir, store) = store();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4_u8)
            .map(|writer| {
                let store = &store;
                scope.spawn(move || {
                    for _ in 0..8 {
                        let image = vec![writer; 100_000 + usize::from(writer)];
                        write(store, &image, &[writer]).unwrap();
                    }
                })
            })
            .collect();
        let reader = || {
            let mut hits = 0;
            while writers.iter().any(|writer| !writer.is_finished()) {
                match store.lookup(&KEY, MODULE) {
                    Lookup::Miss => {}
                    Lookup::Hit(entry) => {
                        let writer = entry.meta[0];
                        assert_eq!(image(entry), vec![writer; 100_000 + usize::from(writer)]);
                        hits += 1;
                    }
                    Lookup::Invalid(reason) => panic!("{reason}"),
                }
            }
            hits
        };
        assert!(reader() > 0);
    });
    assert_eq!(
        entries(&store)
            .iter()
            .filter(|name| name.starts_with(files::TEMP_PREFIX))
            .count(),
        0
    );
    let entry = hit(store.lookup(&KEY, MODULE));
    assert_eq!(entry.image_len, 100_000 + u64::from(entry.meta[0]));
}

#[test]
fn an_entry_outlives_its_eviction_while_it_is_open() {
    let (_dir, store) = store();
    let entry = write(&store, b"image", b"").unwrap();
    store.remove(&KEY).unwrap();
    #[cfg(target_os = "linux")]
    assert!(fs::read(entry.map_path()).unwrap().starts_with(b"image"));
    assert_eq!(image(entry), b"image");
}

#[test]
fn a_failed_write_leaves_the_old_entry_and_no_litter() {
    let (_dir, store) = store();
    write(&store, b"image", b"").unwrap();
    let error = write(&store, b"image", &vec![0; MAX_META_LEN as usize + 1]).unwrap_err();
    assert_eq!(
        (error.code(), error.path()),
        (
            "ERR_WASM_CACHE_TOO_LARGE",
            Some(store.entry_path(&KEY).as_path())
        )
    );
    assert_eq!(image(hit(store.lookup(&KEY, MODULE))), b"image");
    fs::remove_dir_all(store.directory()).unwrap();
    assert_eq!(
        write(&store, b"", b"").unwrap_err().code(),
        "ERR_WASM_CACHE_WRITE"
    );
    assert!(matches!(store.lookup(&KEY, MODULE), Lookup::Miss));
}

#[test]
fn one_at_a_time_judges() {
    let (_dir, store) = store();
    let again = Store::open(settings(store.root())).unwrap();
    let claim = store.claim_judge();
    assert!(claim.is_some());
    assert!(again.claim_judge().is_none() && store.claim_judge().is_none());
    drop(claim);
    assert!(again.claim_judge().is_some());
}

#[test]
fn a_store_that_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(
        Store::open(settings(file)).unwrap_err().code(),
        "ERR_WASM_CACHE_NOT_DIRECTORY"
    );
    #[cfg(target_os = "linux")]
    assert_eq!(
        Store::open(settings("/proc/self/x")).unwrap_err().code(),
        "ERR_WASM_CACHE_CREATE"
    );
}

#[test]
fn a_store_with_a_link_among_its_folders_is_refused() {
    let (dir, store) = store();
    let stat = store.directory().join("stat");
    fs::remove_dir(&stat).unwrap();
    std::os::unix::fs::symlink(dir.path(), &stat).unwrap();
    let error = Store::open(settings(store.root())).unwrap_err();
    assert_eq!(
        (error.code(), error.path()),
        ("ERR_WASM_CACHE_SYMLINK", Some(stat.as_path()))
    );
}

/// Every file below `path`, with what is in it.
fn contents(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
            found.push((path, Vec::new()));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

#[test]
fn a_read_only_store_finds_entries_and_changes_nothing() {
    let (_dir, store) = store();
    write(&store, b"image", b"meta").unwrap();
    let path = store.entry_path(&KEY);
    // Not verified yet, as far as the store remembers.
    fs::remove_file(path.with_extension(layout::NOTE)).unwrap();
    let before = contents(store.root());
    let open = || {
        Store::open_read_only(settings(store.root()))
            .unwrap()
            .unwrap()
    };
    assert_eq!(hit(open().lookup(&KEY, MODULE)).meta, b"meta");
    assert_eq!(contents(store.root()), before);

    fs::write(&path, b"not an artifact").unwrap();
    let before = contents(store.root());
    assert!(matches!(open().lookup(&KEY, MODULE), Lookup::Invalid(_)));
    open().remove(&KEY).unwrap();
    assert_eq!(contents(store.root()), before);
}

#[test]
fn a_read_only_store_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("cache");
    assert!(Store::open_read_only(settings(&root)).unwrap().is_none());
    fs::create_dir(&root).unwrap();
    assert!(Store::open_read_only(settings(&root)).unwrap().is_none());
    assert_eq!(contents(dir.path()), [(root, Vec::new())]);
}

fn key(number: u8) -> ArtifactKey {
    ArtifactKey::from_bytes([number; 32])
}

fn put(store: &Store, number: u8, len: usize) -> Result<Entry, CacheError> {
    store.write(&key(number), MODULE, &vec![number; len], b"", &label())
}

#[test]
fn a_label_is_sealed_with_its_artifact_and_read_by_tools() {
    let (_dir, store) = store();
    write(&store, b"image", b"meta").unwrap();
    let (entry, module, read) = store.read(&KEY).unwrap();
    assert_eq!((module, read), (MODULE, label()));
    assert_eq!(entry.meta, b"meta");
    let items = store.items();
    assert_eq!(items.len(), 1);
    assert_eq!((items[0].key, &items[0].label), (KEY, &label()));
    let mut bytes = fs::read(store.entry_path(&KEY)).unwrap();
    let at = bytes
        .windows(4)
        .position(|window| window == b"file")
        .unwrap();
    bytes[at] = b'F';
    plant(&store, &bytes);
    assert_eq!(reason(store.lookup(&KEY, MODULE)), "seal-mismatch");
}

#[test]
fn a_defective_entry_is_put_aside_counted_and_in_the_end_forgotten() {
    let (_dir, store) = store();
    write(&store, b"image", b"meta").unwrap();
    let mut bytes = fs::read(store.entry_path(&KEY)).unwrap();
    bytes[0] ^= 1;
    plant(&store, &bytes);
    assert_eq!(reason(store.lookup(&KEY, MODULE)), "seal-mismatch");
    let aside = store
        .directory()
        .join(layout::QUARANTINE)
        .join(format!("{KEY}.seal-mismatch"));
    assert_eq!(fs::read(&aside).unwrap(), bytes);
    let (process, _) = store.counts();
    assert_eq!((process.quarantined, process.hits), (1, 0));
    assert!(process.misses().eq([("seal-mismatch", 1)]));
    assert_eq!(store.usage().quarantined.units, 1);
    let later = |days: u64| SystemTime::now() + Duration::from_secs(days * 24 * 3600);
    store.prune(None, None, later(6));
    assert!(aside.exists());
    store.prune(None, None, later(8));
    assert!(!aside.exists());
}

#[test]
fn a_miss_says_what_there_is_instead() {
    let (_dir, store) = store();
    assert_eq!(store.why_missing(&MODULE, "").as_str(), "absent");
    write(&store, b"image", b"").unwrap();
    assert_eq!(store.why_missing(&MODULE, "").as_str(), "other-engine");
    assert_eq!(store.why_missing(&MODULE, "p").as_str(), "other-partition");
    let other = ModuleHash::of(b"other");
    assert_eq!(store.why_missing(&other, "").as_str(), "absent");
    let newer = Settings {
        engine: "engine-2".to_owned(),
        ..settings(store.root())
    };
    let newer = Store::open(newer).unwrap();
    assert!(matches!(newer.lookup(&KEY, MODULE), Lookup::Miss));
    assert_eq!(newer.why_missing(&MODULE, "").as_str(), "other-engine");
}

#[test]
fn clearing_leaves_a_cache_that_works() {
    let (_dir, store) = store();
    put(&store, 1, 1000).unwrap();
    store.heads().remember_head(&[1; 32]).unwrap();
    store.record_counts();
    assert_eq!(store.clear().units, 1);
    assert_eq!((store.usage().bytes, store.items().len()), (0, 0));
    assert!(!store.heads().known_head(&[1; 32]));
    put(&store, 1, 1000).unwrap();
    assert!(matches!(store.lookup(&key(1), MODULE), Lookup::Hit(_)));
}

#[test]
fn hashing_again_finds_what_the_note_hides() {
    let (_dir, store) = store();
    write(&store, b"the image", b"meta").unwrap();
    put(&store, 9, 10).unwrap();
    assert_eq!(store.verify_all().0, 2);
    // A disk that forgets: other bytes, same stat, as the note says.
    let path = store.entry_path(&KEY);
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    plant(&store, &bytes);
    let (file, metadata) = files::open_private(&path).unwrap().unwrap();
    let stat = FileStat::of(&metadata);
    let footer: [u8; footer::LEN] = *bytes.last_chunk().unwrap();
    let subject = Subject {
        stat: &stat,
        footer: &footer,
        meta: b"meta",
    };
    let week = Duration::from_secs(7 * 24 * 3600);
    subject.write_note(
        &store.note_path(&KEY),
        &store.seals,
        SystemTime::now() - week,
        true,
    );
    drop(file);
    let entry = hit(store.lookup(&KEY, MODULE));
    assert!(entry.remembered && entry.is_due);
    let (good, bad) = store.verify_all();
    assert_eq!((good, bad.len(), bad[0].reason()), (1, 1, "seal-mismatch"));
    assert!(matches!(store.lookup(&KEY, MODULE), Lookup::Miss));
}

/// The files that are not complete.
fn temporaries(store: &Store) -> Vec<String> {
    let names = fs::read_dir(store.directory()).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".tmp-"))
        .collect()
}

fn stage(store: &Store, image: &[u8], meta: &[u8]) -> Result<Staged, CacheError> {
    let contents = Contents {
        image_len: image.len() as u64,
        meta_len: meta.len() as u64,
        bytes: &mut image.chain(meta),
    };
    store.stage(&KEY, MODULE, contents, &label())
}

#[test]
fn what_is_staged_is_whole_and_found_only_once_it_is_kept() {
    let (_dir, store) = store();
    let staged = stage(&store, b"image", b"meta").unwrap();
    assert_eq!(image(staged.entry().unwrap()), b"image");
    assert!(matches!(store.lookup(&KEY, MODULE), Lookup::Miss));
    let early = staged.entry().unwrap();
    let named = store.name(staged).unwrap();
    let found = hit(store.lookup(&KEY, MODULE));
    assert!(!found.remembered, "nobody has read it back");
    assert_eq!(image(found), b"image");
    store.settle(named).unwrap();
    assert_eq!(image(hit(store.lookup(&KEY, MODULE))), b"image");
    assert_eq!(image(early), b"image", "who has it open keeps it");
    let counts = store.counts().0;
    assert_eq!((counts.writes, counts.bytes_written), (1, 5));
}

#[test]
fn what_ends_early_is_not_staged() {
    let (_dir, store) = store();
    let contents = Contents {
        image_len: 6,
        meta_len: 4,
        bytes: &mut &b"image"[..],
    };
    let staged = store.stage(&KEY, MODULE, contents, &label());
    assert!(matches!(staged, Err(CacheError::Contents { .. })));
    assert_eq!(store.counts().0.write_failures, 0);
    assert_eq!(temporaries(&store), Vec::<String>::new());
}

#[test]
fn what_is_staged_and_not_kept_never_was() {
    let (_dir, store) = store();
    write(&store, b"before", b"").unwrap();
    drop(stage(&store, b"after", b"").unwrap());
    assert_eq!(image(hit(store.lookup(&KEY, MODULE))), b"before");
    assert_eq!(temporaries(&store), Vec::<String>::new());
}

#[test]
fn a_remote_is_counted_by_what_came_of_it() {
    let (_dir, store) = store();
    let time = Duration::from_millis(2);
    for (outcome, bytes) in [
        (Remote::Hit, 10),
        (Remote::Miss, 0),
        (Remote::Failure, 3),
        (Remote::Write, 7),
    ] {
        store.count_remote(outcome, bytes, time);
    }
    store.record_counts();
    for counts in [store.counts().0, {
        let again = Store::open(settings(store.root())).unwrap();
        again.counts().1
    }] {
        assert_eq!((counts.remote_hits, counts.remote_misses), (1, 1));
        assert_eq!((counts.remote_failures, counts.remote_writes), (1, 1));
        let bytes = (counts.remote_bytes_read, counts.remote_bytes_written);
        assert_eq!((bytes, counts.remote_time), ((13, 7), 8000));
    }
}
