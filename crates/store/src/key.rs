//! The key by which an artifact is found.

use std::fmt;

/// Named separately from every other use of blake3 in this crate; change it when the encoding below changes.
const KEY_CONTEXT: &str = "wasm-compile-cache 2026-01 artifact key v1";

/// The blake3 hash of a module's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleHash([u8; 32]);

impl ModuleHash {
    /// Hashes the bytes of a whole module.
    pub fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).into()
    }

    /// Takes a hash that was computed elsewhere, for instance while the bytes arrived.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<blake3::Hash> for ModuleHash {
    fn from(hash: blake3::Hash) -> Self {
        Self(hash.into())
    }
}

/// The name of an artifact: whatever would change the compiled code, or who may use it, changes the key.
///
/// Invariant: two different lists of fields never have the same encoding (every string is preceded by its length, the
/// list by its count), so that no fingerprint or partition can be made to look like another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArtifactKey([u8; 32]);

impl ArtifactKey {
    /// The key of the artifact of `module`, compiled by an engine of this `fingerprint` (name and value of everything
    /// that shapes code: versions, target, CPU features, wasm features, opt level, lowering version; always given in
    /// the same order) for `partition` (empty: none).
    pub fn new(module: &ModuleHash, fingerprint: &[(&str, &str)], partition: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
        hasher.update(&module.0);
        hasher.update(&(fingerprint.len() as u64).to_le_bytes());
        let strings = fingerprint
            .iter()
            .flat_map(|(name, value)| [*name, *value])
            .chain([partition]);
        for string in strings {
            hasher.update(&(string.len() as u64).to_le_bytes());
            hasher.update(string.as_bytes());
        }
        Self(hasher.finalize().into())
    }

    /// Takes a key that was computed before.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the 64 lower-case hexadecimal digits that `Display` writes; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArtifactKey({self})")
    }
}

impl fmt::Display for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_field_changes_the_key() {
        let module = ModuleHash::of(b"module");
        let keys = [
            ArtifactKey::new(&module, &[("wasmer", "7.4.2"), ("target", "x86_64")], "p"),
            ArtifactKey::new(
                &ModuleHash::of(b"other"),
                &[("wasmer", "7.4.2"), ("target", "x86_64")],
                "p",
            ),
            ArtifactKey::new(&module, &[("wasmer", "7.4.3"), ("target", "x86_64")], "p"),
            ArtifactKey::new(&module, &[("wasmer", "7.4.2"), ("target", "aarch64")], "p"),
            ArtifactKey::new(&module, &[("wasmer", "7.4.2"), ("triple", "x86_64")], "p"),
            ArtifactKey::new(&module, &[("wasmer", "7.4.2")], "p"),
            ArtifactKey::new(&module, &[("wasmer", "7.4.2"), ("target", "x86_64")], "q"),
            ArtifactKey::new(&module, &[("wasmer", "7.4.2"), ("target", "x86_64")], ""),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        assert_eq!(
            keys[0],
            ArtifactKey::new(&module, &[("wasmer", "7.4.2"), ("target", "x86_64")], "p")
        );
    }

    #[test]
    fn moving_bytes_between_fields_changes_the_key() {
        let module = ModuleHash::of(b"");
        let lists: [(&[(&str, &str)], &str); 7] = [
            (&[("ab", "c")], ""),
            (&[("a", "bc")], ""),
            (&[("abc", "")], ""),
            (&[("a", "b")], "c"),
            (&[], "abc"),
            (&[("a", "b"), ("c", "")], ""),
            (&[("", "")], "abc"),
        ];
        let keys: HashSet<_> = lists
            .iter()
            .map(|(list, partition)| ArtifactKey::new(&module, list, partition))
            .collect();
        assert_eq!(keys.len(), lists.len());
    }

    #[test]
    fn hex_goes_both_ways_and_nothing_else_is_read() {
        let key = ArtifactKey::new(&ModuleHash::of(b"m"), &[], "");
        let text = key.to_string();
        assert_eq!(text.len(), 64);
        assert_eq!(ArtifactKey::from_hex(&text), Some(key));
        for bad in [
            "",
            "../../etc/passwd",
            &text[1..],
            &text.to_uppercase(),
            &"é".repeat(32),
            &"g".repeat(64),
        ] {
            assert_eq!(ArtifactKey::from_hex(bad), None, "{bad}");
        }
    }
}
