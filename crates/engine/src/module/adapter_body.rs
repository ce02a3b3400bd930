//! The code of adapters, and its types.
//!
//! Singlepass knows no exnref. wasmer's are numbers of 32 bits, which both compilers pass as they pass an i32, and 0 is null: so
//! what is an exnref in an adapter's code is an i32 for its callers ([`Adapter::type_for`]).
//!
//! Invariant: an i32 that is an exnref comes from an adapter, and goes to one, or to a local that nothing else uses; so what
//! looks for exnrefs on stacks finds it there, as it finds Cranelift's.

use wasm_encoder::{AbstractHeapType, BlockType, Catch, Encode, HeapType, Instruction};
use wasmer_types::{FunctionType, Type};

use super::adapter::Adapter;
use super::legacy::single;
use super::signature::{as_integers, encoded};
use super::skeleton::Skeleton;
use super::types::Types;

/// Who looks at an adapter's type.
#[derive(Clone, Copy)]
pub enum View {
    /// What Singlepass has compiled and calls it.
    Callers,
    /// The adapter itself.
    Own,
}

/// A value as wide as it can be: both compilers pass one of these and an i32 as results alike ([`super::is_plain`]).
fn wide(ty: Type) -> Type {
    match ty {
        Type::I32 | Type::I64 | Type::F32 | Type::F64 => Type::I64,
        reference => reference,
    }
}

impl Adapter {
    /// Its type, as it is to `view`.
    pub fn type_for(self, view: View, skeleton: &Skeleton) -> FunctionType {
        let exception = match view {
            View::Callers => Type::I32,
            View::Own => Type::ExceptionRef,
        };
        let caught = |ty| {
            let (parameters, results) = skeleton.values(ty);
            let mut results: Vec<_> = results.into_iter().map(wide).collect();
            results.push(exception);
            (as_integers(&parameters), results)
        };
        let (parameters, results) = match self {
            Self::Floats { ty, .. } => {
                let (parameters, results) = skeleton.values(ty);
                let mut parameters = as_integers(&parameters);
                parameters.push(Type::I32);
                (parameters, as_integers(&results))
            }
            Self::FloatsImport { function } => {
                let (parameters, results) = skeleton.values(skeleton.function_type_index(function));
                (as_integers(&parameters), as_integers(&results))
            }
            Self::Catches { ty, .. } => {
                let (mut parameters, results) = caught(ty);
                parameters.push(Type::I32);
                (parameters, results)
            }
            Self::CatchesImport { function } => caught(skeleton.function_type_index(function)),
            Self::Makes { tag } => {
                let (carried, _) = skeleton.values(skeleton.tag_type_index(tag));
                (as_integers(&carried), vec![exception])
            }
            Self::Matches { tag } => {
                let (carried, _) = skeleton.values(skeleton.tag_type_index(tag));
                let carried = carried.into_iter().map(wide);
                (vec![exception], carried.chain([Type::I32]).collect())
            }
            Self::Throws => (vec![exception], Vec::new()),
        };
        FunctionType::new(parameters, results)
    }

    /// Its body: locals and operators, without the size.
    pub fn body(self, skeleton: &Skeleton, types: &mut Types) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Self::Floats { ty, table } => {
                // No locals.
                body.push(0);
                let (parameters, results) = skeleton.values(ty);
                arguments(&parameters, &mut body);
                Instruction::LocalGet(parameters.len() as u32).encode(&mut body);
                through(ty, table, types).encode(&mut body);
                integers(&results, &mut body);
            }
            Self::FloatsImport { function } => {
                body.push(0);
                let (parameters, results) = skeleton.values(skeleton.function_type_index(function));
                types.call_import(function);
                arguments(&parameters, &mut body);
                Instruction::Call(function).encode(&mut body);
                integers(&results, &mut body);
            }
            Self::Catches { ty, table } => {
                let (parameters, results) = skeleton.values(ty);
                let place = parameters.len() as u32;
                catching(place + 1, &results, &mut body, |body| {
                    arguments(&parameters, body);
                    Instruction::LocalGet(place).encode(body);
                    through(ty, table, types).encode(body);
                });
            }
            Self::CatchesImport { function } => {
                let (parameters, results) = skeleton.values(skeleton.function_type_index(function));
                types.call_import(function);
                catching(parameters.len() as u32, &results, &mut body, |body| {
                    arguments(&parameters, body);
                    Instruction::Call(function).encode(body);
                });
            }
            Self::Makes { tag } => {
                let (carried, _) = skeleton.values(skeleton.tag_type_index(tag));
                body.push(0);
                let all = Catch::AllRef { label: 0 };
                Instruction::Block(single(Type::ExceptionRef)).encode(&mut body);
                Instruction::TryTable(BlockType::Empty, [all][..].into()).encode(&mut body);
                arguments(&carried, &mut body);
                Instruction::Throw(tag).encode(&mut body);
                Instruction::End.encode(&mut body);
                Instruction::Unreachable.encode(&mut body);
                Instruction::End.encode(&mut body);
            }
            Self::Matches { tag } => matching(tag, skeleton, &mut body),
            Self::Throws => {
                body.push(0);
                Instruction::LocalGet(0).encode(&mut body);
                Instruction::ThrowRef.encode(&mut body);
            }
        }
        Instruction::End.encode(&mut body);
        body
    }
}

