//! Whether the processor checks where functions return to.
//!
//! A shadow stack (CET on x86-64, GCS on aarch64) has a copy of every return address. Code that leaves one stack for
//! another without returning, as wasmer's does at the end of every call, or whose return addresses are changed
//! (`unwind.rs`), is ended by it. The C library switches it on for a process whose program and libraries all say that they
//! can stand it, and a kernel from 6.6 or 6.13 on.

/// Whether this thread has a shadow stack.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub fn has_shadow_stack() -> bool {
    /// `ARCH_SHSTK_STATUS` and `ARCH_SHSTK_SHSTK` of `asm/prctl.h`.
    const STATUS: libc::c_int = 0x5005;
    const ENABLED: u64 = 1;

    let mut features: u64 = 0;
    // SAFETY: the kernel writes the word, or refuses what it does not know.
    let asked = unsafe { libc::syscall(libc::SYS_arch_prctl, STATUS, &raw mut features) };
    asked == 0 && features & ENABLED != 0
}

/// As above.
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
pub fn has_shadow_stack() -> bool {
    /// `PR_GET_SHADOW_STACK_STATUS` and `PR_SHADOW_STACK_ENABLE` of `linux/prctl.h`.
    const STATUS: libc::c_int = 74;
    const ENABLED: u64 = 1;

    let mut features: u64 = 0;
    let to = &raw mut features;
    // SAFETY: the kernel writes the word, or refuses what it does not know.
    let asked = unsafe { libc::syscall(libc::SYS_prctl, STATUS, to, 0, 0, 0) };
    asked == 0 && features & ENABLED != 0
}

/// No program has one that did not ask for it.
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub fn has_shadow_stack() -> bool {
    false
}
