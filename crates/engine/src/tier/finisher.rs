//! What a process leaves to another, detached one when it ends: its unfinished modules.
//!
//! Where the main thread has loaded the package, its JavaScript hands off at its end (`lib/process/exit.js`). Where only worker
//! threads have, none of them ends with the process, and it is done here while `exit` runs.

use std::path::{Path, PathBuf};
use std::sync::Once;

use parking_lot::Mutex;
use wasm_compile_cache_store::{ArtifactKey, CacheError, Entry, Flight, Store};
use wasmer_compiler::ArtifactCreate;

use super::optimizing::{self, WAITS, build, write};
use super::options::{BaselineMode, CacheMode, CompileOptions};
use super::{exit, loading, remote, scheduler, storage};
use crate::module::{Declaration, Ingested, Whole, has_handler};
use crate::panics;
use crate::stream::{Chunk, Ingest};
use crate::trace::EventQueue;

/// How to start a process that finishes modules, whose spool files are its last arguments.
#[derive(Debug, Clone)]
pub struct Finisher {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// All of its environment but what says where the cache is.
    pub environment: Vec<(String, String)>,
}

/// What hands off when the process ends.
enum Duty {
    Nobody,
    MainThread,
    AtExit(Finisher),
}

static DUTY: Mutex<Duty> = Mutex::new(Duty::Nobody);

/// The main thread has loaded us, and hands off itself.
pub fn main_thread_hands_off() {
    *DUTY.lock() = Duty::MainThread;
}

/// A worker thread has loaded us. The first one's finisher counts, unless the main thread loads us, too.
pub fn hand_off_at_exit(finisher: Finisher) {
    static ONCE: Once = Once::new();
    let mut duty = DUTY.lock();
    if matches!(*duty, Duty::Nobody) {
        *duty = Duty::AtExit(finisher);
    }
    ONCE.call_once(|| exit::when_called(at_exit));
}

fn at_exit() {
    let duty = std::mem::replace(&mut *DUTY.lock(), Duty::Nobody);
    if let Duty::AtExit(finisher) = duty {
        for spools in optimizing::hand_off() {
            if finisher.start(&spools).is_err() {
                // The next run compiles again.
                for spool in &spools {
                    let _ = std::fs::remove_file(spool);
                }
            }
        }
    }
}

impl Finisher {
    fn start(&self, spools: &[PathBuf]) -> std::io::Result<()> {
        use std::io::{Error, ErrorKind};
        use std::os::unix::process::CommandExt;
        use std::process::{Command, Stdio};

        let (program, arguments) = self
            .command
            .split_first()
            .ok_or_else(|| Error::from(ErrorKind::NotFound))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(spools)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(storage::environment())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let detach = || rustix::process::setsid().map(drop).map_err(Into::into);
        // SAFETY: between fork and exec it makes one system call.
        unsafe { command.pre_exec(detach) };
        command.spawn().map(drop)
    }
}

/// What `lib/process/orphans.js` knows a finisher by, which may be another version's.
#[cfg(target_os = "linux")]
const NAME: &std::ffi::CStr = c"wasm-finisher";

/// Takes notice of the end of a finisher that was given to this process, so that it goes.
pub fn wait_for(process: i32) {
    if let Some(process) = rustix::process::Pid::from_raw(process) {
        let _ = rustix::process::waitpid(Some(process), rustix::process::WaitOptions::NOHANG);
    }
}

/// Has the process that was left behind be known by that name; for its main thread.
pub(super) fn be_known() {
    #[cfg(target_os = "linux")]
    // SAFETY: a string that is only read.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, NAME.as_ptr())
    };
}

/// What the detached process does with such a path: whether the artifact is in the cache now.
pub fn finish_spooled(path: &Path) -> bool {
    be_known();
    let options = CompileOptions {
        partition: String::new(),
        cache: CacheMode::ReadWrite,
        cached_only: false,
        min_size: 0,
        baseline: BaselineMode::Eager,
        optimize: false,
        finish: false,
        fallback: false,
        source: path.display().to_string(),
        fetched: None,
        events: EventQueue::new(Box::new(|| {})),
    };
    panics::catch("the finisher", || finish(path, options)).unwrap_or(false)
}

