//! Some of a module's functions, lowered and compiled together by the baseline tier.

use std::sync::Arc;

use wasmer_compiler::{Artifact, BaseTunables, Engine};
use wasmer_vm::FunctionBodyPtr;

use super::engine;
use super::loaded::Loaded;
use super::positions::Positions;
use crate::error::CompileError;
use crate::module::{BodyTier, Globals, LoweredBody, Skeleton, Types, View, lower_body};
use crate::panics;

/// Cranelift takes so many times as long as Singlepass for the same bytes.
pub(super) const CRANELIFT: usize = 8;

/// The trampoline of an imported function, which compilers make whenever they compile something, takes as long as so many bytes.
pub(super) const TRAMPOLINE: usize = 16;

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
    functions: Vec<Function>,
}

struct Function {
    number: u32,
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
            types: skeleton.no_types(),
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
        body: &[u8],
        offset: u64,
    ) -> Result<&LoweredBody, CompileError> {
        let skeleton = self.skeleton;
        let body = lower_body(skeleton, &mut self.types, self.tier, local, body, offset)?;
        let ty = self.types.name(skeleton.local_type_index(local));
        let function = Function {
            number: local,
            ty,
            body,
        };
        Ok(&self.functions.push_mut(function).body)
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

    fn compile_or_panic(self) -> Result<Compiled, CompileError> {
        let globals = self.skeleton.globals();
        let engine = if self.is_optimizing {
            engine::optimizing_donors(globals)
        } else {
            engine(self.tier, globals)
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
        let bodies: Vec<_> = bodies.map(|((local, _), body)| (*local, *body)).collect();
        if bodies.len() != origins.len() {
            return Err(CompileError::unsupported("a function has no code"));
        }
        let loaded = Loaded::new(&artifact, engine, Some(Positions::Donor(origins)), None);
        Ok(Compiled { bodies, loaded })
    }
}

/// Compiles adapters ([`Skeleton::adapter`]); their addresses, by their numbers.
pub(super) fn compile_adapters(
    skeleton: &Skeleton,
    numbers: &[u32],
) -> Result<Compiled, CompileError> {
    attempt(|| {
        let mut types = skeleton.no_types();
        let bodies = numbers.iter().map(|number| {
            let adapter = skeleton.adapted(*number);
            let body = adapter.body(skeleton, &mut types);
            (
                types.name_other(adapter.type_for(View::Own, skeleton)),
                body,
            )
        });
        let bodies: Vec<_> = bodies.collect();
        let mut bodies = bodies.iter().map(|(ty, body)| (*ty, body.as_slice()));
        let donor = skeleton.donor(false, types, &mut bodies);
        let engine = engine::cranelift_baseline(skeleton.globals());
        let artifact = Artifact::new(&engine, &donor, &BaseTunables::new(), None)
            .map_err(|error| CompileError::unsupported(error.to_string()))?;
        let bodies = artifact.finished_functions().values().copied();
        let bodies = numbers.iter().copied().zip(bodies).collect();
        let loaded = Loaded::new(&artifact, engine, Some(Positions::Adapters), None);
        Ok(Compiled { bodies, loaded })
    })
}

fn engine(tier: BodyTier, globals: &Globals) -> Engine {
    #[cfg(feature = "singlepass")]
    if tier == BodyTier::Singlepass {
        return engine::singlepass(globals);
    }
    let _ = tier;
    engine::cranelift_baseline(globals)
}

/// A panicking compiler must not take the process along.
pub(super) fn attempt<R>(
    work: impl FnOnce() -> Result<R, CompileError>,
) -> Result<R, CompileError> {
    panics::catch("a compiler", work)
        .unwrap_or_else(|panicked| Err(CompileError::unsupported(panicked.to_string())))
}
