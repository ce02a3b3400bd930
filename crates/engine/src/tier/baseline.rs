//! The baseline tier: chunks of functions, lowered and compiled as donors on worker threads.
//!
//! Lowering validates, takes a tenth of the time of compiling, and runs ahead of it: a module that is refused costs little
//! more than finding that out, and one whose bytes are all there is not compiled before all of it is known to be valid.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};
use wasmer_compiler::wasmparser::FuncValidatorAllocations;
use wasmer_compiler::{Artifact, BaseTunables, Engine, ModuleEnvironment};
use wasmer_types::entity::PrimaryMap;
use wasmer_types::{FunctionIndex, LocalFunctionIndex, ModuleInfo, SignatureIndex};
use wasmer_vm::{FunctionBodyPtr, VMSignatureHash, VMTrampoline};

use super::code::{Code, Loaded, Tier};
use super::kit::{Kit, kits};
use super::positions::Positions;
use super::{engine, scheduler};
use crate::error::CompileError;
use crate::module::{BodyTier, Ingested, LoweredBody, Skeleton, lower_body};
use crate::panics;
use crate::stream::Chunk;

/// A baseline compile under way.
#[derive(Clone)]
pub struct Baseline(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Bytes are still arriving: what is lowered is compiled, whatever is behind it.
    eager: bool,
    on_news: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    /// Chunks that are to be lowered.
    lowering: usize,
    /// What waits for the rest of the module to be valid.
    lowered: Vec<Lowered>,
    /// Pieces that are to be compiled.
    compiling: usize,
    /// Nobody wants the module.
    cancelled: bool,
    bodies: Vec<Option<FunctionBodyPtr>>,
    donors: Vec<Arc<Loaded>>,
    trampolines: Trampolines,
    error: Option<CompileError>,
    cranelift_bytes: u64,
    catches: bool,
}

#[derive(Default)]
enum Trampolines {
    #[default]
    None,
    /// A thread is at it.
    Making,
    Made(Vec<Arc<Kit>>),
}

/// A chunk whose functions are valid.
struct Lowered {
    skeleton: Arc<Skeleton>,
    /// The chunk has all of the module's functions.
    whole: bool,
    catches: bool,
    singlepass: Vec<(u32, LoweredBody)>,
    cranelift: Vec<(u32, LoweredBody)>,
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
    /// For a module whose bytes are still arriving. `on_news` is called, on any thread, when a function turns out to be
    /// invalid, and when all that was submitted is compiled.
    pub fn eager(on_news: Box<dyn Fn() + Send + Sync>) -> Self {
        Self::new(true, on_news)
    }

    /// For a module whose bytes are all there: nothing is compiled before [`Self::finish`].
    pub fn patient() -> Self {
        Self::new(false, Box::new(|| {}))
    }

