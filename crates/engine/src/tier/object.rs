//! An artifact as the remote cache has it: a line that names the format, the length of the manifest (u32, little endian), the
//! manifest, an Ed25519 signature over it, and the packed bytes, whose hash the manifest has. `lib/remote/object.js` makes it.

use std::collections::HashMap;
use std::io::Read;

use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use serde::Deserialize;
use wasm_compile_cache_store::{ArtifactKey, Label};

use super::fingerprint::fingerprint;

const MAGIC: &[u8; 28] = b"wasm-compile-cache object 2\n";
const TYPE: &str = "wasm-compile-cache object";
const MAX_MANIFEST: usize = 1 << 20;

/// What is told of a packed artifact by whoever sends it.
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

/// The keys one of which must have signed what comes.
pub enum Trusted {
    /// None: whatever comes is trusted.
    All,
    /// These.
    Keys(Vec<VerifyingKey>),
}

impl Trusted {
    /// Keys by their 32 bytes.
    ///
    /// # Errors
    /// One of them is no point of the curve.
    pub fn keys(keys: &[[u8; 32]]) -> Result<Self, String> {
        let keys = keys.iter().map(VerifyingKey::from_bytes);
        let keys: Result<_, _> = keys.collect();
        keys.map(Self::Keys).map_err(|error| error.to_string())
    }

    /// Keys in PEM files, or their texts: public ones, and those that this machine signs with. `None` if one cannot be read.
    pub(super) fn places(places: &[String]) -> Option<Self> {
        let key = |place: &String| {
            let text = if place.contains("-----BEGIN ") {
                place.clone()
            } else {
                std::fs::read_to_string(place).ok()?
            };
            let signs = || SigningKey::from_pkcs8_pem(&text).map(|key| key.verifying_key());
            VerifyingKey::from_public_key_pem(&text)
                .or_else(|_| signs())
                .ok()
        };
        places
            .iter()
            .map(key)
            .collect::<Option<_>>()
            .map(Self::Keys)
    }

    fn signed(&self, manifest: &[u8], signature: &[u8; 64]) -> bool {
        let Self::Keys(keys) = self else {
            return true;
        };
        let signature = Signature::from_bytes(signature);
        keys.iter()
            .any(|key| key.verify_strict(manifest, &signature).is_ok())
    }
}

/// Dates are milliseconds since 1970.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    r#type: String,
    key: String,
    hash: String,
    source: String,
    partition: String,
    engine: HashMap<String, String>,
    wasm_bytes: u64,
    created: u64,
    head: String,
    digest: String,
    image_bytes: u64,
    meta_bytes: u64,
}

impl Manifest {
    fn received(self) -> Option<Received> {
        let head = match &*self.head {
            "" => None,
            head => Some(hash_of(head)?),
        };
        let mut engine = self.engine;
        let mut value = |name: &str| engine.remove(name).unwrap_or_default();
        let names = fingerprint().into_iter();
        let fields = names.map(|(name, _)| (name.to_owned(), value(name)));
        Some(Received {
            hash: hash_of(&self.hash)?,
            label: Label {
                source: self.source,
                partition: self.partition,
                fingerprint: fields.collect(),
                wasm_len: self.wasm_bytes,
                head,
                created: self.created / 1000,
            },
            image_len: self.image_bytes,
            meta_len: self.meta_bytes,
            digest: hash_of(&self.digest)?,
        })
    }
}

fn hash_of(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}

/// What an object says of itself; its packed bytes are what is left to read. What is returned carries the signature of one of
/// the keys, if there are any, byte for byte.
///
/// # Errors
/// Why it is not to be used; the first word is stable.
pub(super) fn open(
    object: &mut dyn Read,
    key: &ArtifactKey,
    trusted: &Trusted,
) -> Result<Received, String> {
    let mut head = [0; MAGIC.len()];
    let is_whole = object.read_exact(&mut head).is_ok();
    if !is_whole || head != *MAGIC {
        return Err("magic: it is no artifact".to_owned());
    }
    let mut take = |bytes: &mut [u8]| {
        let read = object.read_exact(bytes);
        read.map_err(|error| format!("truncated: it is cut off ({error})"))
    };
    let mut length = [0; 4];
    take(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_MANIFEST {
        return Err("truncated: its manifest does not end".to_owned());
    }
    let mut manifest = vec![0; length];
    take(&mut manifest)?;
    let mut signature = [0; 64];
    take(&mut signature)?;
    if !trusted.signed(&manifest, &signature) {
        let reason = if signature == [0; 64] {
            "unsigned: it is not signed"
        } else {
            "signature: it was not signed with one of the keys, or was changed since"
        };
        return Err(reason.to_owned());
    }
    let manifest = serde_json::from_slice::<Manifest>(&manifest);
    let manifest = manifest.map_err(|error| format!("manifest: {error}"))?;
    if manifest.r#type != TYPE {
        return Err("manifest: it is not that of an artifact".to_owned());
    }
    if manifest.key != key.to_string() {
        return Err(format!("wrong-key: it is the artifact {}", manifest.key));
    }
    let received = manifest.received();
    received.ok_or_else(|| "manifest: a hash has not 64 hexadecimal digits".to_owned())
}
