//! What the host is to WebAssembly.

use wasmer_types::RawValue;

/// The host's side of an imported function.
pub trait Callee {
    /// `values` holds the arguments on the way in and the results on the way out. Runs on the
    /// host's stack and must not unwind.
    ///
    /// # Errors
    /// [`Raised`] when the host threw: the WebAssembly frames above are then left, up to the
    /// handler, if any.
    ///
    /// # Safety
    /// `values` must have room for the larger of the signature's parameters and results.
    unsafe fn call(&self, values: *mut RawValue) -> Result<(), Raised>;
}

/// The host threw. A byte, so that a call's outcome stays in a register.
#[derive(Debug, thiserror::Error)]
pub enum Raised {
    /// What no WebAssembly handler catches: it is pending in the environment.
    #[error("the host's exception is pending")]
    Pending,
    /// An exception of the group that called: [`super::InFlight::raise`].
    #[error("the host threw an exception of WebAssembly")]
    Exception,
}
