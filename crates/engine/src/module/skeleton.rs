//! The declaration's bytes: what every donor and the optimizing tier's module are built from.
//!
//! Invariant: the `VMContext` layout (`VMOffsets`) of a donor, of the shell from which the
//! instance's `ModuleInfo` is made, and of the optimizing tier's module are equal, because all
//! three carry the same imports, tables (the hidden one included), memories, globals and tags;
//! donors' compilers are told of the globals and of imported functions ([`Skeleton::undeclared`]).
//!
//! Invariant: no table of a lowered module is a fixed funcref table (`minimum == maximum`), but one that nothing names
//! ([`Skeleton::is_padded`]). wasmer keeps inline copies of anyfuncs for those, which a swap would have to chase and which
//! go stale when another instance writes an exported table. The real limits are kept in
//! [`Skeleton::tables`] and given to the `VMTable` itself, so growth is still refused.

use std::ops::Range;
use std::sync::Arc;

use wasm_encoder::{Encode, Module as Encoder, RawSection, SectionId};
use wasmer_compiler::wasmparser::{
    BinaryReaderError, CompositeInnerType, FuncType, Payload, RefType, TableInit, TypeRef, ValType,
};
use wasmer_compiler::wptype_to_type;
use wasmer_types::entity::PrimaryMap;
use wasmer_types::{
    FunctionType, GlobalIndex, GlobalType, Mutability, TableType, Type, WasmResult,
};

use super::adapter::{Adapter, Adapters};
use super::import::Import;
use super::signature::{encoded, function_type, is_importable, is_plain_func, is_scalar};
use super::types::{Declared, Types};

/// What bodies can be told of globals.
pub type Globals = Arc<PrimaryMap<GlobalIndex, GlobalType>>;

