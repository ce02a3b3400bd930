//! Modules in files.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use wasm_compile_cache_store::{FileStat, ModuleHash, Observation};

use super::compile::{self, Sought};
use super::module::Module;
use super::options::{CacheMode, CompileOptions};
use super::storage;
use crate::error::CompileError;
use crate::limits::MAX_MODULE_BYTES;
use crate::stream::Refused;
use crate::trace::Span;

/// Compiles a file; one whose stat was recorded is neither read nor hashed.
///
/// # Errors
/// As [`compile_bytes`](compile::compile_bytes), or the file cannot be read.
pub fn compile_file(path: &str, options: &CompileOptions) -> Result<Arc<Module>, Refused> {
    let span = Span::start();
    let failed = |error: std::io::Error| CompileError::read(&error, path);
    let canonical = Path::new(path).canonicalize().map_err(failed)?;
    let mut file = File::open(&canonical).map_err(failed)?;
    let store = (options.cache != CacheMode::Off)
        .then(|| storage::store(options))
        .flatten();
    let before = Observation::of(&file).map_err(failed)?;
    if let Some(store) = &store
        && let Some(hash) = store.stat_index().lookup(&canonical, &before.stat)
    {
        // Without its artifact the record is of no use: what is compiled is what is read below.
        let sought = compile::seek(*hash.as_bytes(), before.stat.size, options, span);
        if let Ok(Sought::Found(module)) = sought
            && (!compile::wants_wire(&module, options) || module.wire.get().is_some())
        {
            return Ok(module);
        }
    }
    let bytes = read_all(&mut file, path)?;
    let after = file.metadata().map_err(failed)?;
    let stored = options.stores(bytes.len() as u64);
    let module = compile::compile_bytes(bytes, options)?;
    if let (true, Some(store)) = (stored, &store) {
        let after = FileStat::of(&after);
        let hash = ModuleHash::from_bytes(module.declaration.hash);
        let recorded = store.stat_index().record(&canonical, &before, &after, hash);
        if let Err(error) = recorded {
            storage::tell_failure(options, &error);
        }
    }
    Ok(module)
}

/// Reads the module's file at `path`, which has to be a file itself, and no link or pipe.
pub(super) fn read_regular(path: &str) -> Result<Vec<u8>, CompileError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let failed = |error: std::io::Error| CompileError::read(&error, path);
    let mut file = options.open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(CompileError::Read {
            message: format!("EINVAL: not a regular file, open '{path}'"),
            code: "EINVAL",
        });
    }
    read_all(&mut file, path)
}

/// Reads a module's file; neither a wrong size nor an endless file makes it allocate more than a
/// module may have.
fn read_all(file: &mut File, path: &str) -> Result<Vec<u8>, CompileError> {
    let failed = |error: std::io::Error| CompileError::read(&error, path);
    let size = file.metadata().map_err(failed)?.len();
    if size > MAX_MODULE_BYTES as u64 {
        return Err(CompileError::too_large());
    }
    let mut bytes = Vec::with_capacity(size as usize + 1);
    let limit = MAX_MODULE_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_MODULE_BYTES {
        return Err(CompileError::too_large());
    }
    Ok(bytes)
}
