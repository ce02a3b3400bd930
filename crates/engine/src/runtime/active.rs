//! Active segments that an instance writes when it is made: those of data, and those of elements
//! that wasmer has no initializers for (`module/element.rs`).
//!
//! Not wasmer's own initializers of memories: they take an offset of 2 GiB for a negative one.

use std::ptr::NonNull;

use wasmer_types::entity::EntityRef;
use wasmer_types::{
    ExportIndex, FunctionIndex, GlobalIndex, MemoryIndex, RawValue, TableIndex, TrapCode, Type,
};
use wasmer_vm::{
    InternalStoreHandle, LinearMemory, TableElement, Trap, VMExtern, VMExternRef, VMFuncRef,
    VMFunction, VMInstance,
};

use super::group::Group;
use crate::module::{ActiveElements, ActiveSegment, ElementItem, Offset};
use crate::tier::Slots;

/// An active data segment that its memory has no room for, in V8's words.
#[derive(Debug, thiserror::Error)]
#[error(
    "data segment {index} is out of bounds (offset {offset}, length {length}, memory size {memory})"
)]
pub struct OutOfBounds {
    index: u32,
    offset: u32,
    length: usize,
    memory: usize,
}

fn out_of_bounds() -> Trap {
    Trap::lib(TrapCode::TableAccessOutOfBounds)
}

impl Group {
    /// Writes the segments into the tables of a new instance, in order (core, 4.5.4, step 22).
    /// `imported` are the functions it imports.
    pub(super) fn initialize_tables(
        &mut self,
        instance: &mut VMInstance,
        segments: &[ActiveElements],
        slots: Slots,
        imported: &[InternalStoreHandle<VMFunction>],
    ) -> Result<(), Trap> {
        for segment in segments {
            let offset = self.offset(instance, &segment.offset);
            let index = ExportIndex::Table(TableIndex::from_u32(segment.table));
            let VMExtern::Table(table) = instance.lookup_by_declaration(index) else {
                return Err(out_of_bounds());
            };
            let (size, ty) = {
                let table = table.get(&self.objects);
                (table.size(), table.ty().ty)
            };
            let end = u64::from(offset) + segment.items.len() as u64;
            if end > u64::from(size) {
                return Err(out_of_bounds());
            }
            for (at, item) in (offset..).zip(&segment.items) {
                let value = match *item {
                    ElementItem::Null => RawValue::default(),
                    ElementItem::Function(index) => RawValue {
                        funcref: self.address_of(index, slots, imported),
                    },
                    ElementItem::Global(index) => {
                        self.global_value(instance, GlobalIndex::from_u32(index))
                    }
                };
                let element = if ty == Type::ExternRef {
                    // SAFETY: an externref is a word of ours, which wasmer never follows.
                    TableElement::ExternRef(unsafe { VMExternRef::from_raw(value) })
                } else {
                    // SAFETY: a function reference, because the module was validated.
                    let anyfunc = NonNull::new(unsafe { value.funcref } as *mut _);
                    TableElement::FuncRef(anyfunc.map(VMFuncRef))
                };
                table.get_mut(&mut self.objects).set(at, element)?;
            }
        }
        Ok(())
    }

    /// Copies the segments into the memories of a new instance, in order (core, 4.5.4, step 23).
    pub(super) fn initialize_memories(
        &mut self,
        instance: &mut VMInstance,
        segments: &[(&ActiveSegment, &[u8])],
    ) -> Result<(), OutOfBounds> {
        for (segment, data) in segments {
            let offset = self.offset(instance, &segment.offset);
            let index = ExportIndex::Memory(MemoryIndex::from_u32(segment.memory));
            let VMExtern::Memory(memory) = instance.lookup_by_declaration(index) else {
                unreachable!("a memory's declaration is a memory");
            };
            let memory = memory.get(&self.objects);
            // SAFETY: the definition lives as long as the memory, which the store holds.
            let definition = unsafe { memory.vmmemory().as_ref() };
            let outside = OutOfBounds {
                index: segment.index,
                offset,
                length: data.len(),
                memory: definition.current_length,
            };
            let end = u64::from(offset) + data.len() as u64;
            if end > definition.current_length as u64 {
                return Err(outside);
            }
            // SAFETY: in bounds, as was just seen, and memories never shrink.
            let copied = unsafe { memory.initialize_with_data(offset as usize, data) };
            copied.map_err(|_| outside)?;
        }
        Ok(())
    }

    /// Every offset was evaluated when the module was compiled, and found to have a value.
    fn offset(&self, instance: &mut VMInstance, offset: &Offset) -> u32 {
        // SAFETY: an i32 global, because the module was validated.
        let value = offset.evaluate(|index| unsafe { self.global_value(instance, index).i32 });
        value.expect("constant expressions of i32 have a value")
    }

    fn global_value(&self, instance: &mut VMInstance, index: GlobalIndex) -> RawValue {
        match instance.lookup_by_declaration(ExportIndex::Global(index)) {
            VMExtern::Global(handle) => {
                let definition = handle.get(&self.objects).vmglobal();
                // SAFETY: lives in the instance or in a group that it keeps.
                unsafe { (*definition.as_ptr()).val }
            }
            _ => unreachable!("a global's declaration is a global"),
        }
    }

    fn address_of(
        &self,
        function: u32,
        slots: Slots,
        imported: &[InternalStoreHandle<VMFunction>],
    ) -> usize {
        let function = FunctionIndex::from_u32(function).index();
        match imported.get(function) {
            Some(handle) => self.anyfunc_of(*handle).as_ptr() as usize,
            // SAFETY: below the slots' count, because the module was validated.
            None => unsafe { slots.base.add(function - imported.len()) as usize },
        }
    }
}
