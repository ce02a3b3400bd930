//! Functions that compiled code calls, in the place of wasmer's.
//!
//! wasmer waits on memories that are not shared as if they were, as long as the values differ (the
//! threads proposal: such a wait traps), and has one trap for a segment's end and a table's. It adds
//! address and length of `memory.fill`, `copy` and `init` in 32 bits, so that nothing ends where a
//! memory of 4 GiB does. And it uses the length of a memory that it saw last, which is too
//! short once something else has grown the memory: the built-in engine, another thread, JavaScript
//! through the memory's resizable buffer.
//!
//! Invariant: no function refuses an address because a length is too short without having asked the
//! host for it ([`length`]). A length is never too long, because memories do not shrink.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmer_types::{DataIndex, MemoryIndex, ModuleInfo, TrapCode, VMBuiltinFunctionIndex as Index};
use wasmer_vm::libcalls::{
    wasmer_vm_imported_memory32_atomic_notify, wasmer_vm_imported_memory32_atomic_wait32,
    wasmer_vm_imported_memory32_atomic_wait64, wasmer_vm_imported_memory32_size,
    wasmer_vm_imported_table_size, wasmer_vm_memory32_atomic_notify,
    wasmer_vm_memory32_atomic_wait32, wasmer_vm_memory32_atomic_wait64, wasmer_vm_memory32_init,
    wasmer_vm_memory32_size, wasmer_vm_table_init, wasmer_vm_table_size,
};
use wasmer_vm::{Trap, VMContext, VMInstance, VMMemoryDefinition, raise_lib_trap};

use super::memory::PAGE;

/// What the functions know of an instance.
struct Hooked {
    vmctx: usize,
    info: Arc<ModuleInfo>,
    /// By memory, imports first.
    memories: Box<[NonNull<VMMemoryDefinition>]>,
}

thread_local! {
    /// By the address of the `VMContext`; boxed for [`LAST`].
    static HOOKED: RefCell<HashMap<usize, Box<Hooked>>> = RefCell::default();
    /// The one of [`HOOKED`] that was asked for last, if it is still there: a program that fills and
    /// copies does so again and again.
    static LAST: Cell<*const Hooked> = const { Cell::new(ptr::null()) };
    /// A `table.init` is under way that fits its table.
    static FITS_TABLE: Cell<bool> = const { Cell::new(false) };
}

/// Gives an instance another function.
///
/// # Safety
/// The function must have the signature that compiled code calls `index` with, and no code of the
/// instance may run yet.
pub(super) unsafe fn replace(instance: &VMInstance, index: Index, function: *const ()) {
    let entry = field(instance, instance.vmoffsets().vmctx_builtin_function(index));
    // SAFETY: the instance's `VMContext` has the array of functions there, and nobody reads it yet.
    unsafe { entry.cast::<*const ()>().write(function) };
}

/// What lies in the instance's `VMContext` at one of its own offsets.
fn field(instance: &VMInstance, offset: u32) -> *mut u8 {
    let vmctx = instance.vmctx_ptr().cast::<u8>();
    vmctx.wrapping_add(offset as usize)
}

/// Gives a new instance the functions of this module; the key for [`unhook`], if it needs any.
pub(super) fn hook(instance: &VMInstance, info: &Arc<ModuleInfo>) -> Option<usize> {
    let addresses = !info.memories.is_empty();
    let initializes = !info.passive_elements.is_empty();
    if !addresses && !initializes {
        return None;
    }
    let replace = |index, function| {
        // SAFETY: the signatures are those of wasmer's functions; the instance is new.
        unsafe { replace(instance, index, function) };
    };
    if addresses {
        replace(Index::get_memory_copy_index(), memory_copy as *const ());
        replace(Index::get_memory_fill_index(), fill as *const ());
        replace(
            Index::get_imported_memory_fill_index(),
            imported_fill as *const (),
        );
        replace(Index::get_memory_init_index(), memory_init as *const ());
        replace(Index::get_memory_atomic_wait32_index(), wait32 as *const ());
        replace(Index::get_memory_atomic_wait64_index(), wait64 as *const ());
        let (imported32, imported64) = (imported_wait32 as *const (), imported_wait64 as *const ());
        replace(Index::get_imported_memory_atomic_wait32_index(), imported32);
        replace(Index::get_imported_memory_atomic_wait64_index(), imported64);
        replace(Index::get_memory_atomic_notify_index(), notify as *const ());
        let imported = imported_notify as *const ();
        replace(Index::get_imported_memory_atomic_notify_index(), imported);
    }
    if initializes {
        replace(Index::get_table_init_index(), table_init as *const ());
    }
    let vmctx = instance.vmctx_ptr() as usize;
    let memories = info.memories.keys();
    let memories = memories.map(|index| definition(instance, info, index));
    let hooked = Box::new(Hooked {
        vmctx,
        info: Arc::clone(info),
        memories: memories.collect(),
    });
    // In the place of an instance that was not finished, perhaps.
    LAST.set(ptr::null());
    HOOKED.with_borrow_mut(|all| all.insert(vmctx, hooked));
    Some(vmctx)
}

