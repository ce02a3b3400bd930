//! The declaration's bytes: what every donor and the optimizing tier's module are built from.
//!
//! Invariant: the `VMContext` layout (`VMOffsets`) of a donor, of the shell from which the
//! instance's `ModuleInfo` is made, and of the optimizing tier's module are equal, because all
//! three carry the same imports, tables (the hidden one included), memories, globals and tags.
//!
//! Invariant: no table of a lowered module is a fixed funcref table (`minimum == maximum`).
//! wasmer keeps inline copies of anyfuncs for those, which a swap would have to chase and which
//! go stale when another instance writes an exported table. The real limits are kept in
//! [`Skeleton::tables`] and given to the `VMTable` itself, so growth is still refused.

use std::ops::Range;

use wasm_encoder::{CodeSection, Encode, Module as Encoder, RawSection, SectionId};
use wasmer_compiler::wasmparser::{
    BinaryReaderError, CompositeInnerType, FuncType, Payload, RefType, TableInit, TypeRef, ValType,
};
use wasmer_types::{FunctionType, TableType, Type, WasmResult};

use super::signature::function_type;

/// See the module head.
#[derive(Default)]
pub struct Skeleton {
    types: Vec<Option<FuncType>>,
    plain: Vec<bool>,
    functions: Vec<u32>,
    imported_functions: u32,
    globals: Vec<ValType>,
    /// The tables' real types, imports first, without the hidden one.
    pub tables: Vec<TableType>,
    imported_tables: u32,
    type_section: Vec<u8>,
    import_section: Vec<u8>,
    function_section: Vec<u8>,
    memory_section: Vec<u8>,
    tag_section: Vec<u8>,
    global_section: Vec<u8>,
    /// Where the import section names the type of a function that Singlepass cannot import.
    foreign_imports: Vec<Range<usize>>,
}

/// See [`Skeleton::weight`].
const TRAMPOLINE: usize = 133;

/// A declaration that is still being read.
#[derive(Default)]
pub struct SkeletonBuilder {
    skeleton: Option<Skeleton>,
}

impl SkeletonBuilder {
    /// An empty declaration.
    pub fn new() -> Self {
        Self {
            skeleton: Some(Skeleton::default()),
        }
    }

