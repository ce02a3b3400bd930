//! Errors of compiling and instantiating; the addon maps them to JavaScript classes.

use wasmer_compiler::wasmparser::BinaryReaderError;

/// Why a module was not compiled. Becomes a `WebAssembly.CompileError`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CompileError {
    /// Not a valid module, or one that uses a proposal which is not accepted.
    #[error("{message} @+{offset}")]
    Invalid {
        /// What was wrong.
        message: String,
        /// Byte offset in the module.
        offset: u64,
    },
    /// A module that this engine cannot compile, though another may.
    #[error("the module needs {feature}, which this engine does not support{}", at(*.offset))]
    Unsupported {
        /// The proposal in the words of the validator, or what the compiler refused.
        feature: String,
        /// Byte offset in the module, where it is known.
        offset: Option<u64>,
    },
    /// Not in the cache, while nothing else may be run.
    #[error("the module is not in the compile cache, and {0}")]
    NotCached(Forbidden),
    /// The file of a `file:` source could not be read.
    #[error("{message}")]
    Read {
        /// The system's error, with the path.
        message: String,
        /// The system's error code, as Node names it.
        code: &'static str,
    },
}

/// Who forbids to compile what is not in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The user, for every engine.
    #[error(
        "WASM_COMPILE_CACHE_ONLY=1 forbids compiling it \
         (npx wasm-compile-cache explain says why it is missing, warm adds it)"
    )]
    ByUser,
    /// The compile's own options, for this engine.
    #[error("this engine was asked for a cached one only")]
    ByOptions,
}

impl CompileError {
    /// The stable code of the JavaScript error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "ERR_WASM_INVALID_MODULE",
            Self::Unsupported { .. } => "ERR_WASM_UNSUPPORTED",
            Self::NotCached(_) => "ERR_WASM_NOT_CACHED",
            Self::Read { code, .. } => code,
        }
    }

    /// A compiler cannot do it; where, it does not say.
    pub fn unsupported(feature: impl Into<String>) -> Self {
        Self::Unsupported {
            feature: feature.into(),
            offset: None,
        }
    }

    /// A module above V8's limit.
    pub fn too_large() -> Self {
        let limit = crate::limits::MAX_MODULE_BYTES;
        Self::Invalid {
            message: format!("size > maximum module size ({limit})"),
            offset: limit as u64,
        }
    }

    /// A file that could not be read, in the words of Node's `fs`.
    pub fn read(error: &std::io::Error, path: &str) -> Self {
        use std::io::ErrorKind;
        let code = match error.kind() {
            ErrorKind::NotFound => "ENOENT",
            ErrorKind::PermissionDenied => "EACCES",
            ErrorKind::IsADirectory => "EISDIR",
            _ => "EIO",
        };
        Self::Read {
            message: format!("{code}: {error}, open '{path}'"),
            code,
        }
    }

    /// Position for choosing the first of several errors.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Invalid { offset, .. } => *offset,
            Self::Unsupported { offset, .. } => offset.unwrap_or(u64::MAX),
            Self::NotCached(_) | Self::Read { .. } => u64::MAX,
        }
    }
}

fn at(offset: Option<u64>) -> String {
    offset.map_or_else(String::new, |offset| format!(" @+{offset}"))
}

impl From<BinaryReaderError> for CompileError {
    fn from(error: BinaryReaderError) -> Self {
        Self::Invalid {
            message: error.message().to_owned(),
            offset: error.offset(),
        }
    }
}

/// Why an instance could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// An import does not fit.
    #[error("{0}")]
    Incompatible(String),
    /// A memory without the guard regions that code without bounds checks relies on.
    #[error(
        "the memory has no guard region behind it, so code without bounds checks cannot run on it \
         (run Node without --disable-wasm-trap-handler and without an address space limit)"
    )]
    NoGuardRegion,
}

impl LinkError {
    /// An import does not fit.
    pub fn incompatible(text: impl ToString) -> Self {
        Self::Incompatible(text.to_string())
    }

    /// The stable code of the JavaScript error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Incompatible(_) => "ERR_WASM_LINK",
            Self::NoGuardRegion => "ERR_WASM_NO_GUARD_REGION",
        }
    }
}
