//! Some of a module's functions, lowered and compiled together by the baseline tier.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmer_compiler::{Artifact, BaseTunables, Engine};
use wasmer_types::Type;
use wasmer_vm::FunctionBodyPtr;

use super::engine;
use super::loaded::Loaded;
use super::positions::Positions;
use super::thunks::Thunks;
use crate::error::CompileError;
use crate::module::{BodyTier, LoweredBody, Skeleton, Types, Undeclared, View, lower_body};
use crate::panics;

/// Cranelift takes so many times as long as Singlepass for the same bytes.
pub(super) const CRANELIFT: usize = 8;

/// How many bytes for Singlepass take as long as so many of a function's.
pub(super) fn weight(tier: BodyTier, bytes: usize) -> usize {
    match tier {
        BodyTier::Singlepass => bytes,
        BodyTier::Cranelift => bytes.saturating_mul(CRANELIFT),
    }
}

/// Functions of one compiler.
pub(super) struct Piece<'module> {
    skeleton: &'module Skeleton,
    tier: BodyTier,
    /// By the optimizing tier's compiler.
    is_optimizing: bool,
    types: Types,
    functions: Vec<Function<'module>>,
}

struct Function<'module> {
    number: u32,
    /// The valid function's body, and where it begins in the module.
    source: (&'module [u8], u64),
    /// As the donor names it.
    ty: u32,
    body: LoweredBody,
}

/// What became of a [`Piece`].
pub(super) struct Compiled {
    /// By the index among the module's own functions.
    pub(super) bodies: Vec<(u32, FunctionBodyPtr)>,
    pub(super) loaded: Arc<Loaded>,
}

impl<'module> Piece<'module> {
    pub(super) fn new(skeleton: &'module Skeleton, tier: BodyTier) -> Self {
        Self {
            skeleton,
            tier: if engine::SINGLEPASS {
                tier
            } else {
                BodyTier::Cranelift
            },
            is_optimizing: false,
            types: skeleton.no_types(0),
            functions: Vec::new(),
        }
    }

    /// For the optimizing tier's compiler.
    pub(super) fn optimizing(skeleton: &'module Skeleton) -> Self {
        Self {
            is_optimizing: true,
            ..Self::new(skeleton, BodyTier::Cranelift)
        }
    }

    /// Adds a valid function, whose body begins at `offset` of the module.
    pub(super) fn add(
        &mut self,
        local: u32,
        body: &'module [u8],
        offset: u64,
    ) -> Result<&LoweredBody, CompileError> {
        let skeleton = self.skeleton;
        let source = (body, offset);
        let body = lower_body(skeleton, &mut self.types, self.tier, local, body, offset)?;
        let ty = self.types.name(skeleton.local_type_index(local));
        let function = Function {
            number: local,
            source,
            ty,
            body,
        };
        Ok(&self.functions.push_mut(function).body)
    }

    /// Lowers its functions again, if they have to be in a donor that declares more of the imported functions.
    fn declare_imports(&mut self) -> Result<(), CompileError> {
        let Some(count) = self.types.too_few() else {
            return Ok(());
        };
        self.types = self.skeleton.no_types(count);
        for Function { number, source, .. } in std::mem::take(&mut self.functions) {
            self.add(number, source.0, source.1)?;
        }
        Ok(())
    }

