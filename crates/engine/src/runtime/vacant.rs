//! What stands in a store's lists where something was freed, until its place is used again.
//!
//! wasmer's store only grows, and its handles are places in its lists.

use std::ptr::NonNull;

use wasmer_types::entity::{EntityRef, PrimaryMap};
use wasmer_types::{MemoryError, MemoryStyle, MemoryType, Pages, TableStyle, TableType, Type};
use wasmer_vm::{
    InternalStoreHandle, LinearMemory, StoreObject, StoreObjects, VMFunction, VMGlobal, VMMemory,
    VMMemoryDefinition, VMTable,
};

/// Places of one list.
pub(super) struct Places<T>(Vec<InternalStoreHandle<T>>);

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: StoreObject> Places<T> {
    /// Puts an object into a vacant place, or behind the others.
    pub(super) fn put(&mut self, objects: &mut StoreObjects, object: T) -> InternalStoreHandle<T> {
        match self.0.pop() {
            Some(place) => {
                *place.get_mut(objects) = object;
                place
            }
            None => InternalStoreHandle::new(objects, object),
        }
    }

    /// Moves what wasmer has put behind the others, under these handles, into vacant places.
    pub(super) fn give_places<K: EntityRef>(
        &mut self,
        objects: &mut StoreObjects,
        handles: &mut PrimaryMap<K, InternalStoreHandle<T>>,
    ) {
        for handle in handles.values_mut().rev() {
            let Some(place) = self.0.pop() else { return };
            if let Some(object) = T::list_mut(objects).pop() {
                *place.get_mut(objects) = object;
            }
            *handle = place;
        }
    }
}

/// The vacant places of a store.
#[derive(Default)]
pub(super) struct Vacancies {
    pub(super) functions: Places<VMFunction>,
    pub(super) memories: Places<VMMemory>,
    pub(super) tables: Places<VMTable>,
    pub(super) globals: Places<VMGlobal>,
}

/// What an instance has in its store.
#[derive(Default)]
pub(super) struct Holdings {
    pub(super) functions: Vec<InternalStoreHandle<VMFunction>>,
    pub(super) memories: Vec<InternalStoreHandle<VMMemory>>,
    pub(super) tables: Vec<InternalStoreHandle<VMTable>>,
    pub(super) globals: Vec<InternalStoreHandle<VMGlobal>>,
}

impl Vacancies {
    /// Frees what an instance had. To be called before the instance itself is freed, which a
    /// memory's length is written into at any time.
    pub(super) fn vacate(&mut self, objects: &mut StoreObjects, holdings: Holdings) {
        for place in &holdings.memories {
            *place.get_mut(objects) = VMMemory(Box::new(Vacant));
        }
        let empty = TableType::new(Type::FuncRef, 0, Some(0));
        for place in &holdings.tables {
            if let Ok(table) = VMTable::new(&empty, &TableStyle::CallerChecksSignature) {
                *place.get_mut(objects) = table;
            }
        }
        // A function and a global are small, and nobody writes to them.
        self.functions.0.extend(holdings.functions);
        self.memories.0.extend(holdings.memories);
        self.tables.0.extend(holdings.tables);
        self.globals.0.extend(holdings.globals);
    }
}

/// No memory.
#[derive(Debug)]
struct Vacant;

fn vacant() -> MemoryError {
    MemoryError::Generic("there is no memory".to_owned())
}

impl LinearMemory for Vacant {
    fn ty(&self) -> MemoryType {
        MemoryType::new(0, Some(0), false)
    }

    fn size(&self) -> Pages {
        Pages(0)
    }

    fn style(&self) -> MemoryStyle {
        MemoryStyle::Static
    }

    fn grow(&mut self, _delta: Pages) -> Result<Pages, MemoryError> {
        Err(vacant())
    }

    fn vmmemory(&self) -> NonNull<VMMemoryDefinition> {
        NonNull::dangling()
    }

    fn try_clone(&self) -> Result<Box<dyn LinearMemory + Send + Sync + 'static>, MemoryError> {
        Err(vacant())
    }

    fn copy(&self) -> Result<Box<dyn LinearMemory + Send + Sync + 'static>, MemoryError> {
        Err(vacant())
    }
}
