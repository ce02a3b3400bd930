//! The baseline tier: chunks of functions are checked on worker threads, and compiled as donors there, or when they are called
//! (`lazy.rs`).
//!
//! Checking takes a tenth of the time of compiling, and runs ahead of it: a module that is refused costs little
//! more than finding that out, and one whose bytes are all there is not compiled before all of it is known to be valid.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};
use wasmer_compiler::ModuleEnvironment;
use wasmer_compiler::wasmparser::{BinaryReader, CodeSectionReader};
use wasmer_types::entity::PrimaryMap;
use wasmer_types::{FunctionIndex, ModuleInfo, SignatureIndex};
use wasmer_vm::{FunctionBodyPtr, VMSignatureHash, VMTrampoline};

use super::code::{Bodies, Code, Tier};
use super::hot::Hot;
use super::kit::{Kit, kits};
use super::lazy::{Body, Functions, Lazy};
use super::loaded::Loaded;
use super::options::BaselineMode;
use super::piece::{self, Piece, attempt};
use super::{engine, scheduler, stubs};
use crate::error::CompileError;
use crate::module::{BodyTier, Handlers, Ingested, Skeleton, View};
use crate::panics;
use crate::stream::Chunk;

/// A baseline compile under way.
#[derive(Clone)]
pub struct Baseline(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    mode: BaselineMode,
    /// Bytes are still arriving: what is checked is compiled, whatever is behind it.
    streaming: bool,
    on_news: Box<dyn Fn() + Send + Sync>,
}

/// Of modules whose code has fewer bytes, all is compiled, whether it is called or not: on two processors that takes no longer than
/// compiling half of it, one function after the other.
const LARGE: u64 = 2 << 20;

/// Modules whose code has fewer bytes are compiled before anything of them runs, and optimized in a tenth of a second.
const SMALL: u64 = 64 << 10;

/// Where more functions are imported, donors that call one of the last have trampolines for all before it, some 3 µs each: too many for
/// one a call.
const MANY_IMPORTS: usize = 1000;

#[derive(Default)]
struct State {
    /// Chunks that are to be checked.
    checking: usize,
    /// What waits for the rest of the module to be valid.
    checked: Vec<Checked>,
    /// Pieces that are to be compiled.
    compiling: usize,
    /// Nobody wants the module.
    cancelled: bool,
    /// The rest of the functions is compiled when it is called.
    enough: bool,
    bodies: Vec<Option<FunctionBodyPtr>>,
    /// Of the functions that are checked.
    tiers: Vec<BodyTier>,
    /// The adapters that compiled functions call.
    adapters: BTreeSet<u32>,
    donors: Vec<Arc<Loaded>>,
    trampolines: Trampolines,
    error: Option<CompileError>,
    cranelift_bytes: u64,
    handlers: Handlers,
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
struct Checked {
    chunk: Chunk,
    /// The chunk has all of the module's functions.
    whole: bool,
    handlers: Handlers,
    tiers: Vec<BodyTier>,
    cranelift_bytes: u64,
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
    /// invalid, and when all that was submitted is done.
    pub fn streaming(mode: BaselineMode, on_news: Box<dyn Fn() + Send + Sync>) -> Self {
        Self::new(mode, true, on_news)
    }

    /// For a module whose bytes are all there: nothing is compiled before [`Self::finish`].
    pub fn whole(mode: BaselineMode) -> Self {
        Self::new(mode, false, Box::new(|| {}))
    }