    fn new(eager: bool, on_news: Box<dyn Fn() + Send + Sync>) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            eager,
            on_news,
        }))
    }

    /// Lowers a chunk on a worker thread. One that is the whole module is lowered, and compiled, by who submits it: small
    /// modules need no other thread.
    pub fn submit(&self, chunk: Chunk) {
        let count = chunk.skeleton.local_function_count();
        let whole = chunk.functions.len() == count;
        {
            let mut state = self.0.state.lock();
            if state.bodies.is_empty() {
                state.bodies = vec![None; count];
            }
            state.lowering += 1;
        }
        let shared = Arc::clone(&self.0);
        let task = move || shared.lower(chunk, whole);
        if whole {
            task();
        } else {
            scheduler::lowering(Box::new(task));
        }
    }

    /// The first error so far.
    pub fn error(&self) -> Option<CompileError> {
        self.0.state.lock().error.clone()
    }

    /// Whether all that was submitted is compiled, and is valid.
    pub fn rests(&self) -> bool {
        let state = self.0.state.lock();
        state.is_idle() && state.error.is_none()
    }

    /// Nobody wants the module: gives back what was made of it, and begins nothing more.
    pub fn cancel(&self) {
        let _abandoned = {
            let mut state = self.0.state.lock();
            state.cancelled = true;
            state.abandon()
        };
    }

    /// The module is refused: as [`Self::cancel`], and the first of its errors, of which `error` is one.
    pub fn refuse(&self, error: CompileError) -> CompileError {
        let mut state = self.0.state.lock();
        let abandoned = state.fail(error.clone());
        // What comes before it in the module is still being looked at.
        while state.lowering > 0 {
            self.0.changed.wait(&mut state);
        }
        let first = state.error.clone();
        drop(state);
        drop(abandoned);
        first.unwrap_or(error)
    }

    /// All was submitted, and what of `ingested` does not belong to a function is valid: waits for all chunks.
    ///
    /// # Errors
    /// The error with the lowest offset.
    pub fn finish(self, ingested: &Ingested) -> Result<Compiled, CompileError> {
        let shared = &self.0;
        let mut state = shared.state.lock();
        while state.lowering > 0 {
            shared.changed.wait(&mut state);
        }
        if let Some(error) = &state.error {
            return Err(error.clone());
        }
        let lowered = std::mem::take(&mut state.lowered);
        shared.compile(state, lowered);
        // The calling thread makes the declaration while the workers compile.
        let info = declare(ingested).inspect_err(|_| self.cancel())?;
        let mut state = shared.state.lock();
        while state.compiling > 0 {
            shared.changed.wait(&mut state);
        }
        if let Some(error) = &state.error {
            return Err(error.clone());
        }
        let kits = match std::mem::take(&mut state.trampolines) {
            Trampolines::Made(kits) => kits,
            // There was no function.
            Trampolines::None | Trampolines::Making => attempt(|| trampolines(&ingested.skeleton))?,
        };
        let bodies = state
            .bodies
            .iter()
            .copied()
            .collect::<Option<PrimaryMap<LocalFunctionIndex, _>>>();
        let Some(bodies) = bodies else {
            return Err(CompileError::unsupported("a function has no code"));
        };
        let donors = std::mem::take(&mut state.donors);
        let info = Arc::new(info);
        let code = code(&ingested.skeleton, Arc::clone(&info), bodies, &kits, donors);
        code.fits(&info)
            .map_err(|misfit| CompileError::unsupported(misfit.to_string()))?;
        Ok(Compiled {
            cranelift_bytes: state.cranelift_bytes,
            catches: state.catches,
            code,
        })
    }
}

/// Puts the pieces together.
fn code(
    skeleton: &Skeleton,
    info: Arc<ModuleInfo>,
    bodies: PrimaryMap<LocalFunctionIndex, FunctionBodyPtr>,
    kits: &[Arc<Kit>],
    donors: Vec<Arc<Loaded>>,
) -> Code {
    let imports = skeleton.imported_function_types().iter();
    let dynamic = imports.map(|ty| FunctionBodyPtr(kits[*ty as usize].dynamic_trampoline()));
    let calls = kits.iter().map(|kit| kit.call_trampoline());
    let signatures = kits.iter().map(|kit| kit.signature());
    let mut trampolines: Vec<_> = kits.iter().map(|kit| Arc::clone(kit.loaded())).collect();
    trampolines.sort_by_key(Arc::as_ptr);
    trampolines.dedup_by(|one, other| Arc::ptr_eq(one, other));
    let calls: PrimaryMap<SignatureIndex, VMTrampoline> = calls.collect();
    let dynamic: PrimaryMap<FunctionIndex, _> = dynamic.collect();
    let signatures: PrimaryMap<SignatureIndex, VMSignatureHash> = signatures.collect();
    Code {
        tier: Tier::Baseline,
        hidden_entries: bodies.len() as u32,
        bodies: bodies.into_boxed_slice(),
        call_trampolines: calls.into_boxed_slice(),
        dynamic_trampolines: dynamic.into_boxed_slice(),
        signatures: signatures.into_boxed_slice(),
        info,
        trampolines: trampolines.into(),
        _bodies: donors,
    }
}

