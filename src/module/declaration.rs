//! What a module declares to its importer: imports, exports, custom sections.

use std::fs::File;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmer_types::{
    ExportIndex, FunctionType, GlobalType, ImportIndex, MemoryType, ModuleInfo, TableIndex,
    TableType, Type, entity::EntityRef,
};

use super::signature::{letter, type_of_letter};

/// A module's declaration as its users see it.
///
/// Made from wasmer's `ModuleInfo` of the *lowered* module plus what lowering took away: the real
/// limits of the tables, the start function, the custom sections.
#[derive(Debug)]
pub struct Declaration {
    /// Of the lowered module: the hidden table is its last table.
    pub info: Arc<ModuleInfo>,
    /// Real types of the module's own tables, imports first.
    pub tables: Vec<TableType>,
    /// Index of the start function.
    pub start: Option<u32>,
    /// Length of the module in bytes.
    pub size: u64,
    custom: Vec<(String, CustomBytes)>,
}

/// Where a custom section's bytes are.
#[derive(Debug)]
enum CustomBytes {
    Memory(Arc<[u8]>),
    File {
        file: Arc<File>,
        offset: u64,
        length: u64,
    },
}

/// One import or export.
pub struct Extern<'a> {
    /// The module name; empty for exports.
    pub module: &'a str,
    /// The field name.
    pub name: &'a str,
    /// Its type.
    pub ty: ExternType<'a>,
}

