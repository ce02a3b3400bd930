//! What an exception meets on its way up the stack: for each return address in compiled code, the registers that the frame's
//! function saved, and the handler that the call has.
//!
//! The C runtime's unwinder reads the same tables, every time, and each frame's twice. Here they are read once an address, and
//! only as far as our compilers write them: whatever is not as expected is unknown, and left to the unwinder.
//!
//! Invariant: what is known of an address was read while the code there was mapped, and is forgotten before other code can be
//! there ([`tier::unmapped`]).

use std::cell::RefCell;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::rc::Rc;

use gimli::{
    BaseAddresses, CfaRule, EhFrame, LittleEndian, Pointer, Register, RegisterRule, UnwindContext,
    UnwindSection, X86_64,
};
use wasmer_vm::libcalls::wasmer_eh_personality;

use crate::tier;

/// A frame at one of its calls.
pub(super) struct Step {
    /// Where the function keeps its caller's registers, in bytes from the CFA, in the order of [`SAVED`]; 0 for those that it did
    /// not save.
    pub(super) saved: [isize; 5],
    /// What catches there.
    pub(super) handler: Option<Rc<Handler>>,
}

/// Where an exception goes on, and which.
pub(super) struct Handler {
    /// An address of code.
    pub(super) landing_pad: usize,
    /// Tags, by their indices in the function's module; the landing pad says which it is.
    pub(super) tags: Box<[u32]>,
    /// And all others.
    pub(super) all: bool,
}

/// The registers that functions save besides their frame pointer (System V).
pub(super) const SAVED: [Register; 5] = [
    X86_64::RBX,
    X86_64::R12,
    X86_64::R13,
    X86_64::R14,
    X86_64::R15,
];

/// From the frame pointer to the CFA: the record of the frame.
pub(super) const RECORD: usize = 16;

/// So many addresses are known at once.
const PLACES: usize = 1024;

/// What a thread knows. An address has one place, which it may lose to another.
#[derive(Default)]
struct Steps {
    unmapped: usize,
    places: Vec<Option<(usize, Option<Rc<Step>>)>>,
}

thread_local! {
    static STEPS: RefCell<Steps> = RefCell::default();
}

/// What is at a return address; `None` if that is unknown.
pub(super) fn at(address: usize) -> Option<Rc<Step>> {
    let known = STEPS.try_with(|steps| {
        let mut steps = steps.try_borrow_mut().ok()?;
        steps.look_up(address)
    });
    known.ok()?
}

impl Steps {
    fn look_up(&mut self, address: usize) -> Option<Rc<Step>> {
        let unmapped = tier::unmapped();
        if self.unmapped != unmapped || self.places.is_empty() {
            self.places.clear();
            self.places.resize_with(PLACES, || None);
            self.unmapped = unmapped;
        }
        let place = (address ^ (address >> 10)) % PLACES;
        if let Some((known, step)) = &self.places[place]
            && *known == address
        {
            return step.clone();
        }
        let step = read(address).map(Rc::new);
        self.places[place] = Some((address, step.clone()));
        step
    }
}

#[repr(C)]
struct Bases {
    text: usize,
    data: usize,
    function: usize,
}

unsafe extern "C" {
    /// Of the C runtime's unwinder: the entry of the table of frames (FDE) for an address.
    fn _Unwind_Find_FDE(address: *mut c_void, bases: *mut Bases) -> *const u8;
}

fn read(address: usize) -> Option<Step> {
    // The call's last byte.
    let call = address - 1;
    if !tier::is_function(call) {
        return None;
    }
    let mut bases = MaybeUninit::<Bases>::uninit();
    // SAFETY: looks an address up, and writes to `bases` if it finds something.
    let entry = unsafe { _Unwind_Find_FDE(call as *mut c_void, bases.as_mut_ptr()) };
    if entry.is_null() {
        return None;
    }
    let (table, offset) = table(entry)?;
    let start = table.as_ptr() as u64;
    let mut section = EhFrame::new(table, LittleEndian);
    section.set_address_size(size_of::<usize>() as u8);
    let bases = BaseAddresses::default().set_eh_frame(start);
    let entry = section.fde_from_offset(&bases, offset.into(), EhFrame::cie_from_offset);
    let entry = entry.ok()?;
    let mut context = UnwindContext::new();
    let row = entry.unwind_info_for_address(&section, &bases, &mut context, call as u64);
    let row = row.ok()?;
    let record = CfaRule::RegisterAndOffset {
        register: X86_64::RBP,
        offset: RECORD as i64,
    };
    if *row.cfa() != record {
        return None;
    }
    let mut saved = [0; SAVED.len()];
    for (register, rule) in row.registers() {
        let RegisterRule::Offset(offset) = rule else {
            return None;
        };
        match (SAVED.iter().position(|known| known == register), *offset) {
            (Some(index), _) => saved[index] = *offset as isize,
            (None, -8) if *register == X86_64::RA => {}
            (None, -16) if *register == X86_64::RBP => {}
            _ => return None,
        }
    }
    let handler = match (entry.lsda(), entry.personality()) {
        (None | Some(Pointer::Direct(0)), _) => None,
        (Some(Pointer::Direct(table)), Some(personality)) => {
            let function = entry.initial_address() as usize;
            is_wasmers(personality).then(|| handler(table as usize, function, call))??
        }
        _ => return None,
    };
    Some(Step {
        saved,
        handler: handler.map(Rc::new),
    })
}

