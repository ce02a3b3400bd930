//! What a callback ends with.

use wasm_compile_cache_engine::error::{CompileError, LinkError};

/// Why a callback ends with an exception.
pub enum Thrown {
    /// One is pending already.
    Pending,
    /// `TypeError`
    Type(String),
    /// `RangeError`
    Range(String),
    /// `WebAssembly.CompileError`
    Compile(CompileError),
    /// `WebAssembly.LinkError`
    Link(LinkError),
    /// `WebAssembly.RuntimeError`
    Runtime(String),
    /// An `Error` of no fault of the program's: this package is wrong, or what it relies on does not hold.
    Internal(String),
}

impl From<LinkError> for Thrown {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<CompileError> for Thrown {
    fn from(error: CompileError) -> Self {
        Self::Compile(error)
    }
}

/// What V8 says, and here the link groups' JavaScript.
pub const STACK_IS_FULL: &str = "Maximum call stack size exceeded";