    fn new(mode: BaselineMode, streaming: bool, on_news: Box<dyn Fn() + Send + Sync>) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            mode,
            streaming,
            on_news,
        }))
    }

    /// Checks a chunk on a worker thread. One that is the whole module is checked, and compiled, by who submits it: small
    /// modules need no other thread.
    pub fn submit(&self, chunk: Chunk) {
        let count = chunk.skeleton.local_function_count();
        let whole = chunk.functions.len() == count;
        {
            let mut state = self.0.state.lock();
            if state.bodies.is_empty() {
                state.bodies = vec![None; count];
                state.tiers = vec![BodyTier::Cranelift; count];
            }
            state.checking += 1;
        }
        let shared = Arc::clone(&self.0);
        let task = move || shared.check(chunk, whole);
        if whole {
            task();
        } else {
            scheduler::checking(Box::new(task));
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
        while state.checking > 0 {
            self.0.changed.wait(&mut state);
        }
        let first = state.error.clone();
        drop(state);
        drop(abandoned);
        first.unwrap_or(error)
    }

    /// All was submitted, and what of `ingested` does not belong to a function is valid: waits for all chunks.
    ///
    /// `optimizes`: the optimizing tier follows, and wants to know what is called often.
    ///
    /// # Errors
    /// The error with the lowest offset.
    pub fn finish(self, ingested: &Ingested, optimizes: bool) -> Result<Compiled, CompileError> {
        let shared = &self.0;
        let mut state = shared.state.lock();
        while state.checking > 0 {
            shared.changed.wait(&mut state);
        }
        if let Some(error) = &state.error {
            return Err(error.clone());
        }
        let checked = std::mem::take(&mut state.checked);
        // What is still to be compiled then waits for its calls.
        let heavy = state.cranelift_bytes * (piece::CRANELIFT as u64 - 1);
        let weight = ingested.code.len() as u64 + heavy;
        state.enough = shared.is_lazy(&ingested.skeleton, weight);
        shared.compile(state, checked);
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
        let is_lazy = state.bodies.iter().any(Option::is_none);
        let is_counted = optimizes && shared.counts(weight);
        let functions = if is_lazy || is_counted {
            Some(Arc::new(functions(ingested, &state.tiers)?))
        } else {
            None
        };
        let lazy = functions.clone().filter(|_| is_lazy);
        let lazy = lazy.map(|functions| {
            let lazy = Lazy::new(functions, &state.bodies, shared.is_swept(weight));
            lazy.ok_or_else(|| CompileError::unsupported("there is no memory for stubs"))
        });
        let lazy = lazy.transpose()?;
        let hot = functions.filter(|_| is_counted).and_then(Hot::new);
        let stub = |number: u32| lazy.as_ref().map(|lazy| lazy.stub(number));
        let count = |local, body| match &hot {
            Some(hot) => hot.count(local, body),
            None => body,
        };
        let bodies = (0..).zip(&state.bodies);
        let bodies = bodies.filter_map(|(local, body)| match body {
            Some(body) => Some(count(local, *body)),
            None => stub(local),
        });
        let bodies = Bodies::new(bodies);
        let mut adapters = vec![None; ingested.skeleton.adapter_count() as usize];
        let called: Vec<_> = std::mem::take(&mut state.adapters).into_iter().collect();
        if !called.is_empty() {
            let compiled = piece::compile_adapters(&ingested.skeleton, &called)?;
            for (adapter, body) in compiled.bodies {
                adapters[adapter as usize] = Some(body);
            }
            state.donors.push(compiled.loaded);
        }
        let adapters = (0..).zip(adapters).map(|(adapter, body)| {
            let body = body.or_else(|| stub(bodies.len() as u32 + adapter));
            body.unwrap_or(FunctionBodyPtr(std::ptr::null()))
        });
        let made = Made {
            adapters: Bodies::new(adapters),
            bodies,
            donors: std::mem::take(&mut state.donors),
            lazy: lazy.clone(),
            hot,
        };
        let info = Arc::new(info);
        let code = code(&ingested.skeleton, Arc::clone(&info), &kits, made);
        code.fits(&info)
            .map_err(|misfit| CompileError::unsupported(misfit.to_string()))?;
        Ok(Compiled {
            cranelift_bytes: state.cranelift_bytes,
            catches: state.handlers.any(),
            code,
        })
    }
}

/// What is there of the functions.
struct Made {
    bodies: Bodies,
    adapters: Bodies,
    donors: Vec<Arc<Loaded>>,
    lazy: Option<Arc<Lazy>>,
    hot: Option<Arc<Hot>>,
}