/// The part of a table from an entry's common one to its end, and where the entry is in it.
fn table(entry: *const u8) -> Option<(&'static [u8], usize)> {
    // SAFETY: an entry begins with its length, and how far before this number the common entry is.
    let [length, back] = unsafe { entry.cast::<[u32; 2]>().read_unaligned() };
    // A length of 64 bits follows, or the entry is the table's end.
    if length == u32::MAX || length == 0 {
        return None;
    }
    let offset = (back as usize).checked_sub(size_of::<u32>())?;
    let size = offset + size_of::<u32>() + length as usize;
    let start = entry.wrapping_sub(offset);
    // SAFETY: a table is in one piece, and lives as long as the code, whose thread is in it; nobody keeps the slice.
    let bytes = unsafe { std::slice::from_raw_parts(start, size) };
    Some((bytes, offset))
}

/// Whether that is the function which the unwinder asks for handlers: only it has tables as [`handler`] reads them.
fn is_wasmers(personality: Pointer) -> bool {
    let address = match personality {
        Pointer::Direct(address) => address as usize,
        // SAFETY: the unwinder would read the function's address there.
        Pointer::Indirect(place) => unsafe { (place as *const usize).read_unaligned() },
    };
    address == wasmer_eh_personality as *const () as usize
}

/// Reads bytes that follow each other.
struct Bytes(*const u8);

impl Bytes {
    fn take<T: Copy>(&mut self) -> T {
        // SAFETY: the tables are wasmer's compilers', and are read as they are written; `T` is a number.
        let value = unsafe { self.0.cast::<T>().read_unaligned() };
        self.0 = self.0.wrapping_add(size_of::<T>());
        value
    }

    fn unsigned(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.take::<u8>();
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }

    fn signed(&mut self) -> i64 {
        let before = self.0;
        let value = self.unsigned() as i64;
        let bits = 7 * (self.0 as usize - before as usize) as u32;
        // The last byte's uppermost bit is the sign.
        let unused = 64_u32.saturating_sub(bits);
        value.wrapping_shl(unused).wrapping_shr(unused)
    }
}

/// Encodings (DWARF exception headers): none, absolute, four bytes, and four bytes relative to their place.
const OMITTED: u8 = 0xff;
const ABSOLUTE: u8 = 0x00;
const FOUR_BYTES: u8 = 0x03;
const RELATIVE: u8 = 0x1b;

/// The handler for a call, out of the table of the function (LSDA). `None` if the table is not as expected.
#[allow(clippy::option_option)]
fn handler(table: usize, function: usize, call: usize) -> Option<Option<Handler>> {
    let mut bytes = Bytes(table as *const u8);
    // Landing pads count from the function's start.
    if bytes.take::<u8>() != OMITTED {
        return None;
    }
    let encoding = bytes.take::<u8>();
    if encoding == OMITTED {
        return Some(None);
    }
    let tags_size = bytes.unsigned() as usize;
    let tags = bytes.0.wrapping_add(tags_size);
    if bytes.take::<u8>() != FOUR_BYTES {
        return None;
    }
    let sites_size = bytes.unsigned() as usize;
    let actions = bytes.0.wrapping_add(sites_size);
    while bytes.0 < actions {
        let [start, length, landing_pad] = bytes.take::<[u32; 3]>().map(|at| at as usize);
        let action = bytes.unsigned() as usize;
        if call < function + start {
            return None;
        }
        if call >= function + start + length {
            continue;
        }
        if landing_pad == 0 {
            return Some(None);
        }
        let first = actions.wrapping_add(action.checked_sub(1)?);
        let (tags, all) = catches(first, tags, encoding)?;
        if tags.is_empty() && !all {
            return Some(None);
        }
        return Some(Some(Handler {
            landing_pad: function + landing_pad,
            tags,
            all,
        }));
    }
    None
}

