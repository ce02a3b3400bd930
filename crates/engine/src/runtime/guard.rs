//! Whether code without bounds checks may run on a memory of the host's.
//!
//! V8 guards all its memories with 32-bit addresses, or none (`BackingStore::TryAllocateAndPartiallyCommitMemory`, Node
//! 20 to 26): where memory faults are caught for it, it reserves [`APART`] bytes from a memory's base on, whatever the
//! memory's maximum. Where it cannot reserve them there is no memory; it never makes one with less. Node settles that
//! before it runs a program, and installs a handler of its own for the faults then, on ARM64 even where V8 guards nothing
//! (Node 20). There, and where somebody else's handler is found, which may have taken the place of Node's or of none, the memories
//! themselves show it ([`see_memories`]).
//!
//! So this is asked once. A memory is looked at all the same, but in a way whose cost does not depend on how many others
//! there are, and that on Linux needs neither a descriptor nor `/proc`. That alone would not do: without guards V8 puts
//! memories side by side, and the reserved end of one looks like the guard region of the one before.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What static-style code can reach: a 32-bit index and wasmer's 2 GiB of offset guard.
const RESERVATION: usize = 6 << 30;

/// What V8 reserves for a memory that it guards.
const APART: usize = 8 << 30;

/// Who catches memory faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handler {
    Nobody,
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    Node,
    Somebody,
}

static HANDLER: OnceLock<Handler> = OnceLock::new();

/// Memories were seen that are as far apart as guarded ones are.
static SEEN_APART: AtomicBool = AtomicBool::new(false);

/// Looks for the host's fault handler; to be called before ours is installed.
pub(super) fn see_host_handler() {
    let _ = HANDLER.set(host_handler());
}

/// Looks at the bases of new memories with a maximum of a page. Without guards V8 reserves no more than that page for
/// each, and the kernel puts one behind the other; that each of many found a gap of its own, [`APART`] from all others,
/// does not happen.
pub fn see_memories(bases: &mut [usize]) {
    if are_apart(bases) {
        SEEN_APART.store(true, Ordering::Release);
    }
}

fn are_apart(bases: &mut [usize]) -> bool {
    bases.sort_unstable();
    bases.len() > 1 && bases.windows(2).all(|pair| pair[1] - pair[0] >= APART)
}

fn host_handler() -> Handler {
    let signal = if cfg!(target_vendor = "apple") {
        libc::SIGBUS
    } else {
        libc::SIGSEGV
    };
    // SAFETY: all zeros is a valid action to be overwritten.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: only asks for the action.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
    if asked != 0 || [libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction) {
        return Handler::Nobody;
    }
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    {
        // `node::TrapWebAssemblyOrContinue(int, siginfo_t*, void*)`
        let name = c"_ZN4node25TrapWebAssemblyOrContinueEiP9siginfo_tPv";
        // SAFETY: a valid name.
        let nodes = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        if action.sa_sigaction == nodes as usize {
            return Handler::Node;
        }
    }
    Handler::Somebody
}

/// Whether the host's memories have guard regions at all; what [`has_guard_region`] asks first.
pub fn host_guards_memories() -> bool {
    match HANDLER.get() {
        None | Some(Handler::Nobody) => false,
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        Some(Handler::Node) => true,
        Some(Handler::Somebody) => SEEN_APART.load(Ordering::Acquire),
    }
}

/// Whether code without bounds checks may run on the memory: everything from its end to
/// [`RESERVATION`] is reserved address space that nothing can read.
pub(super) fn has_guard_region(base: *const u8, length: usize, shared: bool) -> bool {
    host_guards_memories() && looks_guarded(base, length, shared)
}

/// What the kernel says at once: the reservation has no hole, and is unreadable where the memory ends, at every GiB
/// from there, and where it ends itself.
#[cfg(target_os = "linux")]
fn looks_guarded(base: *const u8, length: usize, shared: bool) -> bool {
    /// The largest memory.
    const LARGEST: usize = 4 << 30;

    // Another thread may be growing a shared memory.
    let first = if shared { LARGEST } else { length };
    let words = (first..RESERVATION).step_by(1 << 30);
    let mut words = words.chain([RESERVATION - size_of::<u64>()]);
    linux::has_no_hole(base) && words.all(|at| !linux::is_readable(base.wrapping_add(at)))
}

