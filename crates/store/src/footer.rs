//! The end of an artifact's file.
//!
//! ```text
//! image │ metadata │ label │
//! magic 8 │ version 4 │ label length 4 │ key 32 │ module hash 32 │ image length 8 │ metadata length 8 │ seal 32
//! ```
//!
//! What other formats put first comes last here, because the loader maps the ELF image straight from the file and wants
//! it at offset 0; what follows the image's sections does not disturb it. Integers are little-endian.

use super::error::InvalidReason;
use super::fields::Fields;
use super::key::{ArtifactKey, ModuleHash};

/// Changes when the layout of any file of the cache changes. Names the folder, too.
pub const FORMAT_VERSION: u32 = 3;
/// Bytes of a footer.
pub const LEN: usize = 128;
/// Bytes of a footer before its seal.
const SEALED_LEN: usize = LEN - 32;
const MAGIC: [u8; 8] = *b"wcc-art\n";

/// Says what the file is and how long its parts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Of the artifact.
    pub key: ArtifactKey,
    /// Of the module that was compiled.
    pub module: ModuleHash,
    /// Bytes of the image.
    pub image_len: u64,
    /// Bytes of the metadata.
    pub meta_len: u64,
    /// Bytes of the label.
    pub label_len: u32,
}

impl Footer {
    /// The bytes that follow image, metadata and label; `hasher` (keyed) has taken them in already.
    ///
    /// Invariant: the seal covers every byte of the file before it, and lengths say where each part ends.
    pub fn seal(&self, hasher: &mut blake3::Hasher) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.label_len.to_le_bytes());
        out[16..48].copy_from_slice(self.key.as_bytes());
        out[48..80].copy_from_slice(self.module.as_bytes());
        out[80..88].copy_from_slice(&self.image_len.to_le_bytes());
        out[88..SEALED_LEN].copy_from_slice(&self.meta_len.to_le_bytes());
        let seal = hasher.update(&out[..SEALED_LEN]).finalize();
        out[SEALED_LEN..].copy_from_slice(seal.as_bytes());
        out
    }

    /// Reads the footer of a file of `file_len` bytes, whatever its key; the seal is left for [`verify`].
    pub fn parse(bytes: &[u8; LEN], file_len: u64) -> Result<Self, InvalidReason> {
        let mut fields = Fields(bytes);
        let truncated = InvalidReason::Truncated;
        if fields.bytes().ok_or(truncated)? != MAGIC {
            return Err(InvalidReason::BadMagic);
        }
        if fields.u32().ok_or(truncated)? != FORMAT_VERSION {
            return Err(InvalidReason::WrongVersion);
        }
        let label_len = fields.u32().ok_or(truncated)?;
        let footer = Self {
            key: ArtifactKey::from_bytes(fields.bytes().ok_or(truncated)?),
            module: ModuleHash::from_bytes(fields.bytes().ok_or(truncated)?),
            image_len: fields.u64().ok_or(truncated)?,
            meta_len: fields.u64().ok_or(truncated)?,
            label_len,
        };
        if footer.file_len() == Some(file_len) {
            Ok(footer)
        } else {
            Err(truncated)
        }
    }

    /// Fails if it is not the footer of this artifact of this module.
    pub fn check(&self, key: &ArtifactKey, module: &ModuleHash) -> Result<(), InvalidReason> {
        if self.key != *key {
            return Err(InvalidReason::WrongKey);
        }
        if self.module != *module {
            return Err(InvalidReason::WrongModule);
        }
        Ok(())
    }

    /// Bytes of the whole file, unless there are too many to count.
    pub fn file_len(&self) -> Option<u64> {
        self.image_len
            .checked_add(self.meta_len)?
            .checked_add(u64::from(self.label_len))?
            .checked_add(LEN as u64)
    }
}

/// Compares the seal of a file whose image, metadata and label `hasher` (keyed) has taken in; in constant time.
pub fn verify(bytes: &[u8; LEN], hasher: &mut blake3::Hasher) -> Result<(), InvalidReason> {
    let mut fields = Fields(bytes);
    let sealed: [u8; SEALED_LEN] = fields.bytes().ok_or(InvalidReason::Truncated)?;
    let seal: [u8; 32] = fields.bytes().ok_or(InvalidReason::Truncated)?;
    if hasher.update(&sealed).finalize() == seal {
        Ok(())
    } else {
        Err(InvalidReason::SealMismatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOOTER: Footer = Footer {
        key: ArtifactKey::from_bytes([1; 32]),
        module: ModuleHash::from_bytes([2; 32]),
        image_len: 5,
        meta_len: 7,
        label_len: 9,
    };
    const FILE_LEN: u64 = 5 + 7 + 9 + LEN as u64;

    fn hasher() -> blake3::Hasher {
        blake3::Hasher::new_keyed(&[9; 32])
    }

    fn parse(bytes: &[u8; LEN], len: u64) -> Result<Footer, InvalidReason> {
        let footer = Footer::parse(bytes, len)?;
        footer.check(&FOOTER.key, &FOOTER.module).map(|()| footer)
    }

    #[test]
    fn a_footer_reads_as_it_was_written() {
        let bytes = FOOTER.seal(&mut hasher());
        assert_eq!(parse(&bytes, FILE_LEN), Ok(FOOTER));
        assert_eq!(verify(&bytes, &mut hasher()), Ok(()));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let good = FOOTER.seal(&mut hasher());
        let mut reasons = std::collections::BTreeSet::new();
        for at in 0..LEN {
            let mut bytes = good;
            bytes[at] ^= 1;
            let reason = parse(&bytes, FILE_LEN)
                .and_then(|_| verify(&bytes, &mut hasher()))
                .unwrap_err();
            reasons.insert(reason.as_str());
        }
        let all = [
            "bad-magic",
            "seal-mismatch",
            "truncated",
            "wrong-key",
            "wrong-module",
            "wrong-version",
        ];
        assert!(reasons.iter().eq(&all), "{reasons:?}");
    }

    #[test]
    fn another_key_or_other_contents_do_not_verify() {
        let bytes = FOOTER.seal(&mut hasher());
        assert!(verify(&bytes, &mut blake3::Hasher::new_keyed(&[8; 32])).is_err());
        assert!(verify(&bytes, hasher().update(b"x")).is_err());
    }

    #[test]
    fn lengths_that_overflow_are_refused() {
        for (image_len, meta_len) in [
            (u64::MAX, 1),
            (u64::MAX, u64::MAX),
            (u64::MAX - 127, 0),
            (4, 7),
            (6, 7),
        ] {
            let bytes = Footer {
                image_len,
                meta_len,
                ..FOOTER
            }
            .seal(&mut hasher());
            assert_eq!(parse(&bytes, FILE_LEN), Err(InvalidReason::Truncated));
        }
    }
}
