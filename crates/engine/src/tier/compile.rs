//! From bytes to a module: the registry, the cache, the baseline; then the optimizing tier in the background.

use std::sync::Arc;

use super::baseline::Baseline;
use super::loading::LoadedEntry;
use super::module::Module;
use super::options::CompileOptions;
use super::registry::{self, Building, Entered};
use super::remote::{self, Asking};
use super::{loading, optimizing, storage};
use crate::error::CompileError;
use crate::module::{Declaration, Ingested};
use crate::stream::{Ingest, Refused, explain};
use crate::trace::Span;

/// Compiles bytes that are all there; returns when the module is ready to be instantiated.
///
/// # Errors
/// The module is invalid or cannot be compiled.
pub fn compile_bytes(bytes: Vec<u8>, options: &CompileOptions) -> Result<Arc<Module>, Refused> {
    compile_bytes_noting(bytes, options, || ())
}

/// As [`compile_bytes`]; `missed` is called on this thread, before anything is compiled.
///
/// # Errors
/// As there.
pub fn compile_bytes_noting(
    bytes: Vec<u8>,
    options: &CompileOptions,
    missed: impl FnOnce(),
) -> Result<Arc<Module>, Refused> {
    let hash = *blake3::hash(&bytes).as_bytes();
    match seek(hash, bytes.len() as u64, options, Span::start()) {
        Ok(Sought::Found(module)) => {
            keep_wire(&module, options, || Arc::new(bytes));
            Ok(module)
        }
        Ok(Sought::Missing(making)) => {
            missed();
            making.whole(bytes, options)
        }
        Err(error) => Err(Refused {
            error,
            bytes: Arc::new(bytes),
        }),
    }
}

/// The answer of [`seek`].
pub(super) enum Sought {
    /// It is there.
    Found(Arc<Module>),
    /// The caller makes it, and others wait for that; or drops this.
    Missing(Making),
}

/// Looks for a module in this process, and in the cache.
///
/// # Errors
/// It is not there, and may not be compiled.
pub(super) fn seek(
    hash: [u8; 32],
    size: u64,
    options: &CompileOptions,
    span: Span,
) -> Result<Sought, CompileError> {
    let key = storage::key(&hash, &options.partition);
    let building = match registry::enter(key, size, options) {
        Entered::Shared(module) => {
            announce(&module, options, &span);
            return Ok(Sought::Found(module));
        }
        Entered::Build(building) => building,
    };
    if let Some(module) = loading::load(&key, hash, size, options) {
        building.done(&module);
        announce(&module, options, &span);
        return Ok(Sought::Found(module));
    }
    if let Some(forbidden) = storage::forbidden(size, options) {
        return Err(CompileError::NotCached(forbidden));
    }
    Ok(Sought::Missing(Making {
        hash,
        building,
        span,
        asking: remote::ask(key, hash, size, options),
    }))
}

/// A module that is in neither.
pub(super) struct Making {
    hash: [u8; 32],
    building: Building,
    span: Span,
    /// What of the machines that share a cache.
    asking: Asking,
}

impl Making {
    /// Makes it of bytes that are all there.
    pub(super) fn whole(
        self,
        bytes: Vec<u8>,
        options: &CompileOptions,
    ) -> Result<Arc<Module>, Refused> {
        let began = self.span.clone();
        if let Asking::Asked(asked) = &self.asking {
            asked.wait_while_near();
        }
        if let Some(loaded) = self.arrived() {
            return Ok(self.loaded(loaded, &Arc::new(bytes), options));
        }
        if let Asking::Asked(asked) = &self.asking {
            asked.begin_without();
        }
        let baseline = Baseline::whole(options.baseline);
        let ingested = Ingest::whole(bytes, &mut |chunk| baseline.submit(chunk));
        self.finish(baseline, ingested, options, &began)
    }

    /// Makes it of what was ingested since `began`, of which `baseline` was given all chunks.
    pub(super) fn finish(
        self,
        baseline: Baseline,
        ingested: Result<Ingested, Refused>,
        options: &CompileOptions,
        began: &Span,
    ) -> Result<Arc<Module>, Refused> {
        let mut ingested = match ingested {
            Ok(ingested) => ingested,
            // A function that comes earlier in the module is the error to report.
            Err(Refused { error, bytes }) => return Err(refuse(baseline.refuse(error), bytes)),
        };
        if let Some(loaded) = self.arrived() {
            baseline.cancel();
            return Ok(self.loaded(loaded, &ingested.bytes, options));
        }
        let compiled = match baseline.finish(&ingested, options.optimize) {
            Ok(compiled) => compiled,
            Err(error) => return Err(refuse(error, ingested.bytes)),
        };
        let info = Arc::clone(&compiled.code.info);
        let declaration = Declaration::new(self.hash, info, &mut ingested, compiled.catches);
        let module = Module::new(declaration, compiled.code);
        keep_wire(&module, options, || Arc::clone(&ingested.bytes));
        module.listeners.add(&options.events);
        let mut fields = options.fields(&self.hash, module.declaration.size);
        fields.push(("craneliftBytes", compiled.cranelift_bytes.into()));
        module.listeners.emit(&began.event("baselineReady", fields));
        if options.optimize {
            optimizing::schedule(&module, ingested, options.clone(), self.asking);
        } else {
            let reason = "the optimizing tier was not asked for (optimize: false)";
            module.settle(Err(reason.to_owned()));
        }
        self.building.done(&module);
        announce(&module, options, &self.span);
        Ok(module)
    }

    /// What has come of the machines that share a cache.
    fn arrived(&self) -> Option<LoadedEntry> {
        match &self.asking {
            Asking::Asked(asked) => asked.arrived(),
            Asking::Not | Asking::Elsewhere => None,
        }
    }

    fn loaded(
        self,
        loaded: LoadedEntry,
        bytes: &Arc<Vec<u8>>,
        options: &CompileOptions,
    ) -> Arc<Module> {
        let module = Module::new(loaded.declaration, loaded.code);
        keep_wire(&module, options, || Arc::clone(bytes));
        self.building.done(&module);
        announce(&module, options, &self.span);
        module
    }
}

fn refuse(error: CompileError, bytes: Arc<Vec<u8>>) -> Refused {
    Refused {
        error: explain(error, &bytes),
        bytes,
    }
}

/// The module is ready to be instantiated.
fn announce(module: &Module, options: &CompileOptions, span: &Span) {
    module.listeners.add(&options.events);
    let Declaration { hash, size, .. } = &*module.declaration;
    let fields = options.fields(hash, *size);
    options.events.emit(span.event("compiledModule", fields));
}

/// Another engine may have to take over when the module is linked: it then needs the bytes.
pub(super) fn wants_wire(module: &Module, options: &CompileOptions) -> bool {
    let declaration = &module.declaration;
    options.fallback
        && declaration.imports_state()
        && !storage::must_be_cached(declaration.size, options.min_size)
}

/// Keeps the bytes for that.
pub(super) fn keep_wire(
    module: &Module,
    options: &CompileOptions,
    bytes: impl FnOnce() -> Arc<Vec<u8>>,
) {
    if wants_wire(module, options) {
        module.wire.get_or_init(bytes);
    }
}