    /// Takes in one section of the declaration; `section` gives the bytes of a range of the
    /// module. Payloads that are no part of the declaration are ignored.
    ///
    /// # Errors
    /// A malformed section (the validator reports the same).
    pub fn payload(
        &mut self,
        payload: &Payload<'_>,
        section: impl Fn(Range<u64>) -> Vec<u8>,
    ) -> Result<(), BinaryReaderError> {
        let Some(skeleton) = self.skeleton.as_mut() else {
            return Ok(());
        };
        match payload {
            Payload::TypeSection(reader) => {
                skeleton.type_section = section(reader.range());
                for group in reader.clone() {
                    for ty in group?.into_types() {
                        let ty = match ty.composite_type.inner {
                            CompositeInnerType::Func(ty) => Some(ty),
                            _ => None,
                        };
                        skeleton.plain.push(ty.as_ref().is_some_and(is_plain_func));
                        skeleton.types.push(ty);
                    }
                }
            }
            Payload::ImportSection(reader) => {
                skeleton.import_section = section(reader.range());
                let mut imports = reader.clone().into_imports_with_offsets().peekable();
                while let Some(import) = imports.next() {
                    match import?.1.ty {
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                            if !skeleton.is_importable_type(ty) {
                                let end = match imports.peek() {
                                    Some(Ok((next, _))) => *next,
                                    _ => reader.range().end,
                                };
                                let end = (end - reader.range().start) as usize;
                                let index = last_leb128(&skeleton.import_section, end);
                                skeleton.foreign_imports.push(index);
                            }
                            skeleton.functions.push(ty);
                            skeleton.imported_functions += 1;
                        }
                        TypeRef::Table(ty) => {
                            skeleton.tables.push(table_type(&ty));
                            skeleton.imported_tables += 1;
                        }
                        TypeRef::Global(ty) => skeleton.globals.push(ty.content_type),
                        TypeRef::Memory(_) | TypeRef::Tag(_) => {}
                    }
                }
            }
            Payload::FunctionSection(reader) => {
                skeleton.function_section = section(reader.range());
                for ty in reader.clone() {
                    skeleton.functions.push(ty?);
                }
            }
            Payload::TableSection(reader) => {
                for table in reader.clone() {
                    let table = table?;
                    debug_assert!(matches!(table.init, TableInit::RefNull));
                    skeleton.tables.push(table_type(&table.ty));
                }
            }
            Payload::MemorySection(reader) => skeleton.memory_section = section(reader.range()),
            Payload::TagSection(reader) => skeleton.tag_section = section(reader.range()),
            Payload::GlobalSection(reader) => {
                skeleton.global_section = section(reader.range());
                for global in reader.clone() {
                    skeleton.globals.push(global?.ty.content_type);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The finished declaration; the builder is empty afterwards.
    pub fn finish(&mut self) -> Skeleton {
        self.skeleton.take().unwrap_or_default()
    }
}

fn table_type(ty: &wasmer_compiler::wasmparser::TableType) -> TableType {
    let element = if ty.element_type == RefType::EXTERNREF {
        Type::ExternRef
    } else {
        Type::FuncRef
    };
    TableType::new(
        element,
        ty.initial as u32,
        ty.maximum.map(|max| u32::try_from(max).unwrap_or(u32::MAX)),
    )
}

/// The same rule as [`super::is_plain`], in the validator's types.
fn is_plain_func(ty: &FuncType) -> bool {
    ty.params().iter().chain(ty.results()).all(is_plain)
        && ty.results().len() <= 2
        && ty.results() != [ValType::I32, ValType::I32]
}

fn is_plain(ty: &ValType) -> bool {
    is_scalar(ty) && !matches!(ty, ValType::F32 | ValType::F64)
}

fn is_scalar(ty: &ValType) -> bool {
    match ty {
        ValType::V128 => false,
        ValType::Ref(ty) => ty.is_extern_ref() || ty.is_func_ref(),
        _ => true,
    }
}

impl Skeleton {
    /// The number of functions the module defines.
    pub fn local_function_count(&self) -> usize {
        self.functions.len() - self.imported_functions as usize
    }

    /// The hidden table's index: the one after the module's own.
    pub fn hidden_table(&self) -> u32 {
        self.tables.len() as u32
    }

    /// Position of a function among the local ones, `None` for an import.
    pub fn local_index(&self, function: u32) -> Option<u32> {
        function.checked_sub(self.imported_functions)
    }

    /// The signatures of all types, and whether functions of them are imported.
    ///
    /// # Errors
    /// wasmer has no such value.
    pub fn signatures(&self) -> WasmResult<Vec<(FunctionType, bool)>> {
        let types = self.types.iter().flatten();
        let signatures = types.map(|ty| Ok((function_type(ty)?, false)));
        let mut signatures = signatures.collect::<WasmResult<Vec<_>>>()?;
        for ty in self.imported_function_types() {
            signatures[*ty as usize].1 = true;
        }
        Ok(signatures)
    }

    /// The type indices of the imported functions.
    pub fn imported_function_types(&self) -> &[u32] {
        &self.functions[..self.imported_functions as usize]
    }

    /// How many bytes of bodies take as long to compile as the declaration itself.
    ///
    /// It is parsed anew in every donor, and there is a trampoline for each of its types and imported
    /// functions: some 20 µs, in which Singlepass compiles the bytes of [`TRAMPOLINE`]. Opencascade's
    /// 1,255 types and duckdb's 24,000 globals took more time than all bodies did.
    pub fn weight(&self) -> usize {
        let sections = [
            &self.type_section,
            &self.import_section,
            &self.memory_section,
            &self.tag_section,
            &self.global_section,
        ];
        let bytes: usize = sections.iter().map(|section| section.len()).sum();
        bytes + TRAMPOLINE * (self.types.len() + self.imported_functions as usize)
    }

    /// The type index of a (validated) function index.
    pub fn function_type_index(&self, function: u32) -> u32 {
        self.functions[function as usize]
    }

    /// Whether both compilers pass this type alike.
    pub fn is_plain_type(&self, ty: u32) -> bool {
        self.plain.get(ty as usize).copied().unwrap_or(false)
    }

    fn func_type(&self, ty: u32) -> Option<&FuncType> {
        self.types.get(ty as usize)?.as_ref()
    }

    /// Whether a block of this type holds only values that Singlepass knows.
    pub fn is_scalar_type(&self, ty: u32) -> bool {
        self.func_type(ty)
            .is_some_and(|ty| ty.params().iter().chain(ty.results()).all(is_scalar))
    }

    /// Whether Singlepass can call an import of this type: numbers and references, and at most one
    /// result, which is no float. Its import trampolines convert float parameters to the common
    /// convention, but take a float result from an integer register.
    ///
    /// It makes trampolines for every import that is declared, called or not, and one with v128
    /// or two results ends the whole compile ("No register available", a panic): see
    /// [`Self::singlepass_donor`].
    pub fn is_importable_type(&self, ty: u32) -> bool {
        self.func_type(ty).is_some_and(|ty| {
            ty.params().iter().all(is_scalar)
                && ty.results().len() <= 1
                && ty.results().iter().all(is_plain)
        })
    }

    /// The first type that Singlepass can import.
    fn stand_in(&self) -> Option<u32> {
        (0..self.types.len() as u32).find(|ty| self.is_importable_type(*ty))
    }

    /// Whether [`Self::singlepass_donor`] can declare the imports so that Singlepass takes them.
    pub fn has_singlepass_imports(&self) -> bool {
        self.foreign_imports.is_empty() || self.stand_in().is_some()
    }

    /// Whether the (validated) global holds a value that Singlepass knows.
    pub fn is_scalar_global(&self, global: u32) -> bool {
        self.globals.get(global as usize).is_some_and(is_scalar)
    }

    fn table_section(&self) -> wasm_encoder::TableSection {
        use wasm_encoder::{RefType, TableSection, TableType};
        let mut section = TableSection::new();
        let own = self.tables.iter().skip(self.imported_tables as usize);
        for table in own {
            let fixed = table.maximum == Some(table.minimum);
            section.table(TableType {
                element_type: match table.ty {
                    Type::ExternRef => RefType::EXTERNREF,
                    _ => RefType::FUNCREF,
                },
                table64: false,
                shared: false,
                minimum: u64::from(table.minimum),
                maximum: table.maximum.filter(|_| !fixed).map(u64::from),
            });
        }
        section.table(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            shared: false,
            minimum: 0,
            maximum: None,
        });
        section
    }

    /// The module with empty bodies: enough for wasmer's `ModuleInfo` and the data segments.
    /// `before` are the raw sections before the code, `data` the data section's payload.
    pub fn shell(&self, before: &[(u8, &[u8])], data: &[u8]) -> Vec<u8> {
        let mut code = Vec::new();
        let count = self.local_function_count();
        if count > 0 {
            (count as u32).encode(&mut code);
            // Size, no locals, end: the parser wants as many bodies as there are functions.
            code.extend([2, 0, 0x0b].repeat(count));
        }
        self.whole(before, &code, data)
    }

    /// The module that the optimizing tier compiles: the same code with direct calls, the hidden
    /// table added, custom sections and the start section left out.
    pub fn whole(&self, before: &[(u8, &[u8])], code: &[u8], data: &[u8]) -> Vec<u8> {
        let mut module = Encoder::new();
        self.declare(&mut module, &self.import_section, &self.function_section);
        for (id, data) in before {
            module.section(&RawSection { id: *id, data });
        }
        if !code.is_empty() {
            module.section(&RawSection {
                id: SectionId::Code as u8,
                data: code,
            });
        }
        if !data.is_empty() {
            module.section(&RawSection {
                id: SectionId::Data as u8,
                data,
            });
        }
        module.finish()
    }

    /// A donor: the declaration and the given functions (local index, lowered body).
    pub fn donor<'a>(&self, functions: impl Iterator<Item = (u32, &'a [u8])>) -> Vec<u8> {
        self.donor_importing(&self.import_section, functions)
    }

