//! Modules that were fetched from a URL before: what is known of them, and how they are made of what was kept.

use std::sync::Arc;
use std::time::SystemTime;

use wasm_compile_cache_store::{ModuleHash, Resource};

use super::compile::{self, Sought};
use super::module::Module;
use super::options::{CacheMode, CompileOptions};
use super::storage;
use crate::stream::Refused;
use crate::trace::Span;

/// What is known of a URL.
#[derive(Debug)]
pub struct Known {
    /// What was recorded.
    pub resource: Resource,
    /// Whether there is an artifact. It may be defective, or gone when it is needed.
    pub artifact: bool,
    /// Whether there are the bytes; likewise.
    pub bytes: bool,
}

/// What was recorded for a URL.
pub fn look_up(url: &str, options: &CompileOptions) -> Option<Known> {
    if options.cache == CacheMode::Off {
        return None;
    }
    let store = storage::store(options)?;
    let (partition, now) = (&options.partition, SystemTime::now());
    let resource = store
        .resources()
        .lookup(url, partition, now, store.is_writable())?;
    let key = storage::key(resource.module.as_bytes(), partition);
    Some(Known {
        artifact: store.entry_path(&key).exists(),
        bytes: store.wasm_files().has(&resource.module, resource.len),
        resource,
    })
}

/// Forgets what was recorded for a URL.
pub fn forget(url: &str, options: &CompileOptions) {
    if options.cache == CacheMode::ReadWrite
        && let Some(store) = storage::store(options)
        && store.is_writable()
    {
        store.resources().forget(url, &options.partition);
    }
}

/// Makes a module of what was kept: its artifact, else its bytes. `None` if neither is there any more.
///
/// # Errors
/// As [`compile_bytes`](super::compile_bytes).
pub fn compile_known(
    hash: [u8; 32],
    size: u64,
    options: &CompileOptions,
) -> Result<Option<Arc<Module>>, Refused> {
    let read = || {
        let store = storage::store(options)?;
        let module = ModuleHash::from_bytes(hash);
        let now = SystemTime::now();
        store.wasm_files().read(&module, now, store.is_writable())
    };
    let module = match compile::seek(hash, size, options, Span::start()) {
        Ok(Sought::Found(module)) => module,
        Ok(Sought::Missing(making)) => {
            let Some(bytes) = read() else {
                return Ok(None);
            };
            making.whole(bytes, options)?
        }
        Err(error) => {
            let bytes = options.cached_only.then(read).flatten();
            return Err(Refused {
                error,
                bytes: Arc::new(bytes.unwrap_or_default()),
            });
        }
    };
    if compile::wants_wire(&module, options) && module.wire.get().is_none() {
        let Some(bytes) = read() else {
            return Ok(None);
        };
        module.wire.get_or_init(|| Arc::new(bytes));
    }
    Ok(Some(module))
}
