//! Compiling: jobs that JavaScript feeds, and their callbacks.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use wasm_compile_cache_engine::error::{CompileError, Forbidden};
use wasm_compile_cache_engine::panics;
use wasm_compile_cache_engine::stream::{self, Refused};
use wasm_compile_cache_engine::tier::{self, Finisher, Keeping, Module, StreamCompile};

use super::calls::{Call, Exports};
use super::errors;
use super::js::{self, Env, Native, Result, Value};
use super::module::ModuleHandle;
use super::options::options_of;
use super::thrown::Thrown;
use super::waiting::{Hold, Waiting};

/// What JavaScript holds for a compile.
struct JobHandle {
    stream: RefCell<Option<StreamCompile>>,
    /// Taken by whoever ends the job first.
    waiting: Arc<Mutex<Option<Waiting>>>,
    drained: Arc<Mutex<Option<Waiting>>>,
    over: Arc<AtomicBool>,
    /// Of [`Self::waiting`]. A stream keeps the event loop alive while the compiler has work, and once
    /// it ended: in between, its source does or does not.
    hold: Arc<Hold>,
}

impl Native for JobHandle {
    const TAG: u64 = u64::from_be_bytes(*b"wcc:job ");
}

/// A pusher may go on below this many queued bytes.
const LOW_WATER: usize = 1 << 20;

pub fn register(exports: &Exports) {
    exports.function("validate", validate);
    exports.function("compileSync", compile_sync);
    exports.function("compileBegin", begin);
    exports.function("compilePush", push);
    exports.function("compileDrained", drained);
    exports.function("compileEnd", end);
    exports.function("compileAbort", abort);
    exports.function("compileFile", file);
    exports.function("compileBytes", bytes);
    exports.function("handOff", |call| {
        js::array(call.env, tier::hand_off(), |paths| {
            js::array(call.env, paths, |path| {
                js::string(call.env, &path.display().to_string())
            })
        })
    });
    exports.function("mustBeCached", |call| {
        let (size, min_size) = (call.number(0)?, call.number(1)?);
        js::boolean(call.env, tier::must_be_cached(size as u64, min_size as u64))
    });
    exports.function("mainThreadHandsOff", |call| {
        tier::main_thread_hands_off();
        js::undefined(call.env)
    });
    exports.function("handOffAtExit", |call| {
        tier::hand_off_at_exit(Finisher {
            command: texts(call.env, call.argument(0))?,
            environment: pairs(&texts(call.env, call.argument(1))?),
        });
        js::undefined(call.env)
    });
    exports.function("finish", |call| {
        let path = call.text(0)?;
        js::boolean(call.env, tier::finish_spooled(Path::new(&path)))
    });
    exports.function("waitForFinisher", |call| {
        tier::wait_for_finisher(call.number(0)? as i32);
        js::undefined(call.env)
    });
}

fn texts(env: Env, array: Value) -> Result<Vec<String>> {
    let elements = js::elements(env, array)?;
    elements
        .into_iter()
        .map(|element| js::text_of(env, element))
        .collect()
}

