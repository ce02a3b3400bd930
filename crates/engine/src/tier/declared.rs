//! A compiler that knows more of a declaration than the donor says.
//!
//! How many globals a module has decides where a `VMContext` has all that lies behind them, and a function may name any of them. But
//! wasmer translates what a donor declares twice, serializes it and hashes it: 24,000 globals (duckdb) took 10 ms in each of
//! 2,200 donors. So donors declare none of their own globals, and the compiler gets to know them.
//!
//! Imported functions decide where everything else is. Compilers make two trampolines for each, called or not: for 400 of them
//! (duckdb) that took Cranelift 5 ms, and Singlepass half a millisecond, in each donor. So the compiler gets to know of imported
//! tables that take as much room, in the place of those that a donor does not declare.

use std::sync::Arc;

use wasmer_compiler::types::function::Compilation;
use wasmer_compiler::types::module::CompileModuleInfo;
use wasmer_compiler::{
    Compiler, CompilerConfig, FunctionBodyData, ModuleMiddleware, ModuleTranslationState,
};
use wasmer_types::entity::PrimaryMap;
use wasmer_types::target::Target;
use wasmer_types::{
    CompilationProgressCallback, CompileError, LocalFunctionIndex, ModuleInfo, TableStyle,
    TableType, Type,
};

use crate::module::{TABLES_PER_FUNCTION, Undeclared};

/// What [`Declared`] is made of.
pub(super) struct Config {
    pub(super) compiler: Box<dyn CompilerConfig>,
    pub(super) undeclared: Undeclared,
}

impl CompilerConfig for Config {
    fn compiler(self: Box<Self>) -> Box<dyn Compiler> {
        Box::new(Declared {
            compiler: self.compiler.compiler(),
            undeclared: self.undeclared,
        })
    }

    fn push_middleware(&mut self, middleware: Arc<dyn ModuleMiddleware>) {
        self.compiler.push_middleware(middleware);
    }
}

/// See the module head.
#[derive(Debug)]
struct Declared {
    compiler: Box<dyn Compiler>,
    undeclared: Undeclared,
}

impl Compiler for Declared {
    fn name(&self) -> &str {
        self.compiler.name()
    }

    fn deterministic_id(&self) -> String {
        self.compiler.deterministic_id()
    }

    fn artifact_format(&self) -> String {
        self.compiler.artifact_format()
    }

    fn get_middlewares(&self) -> &[Arc<dyn ModuleMiddleware>] {
        self.compiler.get_middlewares()
    }

    fn compile_module(
        &self,
        target: &Target,
        donor: &CompileModuleInfo,
        blob: &[u8],
        translation: &ModuleTranslationState,
        bodies: PrimaryMap<LocalFunctionIndex, FunctionBodyData<'_>>,
        progress: Option<&CompilationProgressCallback>,
    ) -> Result<Compilation, CompileError> {
        let tables = (TABLES_PER_FUNCTION * self.undeclared.functions) as usize;
        let styles = std::iter::repeat_n(TableStyle::CallerChecksSignature, tables);
        let donor = CompileModuleInfo {
            features: donor.features.clone(),
            module: Arc::new(complete(&donor.module, &self.undeclared)),
            memory_styles: donor.memory_styles.clone(),
            table_styles: styles.chain(donor.table_styles.values().cloned()).collect(),
            function_max_stack_usage: PrimaryMap::new(),
        };
        self.compiler
            .compile_module(target, &donor, blob, translation, bodies, progress)
    }
}