/// Where compiled code reads a memory's address and length.
fn definition(
    instance: &VMInstance,
    info: &ModuleInfo,
    index: MemoryIndex,
) -> NonNull<VMMemoryDefinition> {
    let offsets = instance.vmoffsets();
    let found = match info.local_memory_index(index) {
        Some(own) => field(instance, offsets.vmctx_vmmemory_definition(own)).cast(),
        None => {
            let record = field(instance, offsets.vmctx_vmmemory_import_definition(index));
            // SAFETY: the instance's import record, which was filled when the instance was made.
            unsafe { record.cast::<*mut VMMemoryDefinition>().read() }
        }
    };
    NonNull::new(found).expect("a memory has a definition")
}

/// The instances are about to be freed.
pub(super) fn unhook(hooked: impl IntoIterator<Item = usize>) {
    LAST.set(ptr::null());
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

/// One memory of an instance.
#[derive(Clone, Copy)]
struct Memory {
    /// Among all of the instance's, imports first.
    index: u32,
    definition: NonNull<VMMemoryDefinition>,
}

/// A memory by its index among those that the instance defines.
fn own(it: &Hooked, memory: u32) -> Memory {
    imported(it, it.info.num_imported_memories as u32 + memory)
}

/// A memory by its index among all.
fn imported(it: &Hooked, memory: u32) -> Memory {
    Memory {
        index: memory,
        definition: it.memories[memory as usize],
    }
}

/// Asks what is known of an instance; `read` must not call anything that traps.
#[inline]
fn hooked<T>(vmctx: *mut VMContext, read: impl FnOnce(&Hooked) -> T) -> T {
    // SAFETY: null, or one of `HOOKED`: it is cleared before one is removed.
    if let Some(last) = unsafe { LAST.get().as_ref() }
        && last.vmctx == vmctx as usize
    {
        return read(last);
    }
    HOOKED.with_borrow(|all| {
        let found = &all[&(vmctx as usize)];
        LAST.set(&raw const **found);
        read(found)
    })
}

/// Leaves WebAssembly with a trap.
///
/// # Safety
/// On the WebAssembly stack, with no destructor in the frames up to compiled code's.
unsafe fn trap(code: TrapCode) -> ! {
    // SAFETY: the caller's promise.
    unsafe { raise_lib_trap(Trap::lib(code)) }
}

/// A memory's length from the host: the one that is known was too short.
///
/// # Safety
/// As [`range`].
#[cold]
unsafe fn length(vmctx: *mut VMContext, memory: u32) -> usize {
    let own = hooked(vmctx, |it| {
        let index = MemoryIndex::from_u32(memory);
        it.info.local_memory_index(index)
    });
    let pages = match own {
        // SAFETY: compiled code's argument.
        Some(own) => unsafe { wasmer_vm_memory32_size(vmctx, own.as_u32()) },
        // SAFETY: as above.
        None => unsafe { wasmer_vm_imported_memory32_size(vmctx, memory) },
    };
    pages as usize * PAGE
}

/// The first byte of a range of a memory, which is there whole: it is a trap if it is not.
///
/// # Safety
/// To be called by a library function, with its own first argument and a memory of the instance;
/// there must be no destructor in its frame.
#[inline]
unsafe fn range(vmctx: *mut VMContext, memory: Memory, address: u32, bytes: u32) -> *mut u8 {
    let definition = memory.definition.as_ptr();
    let end = address as usize + bytes as usize;
    // SAFETY: the definition lives as long as the instance.
    let known = unsafe { &raw mut (*definition).current_length };
    // SAFETY: as above; other threads that grow the memory write it atomically.
    let known = unsafe { AtomicUsize::from_ptr(known) }.load(Ordering::Acquire);
    // SAFETY: the caller's promise.
    if end > known && end > unsafe { length(vmctx, memory.index) } {
        // SAFETY: as above.
        unsafe { trap(TrapCode::HeapAccessOutOfBounds) }
    }
    // SAFETY: as above. A memory's address does not change.
    unsafe { (*definition).base }.wrapping_add(address as usize)
}

/// `memory.copy`
unsafe extern "C-unwind" fn memory_copy(
    vmctx: *mut VMContext,
    to_memory: u32,
    from_memory: u32,
    to: u32,
    from: u32,
    bytes: u32,
) {
    let (to_memory, from_memory) = hooked(vmctx, |it| {
        (imported(it, to_memory), imported(it, from_memory))
    });
    // SAFETY: compiled code's arguments.
    let from = unsafe { range(vmctx, from_memory, from, bytes) };
    // SAFETY: as above.
    let to = unsafe { range(vmctx, to_memory, to, bytes) };
    // SAFETY: both ranges are there; what other threads do to them meanwhile is the program's concern.
    unsafe { ptr::copy(from, to, bytes as usize) };
}

/// A fill: how the memory is found.
macro_rules! fill {
    ($(#[$doc:meta])* $name:ident, $memory:ident) => {
        $(#[$doc])*
        unsafe extern "C-unwind" fn $name(
            vmctx: *mut VMContext,
            memory: u32,
            to: u32,
            value: u32,
            bytes: u32,
        ) {
            let memory = hooked(vmctx, |it| $memory(it, memory));
            // SAFETY: compiled code's arguments.
            let to = unsafe { range(vmctx, memory, to, bytes) };
            // SAFETY: the range is there; what other threads do to it meanwhile is the program's concern.
            unsafe { to.write_bytes(value as u8, bytes as usize) };
        }
    };
}

fill!(
    /// `memory.fill` on a memory of the instance's own.
    fill,
    own
);
fill!(
    /// `memory.fill` on an imported memory.
    imported_fill,
    imported
);

/// `memory.init`
unsafe extern "C-unwind" fn memory_init(
    vmctx: *mut VMContext,
    memory: u32,
    segment: u32,
    to: u32,
    from: u32,
    bytes: u32,
) {
    let found = hooked(vmctx, |it| imported(it, memory));
    // SAFETY: compiled code's arguments.
    let to = unsafe { range(vmctx, found, to, bytes) };
    let Some(end) = from.checked_add(bytes) else {
        // SAFETY: called by compiled code, and no destructor is left in this frame.
        unsafe { trap(TrapCode::HeapAccessOutOfBounds) }
    };
    // wasmer knows whether the segment was dropped: no bytes from the end on are a trap if there is no such end.
    // SAFETY: compiled code's arguments.
    unsafe { wasmer_vm_memory32_init(vmctx, memory, segment, 0, end, 0) };
    if bytes == 0 {
        return;
    }
    hooked(vmctx, |it| {
        let data = &it.info.passive_data[&DataIndex::from_u32(segment)];
        let from = data[from as usize..end as usize].as_ptr();
        // SAFETY: the range is there, and the segment is none of the memory's.
        unsafe { ptr::copy_nonoverlapping(from, to, bytes as usize) };
    });
}

/// A wait: the type of the value, wasmer's function, and how the memory is found.
macro_rules! wait {
    ($(#[$doc:meta])* $name:ident, $expected:ty, $wasmer:ident, $memory:ident) => {
        $(#[$doc])*
        unsafe extern "C-unwind" fn $name(
            vmctx: *mut VMContext,
            memory: u32,
            address: u32,
            expected: $expected,
            timeout: i64,
        ) -> u32 {
            let (found, shared) = hooked(vmctx, |it| {
                let found = $memory(it, memory);
                let ty = it.info.memories[MemoryIndex::from_u32(found.index)];
                (found, ty.shared)
            });
            // wasmer checks the bounds again, with the length that is known then.
            // SAFETY: compiled code's arguments.
            unsafe { range(vmctx, found, address, size_of::<$expected>() as u32) };
            // SAFETY: as above.
            let outcome = unsafe { $wasmer(vmctx, memory, address, expected, timeout) };
            if !shared {
                // After the checks of bounds and alignment, which come first.
                // SAFETY: called by compiled code, and no destructor is left in this frame.
                unsafe { trap(TrapCode::HostInterrupt) }
            }
            outcome
        }
    };
}

/// A notification: wasmer's function, and how the memory is found.
macro_rules! notify {
    ($(#[$doc:meta])* $name:ident, $wasmer:ident, $memory:ident) => {
        $(#[$doc])*
        unsafe extern "C-unwind" fn $name(
            vmctx: *mut VMContext,
            memory: u32,
            address: u32,
            count: u32,
        ) -> u32 {
            let found = hooked(vmctx, |it| $memory(it, memory));
            // As above.
            // SAFETY: compiled code's arguments.
            unsafe { range(vmctx, found, address, size_of::<u32>() as u32) };
            // SAFETY: as above.
            unsafe { $wasmer(vmctx, memory, address, count) }
        }
    };
}

wait!(
    /// `memory.atomic.wait32` on a memory of the instance's own.
    wait32,
    u32,
    wasmer_vm_memory32_atomic_wait32,
    own
);
wait!(
    /// `memory.atomic.wait64` on a memory of the instance's own.
    wait64,
    u64,
    wasmer_vm_memory32_atomic_wait64,
    own
);
wait!(
    /// `memory.atomic.wait32` on an imported memory.
    imported_wait32,
    u32,
    wasmer_vm_imported_memory32_atomic_wait32,
    imported
);
wait!(
    /// `memory.atomic.wait64` on an imported memory.
    imported_wait64,
    u64,
    wasmer_vm_imported_memory32_atomic_wait64,
    imported
);
notify!(
    /// `memory.atomic.notify` on a memory of the instance's own.
    notify,
    wasmer_vm_memory32_atomic_notify,
    own
);
notify!(
    /// `memory.atomic.notify` on an imported memory.
    imported_notify,
    wasmer_vm_imported_memory32_atomic_notify,
    imported
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
    let own = hooked(vmctx, |it| {
        table.checked_sub(it.info.num_imported_tables as u32)
    });
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
