//! Code in the place of functions that are not compiled yet: a stub for each, which has its function compiled and goes on
//! there, with the arguments where the caller has put them.
//!
//! A stub knows nothing of its function but its number. It leaves everything as it was but two registers that belong to
//! nobody at a function's first instruction (`r10` and `r11` on x86-64), so that one stub serves all signatures, both
//! compilers' code and trampolines.
//!
//! ```text
//! stub of function n:  mov r11d, n             code of all stubs:  lea r10, the stubs' head
//!                      jmp code of all stubs                       is there room on this stack?
//!                                                                  jmp arrive
//! ```
//!
//! Whether there is room is asked by a read, in memory that is nobody's code: a fault there is compiled code's stack overflow
//! (`runtime/stack.rs`), as it is in the function itself.

#[cfg(all(unix, target_arch = "x86_64"))]
pub(super) use x86_64::Stubs;

/// Whether there are stubs for this processor and system.
pub(super) const STUBS: bool = cfg!(all(unix, target_arch = "x86_64"));

use wasmer_vm::VMFunctionBody;

/// Has a function compiled; returns its code, or does not return. Called on a WebAssembly stack, with what the stubs belong to
/// and the function's number.
pub(super) type Resolve = unsafe extern "C-unwind" fn(*const (), u32) -> *const VMFunctionBody;

#[cfg(not(all(unix, target_arch = "x86_64")))]
pub(super) struct Stubs(std::convert::Infallible);

#[cfg(not(all(unix, target_arch = "x86_64")))]
impl Stubs {
    pub(super) fn new(_: usize, _: *const (), _: Resolve) -> Option<Self> {
        None
    }

    pub(super) fn stub(&self, _: u32) -> *const VMFunctionBody {
        match self.0 {}
    }
}

#[cfg(all(unix, target_arch = "x86_64"))]
mod x86_64 {
    use std::arch::naked_asm;

    use region::{Allocation, Protection};
    use wasmer_vm::VMFunctionBody;

    use super::Resolve;

    /// Stubs of one module.
    pub struct Stubs {
        memory: Allocation,
        count: u32,
    }

    // SAFETY: nothing writes to the memory after `Stubs::new`, and dropping it unmaps it, on any thread.
    unsafe impl Send for Stubs {}
    // SAFETY: as above.
    unsafe impl Sync for Stubs {}

    /// What is before the code of all stubs: what they belong to, [`Resolve`], [`arrive`].
    const HEAD: usize = 3 * size_of::<usize>();
    /// Where the first stub is.
    const FIRST: usize = 64;
    /// Bytes of a stub.
    const STUB: usize = 16;
    /// More than [`arrive`] needs, and what changes to the host's stack.
    const ROOM: i32 = 8 << 10;
    const INT3: u8 = 0xcc;

    impl Stubs {
        /// `owner` is what `resolve` gets. `None` where there is no memory.
        pub fn new(count: usize, owner: *const (), resolve: Resolve) -> Option<Self> {
            let count = u32::try_from(count).ok()?;
            let (resolve, arrive) = (resolve as *const (), arrive as *const ());
            let code = code(
                count,
                [owner, resolve, arrive].map(|address| address as usize),
            );
            let mut memory = region::alloc(code.len(), Protection::READ_WRITE).ok()?;
            // SAFETY: the memory was just allocated, is at least as long, and nobody else's.
            unsafe {
                memory
                    .as_mut_ptr::<u8>()
                    .copy_from(code.as_ptr(), code.len())
            };
            let start = memory.as_ptr::<u8>();
            // SAFETY: the whole allocation, in which nothing runs yet.
            unsafe { region::protect(start, memory.len(), Protection::READ_EXECUTE) }.ok()?;
            Some(Self { memory, count })
        }

        /// What stands for a function.
        pub fn stub(&self, number: u32) -> *const VMFunctionBody {
            assert!(number < self.count, "there is a stub for each function");
            let start = self.memory.as_ptr::<u8>();
            start.wrapping_add(FIRST + STUB * number as usize).cast()
        }
    }

    fn code(count: u32, head: [usize; HEAD / size_of::<usize>()]) -> Vec<u8> {
        let mut code = Vec::with_capacity(FIRST + STUB * count as usize);
        for address in head {
            code.extend(address.to_le_bytes());
        }
        // lea r10, [the beginning]
        code.extend([0x4c, 0x8d, 0x15]);
        relative(&mut code, 0);
        // cmp byte ptr [rsp - ROOM], 0
        code.extend([0x80, 0xbc, 0x24]);
        code.extend((-ROOM).to_le_bytes());
        code.push(0);
        // jmp [arrive]
        code.extend([0xff, 0x25]);
        relative(&mut code, 2 * size_of::<usize>());
        code.resize(FIRST, INT3);
        for number in 0..count {
            // mov r11d, number
            code.extend([0x41, 0xbb]);
            code.extend(number.to_le_bytes());
            // jmp the code of all stubs
            code.push(0xe9);
            relative(&mut code, HEAD);
            code.resize(code.len().next_multiple_of(STUB), INT3);
        }
        code
    }

    /// The distance from behind these four bytes to `target`, which is counted from the beginning.
    fn relative(code: &mut Vec<u8>, target: usize) {
        let here = code.len() + size_of::<i32>();
        code.extend((target as i32 - here as i32).to_le_bytes());
    }

    /// Where all stubs go: `r10` is their head, `r11` the function's number, all else the function's. Its frame record is one
    /// as compiled functions have it.
    #[unsafe(naked)]
    unsafe extern "C-unwind" fn arrive() {
        naked_asm!(
            "push rbp",
            "mov rbp, rsp",
            // The arguments, where the system's calling convention has them in registers.
            "push rdi",
            "push rsi",
            "push rdx",
            "push rcx",
            "push r8",
            "push r9",
            "sub rsp, 128",
            "movups [rsp], xmm0",
            "movups [rsp + 16], xmm1",
            "movups [rsp + 32], xmm2",
            "movups [rsp + 48], xmm3",
            "movups [rsp + 64], xmm4",
            "movups [rsp + 80], xmm5",
            "movups [rsp + 96], xmm6",
            "movups [rsp + 112], xmm7",
            "mov rdi, [r10]",
            "mov esi, r11d",
            "call [r10 + 8]",
            "mov r11, rax",
            "movups xmm0, [rsp]",
            "movups xmm1, [rsp + 16]",
            "movups xmm2, [rsp + 32]",
            "movups xmm3, [rsp + 48]",
            "movups xmm4, [rsp + 64]",
            "movups xmm5, [rsp + 80]",
            "movups xmm6, [rsp + 96]",
            "movups xmm7, [rsp + 112]",
            "add rsp, 128",
            "pop r9",
            "pop r8",
            "pop rcx",
            "pop rdx",
            "pop rsi",
            "pop rdi",
            "pop rbp",
            "jmp r11",
        )
    }
}
