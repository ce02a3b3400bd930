//! What a module declares to its importer: imports, exports, custom sections.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use wasmer_types::{
    ExportIndex, FunctionType, GlobalType, ImportIndex, MemoryType, ModuleInfo, TableIndex,
    TableType, entity::EntityRef,
};

use super::element::{ActiveElements, ElementItem};
use super::ingested::Ingested;
use super::names::Names;
use super::origin::WholeOrigin;
use super::segment::ActiveSegment;
use super::signature::{letter, type_of_letter};

/// A module's declaration as its users see it.
///
/// Made from wasmer's `ModuleInfo` of the *lowered* module plus what lowering took away: the real
/// limits of the tables, the start function, the custom sections.
#[derive(Debug)]
pub struct Declaration {
    /// blake3 of the module's bytes.
    pub hash: [u8; 32],
    /// Of the lowered module: the hidden table is its last table.
    pub info: Arc<ModuleInfo>,
    /// Real types of the module's own tables, imports first.
    pub tables: Vec<TableType>,
    /// Index of the start function.
    pub start: Option<u32>,
    /// Length of the module in bytes.
    pub size: u64,
    /// Whether a function has a handler of exceptions.
    pub catches: bool,
    custom: Vec<(String, Stored)>,
    active: Vec<ActiveSegment>,
    elements: Vec<ActiveElements>,
    image: Stored,
    names: OnceLock<Names>,
}

/// Bytes of a module that its code does not need: in memory, in the module, or in the artifact
/// until they are read for the first time.
#[derive(Debug)]
enum Stored {
    Memory(Vec<u8>),
    Module {
        module: Arc<Vec<u8>>,
        range: Range<usize>,
    },
    File {
        file: Arc<File>,
        offset: u64,
        length: u64,
        bytes: OnceLock<Vec<u8>>,
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
    origin: WholeOrigin,
    catches: bool,
    /// Name, offset in the artifact, length.
    custom: Vec<(String, u64, u64)>,
    active: Vec<ActiveSegment>,
    elements: Vec<ActiveElements>,
    /// Offset in the artifact, length.
    image: (u64, u64),
}

impl Declaration {
    /// Of a module that was just read; `info` is that of the lowered module, `catches` what its
    /// functions' lowering saw.
    pub fn new(
        hash: [u8; 32],
        info: Arc<ModuleInfo>,
        ingested: &mut Ingested,
        catches: bool,
    ) -> Self {
        let stored = |range: &Range<usize>| Stored::Module {
            module: Arc::clone(&ingested.bytes),
            range: range.clone(),
        };
        let custom = ingested.custom.iter();
        let custom = custom
            .map(|(name, range)| (name.clone(), stored(range)))
            .collect();
        let active = std::mem::take(&mut ingested.active);
        Self {
            hash,
            info,
            tables: ingested.skeleton.tables.clone(),
            start: ingested.start,
            size: ingested.bytes.len() as u64,
            catches,
            custom,
            active: active.segments,
            elements: std::mem::take(&mut ingested.elements),
            image: Stored::Memory(active.image),
            names: OnceLock::new(),
        }
    }

    /// Encodes what an artifact must carry: a small blob, and the bytes that are to be stored
    /// behind the `image_length` bytes of code, which came from `origin`.
    ///
    /// # Errors
    /// Bytes that live in a file could not be read.
    pub fn carry(&self, image_length: u64, origin: &WholeOrigin) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut behind = Vec::new();
        let mut place = |stored: &Stored| {
            let bytes = stored.read()?;
            let offset = image_length + behind.len() as u64;
            behind.extend_from_slice(bytes);
            io::Result::Ok((offset, bytes.len() as u64))
        };
        let image = place(&self.image)?;
        let mut custom = Vec::with_capacity(self.custom.len());
        for (name, stored) in &self.custom {
            let (at, length) = place(stored)?;
            custom.push((name.clone(), at, length));
        }
        let carried = Carried {
            tables: self
                .tables
                .iter()
                .map(|ty| (letter(ty.ty), ty.minimum, ty.maximum))
                .collect(),
            start: self.start,
            size: self.size,
            origin: origin.clone(),
            catches: self.catches,
            custom,
            active: self.active.clone(),
            elements: self.elements.clone(),
            image,
        };
        let blob = postcard::to_stdvec(&carried).map_err(io::Error::other)?;
        Ok((blob, behind))
    }