    /// A donor for Singlepass: functions that it cannot import are declared with another type of
    /// the module, one that it can. The layout of the `VMContext` does not depend on it, and no
    /// body in the donor calls them ([`super::lower_body`]).
    pub fn singlepass_donor<'a>(
        &self,
        functions: impl Iterator<Item = (u32, &'a [u8])>,
    ) -> Vec<u8> {
        let Some(stand_in) = self.stand_in() else {
            return self.donor(functions);
        };
        let mut imports = Vec::with_capacity(self.import_section.len());
        let mut copied = 0;
        for foreign in &self.foreign_imports {
            imports.extend_from_slice(&self.import_section[copied..foreign.start]);
            stand_in.encode(&mut imports);
            copied = foreign.end;
        }
        imports.extend_from_slice(&self.import_section[copied..]);
        self.donor_importing(&imports, functions)
    }

    fn donor_importing<'a>(
        &self,
        imports: &[u8],
        functions: impl Iterator<Item = (u32, &'a [u8])>,
    ) -> Vec<u8> {
        let mut types = wasm_encoder::FunctionSection::new();
        let mut code = CodeSection::new();
        for (local, body) in functions {
            types.function(self.functions[(self.imported_functions + local) as usize]);
            code.raw(body);
        }
        let mut function_section = Vec::new();
        types.encode(&mut function_section);
        let mut module = Encoder::new();
        // `encode` wrote the section's size first, which `RawSection` writes too.
        let payload = strip_size(&function_section);
        self.declare(&mut module, imports, payload);
        if !code.is_empty() {
            module.section(&code);
        }
        module.finish()
    }

    fn declare(&self, module: &mut Encoder, imports: &[u8], functions: &[u8]) {
        let raw = |module: &mut Encoder, id: SectionId, data: &[u8]| {
            if !data.is_empty() {
                module.section(&RawSection { id: id as u8, data });
            }
        };
        raw(module, SectionId::Type, &self.type_section);
        raw(module, SectionId::Import, imports);
        raw(module, SectionId::Function, functions);
        module.section(&self.table_section());
        raw(module, SectionId::Memory, &self.memory_section);
        raw(module, SectionId::Tag, &self.tag_section);
        raw(module, SectionId::Global, &self.global_section);
    }
}

/// Where the LEB128 number lies that ends at `end`; what is before it must not look like one that
/// goes on (the kind of a function import is 0).
fn last_leb128(section: &[u8], end: usize) -> Range<usize> {
    let last = end.saturating_sub(1);
    let start = section[..last].iter().rposition(|byte| byte & 0x80 == 0);
    start.map_or(0, |before| before + 1)..end
}

/// Drops the LEB128 size in front of an encoded section's payload.
pub(super) fn strip_size(section: &[u8]) -> &[u8] {
    let size = section
        .iter()
        .position(|byte| byte & 0x80 == 0)
        .map_or(section.len(), |at| at + 1);
    &section[size..]
}
