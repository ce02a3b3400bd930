//! Code between the compilers' conventions, for Singlepass' functions with parameters that are floats. Cranelift's code passes
//! them in registers of their own, as System V has it; Singlepass' passes them like integers of the same bits.
//!
//! ```text
//! thunk of function f:  push rbp; mov rbp, rsp             (these where Singlepass has some on the stack)
//!                       sub rsp, room for them
//!                       each parameter, the last one first: to where Singlepass has it
//!                       mov rax, f
//!                       jmp rax                            or: call rax; leave; ret
//! ```
//!
//! Results need nothing: Singlepass' functions leave a float in `xmm0`, too.
//!
//! A thunk that calls has a frame, as compiled functions have it, and the unwinder knows it; but it is no function's, and stacks
//! do not show it ([`is_thunk`]).
//!
//! Invariant: a parameter is moved to the right, or stays: its place among all parameters is not before that among those of its
//! kind. So nothing is overwritten that is still to be moved.

#[cfg(all(
    feature = "singlepass",
    target_arch = "x86_64",
    target_os = "linux",
    target_env = "gnu"
))]
pub(super) use some::Thunks;

#[cfg(not(all(
    feature = "singlepass",
    target_arch = "x86_64",
    target_os = "linux",
    target_env = "gnu"
)))]
pub(super) use none::Thunks;

use std::collections::BTreeMap;

use parking_lot::RwLock;

/// Where thunks are: from, and to.
static RANGES: RwLock<BTreeMap<usize, usize>> = RwLock::new(BTreeMap::new());

/// Whether an address is in a thunk.
pub(super) fn is_thunk(address: usize) -> bool {
    let ranges = RANGES.read();
    let found = ranges.range(..=address).next_back();
    found.is_some_and(|(_, end)| address < *end)
}

#[cfg(not(all(
    feature = "singlepass",
    target_arch = "x86_64",
    target_os = "linux",
    target_env = "gnu"
)))]
mod none {
    use wasmer_types::Type;
    use wasmer_vm::FunctionBodyPtr;

    pub struct Thunks(std::convert::Infallible);

    impl Thunks {
        pub fn new(_: &[(Vec<Type>, FunctionBodyPtr)]) -> Option<Self> {
            None
        }

        pub fn bodies(&self) -> impl Iterator<Item = FunctionBodyPtr> {
            std::iter::empty()
        }
    }
}

#[cfg(all(
    feature = "singlepass",
    target_arch = "x86_64",
    target_os = "linux",
    target_env = "gnu"
))]
mod some {
    use region::{Allocation, Protection};
    use wasmer_types::Type;
    use wasmer_vm::FunctionBodyPtr;

    use super::super::exit;
    use super::RANGES;

    /// Some thunks, and behind the table of their frames.
    ///
    /// Invariant: the table is registered as long as this lives.
    pub struct Thunks {
        memory: Allocation,
        starts: Vec<usize>,
    }

    // SAFETY: nothing writes to the memory after `Thunks::new`, and it is unmapped on any thread.
    unsafe impl Send for Thunks {}
    // SAFETY: as above.
    unsafe impl Sync for Thunks {}

    unsafe extern "C" {
        /// Of the C runtime's unwinder (libgcc): a table of frames.
        fn __register_frame(table: *const u8);
        fn __deregister_frame(table: *const u8);
    }

    impl Thunks {
        /// Of functions: their parameters, and Singlepass' code. `None` where there is no memory, or the process ends.
        pub fn new(functions: &[(Vec<Type>, FunctionBodyPtr)]) -> Option<Self> {
            let mut code = vec![0; TABLE];
            let mut starts = Vec::with_capacity(functions.len());
            for (parameters, body) in functions {
                code.resize(code.len().next_multiple_of(ALIGNMENT), INT3);
                starts.push(code.len());
                thunk(&mut code, parameters, body.0 as u64);
            }
            let mut memory = region::alloc(code.len(), Protection::READ_WRITE).ok()?;
            let start = memory.as_ptr::<u8>();
            let table = table(start as u64 + TABLE as u64, (code.len() - TABLE) as u64);
            code[..TABLE].copy_from_slice(&table);
            // SAFETY: the memory was just allocated, is at least as long, and nobody else's.
            unsafe {
                memory
                    .as_mut_ptr::<u8>()
                    .copy_from(code.as_ptr(), code.len())
            };
            // SAFETY: the whole allocation, in which nothing runs yet.
            unsafe { region::protect(start, memory.len(), Protection::READ_EXECUTE) }.ok()?;
            let mut registered = None;
            exit::before(|| {
                // SAFETY: a table that ends as tables do, and stays as it is until it is taken back.
                unsafe { __register_frame(start) };
                let from = start as usize + TABLE;
                RANGES.write().insert(from, start as usize + code.len());
                registered = Some(Self { memory, starts });
            });
            registered
        }

        /// The thunks, in the order of their functions.
        pub fn bodies(&self) -> impl Iterator<Item = FunctionBodyPtr> {
            let start = self.memory.as_ptr::<u8>();
            let bodies = self.starts.iter();
            bodies.map(move |at| FunctionBodyPtr(start.wrapping_add(*at).cast()))
        }
    }

    impl Drop for Thunks {
        fn drop(&mut self) {
            let start = self.memory.as_ptr::<u8>();
            RANGES.write().remove(&(start as usize + TABLE));
            // SAFETY: registered (the invariant), and no thread is in its code any more.
            unsafe { __deregister_frame(start) };
        }
    }

