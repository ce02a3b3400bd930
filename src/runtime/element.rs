//! Active element segments that read globals: see `module/element.rs`.

use std::ptr::NonNull;

use wasmer_types::entity::EntityRef;
use wasmer_types::{ExportIndex, FunctionIndex, GlobalIndex, RawValue, TableIndex, TrapCode, Type};
use wasmer_vm::{
    InternalStoreHandle, TableElement, Trap, VMExtern, VMExternRef, VMFuncRef, VMFunction,
    VMInstance,
};

use super::group::Group;
use crate::module::{ActiveElements, ElementItem};
use crate::tier::Slots;

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
            let offset = segment
                .offset
                // SAFETY: validated: an i32 global.
                .evaluate(|index| unsafe { self.global_value(instance, index).i32 })
                .ok_or_else(out_of_bounds)?;
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
                    // SAFETY: an externref is an opaque index of ours, which wasmer never follows.
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