/// What a chain of actions catches: tags, and whether all others. `end` is behind the table of tags.
fn catches(first: *const u8, end: *const u8, encoding: u8) -> Option<(Box<[u32]>, bool)> {
    let mut tags = Vec::new();
    let mut action = Bytes(first);
    loop {
        let filter = usize::try_from(action.signed()).ok()?;
        let tag = match encoding {
            _ if filter == 0 => return None,
            ABSOLUTE => {
                let place = end.wrapping_sub(filter * size_of::<usize>());
                Bytes(place).take::<usize>()
            }
            RELATIVE => {
                let place = end.wrapping_sub(filter * size_of::<i32>());
                match Bytes(place).take::<i32>() {
                    0 => 0,
                    distance => place.wrapping_offset(distance as isize) as usize,
                }
            }
            _ => return None,
        };
        if tag == 0 {
            return Some((tags.into(), true));
        }
        tags.push(Bytes(tag as *const u8).take::<u32>());
        let next = action.0;
        match action.signed() {
            0 => return Some((tags.into(), false)),
            distance => action = Bytes(next.wrapping_offset(distance as isize)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table as our compilers write them: of three calls, the second has the handler. Tags are relative.
    struct Table {
        bytes: Vec<u8>,
        /// Where the calls begin.
        sites: usize,
    }

    const LANDING_PAD: u8 = 0x40;

    fn table(actions: &[u8], tags: &[Option<u32>]) -> Table {
        let mut calls = Vec::new();
        for (start, length, landing_pad, action) in [(0, 9, 0, 0), (9, 1, LANDING_PAD, 1)] {
            for number in [start, length, landing_pad] {
                calls.extend(u32::from(number).to_le_bytes());
            }
            calls.push(action);
        }
        let types = tags.len() * 4;
        let rest = 2 + calls.len() + actions.len() + types;
        let mut bytes = vec![OMITTED, RELATIVE, rest as u8, FOUR_BYTES, calls.len() as u8];
        let sites = bytes.len();
        bytes.extend(&calls);
        bytes.extend(actions);
        // What the last entry's place is relative to lies behind the table.
        let end = bytes.len() + types;
        for (index, tag) in tags.iter().rev().enumerate() {
            let place = bytes.len();
            let behind = end + (tags.len() - 1 - index) * 4;
            let distance = tag.map_or(0, |_| (behind - place) as i32);
            bytes.extend(distance.to_le_bytes());
        }
        for tag in tags {
            bytes.extend(tag.unwrap_or_default().to_le_bytes());
        }
        Table { bytes, sites }
    }

    fn read_at(bytes: &[u8], call: usize) -> Option<Option<(usize, Vec<u32>, bool)>> {
        const FUNCTION: usize = 0x1000;
        let found = handler(bytes.as_ptr() as usize, FUNCTION, FUNCTION + call)?;
        Some(found.map(|found| {
            let Handler {
                landing_pad,
                tags,
                all,
            } = found;
            (landing_pad - FUNCTION, tags.to_vec(), all)
        }))
    }

    #[test]
    fn a_handler_has_the_tags_of_its_chain_in_their_order() {
        // Each action: which tag, and how far back the next one is, from here.
        let table = table(&[3, 0, 1, 0x7d, 2, 0x7d], &[Some(70), Some(80), None]);
        let mut bytes = table.bytes;
        assert_eq!(read_at(&bytes, 3), Some(None), "no landing pad");
        let pad = usize::from(LANDING_PAD);
        // The chain begins with the site's action.
        for (action, tags, all) in [
            (5, vec![80, 70], true),
            (3, vec![70], true),
            (1, vec![], true),
        ] {
            bytes[table.sites + 25] = action;
            assert_eq!(read_at(&bytes, 9), Some(Some((pad, tags, all))));
        }
        assert_eq!(read_at(&bytes, 10), None, "no call is there");
    }

    #[test]
    fn a_table_that_is_not_as_expected_is_unknown() {
        let table = table(&[1, 0], &[Some(7)]);
        let known = table.bytes;
        let pad = usize::from(LANDING_PAD);
        assert_eq!(read_at(&known, 9), Some(Some((pad, vec![7], false))));
        for (place, byte) in [
            (0, ABSOLUTE),
            (1, FOUR_BYTES),
            (3, RELATIVE),
            // Without an action, and with one that cleans up.
            (table.sites + 25, 0),
            (table.sites + 26, 0),
            // An exception specification.
            (table.sites + 26, 0x7f),
        ] {
            let mut other = known.clone();
            other[place] = byte;
            assert_eq!(read_at(&other, 9), None, "{place}: {byte:#x}");
        }
        let mut none = known.clone();
        none[1] = OMITTED;
        assert_eq!(
            read_at(&none, 9),
            Some(None),
            "a function that catches nothing"
        );
    }

    #[test]
    fn numbers_of_seven_bits_a_byte() {
        let signed = |bytes: &[u8]| Bytes(bytes.as_ptr()).signed();
        assert_eq!(signed(&[0]), 0);
        assert_eq!(signed(&[0x3f]), 63);
        assert_eq!(signed(&[0x40]), -64);
        assert_eq!(signed(&[0x7f]), -1);
        assert_eq!(signed(&[0x80, 1]), 128);
        assert_eq!(signed(&[0x80, 0x7f]), -128);
        assert_eq!(Bytes([0xe5, 0x8e, 0x26].as_ptr()).unsigned(), 624_485);
    }

    #[test]
    fn what_is_no_compiled_function_is_unknown() {
        assert!(at(what_is_no_compiled_function_is_unknown as *const () as usize + 1).is_none());
    }
}