fn finish(path: &Path, mut options: CompileOptions) -> bool {
    if storage::access() != CacheMode::ReadWrite {
        return false;
    }
    let Some(store) = storage::store(&options) else {
        return false;
    };
    let Ok(Some(spooled)) = store.spool().take(path) else {
        return false;
    };
    options.partition.clone_from(&spooled.partition);
    options.source = String::from_utf8_lossy(&spooled.params).into_owned();
    let hash = *blake3::hash(&spooled.wasm).as_bytes();
    let key = storage::key(&hash, &spooled.partition);
    if key != spooled.key {
        return false;
    }
    let flight = flight(&store, &key);
    if loading::load_code(&key, hash, &options).code().is_some() {
        return true;
    }
    // Where locks do not work, compiling twice is harmless.
    if matches!(flight, Ok(None)) {
        return false;
    }
    let size = spooled.wasm.len() as u64;
    let mut flight = flight.unwrap_or_default();
    if remote::bring(key, hash, size, &options, &mut flight) {
        return true;
    }
    // The bytes carry our seal, so they were validated before they were spooled.
    let mut catches = false;
    let mut chunks = |chunk: Chunk| {
        catches = catches
            || chunk.functions.iter().any(|function| {
                has_handler(&chunk.bytes[function.range.clone()]).unwrap_or_default()
            });
    };
    let finished = Ingest::whole(spooled.wasm, &mut chunks)
        .is_ok_and(|ingested| finish_module(&key, hash, ingested, catches, &options).is_ok());
    drop(flight);
    finished
}

/// Waits, as often as it pays, for the flight of `key`: the process that left a module has it until it is gone. `None` if it
/// led to an artifact, or somebody has it still.
///
/// # Errors
/// Locks do not work.
pub(super) fn flight(store: &Store, key: &ArtifactKey) -> Result<Option<Flight>, CacheError> {
    let mut flight = store.flight(key);
    for _ in 0..WAITS {
        if !matches!(flight, Ok(None)) {
            break;
        }
        flight = store.wait_for_flight(key);
        if matches!(flight, Ok(None)) && !store.entry_path(key).exists() {
            flight = store.flight(key);
        }
    }
    flight
}

/// Why nothing was stored.
pub(super) struct Unfinished {
    pub message: String,
    /// That of the cache's error, if it is one.
    pub code: Option<&'static str>,
}

impl From<String> for Unfinished {
    fn from(message: String) -> Self {
        Self {
            message,
            code: None,
        }
    }
}

impl From<CacheError> for Unfinished {
    fn from(error: CacheError) -> Self {
        Self {
            message: error.to_string(),
            code: Some(error.code()),
        }
    }
}

/// Compiles a valid module with the optimizing tier alone, and stores it. What was claimed of it ends with that.
pub(super) fn finish_module(
    key: &ArtifactKey,
    hash: [u8; 32],
    ingested: Ingested,
    catches: bool,
    options: &CompileOptions,
) -> Result<(Declaration, Entry), Unfinished> {
    let made = make(key, hash, ingested, catches, options);
    remote::release(*key);
    made
}

fn make(
    key: &ArtifactKey,
    hash: [u8; 32],
    mut ingested: Ingested,
    catches: bool,
    options: &CompileOptions,
) -> Result<(Declaration, Entry), Unfinished> {
    let Whole { bytes, origin } = Whole::new(&ingested).map_err(|error| error.to_string())?;
    let build = build(&bytes, scheduler::cores())?;
    let image = build.serialize().map_err(|error| error.to_string())?;
    let declaration = Declaration::new(hash, build.create_module_info(), &mut ingested, catches);
    let stored = write(key, hash, &declaration, &origin, &ingested, &image, options)?;
    let entry = stored.ok_or_else(|| "the cache cannot be written".to_owned())?;
    Ok((declaration, entry))
}
