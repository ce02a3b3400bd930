//! Code in the place of functions that are not compiled yet: a stub for each, which has its function compiled and goes on
//! there, with the arguments where the caller has put them.
//!
//! A stub knows nothing of its function but its number. It leaves everything as it was but registers that belong to nobody at
//! a function's first instruction (`r10` and `r11` on x86-64, `x9`, `x16` and `x17` on ARM64), so that one stub serves all
//! signatures, both compilers' code and trampolines.
//!
//! ```text
//! stub of function n:  mov r11d, n             code of all stubs:  lea r10, the stubs' head
//!                      jmp code of all stubs                       is there room on this stack?
//!                                                                  jmp arrive
//! ```
//!
//! Whether there is room is asked by a read, in memory that is nobody's code: a fault there is compiled code's stack overflow
//! (`runtime/stack.rs`), as it is in the function itself.

/// Whether there are stubs for this processor and system.
pub(super) const STUBS: bool = cfg!(any(
    all(unix, target_arch = "x86_64"),
    all(target_os = "linux", target_arch = "aarch64")
));

use wasmer_vm::VMFunctionBody;

/// Has a function compiled; returns its code, or does not return. Called on a WebAssembly stack, with what the stubs belong to
/// and the function's number.
pub(super) type Resolve = unsafe extern "C-unwind" fn(*const (), u32) -> *const VMFunctionBody;

#[cfg(any(
    all(unix, target_arch = "x86_64"),
    all(target_os = "linux", target_arch = "aarch64")
))]
pub(super) use some::Stubs;

#[cfg(not(any(
    all(unix, target_arch = "x86_64"),
    all(target_os = "linux", target_arch = "aarch64")
)))]
pub(super) use none::Stubs;

#[cfg(not(any(
    all(unix, target_arch = "x86_64"),
    all(target_os = "linux", target_arch = "aarch64")
)))]
mod none {
    use wasmer_vm::VMFunctionBody;

    use super::Resolve;

    pub struct Stubs(std::convert::Infallible);

    impl Stubs {
        pub fn new(_: usize, _: *const (), _: Resolve) -> Option<Self> {
            None
        }

        pub fn stub(&self, _: u32) -> *const VMFunctionBody {
            match self.0 {}
        }
    }
}

#[cfg(any(
    all(unix, target_arch = "x86_64"),
    all(target_os = "linux", target_arch = "aarch64")
))]
mod some {
    use region::{Allocation, Protection};
    use wasmer_vm::VMFunctionBody;

    use super::Resolve;
    #[cfg(target_arch = "aarch64")]
    use super::aarch64::{arrive, code};
    #[cfg(target_arch = "x86_64")]
    use super::x86_64::{arrive, code};

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
    pub const HEAD: usize = 3 * size_of::<usize>();
    /// Where the first stub is.
    pub const FIRST: usize = 64;
    /// Bytes of a stub.
    pub const STUB: usize = 16;
    /// More than [`arrive`] needs, and what changes to the host's stack.
    pub const ROOM: i32 = 8 << 10;

