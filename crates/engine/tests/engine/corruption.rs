//! What the optimizing tier stored is refused as soon as a byte of it is not what it was. What else can happen to a file,
//! the store's own tests deal to artifacts that are made up.

use std::fs;
use std::path::PathBuf;

use wasm_compile_cache_engine::tier;
use wasm_compile_cache_store::{Item, Lookup, ModuleHash, Settings, Store};

use crate::support::cache::{configure, module, store};

/// The store of `directory`, which changes nothing there.
fn read_only(directory: PathBuf) -> Store {
    // The folder of a version is named after format, package and engine.
    let store = tier::opened().expect("the cache opens");
    let folder = store.expect("the cache is on").directory().to_owned();
    let name = folder.file_name().expect("it has a name").to_string_lossy();
    let engine = name.splitn(3, '-').nth(2).expect("three parts").to_owned();
    let store = Store::open_read_only(Settings {
        directory: Some(directory),
        engine,
        ..Settings::default()
    });
    store.expect("the cache opens").expect("the cache is there")
}

#[test]
fn an_artifact_of_which_any_byte_was_changed_or_is_missing_is_refused() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let directory = configure(&dir);
    let module = module(&[]);
    let hash = ModuleHash::of(&module);
    store(module);
    let store = read_only(directory);
    let items = store.items_of(&hash);
    let [Item { key, path, .. }] = &items[..] else {
        panic!("{items:?}");
    };
    // Another file under the name: this process may still have the first one mapped.
    let aside = path.with_extension("aside");
    let write = |bytes: &[u8]| {
        fs::write(&aside, bytes)
            .and_then(|()| fs::rename(&aside, path))
            .expect("the folder is ours");
    };
    let whole = fs::read(path).expect("the artifact was stored");
    assert!((10_000..60_000).contains(&whole.len()), "{}", whole.len());
    let mut bytes = whole.clone();
    for at in 0..whole.len() {
        bytes[at] ^= 1;
        write(&bytes);
        let found = store.lookup(key, hash);
        assert!(matches!(found, Lookup::Invalid(_)), "byte {at}: {found:?}");
        bytes[at] ^= 1;
    }
    for len in (0..whole.len()).rev() {
        write(&whole[..len]);
        let found = store.lookup(key, hash);
        assert!(
            matches!(found, Lookup::Invalid(_)),
            "{len} bytes: {found:?}"
        );
    }
    write(&whole);
    let found = store.lookup(key, hash);
    assert!(matches!(found, Lookup::Hit(_)), "{found:?}");
}