/// The functions of a valid module.
fn functions(ingested: &Ingested, tiers: &[BodyTier]) -> Result<Functions, CompileError> {
    let code = &ingested.code;
    let reader = BinaryReader::new(&ingested.bytes[code.clone()], code.start as u64);
    let bodies = CodeSectionReader::new(reader)?.into_iter().zip(tiers);
    let bodies = bodies.map(|(body, tier)| {
        let range = body?.range();
        Ok(Body {
            tier: *tier,
            range: range.start as u32..range.end as u32,
        })
    });
    Ok(Functions {
        skeleton: Arc::clone(&ingested.skeleton),
        bytes: Arc::clone(&ingested.bytes),
        bodies: bodies.collect::<Result<_, CompileError>>()?,
    })
}

/// Puts the pieces together.
fn code(skeleton: &Skeleton, info: Arc<ModuleInfo>, kits: &[Arc<Kit>], made: Made) -> Code {
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
        hidden_entries: (made.bodies.len() + made.adapters.len()) as u32,
        bodies: made.bodies,
        adapters: made.adapters,
        adapter_signatures: (0..skeleton.adapter_count())
            .map(|number| {
                let ty = skeleton.adapted(number).type_for(View::Callers, skeleton);
                VMSignatureHash::new(ty.signature_hash())
            })
            .collect(),
        call_trampolines: calls.into_boxed_slice(),
        dynamic_trampolines: dynamic.into_boxed_slice(),
        signatures: signatures.into_boxed_slice(),
        info,
        trampolines: trampolines.into(),
        _bodies: made.donors,
        lazy: made.lazy,
        hot: made.hot,
    }
}

fn trampolines(skeleton: &Skeleton) -> Result<Vec<Arc<Kit>>, CompileError> {
    let signatures = skeleton.signatures();
    kits(&signatures.map_err(|error| CompileError::unsupported(error.to_string()))?)
}

/// What is given back when a module is refused; dropped outside of the lock.
type Abandoned = (Vec<Checked>, Vec<Arc<Loaded>>);

impl State {
    fn is_idle(&self) -> bool {
        self.checking + self.compiling == 0 && self.checked.is_empty()
    }

    fn goes_on(&self) -> bool {
        !self.cancelled && self.error.is_none()
    }