/// `name=value` each, as the system has them.
fn pairs(variables: &[String]) -> Vec<(String, String)> {
    let split = |variable: &String| {
        let (name, value) = variable.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    variables.iter().filter_map(split).collect()
}

fn validate(call: &Call<'_>) -> Result<Value> {
    let bytes = js::copy_of(call.env, call.argument(0))?;
    js::boolean(call.env, stream::validate(bytes).is_ok())
}

fn compile_sync(call: &Call<'_>) -> Result<Value> {
    let bytes = js::copy_of(call.env, call.argument(0))?;
    // Who is called when it is not cached: this thread is busy for a while.
    let missed = || {
        let _ = js::call(call.env, call.argument(2), &[]);
    };
    let options = options_of(call, 1)?;
    let module = match js::kind(call.env, call.argument(2))? {
        napi::sys::ValueType::napi_function => tier::compile_bytes_noting(bytes, &options, missed),
        _ => tier::compile_bytes(bytes, &options),
    };
    let module = module.map_err(|refused| refused.error)?;
    js::external(call.env, ModuleHandle(module))
}

/// `None`: there is nothing to make the module of.
type Outcome = std::result::Result<Option<Arc<Module>>, Refused>;

/// Calls `waiting` back with the outcome, unless the job was aborted.
fn settle(waiting: &Mutex<Option<Waiting>>, fallback: bool, outcome: Outcome) {
    let Some(waiting) = waiting.lock().take() else {
        return;
    };
    waiting.settle(move |env, state| match outcome {
        Ok(Some(module)) => Ok(vec![
            js::null(env)?,
            js::external(env, ModuleHandle(module))?,
        ]),
        Ok(None) => Ok(vec![js::null(env)?, js::null(env)?]),
        Err(Refused { error, bytes }) => {
            // V8 is asked for its words about an invalid module, wherever all bytes are there.
            let given_back = !bytes.is_empty()
                && match error {
                    CompileError::Invalid { .. }
                    | CompileError::NotCached(Forbidden::ByOptions) => true,
                    CompileError::Unsupported { .. } => fallback,
                    CompileError::NotCached(Forbidden::ByUser) | CompileError::Read { .. } => false,
                };
            Ok(vec![
                errors::error(env, state, Thrown::Compile(error))?,
                js::null(env)?,
                if given_back {
                    js::array_buffer(env, &bytes)?
                } else {
                    js::null(env)?
                },
            ])
        }
    });
}

fn wake(drained: &Mutex<Option<Waiting>>) {
    if let Some(waiting) = drained.lock().take() {
        waiting.settle(|_, _| Ok(Vec::new()));
    }
}

fn new_job(call: &Call<'_>, callback: usize) -> Result<JobHandle> {
    let hold = Arc::new(Hold::new(call.state));
    let waiting = Waiting::holding(call, callback, Arc::clone(&hold))?;
    Ok(JobHandle {
        stream: RefCell::new(None),
        hold,
        waiting: Arc::new(Mutex::new(Some(waiting))),
        drained: Arc::default(),
        over: Arc::default(),
    })
}

fn no_thread(error: &std::io::Error) -> Thrown {
    Thrown::Range(format!(
        "no thread could be started for the compile: {error}"
    ))
}

fn begin(call: &Call<'_>) -> Result<Value> {
    let options = options_of(call, 0)?;
    let job = new_job(call, 1)?;
    let waiting = Arc::clone(&job.waiting);
    let (low, done_low) = (Arc::clone(&job.drained), Arc::clone(&job.drained));
    let over = Arc::clone(&job.over);
    let fallback = options.fallback;
    let (shared, hold) = (Arc::clone(&call.state.shared), Arc::clone(&job.hold));
    let stream = StreamCompile::start(
        options,
        move |queued| {
            if queued < LOW_WATER {
                wake(&low);
            }
        },
        move |taken| {
            let hold = Arc::clone(&hold);
            shared.post(Box::new(move |_| hold.rest(taken)));
        },
        move |outcome| {
            over.store(true, Ordering::Release);
            settle(&waiting, fallback, outcome.map(Some));
            wake(&done_low);
        },
    );
    let stream = stream.map_err(|error| no_thread(&error))?;
    *job.stream.borrow_mut() = Some(stream);
    js::external(call.env, job)
}

fn push(call: &Call<'_>) -> Result<Value> {
    let job = call.native::<JobHandle>(0)?;
    let bytes = js::copy_of(call.env, call.argument(1))?;
    let queued = match job.stream.borrow().as_ref() {
        Some(stream) if !job.over.load(Ordering::Acquire) => {
            job.hold.give();
            stream.push(bytes)
        }
        _ => 0,
    };
    js::number(call.env, queued as f64)
}

fn drained(call: &Call<'_>) -> Result<Value> {
    let job = call.native::<JobHandle>(0)?;
    *job.drained.lock() = Some(Waiting::new(call, 1)?);
    let queued = job
        .stream
        .borrow()
        .as_ref()
        .map_or(0, StreamCompile::queued);
    if queued < LOW_WATER || job.over.load(Ordering::Acquire) {
        wake(&job.drained);
    }
    js::undefined(call.env)
}

fn end(call: &Call<'_>) -> Result<Value> {
    let job = call.native::<JobHandle>(0)?;
    if let Some(stream) = job.stream.borrow().as_ref()
        && !job.over.load(Ordering::Acquire)
    {
        job.hold.give();
        stream.end();
    }
    js::undefined(call.env)
}

fn abort(call: &Call<'_>) -> Result<Value> {
    let job = call.native::<JobHandle>(0)?;
    job.over.store(true, Ordering::Release);
    if let Some(waiting) = job.waiting.lock().take() {
        waiting.abandon();
    }
    if let Some(waiting) = job.drained.lock().take() {
        waiting.abandon();
    }
    drop(job.stream.borrow_mut().take());
    js::undefined(call.env)
}

fn file(call: &Call<'_>) -> Result<Value> {
    let path = call.text(0)?;
    let options = options_of(call, 1)?;
    background(call, options.fallback, move || {
        Ok((Some(tier::compile_file(&path, &options)?), None))
    })
}

fn bytes(call: &Call<'_>) -> Result<Value> {
    let bytes = js::copy_of(call.env, call.argument(0))?;
    let options = options_of(call, 1)?;
    background(call, options.fallback, move || {
        Ok((Some(tier::compile_bytes(bytes, &options)?), None))
    })
}

/// A job that needs nothing more from JavaScript; its callback is argument 2. What is to be kept is when it was called.
pub fn background(
    call: &Call<'_>,
    fallback: bool,
    compile: impl FnOnce() -> std::result::Result<(Option<Arc<Module>>, Option<Keeping>), Refused>
    + Send
    + 'static,
) -> Result<Value> {
    let job = new_job(call, 2)?;
    let waiting = Arc::clone(&job.waiting);
    let started = tier::compile_aside(move || {
        let compiled = panics::catch("the compiler", compile);
        let outcome = compiled
            .unwrap_or_else(|panicked| Err(CompileError::unsupported(panicked.to_string()).into()));
        let (outcome, keeping) = match outcome {
            Ok((module, keeping)) => (Ok(module), keeping),
            Err(refused) => (Err(refused), None),
        };
        settle(&waiting, fallback, outcome);
        if let Some(keeping) = keeping {
            keeping.keep();
        }
    });
    started.map_err(|error| no_thread(&error))?;
    js::external(call.env, job)
}