/// See the module head.
#[derive(Default)]
pub struct Skeleton {
    pub(super) types: Vec<Option<FuncType>>,
    plain: Vec<bool>,
    adapters: Adapters,
    functions: Vec<u32>,
    pub(super) imported_functions: u32,
    globals: Vec<ValType>,
    pub(super) global_types: Globals,
    /// The tables' real types, imports first, without the hidden one.
    pub tables: Vec<TableType>,
    imported_tables: u32,
    type_section: Vec<u8>,
    import_section: Vec<u8>,
    function_section: Vec<u8>,
    memory_section: Vec<u8>,
    tag_section: Vec<u8>,
    global_section: Vec<u8>,
    pub(super) imports: Vec<Import>,
    /// The types of the tags, imports first.
    pub(super) tags: Vec<u32>,
    pub(super) imported_tags: usize,
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
                    let (start, import) = import?;
                    let behind = match imports.peek() {
                        Some(Ok((next, _))) => *next,
                        _ => reader.range().end,
                    };
                    let entry = section(start..behind);
                    skeleton.imports.push(Import::new(&import.ty, &entry)?);
                    match import.ty {
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                            skeleton.functions.push(ty);
                            skeleton.imported_functions += 1;
                        }
                        TypeRef::Table(ty) => {
                            skeleton.tables.push(table_type(&ty));
                            skeleton.imported_tables += 1;
                        }
                        TypeRef::Global(ty) => skeleton.globals.push(ty.content_type),
                        TypeRef::Tag(ty) => {
                            skeleton.tags.push(ty.func_type_idx);
                            skeleton.imported_tags += 1;
                        }
                        TypeRef::Memory(_) => {}
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
            Payload::TagSection(reader) => {
                skeleton.tag_section = section(reader.range());
                for tag in reader.clone() {
                    skeleton.tags.push(tag?.func_type_idx);
                }
            }
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
        let mut skeleton = self.skeleton.take().unwrap_or_default();
        skeleton.adapters = Adapters::new(
            &skeleton.types,
            skeleton.tables.len() + 1,
            skeleton.imported_function_types(),
            &skeleton.tags,
        );
        let globals = skeleton.globals.iter();
        let globals = globals.map(|ty| GlobalType::new(value_type(ty), Mutability::Var));
        skeleton.global_types = Arc::new(globals.collect());
        skeleton
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

/// A (validated) value's type. Modules with what wasmer does not know are refused before anything is compiled.
fn value_type(ty: &ValType) -> Type {
    wptype_to_type(*ty).unwrap_or(Type::I32)
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

    /// The type index of a local function.
    pub fn local_type_index(&self, local: u32) -> u32 {
        self.functions[(self.imported_functions + local) as usize]
    }

    /// The type index of a (validated) tag.
    pub fn tag_type_index(&self, tag: u32) -> u32 {
        self.tags[tag as usize]
    }

    /// How many parameters a local function has.
    pub fn parameter_count(&self, local: u32) -> u32 {
        self.func_type(self.local_type_index(local))
            .map_or(0, |ty| ty.params().len() as u32)
    }

    /// A (validated) type, as wasmer has it. Values that it does not know are refused before anything is lowered.
    fn function_type(&self, ty: u32) -> FunctionType {
        let ty = self.func_type(ty).map(function_type);
        ty.and_then(Result::ok)
            .unwrap_or_else(|| FunctionType::new([], []))
    }

    /// The parameters and results of a type.
    pub fn values(&self, ty: u32) -> (Vec<Type>, Vec<Type>) {
        let ty = self.function_type(ty);
        (ty.params().to_vec(), ty.results().to_vec())
    }

    /// Whether the compilers pass floats of a type differently, and nothing else of it: there are adapters to it.
    pub fn is_adaptable_type(&self, ty: u32) -> bool {
        self.adapters.has_floats(ty)
    }

    /// Whether Singlepass' code can call a type and catch what that throws.
    pub fn is_catchable_type(&self, ty: u32) -> bool {
        self.adapters.is_caught(ty)
    }

    /// Whether Singlepass' code can throw exceptions of the (validated) tag, and catch them.
    pub fn is_catchable_tag(&self, tag: u32) -> bool {
        let ty = self.tag_type_index(tag);
        let carried = self.func_type(ty).map_or(0, |ty| ty.params().len());
        self.is_catchable_type(ty) && carried <= 1
    }

    /// The number of an adapter: the one behind those of the local functions, in the hidden table. `None` if there is no such adapter.
    pub fn adapter(&self, adapter: Adapter) -> Option<u32> {
        self.adapters.number(adapter)
    }

    /// How many numbers of adapters there are.
    pub fn adapter_count(&self) -> u32 {
        self.adapters.count()
    }

    /// The adapter of that number.
    pub fn adapted(&self, number: u32) -> Adapter {
        self.adapters.adapter(number)
    }

    /// What the module declares.
    pub(super) fn all_types(&self) -> Types {
        Types::whole(self.types.len() as u32, self.imported_functions as usize)
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
    /// 1,255 types took more time than all bodies did.
    pub fn weight(&self) -> usize {
        let sections = [
            &self.type_section,
            &self.import_section,
            &self.memory_section,
            &self.tag_section,
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

    /// Whether Singlepass' code can call an import: by its own trampoline, or through an adapter.
    pub fn reaches_import(&self, function: u32) -> bool {
        let adapter = Adapter::FloatsImport { function };
        self.passes_import(function) || self.adapter(adapter).is_some()
    }

    /// Whether its own trampoline passes the values of an import.
    pub fn passes_import(&self, function: u32) -> bool {
        self.func_type(self.function_type_index(function))
            .is_some_and(is_importable)
    }

    /// Whether the (validated) global holds a value that Singlepass knows.
    pub fn is_scalar_global(&self, global: u32) -> bool {
        self.globals.get(global as usize).is_some_and(is_scalar)
    }

    /// Where so many imported functions are declared.
    pub(super) fn table_section(&self, imported_functions: u32) -> wasm_encoder::TableSection {
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
        if self.is_padded() {
            section.table(TableType {
                element_type: RefType::FUNCREF,
                table64: false,
                shared: false,
                minimum: imported_functions.into(),
                maximum: Some(imported_functions.into()),
            });
        }
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
        self.whole(&self.all_types(), before, &code, data).0
    }

    /// The module that the optimizing tier compiles: `code` calls directly and names `types`; the hidden
    /// table is added, custom sections and the start section are left out. Then, where the code section's contents start.
    pub(super) fn whole(
        &self,
        types: &Types,
        before: &[(u8, &[u8])],
        code: &[u8],
        data: &[u8],
    ) -> (Vec<u8>, usize) {
        let mut module = Encoder::new();
        raw(&mut module, SectionId::Type, &self.type_section(types));
        self.declare_between(
            &mut module,
            &self.import_section,
            &self.function_section,
            &self.table_section(self.imported_functions),
            &self.tag_section,
        );
        raw(&mut module, SectionId::Global, &self.global_section);
        for (id, data) in before {
            module.section(&RawSection { id: *id, data });
        }
        if !code.is_empty() {
            module.section(&RawSection {
                id: SectionId::Code as u8,
                data: code,
            });
        }
        let start = module.len() - code.len();
        if !data.is_empty() {
            module.section(&RawSection {
                id: SectionId::Data as u8,
                data,
            });
        }
        (module.finish(), start)
    }

    pub(super) fn declare_types(&self, types: &Types, section: &mut wasm_encoder::TypeSection) {
        for ty in types.used() {
            let ty = match ty {
                Declared::Module(ty) => self.function_type(*ty),
                Declared::Other(ty) => ty.clone(),
            };
            let values = |types: &[Type]| types.iter().copied().map(encoded).collect::<Vec<_>>();
            section
                .ty()
                .function(values(ty.params()), values(ty.results()));
        }
    }

    /// The module's types, and what is named behind them.
    fn type_section(&self, types: &Types) -> Vec<u8> {
        if types.used().is_empty() {
            return self.type_section.clone();
        }
        let mut behind = wasm_encoder::TypeSection::new();
        self.declare_types(types, &mut behind);
        let behind = payload(&behind);
        let mut section = Vec::new();
        // Without groups of types, there is one entry a type.
        (self.types.len() + types.used().len()).encode(&mut section);
        section.extend_from_slice(strip_size(&self.type_section));
        section.extend_from_slice(strip_size(&behind));
        section
    }

    /// What is between types and globals.
    pub(super) fn declare_between(
        &self,
        module: &mut Encoder,
        imports: &[u8],
        functions: &[u8],
        tables: &wasm_encoder::TableSection,
        tags: &[u8],
    ) {
        raw(module, SectionId::Import, imports);
        raw(module, SectionId::Function, functions);
        module.section(tables);
        raw(module, SectionId::Memory, &self.memory_section);
        raw(module, SectionId::Tag, tags);
    }
}

fn raw(module: &mut Encoder, id: SectionId, data: &[u8]) {
    if !data.is_empty() {
        module.section(&RawSection { id: id as u8, data });
    }
}

/// A section without its size, which [`RawSection`] writes.
pub(super) fn payload(section: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    section.encode(&mut bytes);
    strip_size(&bytes).to_vec()
}

/// Drops the LEB128 number at the front: an encoded section's size, or a payload's count.
pub(super) fn strip_size(section: &[u8]) -> &[u8] {
    let size = section
        .iter()
        .position(|byte| byte & 0x80 == 0)
        .map_or(section.len(), |at| at + 1);
    &section[size..]
}