/// What `call` leaves, and null; or nothing, and the exception. `parameters` are the adapter's own.
fn catching(
    parameters: u32,
    results: &[Type],
    body: &mut Vec<u8>,
    call: impl FnOnce(&mut Vec<u8>),
) {
    let exception = Type::ExceptionRef;
    let ty = results.first().map_or(BlockType::Empty, |ty| single(*ty));
    // One local.
    body.extend([1, 1]);
    encoded(exception).encode(body);
    Instruction::Block(single(exception)).encode(body);
    Instruction::TryTable(ty, [Catch::AllRef { label: 0 }][..].into()).encode(body);
    call(body);
    Instruction::End.encode(body);
    for ty in results {
        widen(*ty, body);
    }
    Instruction::RefNull(HeapType::Abstract {
        shared: false,
        ty: AbstractHeapType::Exn,
    })
    .encode(body);
    Instruction::Return.encode(body);
    Instruction::End.encode(body);
    Instruction::LocalSet(parameters).encode(body);
    for ty in results {
        nothing(*ty, body);
    }
    Instruction::LocalGet(parameters).encode(body);
}

/// What the exception carries, and 1; or nothing, and 0.
fn matching(tag: u32, skeleton: &Skeleton, body: &mut Vec<u8>) {
    let (carried, _) = skeleton.values(skeleton.tag_type_index(tag));
    let ty = carried.first().map_or(BlockType::Empty, |ty| single(*ty));
    let clauses = [Catch::One { tag, label: 0 }, Catch::All { label: 1 }];
    body.push(0);
    Instruction::Block(BlockType::Empty).encode(body);
    Instruction::Block(ty).encode(body);
    Instruction::TryTable(BlockType::Empty, clauses[..].into()).encode(body);
    Instruction::LocalGet(0).encode(body);
    Instruction::ThrowRef.encode(body);
    Instruction::End.encode(body);
    Instruction::Unreachable.encode(body);
    Instruction::End.encode(body);
    for ty in &carried {
        widen(*ty, body);
    }
    Instruction::I32Const(1).encode(body);
    Instruction::Return.encode(body);
    Instruction::End.encode(body);
    for ty in &carried {
        nothing(*ty, body);
    }
    Instruction::I32Const(0).encode(body);
}

fn through(ty: u32, table_index: u32, types: &mut Types) -> Instruction<'static> {
    Instruction::CallIndirect {
        type_index: types.name(ty),
        table_index: types.table(table_index),
    }
}

/// The adapter's parameters, as what it calls takes them.
fn arguments(parameters: &[Type], body: &mut Vec<u8>) {
    for (index, ty) in (0..).zip(parameters) {
        Instruction::LocalGet(index).encode(body);
        if let Some((_, back)) = as_integer(*ty) {
            back.encode(body);
        }
    }
}

/// What was called gave these: as the adapter's callers take them.
fn integers(results: &[Type], body: &mut Vec<u8>) {
    for ty in results {
        if let Some((to, _)) = as_integer(*ty) {
            to.encode(body);
        }
    }
}

/// The integer with the bits of a float; how it becomes one, and how it becomes the float again.
pub(super) fn as_integer(ty: Type) -> Option<(Instruction<'static>, Instruction<'static>)> {
    match ty {
        Type::F32 => Some((
            Instruction::I32ReinterpretF32,
            Instruction::F32ReinterpretI32,
        )),
        Type::F64 => Some((
            Instruction::I64ReinterpretF64,
            Instruction::F64ReinterpretI64,
        )),
        _ => None,
    }
}

fn widen(ty: Type, body: &mut Vec<u8>) {
    if let Some((to, _)) = as_integer(ty) {
        to.encode(body);
    }
    if matches!(ty, Type::I32 | Type::F32) {
        Instruction::I64ExtendI32U.encode(body);
    }
}

/// The inverse of [`widen`].
pub(super) fn narrow(ty: Type, body: &mut Vec<u8>) {
    if matches!(ty, Type::I32 | Type::F32) {
        Instruction::I32WrapI64.encode(body);
    }
    if let Some((_, back)) = as_integer(ty) {
        back.encode(body);
    }
}

/// What is there in the place of a value that there is not.
fn nothing(ty: Type, body: &mut Vec<u8>) {
    match wide(ty) {
        Type::FuncRef => Instruction::RefNull(HeapType::FUNC).encode(body),
        Type::ExternRef => Instruction::RefNull(HeapType::EXTERN).encode(body),
        _ => Instruction::I64Const(0).encode(body),
    }
}