fn trampolines(skeleton: &Skeleton) -> Result<Vec<Arc<Kit>>, CompileError> {
    let signatures = skeleton.signatures();
    kits(&signatures.map_err(|error| CompileError::unsupported(error.to_string()))?)
}

/// What is given back when a module is refused; dropped outside of the lock.
type Abandoned = (Vec<Lowered>, Vec<Arc<Loaded>>);

impl State {
    fn is_idle(&self) -> bool {
        self.lowering + self.compiling == 0 && self.lowered.is_empty()
    }

    fn goes_on(&self) -> bool {
        !self.cancelled && self.error.is_none()
    }

    fn abandon(&mut self) -> Abandoned {
        self.bodies.clear();
        let lowered = std::mem::take(&mut self.lowered);
        (lowered, std::mem::take(&mut self.donors))
    }

    fn fail(&mut self, error: CompileError) -> Abandoned {
        let known = self.error.as_ref();
        if known.is_none_or(|known| error.offset() < known.offset()) {
            self.error = Some(error);
        }
        self.abandon()
    }
}

impl Shared {
    /// Lowers a chunk, unless an error that was found before it is reported anyway.
    fn lower(self: &Arc<Self>, chunk: Chunk, whole: bool) {
        let wanted = {
            let start = chunk.functions.first().map_or(0, |first| first.offset);
            let state = self.state.lock();
            let error = state.error.as_ref();
            !state.cancelled && error.is_none_or(|error| start < error.offset())
        };
        let result = wanted.then(|| attempt(|| lower(chunk, whole)));
        let mut state = self.state.lock();
        state.lowering -= 1;
        match result {
            Some(Err(error)) => {
                let abandoned = state.fail(error);
                self.tell(state, true);
                drop(abandoned);
            }
            Some(Ok(lowered)) if state.goes_on() => {
                state.catches |= lowered.catches;
                let cranelift = lowered.cranelift.iter();
                let bytes: usize = cranelift.map(|(_, body)| body.bytes.len()).sum();
                if engine::SINGLEPASS {
                    state.cranelift_bytes += bytes as u64;
                }
                if self.eager {
                    self.compile(state, vec![lowered]);
                } else {
                    state.lowered.push(lowered);
                    self.tell(state, false);
                }
            }
            _ => self.tell(state, false),
        }
    }

    fn tell(&self, state: MutexGuard<'_, State>, is_news: bool) {
        let is_news = is_news || state.is_idle();
        drop(state);
        self.changed.notify_all();
        if is_news {
            (self.on_news)();
        }
    }

    /// Compiles chunks, and the trampolines with the first.
    fn compile(self: &Arc<Self>, mut state: MutexGuard<'_, State>, chunks: Vec<Lowered>) {
        state.compiling += chunks.len();
        let first = chunks
            .first()
            .filter(|_| matches!(state.trampolines, Trampolines::None));
        let first = first.map(|chunk| (Arc::clone(&chunk.skeleton), chunk.whole));
        if first.is_some() {
            state.trampolines = Trampolines::Making;
            state.compiling += 1;
        }
        drop(state);
        self.changed.notify_all();
        if let Some((skeleton, whole)) = first {
            self.run(whole, move |shared| {
                let kits = trampolines(&skeleton)?;
                shared.state.lock().trampolines = Trampolines::Made(kits);
                Ok(())
            });
        }
        for chunk in chunks {
            self.run(chunk.whole, move |shared| shared.compile_chunk(chunk));
        }
    }

    fn run(
        self: &Arc<Self>,
        here: bool,
        work: impl FnOnce(&Self) -> Result<(), CompileError> + Send + 'static,
    ) {
        let shared = Arc::clone(self);
        let task = move || {
            let wanted = shared.state.lock().goes_on();
            let result = wanted.then(|| attempt(|| work(&shared)));
            let mut state = shared.state.lock();
            state.compiling -= 1;
            if let Some(Err(error)) = result {
                let abandoned = state.fail(error);
                shared.tell(state, true);
                drop(abandoned);
            } else {
                shared.tell(state, false);
            }
        };
        if here {
            task();
        } else {
            scheduler::compiling(Box::new(task));
        }
    }

