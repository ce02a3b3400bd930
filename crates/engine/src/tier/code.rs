//! Code, and what keeps it mapped.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use wasmer_compiler::{Artifact, ArtifactCreate, Engine};
use wasmer_types::entity::BoxedSlice;
use wasmer_types::{FunctionIndex, LocalFunctionIndex, ModuleInfo, SignatureIndex, VMOffsets};
use wasmer_vm::{FunctionBodyPtr, VMSignatureHash, VMTrampoline};

use super::exit;
use super::positions::{Positions, Registration};
use crate::module::{Declaration, WholeOrigin};

/// Which compiler made the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Singlepass, or Cranelift without optimizations.
    Baseline,
    /// Cranelift at opt-level speed.
    Optimized,
}

/// Code in executable memory: the engine that owns it. The artifact that it came from has copies of the code and much else,
/// and is not kept.
///
/// Invariant: order of dropping. Another artifact may get the same addresses as soon as they are free.
pub struct Loaded {
    registration: Option<Registration>,
    engine: ManuallyDrop<Engine>,
    /// Of an artifact that came from the cache. While it is open, its lock shows that the artifact is mapped.
    _file: Option<Arc<File>>,
}

/// How many there are, and how many there were.
static LIVING: AtomicUsize = AtomicUsize::new(0);
static MADE: AtomicUsize = AtomicUsize::new(0);

/// Pieces of code in this process: those that are mapped, and all that ever were. What a compile took, and gave back, is seen
/// here.
pub fn pieces_of_code() -> (usize, usize) {
    (LIVING.load(Ordering::Relaxed), MADE.load(Ordering::Relaxed))
}

impl Drop for Loaded {
    fn drop(&mut self) {
        LIVING.fetch_sub(1, Ordering::Relaxed);
        drop(self.registration.take());
        exit::before(|| {
            // SAFETY: not used again; nothing else drops it.
            unsafe { ManuallyDrop::drop(&mut self.engine) };
        });
    }
}

impl Loaded {
    /// `engine` has the artifact's code. `positions` is of its own functions; `None` if it has none.
    pub(super) fn new(
        artifact: &Artifact,
        engine: Engine,
        positions: Option<Positions>,
        file: Option<Arc<File>>,
    ) -> Arc<Self> {
        exit::watch();
        LIVING.fetch_add(1, Ordering::Relaxed);
        MADE.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            registration: positions.and_then(|positions| Registration::new(artifact, positions)),
            engine: ManuallyDrop::new(engine),
            _file: file,
        })
    }
}

/// Everything an instance is made from.
///
/// All pointers stay valid as long as the value lives.
pub struct Code {
    /// Which compiler made the bodies.
    pub tier: Tier,
    /// Of the lowered module.
    pub info: Arc<ModuleInfo>,
    /// How many entries the hidden table needs: one a local function for baseline code, none for
    /// optimized code, which calls directly.
    pub hidden_entries: u32,
    /// One body a local function.
    pub bodies: BoxedSlice<LocalFunctionIndex, FunctionBodyPtr>,
    /// One a signature.
    pub call_trampolines: BoxedSlice<SignatureIndex, VMTrampoline>,
    /// One an imported function.
    pub dynamic_trampolines: BoxedSlice<FunctionIndex, FunctionBodyPtr>,
    /// One a signature.
    pub signatures: BoxedSlice<SignatureIndex, VMSignatureHash>,
    /// Own the trampolines; instances keep them for their whole life, because a swap leaves their
    /// trampolines in place.
    ///
    /// Invariant: trampolines are always Cranelift's. Both compilers take the slots' convention,
    /// so that no JavaScript entry can meet a trampoline that does not fit its body.
    pub trampolines: Arc<[Arc<Loaded>]>,
    pub(super) _bodies: Vec<Arc<Loaded>>,
}

// SAFETY: the raw pointers are addresses of immutable machine code that `trampolines` and
// `_bodies` keep mapped; nothing writes through them.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Sync for Code {}

/// Code that is not what a declaration needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the code does not fit the module: {what}, {found} in the place of {expected}")]
pub struct Misfit {
    what: &'static str,
    found: u64,
    expected: u64,
}

impl Misfit {
    fn check(what: &'static str, found: usize, expected: usize) -> Result<(), Self> {
        let (found, expected) = (found as u64, expected as u64);
        if found == expected {
            return Ok(());
        }
        Err(Self {
            what,
            found,
            expected,
        })
    }
}

impl Code {
    /// Whether instances of a module that was declared so can run the code: it has a body for each function and a
    /// trampoline for each signature and import, all of the same types, and its `VMContext` is laid out as theirs.
    ///
    /// # Errors
    /// What differs first.
    pub fn fits(&self, declared: &ModuleInfo) -> Result<(), Misfit> {
        let own = &*self.info;
        let check = Misfit::check;
        let imported = declared.num_imported_functions;
        check("functions", own.functions.len(), declared.functions.len())?;
        check("imported functions", own.num_imported_functions, imported)?;
        check(
            "bodies",
            self.bodies.len(),
            declared.functions.len() - imported,
        )?;
        let signatures = declared.signatures.len();
        check("signatures", own.signatures.len(), signatures)?;
        check("signatures' hashes", self.signatures.len(), signatures)?;
        check("call trampolines", self.call_trampolines.len(), signatures)?;
        check(
            "import trampolines",
            self.dynamic_trampolines.len(),
            imported,
        )?;
        check("imports", own.imports.len(), declared.imports.len())?;
        let types = own.functions.values().map(|index| &own.signatures[*index]);
        let theirs = declared.functions.values();
        let theirs = theirs.map(|index| &declared.signatures[*index]);
        let differing = types.zip(theirs).filter(|(one, other)| one != other);
        check("functions of other types", differing.count(), 0)?;
        let size = |info| VMOffsets::new(size_of::<usize>() as u8, info).size_of_vmctx() as usize;
        check("bytes of the VMContext", size(own), size(declared))
    }

    /// From now on its functions are known as those that are declared there.
    pub(super) fn belongs_to(&self, declaration: &Weak<Declaration>) {
        for registration in self
            ._bodies
            .iter()
            .filter_map(|loaded| loaded.registration.as_ref())
        {
            registration.belongs_to(declaration);
        }
    }

    /// The code of an artifact that holds the whole module, and came from `file` if that is given.
    pub(super) fn of_artifact(
        artifact: Artifact,
        engine: Engine,
        origin: WholeOrigin,
        file: Option<Arc<File>>,
    ) -> Self {
        let loaded = Loaded::new(&artifact, engine, Some(Positions::Whole(origin)), file);
        Self {
            tier: Tier::Optimized,
            info: artifact.create_module_info(),
            hidden_entries: 0,
            bodies: artifact.finished_functions().clone(),
            call_trampolines: artifact.finished_function_call_trampolines().clone(),
            dynamic_trampolines: artifact.finished_dynamic_function_trampolines().clone(),
            signatures: artifact.signatures().clone(),
            trampolines: Arc::new([Arc::clone(&loaded)]),
            _bodies: vec![loaded],
        }
    }
}
