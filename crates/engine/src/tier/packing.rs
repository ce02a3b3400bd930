//! Artifacts on their way between machines: packed, and unpacked once they are known to be what was asked for.

use std::io::{Read, Write};
use std::path::PathBuf;

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use wasm_compile_cache_store::{
    ArtifactKey, CacheError, Label, MAX_IMAGE_LEN, MAX_META_LEN, ModuleHash, Staged, Store,
};

use super::storage;

/// An artifact as the service has it.
pub struct Received {
    /// Of the module.
    pub hash: [u8; 32],
    /// What is known of it.
    pub label: Label,
    /// Bytes of the image, when it is unpacked.
    pub image_len: u64,
    /// Bytes of the metadata, when they are unpacked.
    pub meta_len: u64,
    /// blake3 of the packed bytes.
    pub digest: [u8; 32],
}

/// An artifact, to be sent.
pub struct Packed {
    /// What the receiver has to know.
    pub about: Received,
    /// Image and metadata, one after the other, as a frame of LZ4: a third to a half of their length. What packs more
    /// tightly takes longer to unpack than a fast network needs to send the difference.
    pub bytes: Vec<u8>,
}

/// Unpacks an artifact, if it is this engine's; with `key`, if it is that one.
pub(super) fn stage(
    store: &Store,
    key: Option<&ArtifactKey>,
    received: &Received,
    bytes: &[u8],
) -> Result<Staged, String> {
    let Received {
        hash,
        label,
        image_len,
        meta_len,
        digest,
    } = received;
    if let Some((field, theirs, ours)) = storage::differences(&label.fingerprint).first() {
        return Err(format!("other-engine: {field} is {theirs}, here {ours}"));
    }
    let own = storage::key(hash, &label.partition);
    if key.is_some_and(|key| *key != own) {
        return Err("wrong-key: it is another module's".to_owned());
    }
    if *image_len > MAX_IMAGE_LEN || *meta_len > MAX_META_LEN {
        return Err("too-large".to_owned());
    }
    if blake3::hash(bytes) != *digest {
        return Err("digest: it is damaged".to_owned());
    }
    let mut unpacked = FrameDecoder::new(bytes);
    let mut part = |length: u64| {
        let mut part = Vec::new();
        part.try_reserve_exact(length as usize)
            .map_err(|error| error.to_string())?;
        let read = unpacked.by_ref().take(length).read_to_end(&mut part);
        match read {
            Ok(read) if read as u64 == length => Ok(part),
            Ok(_) => Err("length: it is shorter than it says".to_owned()),
            Err(error) => Err(format!("packing: {error}")),
        }
    };
    let (image, meta) = (part(*image_len)?, part(*meta_len)?);
    match unpacked.read(&mut [0]) {
        Ok(0) => {}
        _ => return Err("length: it is longer than it says".to_owned()),
    }
    let module = ModuleHash::from_bytes(*hash);
    let staged = store.stage(&own, module, &image, &meta, label);
    staged.map_err(|error| error.to_string())
}

/// Gives it its name, and has streams of its module find it.
pub(super) fn keep(
    store: &Store,
    staged: Staged,
    received: &Received,
) -> Result<PathBuf, CacheError> {
    let entry = store.keep(staged)?;
    if let Some(head) = &received.label.head {
        // Without it, streams of the module are compiled for nothing.
        let _ = store.heads().remember_head(head);
    }
    Ok(entry.path)
}

/// Stores an artifact that nobody has asked for. Its signature was checked: its code will be run.
///
/// # Errors
/// Why it is not stored.
pub fn unpack(store: &Store, received: &Received, bytes: &[u8]) -> Result<PathBuf, String> {
    let staged = stage(store, None, received, bytes)?;
    keep(store, staged, received).map_err(|error| error.to_string())
}

/// Packs an artifact of the cache, which is hashed whole.
pub fn pack(store: &Store, key: &ArtifactKey) -> Option<Packed> {
    let (entry, module, label) = store.read(key)?;
    let frame = FrameInfo::new()
        .block_size(BlockSize::Max4MB)
        .block_mode(BlockMode::Independent);
    let mut packed = FrameEncoder::with_frame_info(frame, Vec::new());
    std::io::copy(&mut (&entry.file).take(entry.image_len), &mut packed).ok()?;
    packed.write_all(&entry.meta).ok()?;
    let bytes = packed.finish().ok()?;
    Some(Packed {
        about: Received {
            hash: *module.as_bytes(),
            label,
            image_len: entry.image_len,
            meta_len: entry.meta.len() as u64,
            digest: *blake3::hash(&bytes).as_bytes(),
        },
        bytes,
    })
}
