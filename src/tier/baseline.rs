//! The baseline tier: chunks of functions, lowered and compiled as donors on worker threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};
use wasmer_compiler::wasmparser::FuncValidatorAllocations;
use wasmer_compiler::{Artifact, BaseTunables, Engine, ModuleEnvironment};
use wasmer_types::entity::PrimaryMap;
use wasmer_types::{LocalFunctionIndex, ModuleInfo};
use wasmer_vm::FunctionBodyPtr;

use super::code::{Code, Loaded, Tier};
use super::positions::Positions;
use super::{engine, scheduler};
use crate::error::CompileError;
use crate::module::{BodyTier, LoweredBody, Skeleton, lower_body};
use crate::stream::{Chunk, Ingested};

/// A baseline compile under way.
#[derive(Clone)]
pub struct Baseline(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    cancelled: AtomicBool,
    on_news: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    started: bool,
    pending: usize,
    bodies: Vec<Option<FunctionBodyPtr>>,
    donors: Vec<Arc<Loaded>>,
    trampolines: Option<Arc<Loaded>>,
    error: Option<CompileError>,
    cranelift_bytes: u64,
    catches: bool,
}

/// What the baseline made.
pub struct Compiled {
    /// Ready to be instantiated.
    pub code: Code,
    /// Bytes of bodies that had to go to Cranelift.
    pub cranelift_bytes: u64,
    /// Whether a function has a handler of exceptions.
    pub catches: bool,
}

impl Baseline {
    /// `on_news` is called, on any thread, when a function turns out to be invalid, and when all that
    /// was submitted is compiled.
    pub fn new(on_news: Box<dyn Fn() + Send + Sync>) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            cancelled: AtomicBool::new(false),
            on_news,
        }))
    }

    /// Lowers and compiles a chunk on a worker thread.
    pub fn submit(&self, chunk: Chunk) {
        let first = {
            let mut state = self.0.state.lock();
            if state.bodies.is_empty() {
                state.bodies = vec![None; chunk.skeleton.local_function_count()];
            }
            let first = !std::mem::replace(&mut state.started, true);
            state.pending += 1 + usize::from(first);
            first
        };
        if first {
            let skeleton = Arc::clone(&chunk.skeleton);
            self.run(move |shared| shared.compile_trampolines(&skeleton));
        }
        self.run(move |shared| shared.compile_chunk(chunk));
    }

    fn run(&self, work: impl FnOnce(&Shared) -> Result<(), CompileError> + Send + 'static) {
        let shared = Arc::clone(&self.0);
        scheduler::baseline(Box::new(move || {
            let result = if shared.cancelled.load(Ordering::Relaxed) {
                Ok(())
            } else {
                // A panicking compiler must not take the process along.
                catch_unwind(AssertUnwindSafe(|| work(&shared)))
                    .unwrap_or_else(|_| Err(CompileError::unsupported("a compiler panicked")))
            };
            shared.done(result);
        }));
    }

    /// The first error so far.
    pub fn error(&self) -> Option<CompileError> {
        self.0.state.lock().error.clone()
    }

    /// Whether all that was submitted is compiled, and is valid.
    pub fn rests(&self) -> bool {
        let state = self.0.state.lock();
        state.pending == 0 && state.error.is_none()
    }

    /// Drops what was not begun yet.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }

    /// Waits for all chunks; `ingested` completes the declaration.
    ///
    /// # Errors
    /// The error with the lowest offset.
    pub fn finish(self, ingested: &Ingested) -> Result<Compiled, CompileError> {
        // The calling thread makes the declaration while the workers compile.
        let declared = declare(ingested);
        let mut state = self.0.state.lock();
        while state.pending > 0 {
            self.0.changed.wait(&mut state);
        }
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        let info = declared?;
        if state.trampolines.is_none() {
            drop(state);
            self.0.compile_trampolines(&ingested.skeleton)?;
            state = self.0.state.lock();
        }
        let bodies = state
            .bodies
            .iter()
            .copied()
            .collect::<Option<PrimaryMap<LocalFunctionIndex, _>>>();
        let (Some(bodies), Some(trampolines)) = (bodies, state.trampolines.take()) else {
            return Err(CompileError::unsupported("a function has no code"));
        };
        let artifact = &trampolines.artifact;
        Ok(Compiled {
            cranelift_bytes: state.cranelift_bytes,
            catches: state.catches,
            code: Code {
                tier: Tier::Baseline,
                hidden_entries: bodies.len() as u32,
                bodies: bodies.into_boxed_slice(),
                call_trampolines: artifact.finished_function_call_trampolines().clone(),
                dynamic_trampolines: artifact.finished_dynamic_function_trampolines().clone(),
                signatures: artifact.signatures().clone(),
                info: Arc::new(info),
                trampolines,
                _bodies: std::mem::take(&mut state.donors),
            },
        })
    }
}