    fn abandon(&mut self) -> Abandoned {
        self.bodies.clear();
        let checked = std::mem::take(&mut self.checked);
        (checked, std::mem::take(&mut self.donors))
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
    /// Whether functions of a module are compiled when they are called; `weight` is how many bytes of Singlepass its code is worth,
    /// as far as is known.
    fn is_lazy(&self, skeleton: &Skeleton, weight: u64) -> bool {
        let imports = skeleton.imported_function_types().len();
        let wanted = match self.mode {
            BaselineMode::Auto => weight >= SMALL && imports <= MANY_IMPORTS,
            BaselineMode::Lazy => true,
            BaselineMode::Eager => false,
        };
        wanted && stubs::STUBS
    }

    /// Whether those that are not called are compiled, too.
    fn is_swept(&self, weight: u64) -> bool {
        matches!(self.mode, BaselineMode::Auto) && weight < LARGE
    }

    /// Whether calls are counted: of a small module everything is optimized as soon.
    fn counts(&self, weight: u64) -> bool {
        match self.mode {
            BaselineMode::Auto => weight >= SMALL,
            BaselineMode::Lazy => true,
            BaselineMode::Eager => false,
        }
    }

    /// Checks a chunk, unless an error that was found before it is reported anyway.
    fn check(self: &Arc<Self>, chunk: Chunk, whole: bool) {
        let wanted = {
            let start = chunk.functions.first().map_or(0, |first| first.offset);
            let state = self.state.lock();
            let error = state.error.as_ref();
            !state.cancelled && error.is_none_or(|error| start < error.offset())
        };
        let result = wanted.then(|| attempt(|| check_chunk(chunk, whole)));
        let mut state = self.state.lock();
        state.checking -= 1;
        match result {
            Some(Err(error)) => {
                let abandoned = state.fail(error);
                self.tell(state, true);
                drop(abandoned);
            }
            Some(Ok(checked)) if state.goes_on() => {
                state.handlers = state.handlers.and(checked.handlers);
                if let Err(error) = state.handlers.check() {
                    let abandoned = state.fail(error);
                    self.tell(state, true);
                    drop(abandoned);
                    return;
                }
                if engine::SINGLEPASS {
                    state.cranelift_bytes += checked.cranelift_bytes;
                }
                for (function, tier) in checked.chunk.functions.iter().zip(&checked.tiers) {
                    state.tiers[function.local as usize] = *tier;
                }
                if self.streaming {
                    self.compile(state, vec![checked]);
                } else if self.is_lazy(&checked.chunk.skeleton, checked.chunk.code as u64) {
                    self.begin(state, &checked);
                } else {
                    state.checked.push(checked);
                    self.tell(state, false);
                }
            }
            _ => self.tell(state, false),
        }
    }

    /// Of a module whose functions are compiled when they are called, the trampolines are made.
    fn begin(self: &Arc<Self>, mut state: MutexGuard<'_, State>, first: &Checked) {
        if !matches!(state.trampolines, Trampolines::None) {
            self.tell(state, false);
            return;
        }
        state.trampolines = Trampolines::Making;
        state.compiling += 1;
        drop(state);
        self.make_trampolines(Arc::clone(&first.chunk.skeleton), first.whole);
    }

    fn make_trampolines(self: &Arc<Self>, skeleton: Arc<Skeleton>, here: bool) {
        self.run(
            here,
            |_| false,
            move |shared| {
                let kits = trampolines(&skeleton)?;
                shared.state.lock().trampolines = Trampolines::Made(kits);
                Ok(())
            },
        );
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
    fn compile(self: &Arc<Self>, mut state: MutexGuard<'_, State>, chunks: Vec<Checked>) {
        state.compiling += chunks.len();
        let first = chunks
            .first()
            .filter(|_| matches!(state.trampolines, Trampolines::None));
        let first = first.map(|first| (Arc::clone(&first.chunk.skeleton), first.whole));
        if first.is_some() {
            state.trampolines = Trampolines::Making;
            state.compiling += 1;
        }
        drop(state);
        self.changed.notify_all();
        if let Some((skeleton, whole)) = first {
            self.make_trampolines(skeleton, whole);
        }
        for chunk in chunks {
            let needless = |state: &State| state.enough;
            self.run(chunk.whole, needless, move |shared| {
                shared.compile_chunk(&chunk)
            });
        }
    }

    fn run(
        self: &Arc<Self>,
        here: bool,
        needless: impl FnOnce(&State) -> bool + Send + 'static,
        work: impl FnOnce(&Self) -> Result<(), CompileError> + Send + 'static,
    ) {
        let shared = Arc::clone(self);
        let task = move || {
            let wanted = {
                let state = shared.state.lock();
                state.goes_on() && !needless(&state)
            };
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

    fn compile_chunk(&self, checked: &Checked) -> Result<(), CompileError> {
        for tier in [BodyTier::Singlepass, BodyTier::Cranelift] {
            let chunk = &checked.chunk;
            let mut piece = Piece::new(&chunk.skeleton, tier);
            let functions = chunk.functions.iter().zip(&checked.tiers);
            for (function, _) in functions.filter(|(_, its)| **its == tier) {
                let body = &chunk.bytes[function.range.clone()];
                piece.add(function.local, body, function.offset)?;
            }
            if piece.is_empty() || !self.state.lock().goes_on() {
                continue;
            }
            let adapters = piece.adapters();
            let piece::Compiled { bodies, loaded } = piece.compile()?;
            let mut state = self.state.lock();
            if state.goes_on() {
                state.adapters.extend(adapters);
                for (local, body) in bodies {
                    state.bodies[local as usize] = Some(body);
                }
                state.donors.push(loaded);
            }
        }
        Ok(())
    }
}

/// Validates a chunk.
fn check_chunk(mut chunk: Chunk, whole: bool) -> Result<Checked, CompileError> {
    let (handlers, tiers) = chunk.check()?;
    let checked = chunk.functions.iter().zip(&tiers);
    let cranelift = checked.filter(|(_, tier)| **tier == BodyTier::Cranelift);
    let cranelift_bytes = cranelift.map(|(function, _)| function.range.len() as u64);
    Ok(Checked {
        cranelift_bytes: cranelift_bytes.sum(),
        chunk,
        whole,
        handlers,
        tiers,
    })
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