    const ALIGNMENT: usize = 16;
    const INT3: u8 = 0xcc;

    /// Where the first thunk is.
    const TABLE: usize = 64;

    /// The table of the frames (DWARF, `.eh_frame`): a common entry, one for all thunks, and the end. Every call is made with a
    /// frame: the CFA is two words above where `rbp` points, and there are the caller's and the return address.
    fn table(code: u64, length: u64) -> [u8; TABLE] {
        const DEF_CFA: u8 = 0x0c;
        const OFFSET: u8 = 0x80;
        const RBP: u8 = 6;
        const RETURN_ADDRESS: u8 = 16;
        let mut table = [0; TABLE];
        let mut at = 0;
        let mut write = |bytes: &[u8]| {
            table[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        // Its length, its mark, version, augmentation, factors (1, and -8), and the return address' column.
        write(&20_u32.to_le_bytes());
        write(&[0, 0, 0, 0, 1, 0, 1, 0x78, RETURN_ADDRESS]);
        write(&[DEF_CFA, RBP, 16, OFFSET | RBP, 2]);
        write(&[OFFSET | RETURN_ADDRESS, 1, 0, 0, 0, 0]);
        // Its length, and how far the common entry is from here.
        write(&20_u32.to_le_bytes());
        write(&28_u32.to_le_bytes());
        write(&code.to_le_bytes());
        write(&length.to_le_bytes());
        table
    }

    const RAX: u8 = 0;
    /// Of integers, the context's first.
    const INTEGERS: [u8; 6] = [7, 6, 2, 1, 8, 9];
    /// Registers of floats that take parameters.
    const FLOATS: usize = 8;
    /// From the frame pointer to what the caller has put on the stack.
    const RECORD: usize = 16;
    const WORD: usize = size_of::<u64>();

    /// Where the caller has a parameter.
    #[derive(Clone, Copy)]
    enum Place {
        Integer(u8),
        Float(u8),
        /// Which of those on the stack it is.
        Stack(usize),
    }

    /// Where System V has parameters that follow a context.
    fn places(parameters: &[Type]) -> Vec<Place> {
        let (mut integers, mut floats, mut stack) = (1, 0, 0);
        let place = |ty: &Type| {
            let is_float = matches!(ty, Type::F32 | Type::F64);
            if is_float && floats < FLOATS {
                floats += 1;
                return Place::Float(floats as u8 - 1);
            }
            if !is_float && integers < INTEGERS.len() {
                integers += 1;
                return Place::Integer(INTEGERS[integers - 1]);
            }
            stack += 1;
            Place::Stack(stack - 1)
        };
        parameters.iter().map(place).collect()
    }

    fn thunk(code: &mut Vec<u8>, parameters: &[Type], function: u64) {
        let on_stack = (1 + parameters.len()).saturating_sub(INTEGERS.len());
        let has_frame = on_stack > 0;
        if has_frame {
            let room = (WORD * on_stack).next_multiple_of(16);
            // push rbp; mov rbp, rsp; sub rsp, room
            code.extend([0x55, 0x48, 0x89, 0xe5, 0x48, 0x81, 0xec]);
            code.extend((room as u32).to_le_bytes());
        }
        for (index, place) in places(parameters).into_iter().enumerate().rev() {
            // The context is before them.
            let index = index + 1;
            match INTEGERS.get(index) {
                Some(register) => to_register(code, place, *register),
                None => to_stack(code, place, WORD * (index - INTEGERS.len())),
            }
        }
        // mov rax, function
        code.extend([0x48, 0xb8]);
        code.extend(function.to_le_bytes());
        if has_frame {
            // call rax; leave; ret
            code.extend([0xff, 0xd0, 0xc9, 0xc3]);
        } else {
            // jmp rax
            code.extend([0xff, 0xe0]);
        }
    }

    fn to_register(code: &mut Vec<u8>, from: Place, to: u8) {
        match from {
            Place::Integer(from) if from == to => {}
            // mov to, from
            Place::Integer(from) => {
                code.extend([0x48 | high(from) << 2 | high(to), 0x89]);
                code.push(0xc0 | low(from) << 3 | low(to));
            }
            // movq to, from
            Place::Float(from) => {
                code.extend([0x66, 0x48 | high(to), 0x0f, 0x7e]);
                code.push(0xc0 | from << 3 | low(to));
            }
            // mov to, [rbp + …]
            Place::Stack(from) => {
                code.extend([0x48 | high(to) << 2, 0x8b, 0x85 | low(to) << 3]);
                code.extend(((RECORD + WORD * from) as u32).to_le_bytes());
            }
        }
    }

    /// `to`: how many bytes above where `rsp` points.
    fn to_stack(code: &mut Vec<u8>, from: Place, to: usize) {
        match from {
            // mov [rsp + to], from
            Place::Integer(from) => {
                code.extend([0x48 | high(from) << 2, 0x89, 0x84 | low(from) << 3, 0x24]);
            }
            // movq [rsp + to], from
            Place::Float(from) => code.extend([0x66, 0x0f, 0xd6, 0x84 | from << 3, 0x24]),
            Place::Stack(_) => {
                to_register(code, from, RAX);
                return to_stack(code, Place::Integer(RAX), to);
            }
        }
        code.extend((to as u32).to_le_bytes());
    }

    /// Of a register's number: the bit that is in a prefix, and the others.
    const fn high(register: u8) -> u8 {
        register >> 3
    }

    const fn low(register: u8) -> u8 {
        register & 7
    }
}