impl Shared {
    fn done(&self, result: Result<(), CompileError>) {
        let news = {
            let mut state = self.state.lock();
            state.pending -= 1;
            let news = result.is_err() || state.pending == 0;
            if let Err(error) = result {
                let earlier = state
                    .error
                    .as_ref()
                    .is_none_or(|known| error.offset() < known.offset());
                if earlier {
                    state.error = Some(error);
                }
            }
            news
        };
        self.changed.notify_all();
        if news {
            (self.on_news)();
        }
    }

    fn compile_trampolines(&self, skeleton: &Skeleton) -> Result<(), CompileError> {
        let donor = skeleton.donor(std::iter::empty());
        let loaded = compile(engine::cranelift_baseline(), &donor, None)?;
        self.state.lock().trampolines = Some(loaded);
        Ok(())
    }

    fn compile_chunk(&self, chunk: Chunk) -> Result<(), CompileError> {
        let skeleton = &chunk.skeleton;
        let mut allocations = FuncValidatorAllocations::default();
        let mut singlepass = Vec::new();
        let mut cranelift = Vec::new();
        let mut catches = false;
        for function in chunk.functions {
            let (lowered, returned) = lower_body(
                skeleton,
                function.to_validate,
                allocations,
                &chunk.bytes[function.range],
                function.offset,
            )?;
            allocations = returned;
            catches |= lowered.catches;
            match lowered.tier {
                BodyTier::Singlepass if engine::SINGLEPASS => {
                    singlepass.push((function.local, lowered));
                }
                _ => cranelift.push((function.local, lowered)),
            }
        }
        if catches {
            self.state.lock().catches = true;
        }
        #[cfg(feature = "singlepass")]
        self.compile_donor(singlepass, engine::singlepass, |bodies| {
            skeleton.singlepass_donor(bodies)
        })?;
        if engine::SINGLEPASS {
            let bytes: usize = cranelift.iter().map(|(_, body)| body.bytes.len()).sum();
            self.state.lock().cranelift_bytes += bytes as u64;
        }
        self.compile_donor(cranelift, engine::cranelift_baseline, |bodies| {
            skeleton.donor(bodies)
        })
    }

    fn compile_donor(
        &self,
        functions: Vec<(u32, LoweredBody)>,
        engine: impl FnOnce() -> Engine,
        donor: impl FnOnce(&mut dyn Iterator<Item = (u32, &[u8])>) -> Vec<u8>,
    ) -> Result<(), CompileError> {
        if functions.is_empty() || self.cancelled.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut bodies = functions
            .iter()
            .map(|(local, body)| (*local, body.bytes.as_slice()));
        let donor = donor(&mut bodies);
        let origins = functions
            .into_iter()
            .map(|(local, body)| (local, body.origin));
        let origins: Vec<_> = origins.collect();
        let locals: Vec<_> = origins.iter().map(|(local, _)| *local).collect();
        let loaded = compile(engine(), &donor, Some(Positions::Donor(origins)))?;
        let mut state = self.state.lock();
        let bodies = loaded.artifact.finished_functions();
        for (local, body) in locals.into_iter().zip(bodies.values()) {
            state.bodies[local as usize] = Some(*body);
        }
        state.donors.push(Arc::clone(&loaded));
        Ok(())
    }
}

fn compile(
    engine: Engine,
    bytes: &[u8],
    positions: Option<Positions>,
) -> Result<Arc<Loaded>, CompileError> {
    let artifact = Artifact::new(&engine, bytes, &BaseTunables::new(), None)
        .map_err(|error| CompileError::unsupported(error.to_string()))?;
    Ok(Loaded::new(artifact, engine, positions, None))
}

/// wasmer's view of the declaration.
fn declare(ingested: &Ingested) -> Result<ModuleInfo, CompileError> {
    let shell = ingested
        .skeleton
        .shell(&ingested.raw_before(), &ingested.data);
    let translated = catch_unwind(AssertUnwindSafe(|| {
        ModuleEnvironment::new().translate(&shell)
    }))
    .map_err(|_| CompileError::unsupported("the translator panicked"))?
    .map_err(|error| CompileError::unsupported(error.to_string()))?;
    Ok(translated.module)
}
