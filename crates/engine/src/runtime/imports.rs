//! The imports of an instance, as objects of its store.

use std::ptr::NonNull;
use std::sync::Arc;

use wasmer_types::{FunctionIndex, GlobalType, ImportIndex};
use wasmer_vm::{
    InternalStoreHandle, MaybeInstanceOwned, VMCallerCheckedAnyfunc, VMExtern, VMFunction,
    VMFunctionKind, VMGlobal, VMGlobalDefinition,
};

use super::callee::Callee;
use super::globals;
use super::group::Group;
use super::host::{HostFunction, host_data};
use super::memory::{GuestMemory, MemoryState};
use super::vacant::Holdings;
use crate::error::LinkError;
use crate::tier::Code;

/// One import, in the module's order.
pub enum Import {
    /// A host function.
    Function(Box<dyn Callee>),
    /// Address of the anyfunc of a function of the same group.
    Anyfunc(usize),
    /// A memory of the host's.
    Memory(Arc<MemoryState>),
    /// A table of the group, by id.
    Table(usize),
    /// Address of a global's definition, in any group.
    Global(usize),
    /// A tag of the group, by id.
    Tag(usize),
}

/// The parts of a store that an instance gets, and its host functions.
#[derive(Default)]
pub(super) struct Externs {
    pub(super) all: Vec<VMExtern>,
    pub(super) holdings: Holdings,
    #[expect(clippy::vec_box, reason = "compiled code holds the addresses")]
    pub(super) hosts: Vec<Box<HostFunction>>,
}

impl Group {
    /// Puts the imports into the store.
    pub(super) fn externs(
        &mut self,
        code: &Code,
        imports: Vec<Import>,
    ) -> Result<Externs, LinkError> {
        let info = &code.info;
        if imports.len() != info.imports.len() {
            return Err(LinkError::incompatible("an import is missing"));
        }
        let mut externs = Externs::default();
        for (import, (key, index)) in imports.into_iter().zip(&info.imports) {
            let external = match (import, index) {
                (Import::Function(callee), ImportIndex::Function(index)) => {
                    let (handle, host) = self.import_host_function(code, *index, callee);
                    externs.holdings.functions.push(handle);
                    externs.hosts.push(host);
                    VMExtern::Function(handle)
                }
                (Import::Anyfunc(address), ImportIndex::Function(_)) => {
                    let meta = self.function(address);
                    let meta =
                        meta.ok_or_else(|| LinkError::incompatible("a function of another group"))?;
                    let anyfunc = NonNull::new(address as *mut VMCallerCheckedAnyfunc)
                        .ok_or_else(|| LinkError::incompatible("a null function"))?;
                    let function = VMFunction {
                        anyfunc: MaybeInstanceOwned::Instance(anyfunc),
                        signature: meta.ty,
                        kind: VMFunctionKind::Static,
                        host_data: Box::new(()),
                    };
                    let handle = self.vacancies.functions.put(&mut self.objects, function);
                    externs.holdings.functions.push(handle);
                    VMExtern::Function(handle)
                }
                (Import::Memory(state), ImportIndex::Memory(index)) => {
                    let memory = GuestMemory::imported(state, info.memories[*index].maximum);
                    let handle = self.vacancies.memories.put(&mut self.objects, memory);
                    externs.holdings.memories.push(handle);
                    VMExtern::Memory(handle)
                }
                (Import::Table(id), ImportIndex::Table(_)) => {
                    let handle = self.table_handle(id);
                    VMExtern::Table(
                        handle.ok_or_else(|| LinkError::incompatible("an unknown table"))?,
                    )
                }
                (Import::Global(address), ImportIndex::Global(index)) => {
                    let ty = info.globals[*index].ty;
                    let definition = globals::global_at(address)
                        .and_then(|(definition, own)| (own == ty).then_some(definition))
                        .ok_or_else(|| LinkError::incompatible("an unknown global"))?;
                    // SAFETY: of a living group, which the importer keeps.
                    let global = unsafe { global_at(info.globals[*index], definition) };
                    let handle = self.vacancies.globals.put(&mut self.objects, global);
                    externs.holdings.globals.push(handle);
                    VMExtern::Global(handle)
                }
                (Import::Tag(id), ImportIndex::Tag(_)) => {
                    let handle = self.tags.get(id).copied();
                    VMExtern::Tag(handle.ok_or_else(|| LinkError::incompatible("an unknown tag"))?)
                }
                _ => {
                    let text = format!("\"{}\" \"{}\" is of the wrong kind", key.module, key.field);
                    return Err(LinkError::incompatible(text));
                }
            };
            externs.all.push(external);
        }
        Ok(externs)
    }

    fn import_host_function(
        &mut self,
        code: &Code,
        index: FunctionIndex,
        callee: Box<dyn Callee>,
    ) -> (InternalStoreHandle<VMFunction>, Box<HostFunction>) {
        let signature = code.info.functions[index];
        let ty = code.info.signatures[signature].clone();
        let mut host = HostFunction::new(callee);
        let anyfunc = VMCallerCheckedAnyfunc {
            // Set by `resolve_imports` to the dynamic trampoline.
            func_ptr: std::ptr::null(),
            type_signature_hash: code.signatures[signature],
            vmctx: host.context(),
            call_trampoline: code.call_trampolines[signature],
        };
        let function = VMFunction {
            anyfunc: MaybeInstanceOwned::Host(Box::new(anyfunc.into())),
            signature: ty,
            kind: VMFunctionKind::Dynamic,
            host_data: host_data(),
        };
        let handle = self.vacancies.functions.put(&mut self.objects, function);
        (handle, host)
    }
}

/// A store's view of a global that lives elsewhere.
///
/// # Safety
/// `definition` must be alive as long as the store.
unsafe fn global_at(ty: GlobalType, definition: NonNull<VMGlobalDefinition>) -> VMGlobal {
    // SAFETY: alive by the caller's promise.
    let value = unsafe { (*definition.as_ptr()).clone() };
    // SAFETY: as above. `new_instance` zeroes the definition,
    let global = unsafe { VMGlobal::new_instance(ty, definition) };
    // SAFETY: as above. so its value is put back.
    unsafe { definition.write(value) };
    global
}
