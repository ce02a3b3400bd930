//! An import, as a donor has it.

use wasmer_compiler::wasmparser::{BinaryReader, BinaryReaderError, TypeRef};

/// What is imported, without names.
pub(super) enum Import {
    /// Of this type.
    Function(u32),
    /// Likewise.
    Tag(u32),
    /// Its kind and what describes it, encoded.
    Other(Box<[u8]>),
}

impl Import {
    /// `entry` is the whole import.
    pub(super) fn new(ty: &TypeRef, entry: &[u8]) -> Result<Self, BinaryReaderError> {
        Ok(match *ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => Self::Function(ty),
            TypeRef::Tag(ty) => Self::Tag(ty.func_type_idx),
            _ => {
                let mut reader = BinaryReader::new(entry, 0);
                reader.read_string()?;
                reader.read_string()?;
                Self::Other(entry[reader.original_position() as usize..].into())
            }
        })
    }
}