    /// The inverse of [`Self::carry`]; `None` if the blob is not one of ours, or names what the module does not have.
    pub fn carried(
        hash: [u8; 32],
        info: Arc<ModuleInfo>,
        blob: &[u8],
        file: &Arc<File>,
    ) -> Option<(Self, WholeOrigin)> {
        let carried: Carried = postcard::from_bytes(blob).ok()?;
        let tables = carried
            .tables
            .iter()
            .map(|&(ty, minimum, maximum)| {
                Some(TableType::new(type_of_letter(ty)?, minimum, maximum))
            })
            .collect::<Option<Vec<_>>>()?;
        let length = file.metadata().ok()?.len();
        if !carried.is_about(&info, &tables, length) {
            return None;
        }
        let stored = |offset, length| Stored::file(file, offset, length);
        let custom = carried.custom.into_iter();
        let (at, length) = carried.image;
        let declaration = Self {
            hash,
            info,
            tables,
            start: carried.start,
            size: carried.size,
            catches: carried.catches,
            custom: custom
                .map(|(name, at, length)| (name, stored(at, length)))
                .collect(),
            active: carried.active,
            elements: carried.elements,
            image: stored(at, length),
            names: OnceLock::new(),
        };
        Some((declaration, carried.origin))
    }

    /// What its name section says.
    pub fn names(&self) -> &Names {
        self.names.get_or_init(|| {
            let sections = self.custom_sections("name").unwrap_or_default();
            sections
                .first()
                .map_or_else(Names::default, |section| Names::read(section))
        })
    }

    /// The active data segments with their bytes, in order.
    ///
    /// # Errors
    /// The artifact that holds them could not be read, or an offset that cannot be evaluated.
    pub fn segments(&self) -> io::Result<Vec<(&ActiveSegment, &[u8])>> {
        if self.active.is_empty() {
            return Ok(Vec::new());
        }
        let image = self.image.read()?;
        let malformed = || io::Error::other("unsupported offset of a data segment");
        self.active
            .iter()
            .map(|segment| {
                // Whatever the globals are: expressions have neither branches nor traps.
                segment.offset.evaluate(|_| 0).ok_or_else(malformed)?;
                let range = segment.range.start as usize..segment.range.end as usize;
                Ok((segment, image.get(range).ok_or_else(malformed)?))
            })
            .collect()
    }

