//! What people and tools can read of an artifact: sealed with it, never needed to run it.

use serde::{Deserialize, Serialize};

/// The longest encoded label, in bytes: 1 MiB. What is longer is not stored.
pub const MAX_LEN: u64 = 1 << 20;
/// A source longer than this is cut, in bytes: a `data:` URL would be kept twice.
const MAX_SOURCE_LEN: usize = 2048;

/// Where an artifact came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// URL or path of the module, empty if it had none.
    pub source: String,
    /// The partition it was compiled for.
    pub partition: String,
    /// Name and value of everything that shaped the code, in the order of the key.
    pub fingerprint: Vec<(String, String)>,
    /// Bytes of the WebAssembly module.
    pub wasm_len: u64,
    /// The hash of the module's bytes before its code, for [`Heads`](super::Heads); none if it has no code.
    pub head: Option<[u8; 32]>,
    /// When it was compiled, in seconds since 1970.
    pub created: u64,
}

impl Label {
    /// Its bytes, with the source cut to 2048 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut label = self.clone();
        let end = label.source.floor_char_boundary(MAX_SOURCE_LEN);
        label.source.truncate(end);
        postcard::to_stdvec(&label).unwrap_or_default()
    }

    /// The label of which these are the bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_reads_as_it_was_written() {
        let label = Label {
            source: "file:///a.wasm".to_owned(),
            partition: "p".to_owned(),
            fingerprint: vec![("wasmer".to_owned(), "7".to_owned())],
            wasm_len: 3,
            head: Some([7; 32]),
            created: 4,
        };
        assert_eq!(Label::decode(&label.encode()), Some(label.clone()));
        let encoded = label.encode();
        for end in 0..encoded.len() {
            assert_eq!(Label::decode(&encoded[..end]), None, "{end}");
        }
    }

    #[test]
    fn a_long_source_is_cut_between_characters() {
        let label = Label {
            source: "é".repeat(MAX_SOURCE_LEN),
            ..Label::default()
        };
        let read = Label::decode(&label.encode()).unwrap();
        assert_eq!(read.source, "é".repeat(MAX_SOURCE_LEN / 2));
    }
}
