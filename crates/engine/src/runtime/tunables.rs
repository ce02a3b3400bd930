//! How one instance's memories and tables are made.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::Arc;

use wasmer_compiler::Tunables;
use wasmer_types::{MemoryError, MemoryStyle, MemoryType, TableStyle, TableType, Type};
use wasmer_vm::{VMMemory, VMMemoryDefinition, VMTable, VMTableDefinition};

use super::memory::{GuestMemory, MemoryState};
use crate::limits::MAX_TABLE_ENTRIES;

/// Hands out the memories and the real table types in the module's order.
pub(super) struct InstanceTunables {
    memories: RefCell<std::vec::IntoIter<Arc<MemoryState>>>,
    tables: RefCell<std::vec::IntoIter<TableType>>,
}

impl InstanceTunables {
    /// `tables` are the real types of the tables that the module defines, without the hidden one.
    pub(super) fn new(
        memories: Vec<Arc<MemoryState>>,
        tables: &[TableType],
        hidden_entries: u32,
    ) -> Self {
        let mut tables: Vec<_> = tables.iter().map(limited).collect();
        tables.push(TableType::new(Type::FuncRef, hidden_entries, None));
        Self {
            memories: RefCell::new(memories.into_iter()),
            tables: RefCell::new(tables.into_iter()),
        }
    }
}

impl Tunables for InstanceTunables {
    fn memory_style(&self, _memory: &MemoryType) -> MemoryStyle {
        MemoryStyle::Static
    }

    fn table_style(&self, _table: &TableType) -> TableStyle {
        TableStyle::CallerChecksSignature
    }

    fn create_host_memory(
        &self,
        _ty: &MemoryType,
        _style: &MemoryStyle,
    ) -> Result<VMMemory, MemoryError> {
        Err(MemoryError::Generic(
            "memories are made by the host".to_owned(),
        ))
    }

    unsafe fn create_vm_memory(
        &self,
        _ty: &MemoryType,
        _style: &MemoryStyle,
        location: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, MemoryError> {
        let state = self.memories.borrow_mut().next().ok_or_else(|| {
            MemoryError::Generic("fewer memories than the module defines".to_owned())
        })?;
        // SAFETY: the location lies in the instance, which lives as long as its store's memories.
        Ok(unsafe { GuestMemory::defined(state, location) })
    }

    fn create_host_table(&self, ty: &TableType, style: &TableStyle) -> Result<VMTable, String> {
        VMTable::new(ty, style)
    }

    unsafe fn create_vm_table(
        &self,
        _lowered: &TableType,
        style: &TableStyle,
        location: NonNull<VMTableDefinition>,
    ) -> Result<VMTable, String> {
        // Behind the hidden one is a table that nothing is in.
        let ty = self.tables.borrow_mut().next();
        let ty = ty.unwrap_or(TableType::new(Type::FuncRef, 0, Some(0)));
        // SAFETY: the location lies in the instance, as the trait demands.
        unsafe { VMTable::from_definition(&ty, style, location) }
    }
}

/// A table's type with the engine's limit: what a table may grow to, whatever it declares.
pub(super) fn limited(ty: &TableType) -> TableType {
    let maximum = ty.maximum.unwrap_or(MAX_TABLE_ENTRIES);
    TableType::new(ty.ty, ty.minimum, Some(maximum.min(MAX_TABLE_ENTRIES)))
}
