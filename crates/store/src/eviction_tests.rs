//! What a [`Store`] evicts to stay within its limits, on real files.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::super::limits;
use super::*;

fn limited(root: &Path, total: u64) -> Store {
    let limits = Limits {
        total: Some(total),
        ..Limits::default()
    };
    Store::open(Settings {
        limits,
        ..settings(root)
    })
    .unwrap()
}

fn is_there(store: &Store, number: u8) -> bool {
    store.entry_path(&key(number)).exists()
}

/// Says that an entry was last used so many hours ago.
fn used_before(store: &Store, number: u8, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3600);
    let note = File::open(store.note_path(&key(number))).unwrap();
    note.set_modified(then).unwrap();
}

#[test]
fn what_was_least_recently_used_makes_room_in_every_version() {
    let (_dir, store) = store();
    for number in 1..=3 {
        put(&store, number, 1000).unwrap();
        used_before(&store, number, 10 - u64::from(number));
    }
    let newer = Settings {
        engine: "engine-2".to_owned(),
        ..settings(store.root())
    };
    let newer = Store::open(newer).unwrap();
    put(&newer, 4, 1000).unwrap();
    used_before(&newer, 4, 20);
    let used = store.usage().bytes;
    // A hit counts as a use.
    hit(store.lookup(&key(1), MODULE));
    let tight = limited(store.root(), used);
    put(&tight, 5, 1000).unwrap();
    assert!(!is_there(&newer, 4), "the oldest, of another version");
    assert!(is_there(&store, 2));
    put(&tight, 6, 1000).unwrap();
    assert!(!is_there(&store, 2));
    assert!([1, 3, 5, 6].iter().all(|number| is_there(&store, *number)));
    assert_eq!(tight.counts().0.evicted, 2);
    assert!(tight.usage().bytes <= used);
}

#[test]
fn what_is_mapped_goes_last_and_stays_whole() {
    let (_dir, store) = store();
    let mapped = put(&store, 1, 1000).unwrap();
    drop(put(&store, 2, 1000).unwrap());
    used_before(&store, 1, 10);
    used_before(&store, 2, 5);
    let tight = limited(store.root(), store.usage().bytes);
    drop(put(&tight, 3, 1000).unwrap());
    assert!(is_there(&store, 1) && !is_there(&store, 2));
    drop(put(&tight, 4, 2000).unwrap());
    assert!(!is_there(&store, 1) && !is_there(&store, 3));
    assert_eq!(image_of(mapped), vec![1; 1000]);
}

fn image_of(mut entry: Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.file.read_to_end(&mut bytes).unwrap();
    bytes.truncate(entry.image_len as usize);
    bytes
}

#[test]
fn an_entry_over_a_limit_is_not_stored_and_evicts_only_what_it_must() {
    let (_dir, store) = store();
    put(&store, 1, 1000).unwrap();
    let limits = Limits {
        total: None,
        entry: 1500,
    };
    let narrow = Store::open(Settings {
        limits,
        ..settings(store.root())
    })
    .unwrap();
    assert_eq!(
        put(&narrow, 2, 2000).unwrap_err().code(),
        "ERR_WASM_CACHE_TOO_LARGE"
    );
    assert!(is_there(&store, 1));
    assert_eq!(narrow.counts().0.write_failures, 1);
    let tight = limited(store.root(), store.usage().bytes + 100);
    assert_eq!(
        put(&tight, 2, 2000).unwrap_err().code(),
        "ERR_WASM_CACHE_TOO_LARGE"
    );
    assert!(
        is_there(&store, 1),
        "nothing is evicted for what would not fit even then"
    );
    // What is being written, or waits for a finisher, cannot be evicted.
    let spooled = vec![0; 1000];
    store.spool().spool(&KEY, "", &spooled, b"").unwrap();
    let tight = limited(store.root(), store.usage().bytes);
    put(&tight, 2, 2000).unwrap_err();
    assert!(is_there(&store, 1));
    drop(put(&tight, 2, 900).unwrap());
    assert!(!is_there(&store, 1));
    // Who asks for less gets as little as there can be.
    assert_eq!(store.prune(Some(0), None, SystemTime::now()).units, 1);
    assert!(!is_there(&store, 2));
}