    /// The adapters that its functions call.
    pub(super) fn adapters(&self) -> Vec<u32> {
        let called = self
            .functions
            .iter()
            .flat_map(|function| &function.body.adapters);
        called.copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// Compiles it. A compiler that panics must not take the process along.
    pub(super) fn compile(self) -> Result<Compiled, CompileError> {
        attempt(|| self.compile_or_panic())
    }

    fn compile_or_panic(mut self) -> Result<Compiled, CompileError> {
        self.declare_imports()?;
        let undeclared = self.skeleton.undeclared(&self.types);
        let is_replaced = Arc::new(AtomicBool::new(false));
        let engine = if self.is_optimizing {
            engine::optimizing_donors(undeclared)
        } else {
            engine(self.tier, undeclared, &is_replaced)
        };
        let bodies = self.functions.iter();
        let mut bodies = bodies.map(|function| (function.ty, function.body.bytes.as_slice()));
        let donor = self
            .skeleton
            .donor(self.tier == BodyTier::Singlepass, self.types, &mut bodies);
        let artifact = Artifact::new(&engine, &donor, &BaseTunables::new(), None)
            .map_err(|error| CompileError::unsupported(error.to_string()))?;
        let origins = self.functions.into_iter();
        let origins = origins.map(|function| (function.number, function.body.origin));
        let origins: Vec<_> = origins.collect();
        let bodies = artifact.finished_functions().values();
        let bodies = origins.iter().zip(bodies);
        let mut bodies: Vec<_> = bodies.map(|((local, _), body)| (*local, *body)).collect();
        if bodies.len() != origins.len() {
            return Err(CompileError::unsupported("a function has no code"));
        }
        let thunks = if self.tier == BodyTier::Singlepass && !is_replaced.load(Ordering::Relaxed) {
            thunks(self.skeleton, &mut bodies)?
        } else {
            None
        };
        let positions = Some(Positions::Donor(origins));
        let loaded = Loaded::with_thunks(&artifact, engine, positions, None, thunks);
        Ok(Compiled { bodies, loaded })
    }
}

/// Compiles adapters ([`Skeleton::adapter`]); their addresses, by their numbers.
pub(super) fn compile_adapters(
    skeleton: &Skeleton,
    numbers: &[u32],
) -> Result<Compiled, CompileError> {
    attempt(|| {
        let bodies = |declared: u32| {
            let mut types = skeleton.no_types(declared);
            let bodies = numbers.iter().map(|number| {
                let adapter = skeleton.adapted(*number);
                let body = adapter.body(skeleton, &mut types);
                let ty = types.name_other(adapter.type_for(View::Own, skeleton));
                (ty, body)
            });
            let bodies: Vec<_> = bodies.collect();
            (types, bodies)
        };
        let (mut types, mut all) = bodies(0);
        if let Some(count) = types.too_few() {
            (types, all) = bodies(count);
        }
        let engine = engine::cranelift_baseline(skeleton.undeclared(&types));
        let mut bodies = all.iter().map(|(ty, body)| (*ty, body.as_slice()));
        let donor = skeleton.donor(false, types, &mut bodies);
        let artifact = Artifact::new(&engine, &donor, &BaseTunables::new(), None)
            .map_err(|error| CompileError::unsupported(error.to_string()))?;
        let bodies = artifact.finished_functions().values().copied();
        let bodies = numbers.iter().copied().zip(bodies).collect();
        let loaded = Loaded::new(&artifact, engine, Some(Positions::Adapters), None);
        Ok(Compiled { bodies, loaded })
    })
}

/// Has Singlepass' functions be called through thunks that have floats among their parameters.
fn thunks(
    skeleton: &Skeleton,
    bodies: &mut [(u32, FunctionBodyPtr)],
) -> Result<Option<Thunks>, CompileError> {
    let with_floats = bodies.iter_mut().filter_map(|(local, body)| {
        let ty = skeleton.local_type_index(*local);
        // Most are, and have no floats.
        if skeleton.is_plain_type(ty) {
            return None;
        }
        let (parameters, _) = skeleton.values(ty);
        let is_float = |ty: &Type| matches!(ty, Type::F32 | Type::F64);
        parameters
            .iter()
            .any(is_float)
            .then_some((parameters, body))
    });
    let (parameters, with_floats): (Vec<_>, Vec<_>) = with_floats.unzip();
    if with_floats.is_empty() {
        return Ok(None);
    }
    let functions = parameters.into_iter().zip(&with_floats);
    let functions: Vec<_> = functions.map(|(ty, body)| (ty, **body)).collect();
    let thunks = Thunks::new(&functions)
        .ok_or_else(|| CompileError::unsupported("there is no memory for thunks"))?;
    for (body, thunk) in with_floats.into_iter().zip(thunks.bodies()) {
        *body = thunk;
    }
    Ok(Some(thunks))
}

fn engine(tier: BodyTier, undeclared: Undeclared, is_replaced: &Arc<AtomicBool>) -> Engine {
    #[cfg(feature = "singlepass")]
    if tier == BodyTier::Singlepass {
        return engine::singlepass(undeclared, Arc::clone(is_replaced));
    }
    let _ = (tier, is_replaced);
    engine::cranelift_baseline(undeclared)
}

/// A panicking compiler must not take the process along.
pub(super) fn attempt<R>(
    work: impl FnOnce() -> Result<R, CompileError>,
) -> Result<R, CompileError> {
    panics::catch("a compiler", work)
        .unwrap_or_else(|panicked| Err(CompileError::unsupported(panicked.to_string())))
}
