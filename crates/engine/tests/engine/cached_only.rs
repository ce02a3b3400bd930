//! A compile that is asked for a cached module takes no other.

use std::sync::{Arc, mpsc};

use wasm_compile_cache_engine::error::{CompileError, Forbidden};
use wasm_compile_cache_engine::stream::Refused;
use wasm_compile_cache_engine::tier::{
    CompileOptions, Module, StreamCompile, Tier, compile_bytes, compile_file,
};
use wasm_compile_cache_engine::trace::EventQueue;

use crate::support::cache;

type Outcome = Result<Arc<Module>, Refused>;

fn options(events: &Arc<EventQueue>) -> CompileOptions {
    CompileOptions {
        cached_only: true,
        // The module's size does not matter.
        min_size: u64::MAX,
        ..cache::options(Arc::clone(events))
    }
}

/// A stream that has got the bytes, and where its outcome will be.
fn stream(bytes: &[u8], options: CompileOptions) -> (StreamCompile, mpsc::Receiver<Outcome>) {
    let (rest, rested) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let rests = move |_| {
        let _ = rest.send(());
    };
    let done = move |outcome| {
        let _ = tell.send(outcome);
    };
    let stream = StreamCompile::start(options, |_| {}, rests, done).expect("there are threads");
    stream.push(bytes.to_vec());
    rested.recv().expect("what was pushed was looked at");
    (stream, told)
}

fn refused(outcome: Outcome, bytes: &[u8]) {
    let Refused { error, bytes: back } = outcome.expect_err("it is not in the cache");
    let error = match error {
        CompileError::NotCached(error) => error,
        other => panic!("{other}"),
    };
    assert_eq!(error, Forbidden::ByOptions);
    assert!(*back == bytes, "the bytes are given back");
}

fn names(events: &EventQueue) -> Vec<&'static str> {
    let events = events.drain().into_iter();
    events.map(|event| event.name).collect()
}

#[test]
fn what_is_not_in_the_cache_is_given_back_unread() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    cache::configure(&dir);
    let events = EventQueue::new(Box::new(|| {}));
    let valid = cache::module(&[]);
    // Who parsed it would say more, and sooner.
    let invalid = b"no module at all".to_vec();
    for bytes in [valid, invalid] {
        refused(compile_bytes(bytes.clone(), &options(&events)), &bytes);
        assert_eq!(names(&events), ["moduleCacheMiss"]);
        let (stream, told) = stream(&bytes, options(&events));
        assert!(told.try_recv().is_err(), "it was settled before its end");
        stream.end();
        refused(told.recv().expect("it is settled"), &bytes);
        assert_eq!(names(&events), ["moduleCacheMiss"]);
        let path = dir.path().join("module.wasm");
        std::fs::write(&path, &bytes).expect("the folder is ours");
        let path = path.to_str().expect("a temporary folder has a plain name");
        refused(compile_file(path, &options(&events)), &bytes);
        assert_eq!(names(&events), ["moduleCacheMiss"]);
    }
}

#[test]
fn what_is_in_the_cache_is_found() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    cache::configure(&dir);
    let bytes = cache::module(&[]);
    let _compiled = cache::store(bytes.clone());
    let events = EventQueue::new(Box::new(|| {}));
    let found = compile_bytes(bytes.clone(), &options(&events)).expect("it is in the cache");
    assert_eq!(found.tier(), Tier::Optimized);
    assert_eq!(names(&events), ["moduleCacheHit", "compiledModule"]);
    drop(found);
    let (stream, told) = stream(&bytes, options(&events));
    stream.end();
    let found = told.recv().expect("it is settled");
    assert_eq!(found.expect("it is in the cache").tier(), Tier::Optimized);
    assert_eq!(names(&events), ["moduleCacheHit", "compiledModule"]);
}