/// The mappings in the reservation: there are two or three.
#[cfg(not(target_os = "linux"))]
fn looks_guarded(base: *const u8, length: usize, shared: bool) -> bool {
    use region::Protection;

    let Ok(regions) = region::query_range(base, RESERVATION) else {
        return false;
    };
    let mut next = base as usize;
    for region in regions {
        let Ok(region) = region else { return false };
        let range = region.as_range();
        if range.start > next {
            return false;
        }
        let behind = range.end > base as usize + length.next_multiple_of(region::page::size());
        let allowed = match region.protection() {
            Protection::NONE => true,
            // Another thread may be growing a shared memory.
            Protection::READ_WRITE => shared || !behind,
            _ => false,
        };
        if !allowed {
            return false;
        }
        next = range.end;
    }
    next >= base as usize + RESERVATION
}

/// Whether the aligned word at the address can be read. Where the kernel cannot be asked, it is taken to be.
#[cfg(target_os = "linux")]
pub(super) fn is_readable(at: usize) -> bool {
    linux::is_readable(std::ptr::without_provenance(at))
}

/// As above.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_readable(_at: usize) -> bool {
    true
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::Error;
    use std::ptr;

    use super::RESERVATION;

    /// Whether everything from `base` to the end of its reservation is mapped, readable or not. The kernel walks over the
    /// mappings there, which are two or three.
    pub(super) fn has_no_hole(base: *const u8) -> bool {
        // SAFETY: an asynchronous `msync` changes nothing; of what is not mapped it says so.
        let told = unsafe { libc::msync(base.cast_mut().cast(), RESERVATION, libc::MS_ASYNC) };
        told == 0
    }

    /// Whether the aligned word at the address can be read, or whether that is not known.
    pub(super) fn is_readable(at: *const u8) -> bool {
        // The kernel reads the set before it refuses to do what it does not know.
        let nonsense = -1;
        let none = ptr::null_mut::<u64>();
        // SAFETY: nothing is done; the kernel looks itself whether the address is one.
        let told = unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                nonsense,
                at,
                none,
                size_of::<u64>(),
            )
        };
        told == 0 || Error::last_os_error().raw_os_error() != Some(libc::EFAULT)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use region::{Allocation, Protection};

    use super::*;

    const PAGE: usize = 64 << 10;

    /// As V8 reserves it.
    fn reserved(length: usize) -> (Allocation, *const u8) {
        let all = region::alloc(APART, Protection::NONE).expect("address space");
        let base = all.as_ptr::<u8>();
        open(base, length, Protection::READ_WRITE);
        (all, base)
    }

    fn open(at: *const u8, length: usize, protection: Protection) {
        if length > 0 {
            // SAFETY: of a reservation that nothing else uses.
            unsafe { region::protect(at, length, protection) }.expect("pages");
        }
    }

    #[test]
    fn one_memory_beside_another_tells_that_there_are_no_guards() {
        assert!(are_apart(&mut [5 * APART, APART, 3 * APART, 2 * APART]));
        assert!(!are_apart(&mut [
            5 * APART,
            APART,
            3 * APART,
            2 * APART - PAGE
        ]));
        assert!(!are_apart(&mut [APART]));
    }

    #[test]
    fn a_memory_is_guarded_whatever_its_length() {
        for length in [0, PAGE, 7 * PAGE, 1 << 30, 4 << 30] {
            let (_all, base) = reserved(length);
            assert!(looks_guarded(base, length, false), "{length}");
            assert!(looks_guarded(base, length, true), "{length}");
        }
    }

    #[test]
    fn what_lies_behind_a_memory_must_be_closed() {
        for at in [PAGE, PAGE + (3 << 30), RESERVATION - PAGE] {
            for protection in [Protection::READ, Protection::READ_WRITE] {
                let (_all, base) = reserved(PAGE);
                open(base.wrapping_add(at), PAGE, protection);
                assert!(!looks_guarded(base, PAGE, false), "{at:#x} {protection:?}");
            }
        }
    }

    #[test]
    fn a_shared_memory_may_be_growing() {
        let (_all, base) = reserved(2 * PAGE);
        assert!(looks_guarded(base, PAGE, true));
        assert!(!looks_guarded(base, PAGE, false));
    }

    #[test]
    fn what_lies_behind_a_memory_must_be_reserved() {
        for at in [PAGE, 1 << 30, RESERVATION - PAGE] {
            let (all, base) = reserved(PAGE);
            let hole = base.wrapping_add(at).cast_mut().cast();
            // SAFETY: of a reservation that nothing else uses, and that is not given back.
            unsafe { libc::munmap(hole, PAGE) };
            assert!(!looks_guarded(base, PAGE, false), "{at:#x}");
            std::mem::forget(all);
        }
    }
}
