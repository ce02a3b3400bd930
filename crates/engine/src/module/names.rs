//! What a module and its functions are called: the name section.

use std::collections::HashMap;

use wasmer_compiler::wasmparser::{BinaryReader, BinaryReaderError};

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
    fn a_malformed_section_keeps_what_came_before() {
        let names =
            Names::read(b"\x00\x02\x01m\x01\x0c\x03\x00\x01f\x01\x02\xff\xfe\x02\x01g\x01\xff");
        assert_eq!(names.module.as_deref(), Some("m"));
        assert_eq!((names.function(0), names.function(1)), (Some("f"), None));
        assert_eq!(names.function(2), Some("g"));
    }
}