/// The type of an import or export.
pub enum ExternType<'a> {
    /// A function's signature.
    Function(&'a FunctionType),
    /// Element type and limits.
    Table(TableType),
    /// Limits in pages of 64 KiB.
    Memory(MemoryType),
    /// Value type and mutability.
    Global(GlobalType),
    /// A tag's signature.
    Tag(&'a FunctionType),
}

/// The part of a declaration that an artifact must carry beside its code.
#[derive(Serialize, Deserialize)]
struct Carried {
    tables: Vec<(char, u32, Option<u32>)>,
    start: Option<u32>,
    size: u64,
    /// Name, offset in the artifact, length.
    custom: Vec<(String, u64, u64)>,
}

impl Declaration {
    /// Of a module that was just read.
    pub fn new(
        info: Arc<ModuleInfo>,
        tables: Vec<TableType>,
        start: Option<u32>,
        size: u64,
        custom: Vec<(String, Arc<[u8]>)>,
    ) -> Self {
        let custom = custom
            .into_iter()
            .map(|(name, bytes)| (name, CustomBytes::Memory(bytes)))
            .collect();
        Self {
            info,
            tables,
            start,
            size,
            custom,
        }
    }

    /// Encodes what an artifact must carry: a small blob, and the custom sections' bytes, which
    /// are to be stored behind the `image_length` bytes of code.
    ///
    /// # Errors
    /// A custom section that lives in a file could not be read.
    pub fn carry(&self, image_length: u64) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut behind = Vec::new();
        let mut custom = Vec::with_capacity(self.custom.len());
        for (name, bytes) in &self.custom {
            let bytes = bytes.read()?;
            let offset = image_length + behind.len() as u64;
            custom.push((name.clone(), offset, bytes.len() as u64));
            behind.extend_from_slice(&bytes);
        }
        let carried = Carried {
            tables: self
                .tables
                .iter()
                .map(|ty| (letter(ty.ty), ty.minimum, ty.maximum))
                .collect(),
            start: self.start,
            size: self.size,
            custom,
        };
        let blob = postcard::to_stdvec(&carried).map_err(io::Error::other)?;
        Ok((blob, behind))
    }

    /// The inverse of [`Self::carry`]; `None` if the blob is not one of ours.
    pub fn carried(info: Arc<ModuleInfo>, blob: &[u8], file: &Arc<File>) -> Option<Self> {
        let carried: Carried = postcard::from_bytes(blob).ok()?;
        let tables = carried
            .tables
            .into_iter()
            .map(|(ty, minimum, maximum)| {
                Some(TableType::new(type_of_letter(ty)?, minimum, maximum))
            })
            .collect::<Option<Vec<_>>>()?;
        if tables.len() + 1 != info.tables.len() {
            return None;
        }
        let custom = carried
            .custom
            .into_iter()
            .map(|(name, offset, length)| {
                let file = Arc::clone(file);
                (
                    name,
                    CustomBytes::File {
                        file,
                        offset,
                        length,
                    },
                )
            })
            .collect();
        Some(Self {
            info,
            tables,
            start: carried.start,
            size: carried.size,
            custom,
        })
    }

    /// Imports in the module's order.
    pub fn imports(&self) -> impl Iterator<Item = Extern<'_>> {
        self.info.imports.iter().map(|(key, index)| {
            let ty = match *index {
                ImportIndex::Function(index) => {
                    ExternType::Function(&self.info.signatures[self.info.functions[index]])
                }
                ImportIndex::Table(index) => ExternType::Table(self.table(index)),
                ImportIndex::Memory(index) => ExternType::Memory(self.info.memories[index]),
                ImportIndex::Global(index) => ExternType::Global(self.info.globals[index]),
                ImportIndex::Tag(index) => {
                    ExternType::Tag(&self.info.signatures[self.info.tags[index]])
                }
            };
            Extern {
                module: &key.module,
                name: &key.field,
                ty,
            }
        })
    }

    /// Exports in the module's order.
    pub fn exports(&self) -> impl Iterator<Item = Extern<'_>> {
        self.info.exports.iter().map(|(name, index)| {
            let ty = match *index {
                ExportIndex::Function(index) => {
                    ExternType::Function(&self.info.signatures[self.info.functions[index]])
                }
                ExportIndex::Table(index) => ExternType::Table(self.table(index)),
                ExportIndex::Memory(index) => ExternType::Memory(self.info.memories[index]),
                ExportIndex::Global(index) => ExternType::Global(self.info.globals[index]),
                ExportIndex::Tag(index) => {
                    ExternType::Tag(&self.info.signatures[self.info.tags[index]])
                }
            };
            Extern {
                module: "",
                name,
                ty,
            }
        })
    }

    /// The real type of a table of the module.
    pub fn table(&self, index: TableIndex) -> TableType {
        self.tables[index.index()]
    }

    /// The memories that the module defines itself.
    pub fn defined_memories(&self) -> impl Iterator<Item = MemoryType> {
        self.info
            .memories
            .values()
            .skip(self.info.num_imported_memories)
            .copied()
    }

    /// Copies of the custom sections of that name, in order.
    ///
    /// # Errors
    /// The artifact that holds them could not be read.
    pub fn custom_sections(&self, name: &str) -> io::Result<Vec<Arc<[u8]>>> {
        self.custom
            .iter()
            .filter(|(own, _)| own == name)
            .map(|(_, bytes)| bytes.read())
            .collect()
    }

    /// Whether any function of the module touches exceptions.
    pub fn has_tags(&self) -> bool {
        !self.info.tags.is_empty()
    }

    /// The element type of reference tables and globals that hold externrefs.
    pub fn holds_externrefs(&self) -> bool {
        self.tables.iter().any(|ty| ty.ty == Type::ExternRef)
            || self
                .info
                .globals
                .values()
                .any(|ty| ty.ty == Type::ExternRef)
    }
}

impl CustomBytes {
    fn read(&self) -> io::Result<Arc<[u8]>> {
        match self {
            Self::Memory(bytes) => Ok(Arc::clone(bytes)),
            Self::File {
                file,
                offset,
                length,
            } => {
                let mut bytes = vec![0; *length as usize];
                read_exact_at(file, &mut bytes, *offset)?;
                Ok(bytes.into())
            }
        }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        let count = file.seek_read(bytes, offset)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[count..];
        offset += count as u64;
    }
    Ok(())
}