#[test]
fn eight_writers_at_once_stay_below_the_limit() {
    let (_dir, store) = store();
    let limit = 100_000;
    let most = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..8_u8 {
            let (root, most) = (store.root(), &most);
            scope.spawn(move || {
                // Handles of their own: locks are between open files, as between processes.
                let store = limited(root, limit);
                for round in 0..12_u8 {
                    let len = 9_000 + 1_000 * usize::from(round);
                    let written = put(&store, writer * 16 + round, len);
                    // Only what the others are writing at this moment can be in the way.
                    assert!(
                        matches!(
                            written,
                            Ok(_) | Err(CacheError::TooLarge { .. } | CacheError::Write { .. })
                        ),
                        "{written:?}"
                    );
                    let _right = std::iter::repeat_with(|| limits::right(root))
                        .flatten()
                        .next();
                    most.fetch_max(limits::used(root), Ordering::Relaxed);
                }
            });
        }
    });
    let most = most.into_inner();
    assert!(most <= limit, "{most}");
    assert!(most > limit / 2, "{most}");
}

#[test]
fn pruning_goes_by_size_and_by_age() {
    let (_dir, store) = store();
    for number in 1..=4 {
        put(&store, number, 1000).unwrap();
        used_before(&store, number, 10 * u64::from(number));
    }
    let now = SystemTime::now();
    let pruned = store.prune(None, Some(Duration::from_secs(35 * 3600)), now);
    assert_eq!(pruned.units, 1);
    assert!(!is_there(&store, 4));
    let left = store.usage().bytes;
    assert_eq!(store.prune(Some(left / 3), None, now).units, 2);
    assert!(is_there(&store, 1));
    assert_eq!(store.prune(Some(0), None, now).units, 1);
    assert_eq!(store.usage().bytes, 0);
}

#[test]
fn a_head_that_is_used_is_not_forgotten() {
    let (_dir, store) = store();
    let [used, unused] = [[1; 32], [2; 32]];
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    for head in [used, unused] {
        store.heads().remember_head(&head).unwrap();
        let file = File::open(store.directory().join("heads").join(hex::encode(head)));
        file.unwrap()
            .set_modified(SystemTime::now() - days(29))
            .unwrap();
    }
    assert!(store.heads().known_head(&used));
    store.sweep_if_due(SystemTime::now() + days(2)).unwrap();
    assert!([used, unused].map(|head| store.heads().known_head(&head)) == [true, false]);
}

#[test]
fn clearing_forgets_what_was_seen_and_judged_and_the_limit_does_not_know_of_it() {
    let (_dir, store) = store();
    let names = |folder: &str| {
        let mut names = entries_in(&store.root().join(folder));
        names.sort();
        names
    };
    for folder in ["seen", "verdicts"] {
        let folder = store.root().join(folder);
        fs::create_dir(&folder).unwrap();
        for extension in ["wasm", "json", "json.7.tmp", "others"] {
            let name = format!("url-93bb0ebb71257be1.{extension}");
            fs::write(folder.join(name), [0; 5000]).unwrap();
        }
    }
    assert_eq!(store.usage().bytes, 0);
    store.prune(Some(0), Some(Duration::ZERO), SystemTime::now());
    assert_eq!(names("seen").len() + names("verdicts").len(), 8);
    assert_eq!(store.clear(), Evicted::default());
    let left = ["json.7.tmp", "others"].map(|left| format!("url-93bb0ebb71257be1.{left}"));
    assert_eq!([names("seen"), names("verdicts")], [left.clone(), left]);
}