    /// The active element segments, in order, where wasmer cannot be given them.
    pub fn elements(&self) -> &[ActiveElements] {
        &self.elements
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

    /// Whether an import is of a kind that two engines cannot share: a table, a mutable global, a tag.
    pub fn imports_state(&self) -> bool {
        self.imports().any(|import| match import.ty {
            ExternType::Table(_) | ExternType::Tag(_) => true,
            ExternType::Global(ty) => ty.mutability.is_mutable(),
            ExternType::Function(_) | ExternType::Memory(_) => false,
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

    /// The custom sections of that name, in order.
    ///
    /// # Errors
    /// The artifact that holds them could not be read.
    pub fn custom_sections(&self, name: &str) -> io::Result<Vec<&[u8]>> {
        self.custom
            .iter()
            .filter(|(own, _)| own == name)
            .map(|(_, bytes)| bytes.read())
            .collect()
    }
}

impl Carried {
    /// Whether everything it names is there: in the module that the artifact's code is of, and in the file.
    fn is_about(&self, info: &ModuleInfo, tables: &[TableType], file: u64) -> bool {
        let own = info.tables.values();
        // Behind them the hidden one, and where many functions are imported one more.
        let behind = info.tables.len().checked_sub(tables.len());
        let tables_fit =
            matches!(behind, Some(1 | 2)) && own.zip(tables).all(|(own, table)| own.ty == table.ty);
        let function = |index: u32| (index as usize) < info.functions.len();
        let item = |item: &ElementItem| match *item {
            ElementItem::Null => true,
            ElementItem::Function(index) => function(index),
            ElementItem::Global(index) => (index as usize) < info.globals.len(),
        };
        let elements = |segment: &ActiveElements| {
            (segment.table as usize) < tables.len() && segment.items.iter().all(item)
        };
        let data = |segment: &ActiveSegment| (segment.memory as usize) < info.memories.len();
        let inside = |at: u64, length: u64| at.checked_add(length).is_some_and(|end| end <= file);
        tables_fit
            && self.start.is_none_or(function)
            && self.elements.iter().all(elements)
            && self.active.iter().all(data)
            && self
                .custom
                .iter()
                .all(|(_, at, length)| inside(*at, *length))
            && inside(self.image.0, self.image.1)
    }
}

impl Stored {
    fn file(file: &Arc<File>, offset: u64, length: u64) -> Self {
        Self::File {
            file: Arc::clone(file),
            offset,
            length,
            bytes: OnceLock::new(),
        }
    }

    fn read(&self) -> io::Result<&[u8]> {
        match self {
            Self::Memory(bytes) => Ok(bytes),
            Self::Module { module, range } => Ok(&module[range.clone()]),
            Self::File {
                file,
                offset,
                length,
                bytes,
            } => {
                if let Some(bytes) = bytes.get() {
                    return Ok(bytes);
                }
                let mut read = vec![0; *length as usize];
                read_exact_at(file, &mut read, *offset)?;
                Ok(bytes.get_or_init(|| read))
            }
        }
    }
}

fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use wasm_encoder::{
        CodeSection, ConstExpr, Function, FunctionSection, GlobalSection, MemorySection,
        Module as Encoder, RefType, TableSection, TypeSection, ValType,
    };
    use wasmer_compiler::ModuleEnvironment;

    use super::super::segment::Offset;
    use super::*;

    /// A function, a table with the hidden one behind it, a memory, a global.
    fn info() -> Arc<ModuleInfo> {
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut functions = FunctionSection::new();
        functions.function(0);
        let mut tables = TableSection::new();
        for element_type in [RefType::EXTERNREF, RefType::FUNCREF] {
            tables.table(wasm_encoder::TableType {
                element_type,
                table64: false,
                minimum: 1,
                maximum: None,
                shared: false,
            });
        }
        let mut memories = MemorySection::new();
        memories.memory(wasm_encoder::MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut globals = GlobalSection::new();
        let ty = wasm_encoder::GlobalType {
            val_type: ValType::I32,
            mutable: false,
            shared: false,
        };
        globals.global(ty, &ConstExpr::i32_const(0));
        let mut code = CodeSection::new();
        let mut body = Function::new([]);
        body.instructions().end();
        code.function(&body);
        let mut module = Encoder::new();
        module.section(&types).section(&functions).section(&tables);
        module.section(&memories).section(&globals).section(&code);
        let bytes = module.finish();
        let translated = ModuleEnvironment::new().translate(&bytes);
        Arc::new(translated.expect("a valid module").module)
    }

    const FILE: u64 = 64;

    /// Names something of every kind.
    fn carried() -> Carried {
        let elements = ActiveElements {
            table: 0,
            offset: Offset::Constant(0),
            items: vec![ElementItem::Function(0), ElementItem::Global(0)],
        };
        let data = ActiveSegment {
            index: 0,
            memory: 0,
            offset: Offset::Constant(0),
            range: 0..FILE,
        };
        Carried {
            tables: vec![('r', 1, None)],
            start: Some(0),
            size: 8,
            origin: WholeOrigin::default(),
            catches: false,
            custom: vec![("name".to_owned(), 0, FILE)],
            active: vec![data],
            elements: vec![elements],
            image: (0, FILE),
        }
    }

    #[test]
    fn what_an_artifact_says_of_its_module_is_taken_over_only_where_the_module_has_it() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&[0; FILE as usize]).expect("room");
        let (info, file) = (info(), Arc::new(file));
        let taken_over = |carried: &Carried| {
            let blob = postcard::to_stdvec(carried).expect("bytes");
            Declaration::carried([0; 32], Arc::clone(&info), &blob, &file).is_some()
        };
        assert!(taken_over(&carried()));
        type Change = (&'static str, fn(&mut Carried));
        let changes: [Change; 11] = [
            ("a table too many", |it| it.tables.push(('r', 1, None))),
            ("a table too few", |it| it.tables.clear()),
            ("a table of another type", |it| it.tables[0].0 = 'c'),
            ("no such start function", |it| it.start = Some(1)),
            ("no such table", |it| it.elements[0].table = 1),
            ("no such function", |it| {
                it.elements[0].items[0] = ElementItem::Function(1);
            }),
            ("no such global", |it| {
                it.elements[0].items[1] = ElementItem::Global(1);
            }),
            ("no such memory", |it| it.active[0].memory = 1),
            ("a section behind the file", |it| it.custom[0].1 = 1),
            ("a section without an end", |it| it.custom[0].2 = u64::MAX),
            ("data behind the file", |it| it.image = (FILE, 1)),
        ];
        for (what, change) in changes {
            let mut changed = carried();
            change(&mut changed);
            assert!(!taken_over(&changed), "{what}");
        }
    }
}