    fn compile_chunk(&self, chunk: Lowered) -> Result<(), CompileError> {
        let skeleton = &chunk.skeleton;
        #[cfg(feature = "singlepass")]
        self.compile_donor(chunk.singlepass, engine::singlepass, |bodies| {
            skeleton.singlepass_donor(bodies)
        })?;
        self.compile_donor(chunk.cranelift, engine::cranelift_baseline, |bodies| {
            skeleton.donor(bodies)
        })
    }

    fn compile_donor(
        &self,
        functions: Vec<(u32, LoweredBody)>,
        engine: impl FnOnce() -> Engine,
        donor: impl FnOnce(&mut dyn Iterator<Item = (u32, &[u8])>) -> Vec<u8>,
    ) -> Result<(), CompileError> {
        if functions.is_empty() || !self.state.lock().goes_on() {
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
        let (artifact, loaded) = compile(engine(), &donor, Positions::Donor(origins))?;
        let mut state = self.state.lock();
        if state.goes_on() {
            let bodies = artifact.finished_functions();
            for (local, body) in locals.into_iter().zip(bodies.values()) {
                state.bodies[local as usize] = Some(*body);
            }
            state.donors.push(loaded);
        }
        Ok(())
    }
}

/// A panicking compiler must not take the process along.
fn attempt<R>(work: impl FnOnce() -> Result<R, CompileError>) -> Result<R, CompileError> {
    panics::catch("a compiler", work)
        .unwrap_or_else(|panicked| Err(CompileError::unsupported(panicked.to_string())))
}

/// Whether the baseline would take the chunk; then, whether a function of it has a handler of exceptions. Nothing is kept.
pub(super) fn check(chunk: Chunk) -> Result<bool, CompileError> {
    lower(chunk, false).map(|lowered| lowered.catches)
}

/// Validates and lowers a chunk.
fn lower(chunk: Chunk, whole: bool) -> Result<Lowered, CompileError> {
    let mut allocations = FuncValidatorAllocations::default();
    let mut lowered = Lowered {
        skeleton: chunk.skeleton,
        whole,
        catches: false,
        singlepass: Vec::new(),
        cranelift: Vec::new(),
    };
    for function in chunk.functions {
        let (body, returned) = lower_body(
            &lowered.skeleton,
            function.to_validate,
            allocations,
            &chunk.bytes[function.range],
            function.offset,
        )?;
        allocations = returned;
        lowered.catches |= body.catches;
        let bodies = match body.tier {
            BodyTier::Singlepass if engine::SINGLEPASS => &mut lowered.singlepass,
            _ => &mut lowered.cranelift,
        };
        bodies.push((function.local, body));
    }
    Ok(lowered)
}

fn compile(
    engine: Engine,
    bytes: &[u8],
    positions: Positions,
) -> Result<(Artifact, Arc<Loaded>), CompileError> {
    let artifact = Artifact::new(&engine, bytes, &BaseTunables::new(), None)
        .map_err(|error| CompileError::unsupported(error.to_string()))?;
    let loaded = Loaded::new(&artifact, engine, Some(positions), None);
    Ok((artifact, loaded))
}

/// wasmer's view of the declaration.
pub(super) fn declare(ingested: &Ingested) -> Result<ModuleInfo, CompileError> {
    let shell = ingested
        .skeleton
        .shell(&ingested.raw_before(), &ingested.data);
    let translated = panics::catch("the translator", || {
        ModuleEnvironment::new().translate(&shell)
    })
    .map_err(|panicked| CompileError::unsupported(panicked.to_string()))?
    .map_err(|error| CompileError::unsupported(error.to_string()))?;
    Ok(translated.module)
}
