//! What a trap means.

use wasmer_types::TrapCode;
use wasmer_vm::{Trap, VMExceptionRef};

use super::callee::Raised;
use super::interrupt::Interrupted;
use super::levels::TooDeep;
use super::libcall;
use super::notes::code;
use crate::module::Site;
use crate::tier::NotCompiled;

/// How a call ended, if not well.
#[derive(Debug)]
pub enum Outcome {
    /// An import threw; its exception is pending.
    Raised,
    /// The environment is to stop; JavaScript is ended as well.
    Interrupted,
    /// Becomes a `RangeError`.
    StackOverflow,
    /// Likewise: a function could not be compiled when it was called, for want of memory or threads.
    NotCompiled(String),
    /// Becomes a `WebAssembly.RuntimeError` with V8's words.
    Trap(&'static str),
    /// A WebAssembly exception that no handler caught.
    Exception(VMExceptionRef),
}

/// Sorts a trap; `site` finds the instruction that failed, where its trap codes do not say.
pub fn classify(trap: &Trap, site: impl Fn() -> Option<Site>) -> Outcome {
    let code = match trap {
        Trap::User(error) if error.is::<Raised>() => return Outcome::Raised,
        Trap::User(error) if error.is::<Interrupted>() => return Outcome::Interrupted,
        Trap::User(error) if error.is::<TooDeep>() => return Outcome::StackOverflow,
        Trap::User(error) if let Some(error) = error.downcast_ref::<NotCompiled>() => {
            return Outcome::NotCompiled(format!("out of memory: {error}"));
        }
        Trap::User(_) => return Outcome::Trap("a host function failed"),
        Trap::OOM { .. } => return Outcome::Trap("out of memory"),
        Trap::UncaughtException { exnref, .. } => return Outcome::Exception(exnref.clone()),
        _ => code(trap).unwrap_or(TrapCode::StackOverflow),
    };
    match code {
        TrapCode::IntegerDivisionByZero if site() == Some(Site::Remainder) => {
            Outcome::Trap("remainder by zero")
        }
        TrapCode::IntegerOverflow if site() == Some(Site::Truncation) => {
            Outcome::Trap("float unrepresentable in integer range")
        }
        TrapCode::TableAccessOutOfBounds if libcall::segment_was_short() => {
            Outcome::Trap("element segment out of bounds")
        }
        _ => words(code).map_or(Outcome::StackOverflow, Outcome::Trap),
    }
}

/// V8's messages (`MessageTemplate::kTrap*`); `None` for the stack overflow, which is no trap
/// there.
fn words(code: TrapCode) -> Option<&'static str> {
    Some(match code {
        TrapCode::StackOverflow => return None,
        TrapCode::HeapAccessOutOfBounds => "memory access out of bounds",
        TrapCode::HeapMisaligned | TrapCode::UnalignedAtomic => {
            "operation does not support unaligned accesses"
        }
        TrapCode::TableAccessOutOfBounds => "table index is out of bounds",
        TrapCode::IndirectCallToNull | TrapCode::BadSignature => {
            "null function or function signature mismatch"
        }
        TrapCode::IntegerOverflow => "divide result unrepresentable",
        TrapCode::IntegerDivisionByZero => "divide by zero",
        TrapCode::BadConversionToInteger => "float unrepresentable in integer range",
        TrapCode::UnreachableCodeReached => "unreachable",
        TrapCode::UninitializedExnRef => "rethrowing null value",
        TrapCode::HostInterrupt => "Atomics.wait cannot be called in this context",
        _ => "unknown trap",
    })
}