/// What a donor declares, and what it does not.
fn complete(donor: &ModuleInfo, undeclared: &Undeclared) -> ModuleInfo {
    let count = (TABLES_PER_FUNCTION * undeclared.functions) as usize;
    let tables = std::iter::repeat_n(TableType::new(Type::FuncRef, 0, None), count);
    ModuleInfo {
        globals: PrimaryMap::clone(&undeclared.globals),
        tables: tables.chain(donor.tables.values().copied()).collect(),
        num_imported_tables: count + donor.num_imported_tables,
        ..donor.clone()
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        CodeSection, ConstExpr, EntityType, Function, FunctionSection, GlobalSection, GlobalType,
        ImportSection, Instruction, MemorySection, MemoryType, Module, RefType, TableSection,
        TableType, TagKind, TagSection, TagType, TypeSection, ValType,
    };
    use wasmer_compiler::ModuleEnvironment;
    use wasmer_types::entity::EntityRef;
    use wasmer_types::{
        GlobalIndex, LocalGlobalIndex, LocalMemoryIndex, LocalTableIndex, MemoryIndex, TableIndex,
        VMBuiltinFunctionIndex, VMOffsets,
    };

    use super::{ModuleInfo, TABLES_PER_FUNCTION, complete};
    use crate::stream::Ingest;

    const FUNCTIONS: usize = 40;

    /// With some of everything that has a place in a `VMContext`, each of it imported and defined.
    fn module() -> Vec<u8> {
        let table = |element_type, minimum, maximum| TableType {
            element_type,
            table64: false,
            shared: false,
            minimum,
            maximum,
        };
        let memory = MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        };
        let global = |val_type| GlobalType {
            val_type,
            mutable: true,
            shared: false,
        };
        let tag = TagType {
            kind: TagKind::Exception,
            func_type_idx: 0,
        };
        let mut types = TypeSection::new();
        types.ty().function([ValType::I32], []);
        let mut imports = ImportSection::new();
        imports.import("", "", table(RefType::FUNCREF, 1, Some(2)));
        imports.import("", "", table(RefType::EXTERNREF, 0, None));
        imports.import("", "", memory);
        imports.import("", "", global(ValType::I32));
        imports.import("", "", global(ValType::F64));
        for _ in 0..FUNCTIONS {
            imports.import("", "", EntityType::Function(0));
        }
        imports.import("", "", tag);
        let mut functions = FunctionSection::new();
        functions.function(0);
        let mut tables = TableSection::new();
        tables.table(table(RefType::FUNCREF, 3, Some(3)));
        tables.table(table(RefType::EXTERNREF, 1, None));
        let mut memories = MemorySection::new();
        memories.memory(memory);
        let mut tags = TagSection::new();
        tags.tag(tag);
        let mut globals = GlobalSection::new();
        globals.global(global(ValType::I64), &ConstExpr::i64_const(1));
        globals.global(global(ValType::V128), &ConstExpr::v128_const(1));
        let mut code = CodeSection::new();
        code.function(Function::new([]).instruction(&Instruction::End));
        let mut module = Module::new();
        module
            .section(&types)
            .section(&imports)
            .section(&functions)
            .section(&tables)
            .section(&memories)
            .section(&tags)
            .section(&globals)
            .section(&code);
        module.finish()
    }

    /// Where compiled code finds everything but functions.
    fn places(module: &ModuleInfo, undeclared_tables: usize) -> Vec<u32> {
        let offsets = VMOffsets::new(8, module);
        let shifted = |index: usize| TableIndex::new(undeclared_tables + index);
        let mut places: Vec<u32> = (0..2)
            .flat_map(|index| {
                [
                    offsets.vmctx_vmtable_import(shifted(index)),
                    offsets.vmctx_vmtable_import_definition(shifted(index)),
                    offsets.vmctx_vmglobal_import_definition(GlobalIndex::new(index)),
                    offsets.vmctx_vmtable_definition(LocalTableIndex::new(index)),
                    offsets.vmctx_vmglobal_definition(LocalGlobalIndex::new(index)),
                ]
            })
            .collect();
        places.extend([
            // The hidden table.
            offsets.vmctx_vmtable_definition(LocalTableIndex::new(2)),
            offsets.vmctx_vmmemory_import(MemoryIndex::new(0)),
            offsets.vmctx_vmmemory_definition(LocalMemoryIndex::new(0)),
            offsets.vmctx_builtin_function(VMBuiltinFunctionIndex::get_memory32_grow_index()),
            offsets.vmctx_tag_ids_begin(),
            offsets.size_of_vmctx(),
        ]);
        places
    }

    #[test]
    fn all_is_where_the_instance_has_it_however_many_functions_are_declared() {
        let ingested = Ingest::whole(module(), &mut |_| {}).map_err(|refused| refused.error);
        let skeleton = ingested.expect("is valid").skeleton;
        let shell = skeleton.shell(&[], &[]);
        let whole = ModuleEnvironment::new()
            .translate(&shell)
            .expect("translates");
        let expected = places(&whole.module, 0);
        for declared in [0, 1, 17, FUNCTIONS as u32] {
            let types = skeleton.no_types(declared);
            let undeclared = skeleton.undeclared(&types);
            assert_eq!(undeclared.functions, FUNCTIONS as u32 - declared);
            let donor = skeleton.donor(false, types, std::iter::empty());
            let donor = ModuleEnvironment::new()
                .translate(&donor)
                .expect("translates");
            assert_eq!(donor.module.num_imported_functions, declared as usize);
            let complete = complete(&donor.module, &undeclared);
            let tables = (TABLES_PER_FUNCTION * undeclared.functions) as usize;
            assert_eq!(places(&complete, tables), expected, "{declared} declared");
        }
    }
}
