//! Code, and what keeps it mapped.

use std::fs::File;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Weak};

use wasmer_compiler::{Artifact, ArtifactCreate, Engine};
use wasmer_types::entity::{BoxedSlice, PrimaryMap};
use wasmer_types::{FunctionIndex, LocalFunctionIndex, ModuleInfo, SignatureIndex, VMOffsets};
use wasmer_vm::{FunctionBodyPtr, VMFunctionBody, VMSignatureHash, VMTrampoline};

use super::hot::Hot;
use super::lazy::Lazy;
use super::loaded::Loaded;
use super::positions::Positions;
use crate::module::{Declaration, WholeOrigin};

/// Which compiler made the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Singlepass, or Cranelift without optimizations.
    Baseline,
    /// Cranelift at opt-level speed.
    Optimized,
}

/// Everything an instance is made from.
///
/// All pointers stay valid as long as the value lives.
pub struct Code {
    /// Which compiler made the bodies.
    pub tier: Tier,
    /// Of the lowered module.
    pub info: Arc<ModuleInfo>,
    /// How many entries the hidden table needs: for baseline code one a local function, then one an adapter; none for
    /// optimized code, which calls directly.
    pub hidden_entries: u32,
    /// One a local function.
    pub bodies: Bodies,
    /// By their numbers ([`Skeleton::adapter`](crate::module::Skeleton::adapter)); none for optimized code. Null where nothing
    /// calls it.
    pub adapters: Bodies,
    /// Their signatures.
    pub adapter_signatures: Box<[VMSignatureHash]>,
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
    /// Where functions are compiled when they are called.
    pub(super) lazy: Option<Arc<Lazy>>,
    /// Where their calls are counted.
    pub(super) hot: Option<Arc<Hot>>,
}

/// The bodies that new instances get: those of a lazy baseline change.
pub struct Bodies(Box<[AtomicPtr<VMFunctionBody>]>);

impl Bodies {
    pub(super) fn new(bodies: impl IntoIterator<Item = FunctionBodyPtr>) -> Self {
        let bodies = bodies.into_iter();
        Self(
            bodies
                .map(|body| AtomicPtr::new(body.0.cast_mut()))
                .collect(),
        )
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the module defines no function.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The body of a local function.
    pub fn get(&self, local: u32) -> FunctionBodyPtr {
        FunctionBodyPtr(self.0[local as usize].load(Ordering::Acquire))
    }

    pub(super) fn set(&self, local: u32, body: FunctionBodyPtr) {
        self.0[local as usize].store(body.0.cast_mut(), Ordering::Release);
    }

    /// All of them.
    pub fn all(&self) -> BoxedSlice<LocalFunctionIndex, FunctionBodyPtr> {
        let bodies = (0..self.len() as u32).map(|local| self.get(local));
        bodies.collect::<PrimaryMap<_, _>>().into_boxed_slice()
    }
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
        // Behind the module's are those of blocks.
        let signatures = own.signatures.len();
        let missing = declared.signatures.len().saturating_sub(signatures);
        check("missing signatures", missing, 0)?;
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
        for loaded in &self._bodies {
            loaded.belongs_to(declaration);
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
            bodies: Bodies::new(artifact.finished_functions().values().copied()),
            call_trampolines: artifact.finished_function_call_trampolines().clone(),
            dynamic_trampolines: artifact.finished_dynamic_function_trampolines().clone(),
            signatures: artifact.signatures().clone(),
            trampolines: Arc::new([Arc::clone(&loaded)]),
            adapters: Bodies::new([]),
            adapter_signatures: Box::default(),
            _bodies: vec![loaded],
            lazy: None,
            hot: None,
        }
    }
}
