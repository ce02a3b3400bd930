//! What can be known of a module without running it: whether this engine takes it, and its artifact, made in a process that
//! nobody waits for.

use std::sync::Arc;

use parking_lot::Mutex;
use wasm_compile_cache_store::{Claim, Store};

use super::finisher::{self, Unfinished};
use super::loading::Loading;
use super::options::{BaselineMode, CacheMode, CompileOptions};
use super::{baseline, file, loading, remote, storage, turn};
use crate::error::CompileError;
use crate::module::{Declaration, Ingested};
use crate::panics;
use crate::stream::{self, Refused, explain};
use crate::trace::EventQueue;

/// What was found of a module.
#[derive(Debug)]
pub enum Judgement {
    /// Its artifact was made now.
    Stored(Judged),
    /// Its artifact was there.
    Known(Judged),
    /// A module that this engine does not take, though another may.
    Refused {
        /// blake3 of its bytes.
        hash: [u8; 32],
        /// Its length in bytes.
        size: u64,
        /// See [`CompileError::Unsupported`].
        feature: String,
        /// As there.
        offset: Option<u64>,
        /// The error's words.
        message: String,
    },
    /// No module.
    Invalid {
        /// The error's words.
        message: String,
    },
    /// Nothing is known: it could not be read, compiled or stored.
    Failed {
        /// Why.
        message: String,
        /// The stable code of the error, if it has one.
        code: Option<&'static str>,
    },
}

/// The code of a failure that says nothing of the module.
const BUSY: &str = "EBUSY";

/// A module that is in the cache.
#[derive(Debug, PartialEq, Eq)]
pub struct Judged {
    /// blake3 of its bytes.
    pub hash: [u8; 32],
    /// Its length in bytes.
    pub size: u64,
    /// Length of the artifact's image in bytes.
    pub artifact_bytes: u64,
}

impl Judged {
    fn new(declaration: &Declaration, artifact_bytes: u64) -> Self {
        Self {
            hash: declaration.hash,
            size: declaration.size,
            artifact_bytes,
        }
    }
}

impl From<Unfinished> for Judgement {
    fn from(unfinished: Unfinished) -> Self {
        let Unfinished { message, code } = unfinished;
        Self::Failed { message, code }
    }
}

/// Judges the module in the file at `path`. `source` is what its label is to name.
pub fn judge(path: &str, source: String, partition: String, events: Arc<EventQueue>) -> Judgement {
    let options = CompileOptions {
        partition,
        cache: CacheMode::ReadWrite,
        cached_only: false,
        min_size: 0,
        baseline: BaselineMode::Eager,
        optimize: false,
        finish: false,
        fallback: false,
        source,
        fetched: None,
        events,
    };
    let judged = panics::catch("the judge", || examine(path, &options));
    judged
        .unwrap_or_else(|panicked| Err(panicked.to_string().into()))
        .unwrap_or_else(Judgement::from)
}

fn examine(path: &str, options: &CompileOptions) -> Result<Judgement, Unfinished> {
    let store = writable()?;
    let bytes = match file::read_regular(path) {
        Ok(bytes) => bytes,
        Err(CompileError::Read { message, code }) => {
            let code = Some(code);
            return Ok(Judgement::Failed { message, code });
        }
        Err(error) => {
            let message = error.to_string();
            return Ok(Judgement::Invalid { message });
        }
    };
    let (hash, size) = (*blake3::hash(&bytes).as_bytes(), bytes.len() as u64);
    let key = storage::key(&hash, &options.partition);
    let flight = finisher::flight(&store, &key);
    if let Loading::Loaded {
        declaration,
        image_len,
        ..
    } = loading::load_code(&key, hash, options)
    {
        return Ok(Judgement::Known(Judged::new(&declaration, image_len)));
    }
    // Where locks do not work, compiling twice is harmless.
    if matches!(flight, Ok(None)) {
        return Ok(Judgement::Failed {
            message: "another process is compiling the module".to_owned(),
            code: Some(BUSY),
        });
    }
    let mut flight = flight.unwrap_or_default();
    if remote::bring(key, hash, size, options, &mut flight)
        && let Loading::Loaded {
            declaration,
            image_len,
            ..
        } = loading::load_code(&key, hash, options)
    {
        return Ok(Judgement::Known(Judged::new(&declaration, image_len)));
    }
    turn::wait();
    let (ingested, catches) = match check(bytes) {
        Ok(checked) => checked,
        Err(Refused { error, bytes }) => {
            return Ok(refusal(&explain(error, &bytes), hash, size));
        }
    };
    let (declaration, entry) = finisher::finish_module(&key, hash, ingested, catches, options)?;
    drop(flight);
    Ok(Judgement::Stored(Judged::new(
        &declaration,
        entry.image_len,
    )))
}

fn writable() -> Result<Store, Unfinished> {
    match storage::opened() {
        Ok(Some(store)) if store.is_writable() => Ok(store),
        Ok(_) => Err("the cache is off, or read-only".to_owned().into()),
        Err(storage::Failure { message, code }) => {
            let code = Some(code);
            Err(Unfinished { message, code })
        }
    }
}

/// What a compile would refuse is refused here, with the same error. Whether a function has a handler of exceptions.
fn check(bytes: Vec<u8>) -> Result<(Ingested, bool), Refused> {
    let (ingested, handlers) = stream::check(bytes)?;
    if let Err(error) = baseline::declare(&ingested) {
        let bytes = Arc::clone(&ingested.bytes);
        return Err(Refused { error, bytes });
    }
    Ok((ingested, handlers.any()))
}

fn refusal(error: &CompileError, hash: [u8; 32], size: u64) -> Judgement {
    let message = error.to_string();
    match error {
        CompileError::Unsupported { feature, offset } => Judgement::Refused {
            hash,
            size,
            feature: feature.clone(),
            offset: *offset,
            message,
        },
        _ => Judgement::Invalid { message },
    }
}

static CLAIM: Mutex<Option<Claim>> = Mutex::new(None);

/// Claims to be the user's one process that judges, until [`release_judge`] or the process' end; `false` while another one
/// does, and where the cache cannot be written.
pub fn claim_judge() -> bool {
    let mut claim = CLAIM.lock();
    if claim.is_none() {
        *claim = writable().ok().and_then(|store| store.claim_judge());
    }
    claim.is_some()
}

/// Another process may judge.
pub fn release_judge() {
    drop(CLAIM.lock().take());
}