#[test]
fn a_module_is_left_for_finishers_where_there_is_room_and_hope() {
    let (_dir, store) = store();
    put(&store, 1, 5000).unwrap();
    let tight = limited(store.root(), store.usage().bytes);
    let code = |len: usize| {
        tight
            .leave(&KEY, "", &vec![0; len], b"")
            .unwrap_err()
            .code()
    };
    assert_eq!(code(9000), "ERR_WASM_CACHE_TOO_LARGE");
    assert!(is_there(&store, 1));
    for _ in 0..3 {
        let path = tight.leave(&KEY, "", &[0; 3000], b"").unwrap().unwrap();
        assert!(!is_there(&store, 1), "room was made");
        store.spool().take(&path).unwrap().unwrap();
    }
    assert_eq!(tight.leave(&KEY, "", &[0; 3000], b"").unwrap(), None);
    let days = |days: u64| SystemTime::now() + Duration::from_secs(days * 24 * 3600);
    store.sweep_if_due(days(6)).unwrap();
    assert!(store.spool().is_hopeless(&KEY));
    store.sweep_if_due(days(8)).unwrap();
    assert!(!store.spool().is_hopeless(&KEY));
    for _ in 0..3 {
        let path = tight.leave(&KEY, "", &[0; 3000], b"").unwrap().unwrap();
        store.spool().take(&path).unwrap().unwrap();
    }
    write(&store, b"image", b"").unwrap();
    assert!(!store.spool().is_hopeless(&KEY), "it was stored after all");
}

#[test]
fn what_others_have_in_the_directory_is_left_alone() {
    let (_dir, store) = store();
    let names = [
        "v1",
        "v8",
        "v2-docs",
        "v2-1.0-x",
        "v1.2.3",
        "v2-0.1.0-",
        "wasm",
    ];
    let files = names.map(|name| store.root().join(name).join("wasm/precious"));
    let old = SystemTime::now() - Duration::from_secs(90 * 24 * 3600);
    for file in &files {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "12").unwrap();
        File::open(file).unwrap().set_modified(old).unwrap();
        let above = File::open(file.parent().unwrap().parent().unwrap());
        above.unwrap().set_modified(old).unwrap();
    }
    let evicted = store.prune(Some(0), Some(Duration::ZERO), SystemTime::now());
    assert_eq!(evicted, Evicted::default());
    assert_eq!(store.clear(), Evicted::default());
    assert_eq!(store.usage().bytes, 0);
    assert!(files.iter().all(|file| file.exists()));
}

#[test]
fn what_took_the_place_of_something_is_not_evicted_for_it() {
    let (_dir, store) = store();
    put(&store, 1, 1000).unwrap();
    let units = limits::units(store.directory());
    put(&store, 1, 1000).unwrap();
    units[0].remove().unwrap_err();
    assert!(is_there(&store, 1));
    limits::units(store.directory())[0].remove().unwrap();
    assert!(!is_there(&store, 1));
}

#[test]
fn a_folder_that_was_dropped_because_it_was_empty_is_not_missed() {
    let (_dir, store) = store();
    write(&store, b"image", b"").unwrap();
    for part in ["url", "quarantine", "heads"] {
        fs::remove_dir(store.directory().join(part)).unwrap();
    }
    let found = Store::open_read_only(settings(store.root())).unwrap();
    hit(found.unwrap().lookup(&KEY, MODULE));
    assert!(!store.directory().join("url").exists());
}

#[test]
fn the_folders_of_versions_that_nobody_uses_go() {
    let (_dir, store) = store();
    put(&store, 1, 1000).unwrap();
    let newer = Settings {
        engine: "engine-2".to_owned(),
        ..settings(store.root())
    };
    let newer = Store::open(newer).unwrap();
    put(&newer, 2, 1000).unwrap();
    let later = |days: u64| SystemTime::now() + Duration::from_secs(days * 24 * 3600);
    newer.sweep_if_due(later(29)).unwrap();
    assert!(is_there(&store, 1));
    newer.sweep_if_due(later(31)).unwrap();
    assert!(!store.directory().exists(), "unused for 30 days");
    assert!(is_there(&newer, 2), "its own");
}

#[test]
fn looking_is_no_use() {
    let (_dir, store) = store();
    put(&store, 1, 1000).unwrap();
    used_before(&store, 1, 48);
    let last_use = || store.items()[0].last_used;
    let before = last_use();
    hit(store.peek(&key(1), MODULE));
    assert_eq!(store.verify_all().0, 1);
    store.read(&key(1)).unwrap();
    assert_eq!(last_use(), before);
    hit(store.lookup(&key(1), MODULE));
    assert!(last_use() > before);
}
