//! V8's own code of a module, as an artifact of the same store: it runs on the built-in engine, from the same bytes.
//!
//! V8 makes and takes the code (`src/v8.cc`). V8 checks its version, its flags and the processor's features, but neither
//! whether the code belongs to the bytes nor whether it is what V8 made: the key and the seal are for that.

use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use wasm_compile_cache_store::{Entry, Label, Lookup, ModuleHash, Store};

use super::host::Host;
use super::{file, storage};
use crate::error::CompileError;

/// Code that V8 has made of a module.
#[derive(Debug)]
pub struct HostCode {
    entry: Entry,
    /// blake3 of the module.
    pub hash: [u8; 32],
}

impl HostCode {
    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.entry.image_len
    }

    /// Whether the file was hashed before, and relied on now.
    pub fn was_remembered(&self) -> bool {
        self.entry.remembered
    }

    /// Its file.
    pub fn path(&self) -> String {
        self.entry.path.display().to_string()
    }

    /// Reads it into a buffer of its length; whether that worked. Read rather than mapped: V8 copies it in any case, and a
    /// file that shrinks ends a read, where it would end the process that looks into a mapping.
    pub fn read(&mut self, buffer: &mut [u8]) -> bool {
        self.entry.file.read_exact(buffer).is_ok()
    }
}

/// Why there is no code.
#[derive(Debug)]
pub enum NoCode {
    /// The cache is off, or cannot be used.
    Off,
    /// None that V8 could take: the reason.
    Missed(&'static str),
    /// It is defective: the reason. It was quarantined.
    Invalid(&'static str),
}

/// V8's code of the module that these are the bytes of.
///
/// Invariant: what is found was stored for these bytes by this user, for this V8, its flags and this processor.
///
/// # Errors
/// There is none.
pub fn find_host_code(bytes: &[u8], host: &Host, partition: &str) -> Result<HostCode, NoCode> {
    let store = storage::opened().ok().flatten().ok_or(NoCode::Off)?;
    let module = ModuleHash::of(bytes);
    let entry = match store.lookup(&host.key(&module, partition), module) {
        Lookup::Hit(entry) => entry,
        Lookup::Miss => {
            let reason = store.why_missing(&module, partition);
            return Err(NoCode::Missed(reason.as_str()));
        }
        Lookup::Invalid(reason) => return Err(NoCode::Invalid(reason.as_str())),
    };
    Ok(HostCode {
        entry,
        hash: *module.as_bytes(),
    })
}

/// V8 did not take what was found: it goes, and counts as no hit.
pub fn refuse_host_code(hash: &[u8; 32], host: &Host, partition: &str) {
    if let Ok(Some(store)) = storage::opened() {
        store.count_unloadable();
        let _ = store.remove(&host.key(&ModuleHash::from_bytes(*hash), partition));
    }
}

/// Stores the code in the file at `code` that V8 has made of the module in the file at `wasm`; its hash, and how long the
/// code is.
///
/// # Errors
/// One of the files cannot be read, or the artifact cannot be stored: in words.
pub fn store_host_code(
    wasm: &str,
    code: &str,
    source: String,
    partition: String,
    host: &Host,
) -> Result<([u8; 32], u64), String> {
    let store = storage::opened()
        .map_err(|failure| failure.message)?
        .filter(Store::is_writable)
        .ok_or_else(|| "the cache is off, or read-only".to_owned())?;
    let [wasm, code] = [wasm, code].map(file::read_regular);
    let words = |error: CompileError| error.to_string();
    let (wasm, code) = (wasm.map_err(words)?, code.map_err(words)?);
    let module = ModuleHash::of(&wasm);
    let label = Label {
        source,
        partition,
        fingerprint: host.fingerprint(),
        wasm_len: wasm.len() as u64,
        head: None,
        created: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
    };
    let key = host.key(&module, &label.partition);
    let entry = store
        .write(&key, module, &code, &[], &label)
        .map_err(|error| error.to_string())?;
    Ok((*module.as_bytes(), entry.image_len))
}
