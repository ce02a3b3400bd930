//! A compiler that knows more of a declaration than the donor says.
//!
//! How many globals a module has decides where a `VMContext` has all that lies behind them, and a function may name any of them. But
//! wasmer translates what a donor declares twice, serializes it and hashes it: 24,000 globals (duckdb) took 10 ms in each of
//! 2,200 donors. So donors declare none of their own globals, and the compiler gets to know them.

use std::sync::Arc;

use wasmer_compiler::types::function::Compilation;
use wasmer_compiler::types::module::CompileModuleInfo;
use wasmer_compiler::{
    Compiler, CompilerConfig, FunctionBodyData, ModuleMiddleware, ModuleTranslationState,
};
use wasmer_types::entity::PrimaryMap;
use wasmer_types::target::Target;
use wasmer_types::{CompilationProgressCallback, CompileError, LocalFunctionIndex, ModuleInfo};

use crate::module::Globals;

/// What [`Declared`] is made of.
pub(super) struct Config {
    pub(super) compiler: Box<dyn CompilerConfig>,
    pub(super) globals: Globals,
}

impl CompilerConfig for Config {
    fn compiler(self: Box<Self>) -> Box<dyn Compiler> {
        Box::new(Declared {
            compiler: self.compiler.compiler(),
            globals: self.globals,
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
    globals: Globals,
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
        let module = ModuleInfo {
            globals: PrimaryMap::clone(&self.globals),
            ..ModuleInfo::clone(&donor.module)
        };
        let donor = CompileModuleInfo {
            features: donor.features.clone(),
            module: Arc::new(module),
            memory_styles: donor.memory_styles.clone(),
            table_styles: donor.table_styles.clone(),
            function_max_stack_usage: PrimaryMap::new(),
        };
        self.compiler
            .compile_module(target, &donor, blob, translation, bodies, progress)
    }
}