    impl Stubs {
        /// `owner` is what `resolve` gets. `None` where there is no memory.
        pub fn new(count: usize, owner: *const (), resolve: Resolve) -> Option<Self> {
            let count = u32::try_from(count).ok()?;
            let head = [owner, resolve as *const (), arrive as *const ()];
            let mut bytes = Vec::with_capacity(FIRST + STUB * count as usize);
            for address in head {
                bytes.extend((address as usize).to_le_bytes());
            }
            code(&mut bytes, count);
            let mut memory = region::alloc(bytes.len(), Protection::READ_WRITE).ok()?;
            // SAFETY: the memory was just allocated, is at least as long, and nobody else's.
            unsafe {
                memory
                    .as_mut_ptr::<u8>()
                    .copy_from(bytes.as_ptr(), bytes.len())
            };
            let start = memory.as_ptr::<u8>();
            // SAFETY: the whole allocation, in which nothing runs yet. Where a processor's instructions are cached apart from
            // data, the kernel sees to it that pages which become executable for the first time are read anew.
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
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::naked_asm;

    use super::some::{FIRST, HEAD, ROOM, STUB};

    const INT3: u8 = 0xcc;

    /// Behind the head: the code of all stubs, and stubs.
    pub fn code(code: &mut Vec<u8>, count: u32) {
        // lea r10, the head
        code.extend([0x4c, 0x8d, 0x15]);
        relative(code, 0);
        // cmp byte ptr [rsp - ROOM], 0
        code.extend([0x80, 0xbc, 0x24]);
        code.extend((-ROOM).to_le_bytes());
        code.push(0);
        // jmp [arrive]
        code.extend([0xff, 0x25]);
        relative(code, 2 * size_of::<usize>());
        code.resize(FIRST, INT3);
        for number in 0..count {
            // mov r11d, number
            code.extend([0x41, 0xbb]);
            code.extend(number.to_le_bytes());
            // jmp the code of all stubs
            code.push(0xe9);
            relative(code, HEAD);
            code.resize(code.len().next_multiple_of(STUB), INT3);
        }
    }

    /// The distance from behind these four bytes to `target`, which is counted from the beginning.
    fn relative(code: &mut Vec<u8>, target: usize) {
        let here = code.len() + size_of::<i32>();
        code.extend((target as i32 - here as i32).to_le_bytes());
    }

    /// Where all stubs go: `r10` is their head, `r11` the function's number, all else the function's. Its frame record is one
    /// as compiled functions have it.
    #[unsafe(naked)]
    pub unsafe extern "C-unwind" fn arrive() {
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

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod aarch64 {
    use std::arch::naked_asm;

    use super::some::{FIRST, HEAD, ROOM, STUB};

    const BRK: u32 = 0xd420_0000;
    const X9: u32 = 9;
    const X16: u32 = 16;
    const X17: u32 = 17;
    const SP: u32 = 31;

    /// Behind the head: the code of all stubs, and stubs.
    pub fn code(code: &mut Vec<u8>, count: u32) {
        let at = (HEAD / size_of::<u32>()) as i32;
        let ours = [
            // adr x16, the head
            0x1000_0000 | low(-at, 19) << 5 | X16,
            // sub x9, sp, ROOM, in units of 4096 bytes
            0xd140_0000 | (ROOM as u32 >> 12) << 10 | SP << 5 | X9,
            // ldrb w9, [x9]
            0x3940_0000 | X9 << 5 | X9,
            // ldr x9, [x16, arrive], in words
            0xf940_0000 | 2 << 10 | X16 << 5 | X9,
            // br x9
            0xd61f_0000 | X9 << 5,
        ];
        code.extend(ours.into_iter().flat_map(u32::to_le_bytes));
        while code.len() < FIRST {
            code.extend(BRK.to_le_bytes());
        }
        for number in 0..count {
            let here = (code.len() / size_of::<u32>()) as i32 + 2;
            let stub: [u32; STUB / size_of::<u32>()] = [
                // movz w17, the number's lower half
                0x5280_0000 | (number & 0xffff) << 5 | X17,
                // movk w17, its upper half, lsl 16
                0x72a0_0000 | number >> 16 << 5 | X17,
                // b the code of all stubs
                0x1400_0000 | low(at - here, 26),
                BRK,
            ];
            code.extend(stub.into_iter().flat_map(u32::to_le_bytes));
        }
    }

    /// The lower bits of a distance in instructions.
    fn low(distance: i32, bits: u32) -> u32 {
        distance as u32 & ((1 << bits) - 1)
    }

    /// Where all stubs go: `x16` is their head, `w17` the function's number, all else the function's. Its frame record is one as
    /// compiled functions have it.
    #[unsafe(naked)]
    pub unsafe extern "C-unwind" fn arrive() {
        naked_asm!(
            "stp x29, x30, [sp, #-16]!",
            "mov x29, sp",
            // The arguments, where the system's calling convention has them in registers, and x8, the place of results.
            "stp x0, x1, [sp, #-16]!",
            "stp x2, x3, [sp, #-16]!",
            "stp x4, x5, [sp, #-16]!",
            "stp x6, x7, [sp, #-16]!",
            "stp x8, xzr, [sp, #-16]!",
            "stp q0, q1, [sp, #-32]!",
            "stp q2, q3, [sp, #-32]!",
            "stp q4, q5, [sp, #-32]!",
            "stp q6, q7, [sp, #-32]!",
            "ldr x0, [x16]",
            "mov w1, w17",
            "ldr x9, [x16, #8]",
            "blr x9",
            "mov x16, x0",
            "ldp q6, q7, [sp], #32",
            "ldp q4, q5, [sp], #32",
            "ldp q2, q3, [sp], #32",
            "ldp q0, q1, [sp], #32",
            "ldp x8, xzr, [sp], #16",
            "ldp x6, x7, [sp], #16",
            "ldp x4, x5, [sp], #16",
            "ldp x2, x3, [sp], #16",
            "ldp x0, x1, [sp], #16",
            "ldp x29, x30, [sp], #16",
            "br x16",
        )
    }
}
