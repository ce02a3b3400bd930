//! Functions that compiled code calls, in the place of wasmer's.
//!
//! wasmer waits on memories that are not shared as if they were, as long as the values differ (the
//! threads proposal: such a wait traps), and does not tell a segment's end from a table's.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use wasmer_types::{ModuleInfo, TrapCode, VMBuiltinFunctionIndex as Index};
use wasmer_vm::libcalls::{
    wasmer_vm_imported_memory32_atomic_wait32, wasmer_vm_imported_memory32_atomic_wait64,
    wasmer_vm_imported_table_size, wasmer_vm_memory32_atomic_wait32,
    wasmer_vm_memory32_atomic_wait64, wasmer_vm_table_init, wasmer_vm_table_size,
};
use wasmer_vm::{Trap, VMContext, VMInstance, raise_lib_trap};

/// What the functions know of an instance.
struct Hooked {
    imported_tables: u32,
    imported_memories: u32,
    /// By memory, imports first.
    shared: Box<[bool]>,
}

thread_local! {
    /// By the address of the `VMContext`.
    static HOOKED: RefCell<HashMap<usize, Hooked>> = RefCell::default();
    /// A `table.init` is under way that fits its table.
    static FITS_TABLE: Cell<bool> = const { Cell::new(false) };
}

/// Gives an instance another function.
///
/// # Safety
/// The function must have the signature that compiled code calls `index` with, and no code of the
/// instance may run yet.
pub(super) unsafe fn replace(instance: &VMInstance, index: Index, function: *const ()) {
    let offset = instance.vmoffsets().vmctx_builtin_function(index);
    let vmctx = instance.vmctx_ptr().cast::<u8>();
    // SAFETY: the instance's `VMContext` has the array of functions at this offset.
    let entry = unsafe { vmctx.add(offset as usize) };
    // SAFETY: as above, and nobody reads it yet.
    unsafe { entry.cast::<*const ()>().write(function) };
}

/// Gives a new instance the functions of this module; the key for [`unhook`], if it needs any.
pub(super) fn hook(instance: &VMInstance, info: &ModuleInfo) -> Option<usize> {
    let shared: Box<[bool]> = info.memories.values().map(|ty| ty.shared).collect();
    let waits = shared.contains(&false);
    let initializes = !info.passive_elements.is_empty();
    if !waits && !initializes {
        return None;
    }
    let replace = |index, function| {
        // SAFETY: the signatures are those of wasmer's functions; the instance is new.
        unsafe { replace(instance, index, function) };
    };
    if waits {
        replace(Index::get_memory_atomic_wait32_index(), wait32 as *const ());
        replace(Index::get_memory_atomic_wait64_index(), wait64 as *const ());
        let (imported32, imported64) = (imported_wait32 as *const (), imported_wait64 as *const ());
        replace(Index::get_imported_memory_atomic_wait32_index(), imported32);
        replace(Index::get_imported_memory_atomic_wait64_index(), imported64);
    }
    if initializes {
        replace(Index::get_table_init_index(), table_init as *const ());
    }
    let vmctx = instance.vmctx_ptr() as usize;
    let hooked = Hooked {
        imported_tables: info.num_imported_tables as u32,
        imported_memories: info.num_imported_memories as u32,
        shared,
    };
    HOOKED.with_borrow_mut(|all| all.insert(vmctx, hooked));
    Some(vmctx)
}

/// The instances are about to be freed.
pub(super) fn unhook(hooked: impl IntoIterator<Item = usize>) {
    // Nothing is left to forget where the thread is ending.
    let _ = HOOKED.try_with(|all| {
        for vmctx in hooked {
            all.borrow_mut().remove(&vmctx);
        }
    });
}

/// Whether the `table.init` that just trapped fitted its table, so that its segment was too short.
pub(super) fn segment_was_short() -> bool {
    FITS_TABLE.take()
}

fn hooked<T>(vmctx: *mut VMContext, read: impl FnOnce(&Hooked) -> T) -> T {
    HOOKED.with_borrow(|all| read(&all[&(vmctx as usize)]))
}

/// After the checks of bounds and alignment, which come first.
fn waited(outcome: u32, shared: bool) -> u32 {
    if !shared {
        // SAFETY: on the WebAssembly stack, with no destructor in this frame or its caller's.
        unsafe { raise_lib_trap(Trap::lib(TrapCode::HostInterrupt)) }
    }
    outcome
}

/// A wait: the type of the value, wasmer's function, and the memory's index in [`Hooked::shared`].
macro_rules! wait {
    ($(#[$doc:meta])* $name:ident, $expected:ty, $wasmer:ident, $index:expr) => {
        $(#[$doc])*
        unsafe extern "C-unwind" fn $name(
            vmctx: *mut VMContext,
            memory: u32,
            address: u32,
            expected: $expected,
            timeout: i64,
        ) -> u32 {
            // SAFETY: compiled code's arguments.
            let outcome = unsafe { $wasmer(vmctx, memory, address, expected, timeout) };
            let index: fn(&Hooked, u32) -> u32 = $index;
            let shared = hooked(vmctx, |it| it.shared[index(it, memory) as usize]);
            waited(outcome, shared)
        }
    };
}

wait!(
    /// `memory.atomic.wait32` on a memory of the instance's own.
    wait32,
    u32,
    wasmer_vm_memory32_atomic_wait32,
    |it, memory| it.imported_memories + memory
);
wait!(
    /// `memory.atomic.wait64` on a memory of the instance's own.
    wait64,
    u64,
    wasmer_vm_memory32_atomic_wait64,
    |it, memory| it.imported_memories + memory
);
wait!(
    /// `memory.atomic.wait32` on an imported memory.
    imported_wait32,
    u32,
    wasmer_vm_imported_memory32_atomic_wait32,
    |_, memory| memory
);
wait!(
    /// `memory.atomic.wait64` on an imported memory.
    imported_wait64,
    u64,
    wasmer_vm_imported_memory32_atomic_wait64,
    |_, memory| memory
);

/// `table.init`
unsafe extern "C-unwind" fn table_init(
    vmctx: *mut VMContext,
    table: u32,
    segment: u32,
    to: u32,
    from: u32,
    length: u32,
) {
    let own = hooked(vmctx, |it| table.checked_sub(it.imported_tables));
    let size = match own {
        // SAFETY: compiled code's argument.
        Some(own) => unsafe { wasmer_vm_table_size(vmctx, own) },
        // SAFETY: as above.
        None => unsafe { wasmer_vm_imported_table_size(vmctx, table) },
    };
    FITS_TABLE.set(to.checked_add(length).is_some_and(|end| end <= size));
    // SAFETY: compiled code's arguments.
    unsafe { wasmer_vm_table_init(vmctx, table, segment, to, from, length) };
    FITS_TABLE.set(false);
}
