//! What stack traces call a module and its functions: V8's script names, and the name section.

use std::collections::HashMap;

use rapidhash::v1::{RapidSecrets, rapidhash_v1_seeded};
use serde::{Deserialize, Serialize};
use wasmer_compiler::wasmparser::{BinaryReader, BinaryReaderError};

/// What V8 calls a module that has no name: `wasm://wasm/` and this, in eight digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireHash {
    /// V8 up to 13: Jenkins' one-at-a-time.
    pub one_at_a_time: u32,
    /// V8 from 14 on: rapidhash.
    pub rapid: u32,
}

impl WireHash {
    /// Of a module's bytes. As V8 hashes any string (`StringHasher::HashSequentialString`): a long
    /// one is its length, and the two low bits say "a hash".
    pub fn of(module: &[u8]) -> Self {
        /// `String::kMaxHashCalcLength`
        const MAX_LENGTH: usize = 16_383;
        let field = |hash: u32| (hash << 2) | 2;
        if module.len() > MAX_LENGTH {
            let length = field(module.len() as u32);
            return Self {
                one_at_a_time: length,
                rapid: length,
            };
        }
        /// `StringHasher::kZeroHash`
        const ZERO: u32 = 27;
        let limit = |hash: u32| match hash & 0x3fff_ffff {
            0 => ZERO,
            hash => hash,
        };
        let rapid = rapidhash_v1_seeded(module, &RapidSecrets::seed_cpp(0));
        Self {
            one_at_a_time: field(limit(one_at_a_time(module))),
            rapid: field(limit(rapid as u32)),
        }
    }
}

fn one_at_a_time(bytes: &[u8]) -> u32 {
    let hash = bytes.iter().fold(0_u32, |hash, byte| {
        let hash = hash.wrapping_add(u32::from(*byte));
        let hash = hash.wrapping_add(hash << 10);
        hash ^ (hash >> 6)
    });
    let hash = hash.wrapping_add(hash << 3);
    let hash = hash ^ (hash >> 11);
    hash.wrapping_add(hash << 15)
}

/// A name section, as far as it can be read.
#[derive(Debug, Default)]
pub struct Names {
    /// The module's.
    pub module: Option<String>,
    functions: HashMap<u32, String>,
}

impl Names {
    /// A malformed section has the names before its fault; a name that is no UTF-8 is none.
    pub fn read(section: &[u8]) -> Self {
        let mut names = Self::default();
        // What came before the fault was taken in.
        let _ = names.subsections(BinaryReader::new(section, 0));
        names
    }

    /// A function's name.
    pub fn function(&self, index: u32) -> Option<&str> {
        self.functions.get(&index).map(String::as_str)
    }

    fn subsections(&mut self, mut reader: BinaryReader<'_>) -> Result<(), BinaryReaderError> {
        while !reader.eof() {
            let id = reader.read_u8()?;
            let size = reader.read_var_u32()? as usize;
            let mut contents = BinaryReader::new(reader.read_bytes(size)?, 0);
            match id {
                0 => self.module = name(&mut contents)?,
                1 => {
                    for _ in 0..contents.read_var_u32()? {
                        let index = contents.read_var_u32()?;
                        if let Some(name) = name(&mut contents)? {
                            self.functions.entry(index).or_insert(name);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn name(reader: &mut BinaryReader<'_>) -> Result<Option<String>, BinaryReaderError> {
    let length = reader.read_var_u32()? as usize;
    let bytes = reader.read_bytes(length)?;
    Ok(std::str::from_utf8(bytes)
        .ok()
        .filter(|name| !name.is_empty())
        .map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_v8() {
        // (module (func (export "f") unreachable)), as Node 24 and Node 26 name it.
        let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x05\x01\x01f\0\0\x0a\x05\x01\x03\0\0\x0b";
        let hash = WireHash::of(module);
        assert_eq!((hash.one_at_a_time, hash.rapid), (0x0145_fffe, 0xe30a_2672));
        assert_eq!(WireHash::of(&[0; 16_412]).rapid, 0x0001_0072);
    }

    #[test]
    fn a_malformed_section_keeps_what_came_before() {
        let names =
            Names::read(b"\x00\x02\x01m\x01\x0c\x03\x00\x01f\x01\x02\xff\xfe\x02\x01g\x01\xff");
        assert_eq!(names.module.as_deref(), Some("m"));
        assert_eq!((names.function(0), names.function(1)), (Some("f"), None));
        assert_eq!(names.function(2), Some("g"));
    }
}
