//! Trampolines for host functions that no module imports: a function of one link group in a table
//! of another.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use wasm_encoder::{EntityType, ImportSection, Module as Encoder, TypeSection, ValType};
use wasmer_compiler::{Artifact, BaseTunables};
use wasmer_types::entity::EntityRef;
use wasmer_types::{FunctionIndex, FunctionType, SignatureIndex, Type};
use wasmer_vm::{VMFunctionBody, VMSignatureHash, VMTrampoline};

use super::code::Loaded;
use super::engine;
use crate::error::CompileError;

/// The trampolines of one signature.
pub struct Kit(Arc<Loaded>);

impl Kit {
    /// From compiled code into a host function.
    pub fn dynamic_trampoline(&self) -> *const VMFunctionBody {
        self.0.artifact.finished_dynamic_function_trampolines()[FunctionIndex::new(0)].0
    }

    /// From the host into a function.
    pub fn call_trampoline(&self) -> VMTrampoline {
        self.0.artifact.finished_function_call_trampolines()[SignatureIndex::new(0)]
    }

    /// What `call_indirect` compares.
    pub fn signature(&self) -> VMSignatureHash {
        self.0.artifact.signatures()[SignatureIndex::new(0)]
    }
}

/// The kit of a signature; made once in the process.
///
/// # Errors
/// The signature cannot be compiled.
pub fn kit(ty: &FunctionType) -> Result<Arc<Kit>, CompileError> {
    static KITS: LazyLock<Mutex<HashMap<FunctionType, Arc<Kit>>>> = LazyLock::new(Mutex::default);
    let mut kits = KITS.lock();
    if let Some(kit) = kits.get(ty) {
        return Ok(Arc::clone(kit));
    }
    let engine = engine::cranelift_baseline();
    let artifact = Artifact::new(&engine, &importer(ty), &BaseTunables::new(), None)
        .map_err(|error| CompileError::unsupported(error.to_string()))?;
    let kit = Arc::new(Kit(Loaded::new(artifact, engine, None, None)));
    kits.insert(ty.clone(), Arc::clone(&kit));
    Ok(kit)
}

/// A module that imports one function of the signature.
fn importer(ty: &FunctionType) -> Vec<u8> {
    let values = |types: &[Type]| types.iter().map(|ty| value(*ty)).collect::<Vec<_>>();
    let mut types = TypeSection::new();
    types
        .ty()
        .function(values(ty.params()), values(ty.results()));
    let mut imports = ImportSection::new();
    imports.import("", "", EntityType::Function(0));
    let mut module = Encoder::new();
    module.section(&types).section(&imports);
    module.finish()
}

fn value(ty: Type) -> ValType {
    match ty {
        Type::I32 => ValType::I32,
        Type::I64 => ValType::I64,
        Type::F32 => ValType::F32,
        Type::F64 => ValType::F64,
        Type::V128 => ValType::V128,
        Type::ExternRef => ValType::EXTERNREF,
        Type::FuncRef => ValType::FUNCREF,
        Type::ExceptionRef => ValType::EXNREF,
    }
}
