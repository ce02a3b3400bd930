//! Instances and what they hold: link groups, memories, tables, globals, tags, calls, traps.
//!
//! Owns: the stores. A link group belongs to one thread. May not know: Node (the host's side is
//! behind the traits [`Callee`] and [`MemoryHost`]), files, how code is made.

mod active;
mod call;
mod callee;
mod exception;
mod faults;
mod frames;
mod globals;
mod group;
mod guard;
#[cfg(direct_throw)]
mod handlers;
mod host;
mod imports;
mod instance;
mod interrupt;
mod levels;
mod libcall;
mod member;
mod memory;
mod notes;
mod reference;
mod scan;
mod shadow;
mod signal;
mod stack;
#[cfg(direct_throw)]
mod throw;
mod trap;
mod tunables;
mod unit;
mod unwind;
mod vacant;
mod waiting;

pub use call::call;
pub use callee::{Callee, Raised};
pub use exception::Serial;
pub use faults::retake as retake_fault;
pub use group::{FunctionMeta, Group, live_groups};
pub use guard::{host_guards_memories, see_memories};
pub use imports::Import;
pub use instance::{ExportValue, InstantiateError, Instantiated};
pub use interrupt::{Question, Watched, close_libraries};
pub use member::UnitId;
pub use memory::{MemoryHost, MemoryState, Waited};
pub use shadow::has_shadow_stack;
pub use stack::{WasmThread, init_traps};
pub use trap::{Outcome, classify};
pub use unit::Sweep;
pub use unwind::InFlight;

/// How many exceptions were left to the C runtime's unwinder: those that nobody caught in WebAssembly, and others whose way was not
/// known. `None` where it has all of them.
pub fn left_to_unwinder() -> Option<usize> {
    #[cfg(direct_throw)]
    return Some(throw::left_to_unwinder());
    #[cfg(not(direct_throw))]
    None
}

/// Checks now what is checked before the first module with handlers of exceptions is instantiated.
pub fn examine_handlers() {
    unwind::works();
}
