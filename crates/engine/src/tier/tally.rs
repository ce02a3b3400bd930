//! Code in the place of functions whose calls are counted: a tally for each, which counts and goes on in the function.
//!
//! ```text
//! tally of function n:  inc dword ptr [calls of n]
//!                       jmp [body of n]
//! ```
//!
//! A tally changes no register, and is in no frame. Counting is not atomic: of calls of several threads at once some are
//! missed, which changes when a function is optimized and nothing else.

/// Whether calls are counted on this processor and system.
pub(super) const TALLIES: bool = cfg!(all(unix, target_arch = "x86_64"));

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use region::{Allocation, Protection};
use wasmer_vm::{FunctionBodyPtr, VMFunctionBody};

/// Tallies of one module, and behind them what they count and where they go.
pub(super) struct Tallies {
    memory: Allocation,
    count: usize,
    /// Where the bodies' addresses are; behind those, the numbers of calls.
    data: usize,
}

// SAFETY: nothing writes to the code after `Tallies::new`, to what is behind it only atomically, and dropping it unmaps it, on
// any thread.
unsafe impl Send for Tallies {}
// SAFETY: as above.
unsafe impl Sync for Tallies {}

/// Bytes of a tally.
const TALLY: usize = 16;
const INT3: u8 = 0xcc;

impl Tallies {
    /// `None` where there is no memory, or no such code.
    pub(super) fn new(count: usize) -> Option<Self> {
        if !TALLIES || count == 0 || u32::try_from(count).is_err() {
            return None;
        }
        let data = region::page::ceil(std::ptr::without_provenance::<u8>(TALLY * count)).addr();
        let size = data + count * (size_of::<usize>() + size_of::<u32>());
        let mut memory = region::alloc(size, Protection::READ_WRITE).ok()?;
        let mut code = Vec::with_capacity(TALLY * count);
        for number in 0..count {
            // inc dword ptr [calls]
            code.extend([0xff, 0x05]);
            relative(&mut code, calls(data, count, number));
            // jmp [body]
            code.extend([0xff, 0x25]);
            relative(&mut code, body(data, number));
            code.resize(code.len().next_multiple_of(TALLY), INT3);
        }
        // SAFETY: the memory was just allocated, is at least as long, and nobody else's.
        unsafe {
            memory
                .as_mut_ptr::<u8>()
                .copy_from(code.as_ptr(), code.len())
        };
        // SAFETY: whole pages of the allocation, in which nothing runs yet.
        unsafe { region::protect(memory.as_ptr::<u8>(), data, Protection::READ_EXECUTE) }.ok()?;
        Some(Self {
            memory,
            count,
            data,
        })
    }

    /// What counts the calls of a function, and goes on in `body`.
    pub(super) fn count(&self, number: u32, body: FunctionBodyPtr) -> FunctionBodyPtr {
        self.body(number)
            .store(body.0.cast_mut(), Ordering::Release);
        let start = self.memory.as_ptr::<u8>();
        FunctionBodyPtr(start.wrapping_add(TALLY * number as usize).cast())
    }

    /// How often a function was called, about; modulo 2³².
    pub(super) fn calls(&self, number: u32) -> u32 {
        let at = self.at(number, calls(self.data, self.count, number as usize));
        // SAFETY: aligned and within the allocation (`at`), as long as `self`, and written by tallies alone, whose words are whole.
        unsafe { AtomicU32::from_ptr(at.cast_mut().cast()) }.load(Ordering::Relaxed)
    }

    fn body(&self, number: u32) -> &AtomicPtr<VMFunctionBody> {
        let at = self.at(number, body(self.data, number as usize));
        // SAFETY: aligned and within the allocation (`at`), as long as `self`, and written through this alone.
        unsafe { AtomicPtr::from_ptr(at.cast_mut().cast()) }
    }

    /// The address of what a function has so far behind the beginning: first all addresses, from the beginning of a page on, then
    /// all numbers, so each is aligned.
    fn at(&self, number: u32, offset: usize) -> *const u8 {
        assert!(
            (number as usize) < self.count,
            "there is a tally for each function"
        );
        self.memory.as_ptr::<u8>().wrapping_add(offset)
    }
}

const fn body(data: usize, number: usize) -> usize {
    data + size_of::<usize>() * number
}

const fn calls(data: usize, count: usize, number: usize) -> usize {
    body(data, count) + size_of::<u32>() * number
}

/// The distance from behind these four bytes to `target`, which is counted from the beginning.
fn relative(code: &mut Vec<u8>, target: usize) {
    let here = code.len() + size_of::<i32>();
    code.extend((target as i32 - here as i32).to_le_bytes());
}
