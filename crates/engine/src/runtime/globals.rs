//! The globals that JavaScript knows by the address of their definition.
//!
//! Such an address comes back as a number: to be read, to be written, to be imported by an instance of another group. It
//! is followed only if it is among those that living groups of the thread gave out.

use std::cell::RefCell;
use std::ptr::NonNull;

use wasmer_types::Type;
use wasmer_vm::VMGlobalDefinition;

use crate::address::AddressMap;

thread_local! {
    /// By address. A group is used by one thread.
    static KNOWN: RefCell<AddressMap<Type>> = RefCell::default();
}

/// The definitions of one group that JavaScript knows.
#[derive(Default)]
pub(super) struct KnownGlobals(Vec<usize>);

impl KnownGlobals {
    /// JavaScript gets to know a definition that lives as long as the group.
    pub(super) fn add(&mut self, definition: NonNull<VMGlobalDefinition>, ty: Type) {
        let address = definition.as_ptr() as usize;
        if KNOWN
            .with_borrow_mut(|known| known.insert(address, ty))
            .is_none()
        {
            self.0.push(address);
        }
    }
}

impl Drop for KnownGlobals {
    fn drop(&mut self) {
        // Nothing is left to forget where the thread is ending.
        let _ = KNOWN.try_with(|known| {
            let mut known = known.borrow_mut();
            for address in &self.0 {
                known.remove(address);
            }
        });
    }
}

/// The definition at an address, and its type, if it is that of a global of this thread's.
pub(super) fn global_at(address: usize) -> Option<(NonNull<VMGlobalDefinition>, Type)> {
    let ty = KNOWN.with_borrow(|known| known.get(&address).copied())?;
    Some((NonNull::new(address as *mut VMGlobalDefinition)?, ty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_followed_for_as_long_as_a_group_has_given_it_out() {
        let mut own = VMGlobalDefinition::new();
        let definition = NonNull::from(&mut own);
        let address = definition.as_ptr() as usize;
        assert_eq!(global_at(address), None);
        let mut known = KnownGlobals::default();
        known.add(definition, Type::I64);
        known.add(definition, Type::I64);
        assert_eq!(global_at(address), Some((definition, Type::I64)));
        for wrong in [0, address + 1, address - 16, usize::MAX] {
            assert_eq!(global_at(wrong), None);
        }
        drop(known);
        assert_eq!(global_at(address), None);
    }
}
