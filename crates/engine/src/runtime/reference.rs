//! What externrefs a link group holds.
//!
//! An externref is a word that compiled code only moves: [`TAG`] over an index of JavaScript's slab, or 0 for null
//! (`lib/api/slab.js`). It is held by frames of WebAssembly, by tables, by globals, by the payloads of exceptions, and, while
//! a call is being prepared, by the arena. Frames are not described by compiled code, so whatever on the stacks looks
//! like one counts as one ([`super::scan`]); the tag makes that unlikely for anything else.
//!
//! Invariant: every table and every global of the group that can hold externrefs is watched.

use std::ptr::NonNull;

use wasmer_types::RawValue;
use wasmer_vm::{InternalStoreHandle, StoreObjects, VMGlobalDefinition, VMTable};

use super::exception::Exceptions;
use super::scan;

/// The upper half of an externref, as `lib/api/slab.js` has it: as a number it is a signalling NaN, which no arithmetic
/// makes, and it is no address.
const TAG: u64 = 0x7ff4_7265;

/// Where externrefs are, beside stacks and exceptions.
#[derive(Default)]
pub(super) struct References {
    tables: Vec<InternalStoreHandle<VMTable>>,
    globals: Vec<NonNull<VMGlobalDefinition>>,
}

impl References {
    /// A table of externrefs, new in the group.
    pub(super) fn watch_table(&mut self, table: InternalStoreHandle<VMTable>) {
        self.tables.push(table);
    }

    /// Instances are about to be freed; `gone` says whether an address is in the memory of one of them.
    pub(super) fn forget(&mut self, objects: &StoreObjects, gone: impl Fn(usize) -> bool) {
        let definition = |table: &InternalStoreHandle<VMTable>| table.get(objects).vmtable();
        self.tables
            .retain(|table| !gone(definition(table).as_ptr() as usize));
        self.globals
            .retain(|global| !gone(global.as_ptr() as usize));
    }

    /// A global of type externref, new in the group.
    pub(super) fn watch_global(&mut self, global: NonNull<VMGlobalDefinition>) {
        self.globals.push(global);
    }

    /// Sets the mark of every index that WebAssembly may hold; `pending` is what is on its way there. How many words
    /// were looked at.
    pub(super) fn mark(
        &self,
        objects: &StoreObjects,
        exceptions: &mut Exceptions,
        pending: &[RawValue],
        marks: &mut [u8],
    ) -> usize {
        let mut mark = |word: u64| {
            if let Some(mark) = index_of(word).and_then(|index| marks.get_mut(index)) {
                *mark = 1;
            }
        };
        let mut seen = scan::each_word(&mut mark);
        for table in &self.tables {
            // SAFETY: the definition lives as long as the table, which the store holds.
            let definition = unsafe { table.get(objects).vmtable().as_ref() };
            let count = definition.current_elements as usize;
            if count > 0 {
                // SAFETY: the table's elements, which are words; no code runs that could change them.
                let words =
                    unsafe { std::slice::from_raw_parts(definition.base.cast::<u64>(), count) };
                words.iter().copied().for_each(&mut mark);
            }
            seen += count;
        }
        let (payloads, looked_at) = exceptions.references(objects);
        seen += looked_at + self.globals.len() + pending.len();
        let globals = self.globals.iter();
        // SAFETY: the definition lives as long as the group.
        let globals = globals.map(|global| unsafe { global.read() }.val);
        for value in globals.chain(payloads).chain(pending.iter().copied()) {
            // SAFETY: every bit pattern is a number.
            mark(unsafe { value.externref } as u64);
        }
        seen
    }
}

/// An externref's index; `None` for null, and for what is none.
fn index_of(word: u64) -> Option<usize> {
    (word >> 32 == TAG).then_some(word as u32 as usize)
}
