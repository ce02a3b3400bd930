//! What must hold of the store whatever its files contain.

use std::alloc::System;

use cap::Cap;

pub mod properties;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// The most that a file may make the store allocate before its seal has proved it (see `crates/store/src/lib.rs`), and what
/// is allocated besides: a buffer, paths, a label of 1 MiB.
const MOST: usize = (16 << 20) + (2 << 20);

/// Does `work`; allocating more than [`MOST`] at a time ends the process.
fn bounded<T>(work: impl FnOnce() -> T) -> T {
    let limit = ALLOCATOR.allocated() + MOST;
    ALLOCATOR
        .set_limit(limit)
        .expect("the limit is above what is allocated");
    let done = work();
    ALLOCATOR.set_limit(usize::MAX).expect("there is no limit");
    done
}
