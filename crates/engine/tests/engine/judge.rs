//! What the judge finds of a module is what a compile would find.

use std::path::Path;
use std::sync::Arc;

use wasm_compile_cache_engine::tier::{
    CompileOptions, Judged, Judgement, Tier, claim_judge, compile_bytes, judge, release_judge,
};
use wasm_compile_cache_engine::trace::EventQueue;
use wasm_compile_cache_store::{ModuleHash, Settings, Store};
use wasm_encoder as wasm;

use crate::support::cache;

fn judge_file(path: &Path) -> Judgement {
    let path = path.to_str().expect("a temporary folder has a plain name");
    let events = EventQueue::new(Box::new(|| {}));
    judge(path, "a source".to_owned(), "p".to_owned(), events)
}

fn judge_bytes(dir: &Path, bytes: &[u8]) -> Judgement {
    let path = dir.join("seen.wasm");
    std::fs::write(&path, bytes).expect("the folder is ours");
    judge_file(&path)
}

/// A function with this body.
fn function(body: &[u8]) -> Vec<u8> {
    let mut types = wasm::TypeSection::new();
    types.ty().function([], []);
    let mut functions = wasm::FunctionSection::new();
    functions.function(0);
    let mut code = wasm::CodeSection::new();
    code.function(wasm::Function::new([]).raw(body.iter().copied()));
    let mut module = wasm::Module::new();
    module.section(&types).section(&functions).section(&code);
    module.finish()
}

#[test]
fn a_module_that_compiles_is_stored_once_and_then_found_by_a_compile() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let directory = cache::configure(&dir);
    let bytes = cache::module(&["puts"]);
    let Judgement::Stored(stored) = judge_bytes(dir.path(), &bytes) else {
        panic!("it is valid, and was not there");
    };
    let Judgement::Known(known) = judge_bytes(dir.path(), &bytes) else {
        panic!("it was stored");
    };
    assert_eq!(stored, known);
    let hash = ModuleHash::of(&bytes);
    assert_eq!(
        stored,
        Judged {
            hash: *hash.as_bytes(),
            size: bytes.len() as u64,
            ..stored
        }
    );
    let store = Store::open(Settings {
        directory: Some(directory),
        ..Settings::default()
    });
    let items = store.expect("the cache opens").items_of(&hash);
    let labels = items
        .iter()
        .map(|item| (&*item.label.source, &*item.label.partition));
    assert_eq!(labels.collect::<Vec<_>>(), [("a source", "p")]);
    assert!((10_000..items[0].len).contains(&stored.artifact_bytes));

    let events = EventQueue::new(Box::new(|| {}));
    let options = CompileOptions {
        partition: "p".to_owned(),
        cached_only: true,
        ..cache::options(Arc::clone(&events))
    };
    let found = compile_bytes(bytes, &options).expect("it is in the cache");
    assert_eq!(found.tier(), Tier::Optimized);
}

#[test]
fn what_a_compile_refuses_the_judge_does_in_the_same_words() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    cache::configure(&dir);
    let events = EventQueue::new(Box::new(|| {}));
    let error = |bytes: &[u8]| {
        let compiled = compile_bytes(bytes.to_vec(), &cache::options(Arc::clone(&events)));
        compiled.expect_err("it is refused").error.to_string()
    };
    // A tail call, and an addition on an empty stack.
    let refused = function(&[0x12, 0, 0x0b]);
    match judge_bytes(dir.path(), &refused) {
        Judgement::Refused {
            hash,
            size,
            feature,
            offset,
            message,
        } => {
            assert_eq!(hash, *ModuleHash::of(&refused).as_bytes());
            assert_eq!(size, refused.len() as u64);
            assert_eq!(feature, "tail-call");
            assert!(offset.is_some_and(|offset| offset < size));
            assert_eq!(message, error(&refused));
        }
        other => panic!("{other:?}"),
    }
    let wrong = function(&[0x6a, 0x0b]);
    let mut cut = cache::module(&[]);
    cut.truncate(cut.len() - 20);
    for bytes in [wrong, cut, b"no module".to_vec(), Vec::new()] {
        match judge_bytes(dir.path(), &bytes) {
            Judgement::Invalid { message } => assert_eq!(message, error(&bytes)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_no_file_is_not_judged() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    cache::configure(&dir);
    let code = |name: &str| match judge_file(&dir.path().join(name)) {
        Judgement::Failed { code, .. } => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code("missing"), Some("ENOENT"));
    {
        assert_eq!(code(""), Some("EINVAL"));
        std::fs::write(dir.path().join("module"), cache::module(&[])).expect("the folder is ours");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("module", link).expect("the folder is ours");
        assert_eq!(code("link"), Some("EIO"));
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(pipe).status();
        assert!(made.expect("there is such a program").success());
        assert_eq!(code("pipe"), Some("EINVAL"));
    }
    let large = std::fs::File::create(dir.path().join("large")).expect("the folder is ours");
    large.set_len((1 << 30) + 1).expect("it takes no space");
    let judged = judge_file(&dir.path().join("large"));
    assert!(matches!(judged, Judgement::Invalid { .. }), "{judged:?}");
}

#[test]
fn a_module_too_large_for_the_cache_is_not_stored() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    cache::configure_with(&dir, Some(1000));
    match judge_bytes(dir.path(), &cache::module(&[])) {
        Judgement::Failed { message, code } => {
            assert_eq!(code, Some("ERR_WASM_CACHE_TOO_LARGE"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_claim_is_kept_until_it_is_released() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let directory = cache::configure(&dir);
    let other = Store::open(Settings {
        directory: Some(directory),
        ..Settings::default()
    });
    let other = other.expect("the cache opens");
    let claim = other.claim_judge();
    assert!(claim.is_some());
    assert!(!claim_judge());
    drop(claim);
    assert!(claim_judge() && claim_judge());
    assert!(other.claim_judge().is_none());
    release_judge();
    assert!(other.claim_judge().is_some());
}
