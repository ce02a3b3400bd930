//! A module of the proof: its functions, the tables that hold them, and the globals they write.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use wasm_compile_cache_engine::runtime::{ExportValue, Group, Import};
use wasm_compile_cache_engine::tier::Module;
use wasm_encoder::{
    CodeSection, ConstExpr, ElementSection, Elements, EntityType, ExportKind, ExportSection,
    FunctionSection, GlobalSection, GlobalType, HeapType, ImportSection, Module as Encoder,
    RefType, TableSection, TableType, TypeSection, ValType,
};

use super::function::{Function, Globals, Key};
use super::signature::Signature;

/// What a module consists of.
#[derive(Default)]
pub struct Unit {
    pub imported_functions: Vec<Signature>,
    /// Imported tables come before the module's own.
    pub imported_tables: u32,
    pub functions: Vec<Function>,
}

/// A module's bytes, and its globals in order.
pub struct Encoded {
    pub bytes: Vec<u8>,
    /// Length of all function bodies.
    pub code: usize,
    keys: Vec<Key>,
}

/// Addresses and ids of an instance's exports.
pub struct Instance {
    /// Anyfuncs of its functions.
    pub functions: Vec<usize>,
    /// The growable and the fixed table.
    pub tables: [usize; 2],
    /// Definitions of its globals.
    pub globals: Vec<(Key, usize)>,
}

#[derive(Default)]
struct Types {
    section: TypeSection,
    indices: HashMap<Signature, u32>,
}

impl Types {
    fn index(&mut self, signature: &Signature) -> u32 {
        let next = self.indices.len() as u32;
        *self.indices.entry(signature.clone()).or_insert_with(|| {
            let params = signature.params.iter().copied();
            let results = signature.results.iter().copied();
            self.section.ty().function(params, results);
            next
        })
    }
}

fn table(minimum: usize, fixed: bool) -> TableType {
    TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        shared: false,
        minimum: minimum as u64,
        maximum: fixed.then_some(minimum as u64),
    }
}

fn zero(ty: ValType) -> ConstExpr {
    match ty {
        ValType::I32 => ConstExpr::i32_const(0),
        ValType::I64 => ConstExpr::i64_const(0),
        ValType::F32 => ConstExpr::f32_const(0.0.into()),
        ValType::F64 => ConstExpr::f64_const(0.0.into()),
        ValType::V128 => ConstExpr::v128_const(0),
        ValType::EXTERNREF => ConstExpr::ref_null(HeapType::EXTERN),
        _ => ConstExpr::ref_null(HeapType::FUNC),
    }
}

impl Unit {
    /// Adds a function; its position, which is its element in the module's own tables.
    pub fn add(&mut self, function: Function) -> usize {
        self.functions.push(function);
        self.functions.len() - 1
    }

    /// The module: it exports its functions, its growable and its fixed table, and its globals.
    pub fn encode(&self) -> Encoded {
        let mut types = Types::default();
        let mut globals = Globals::default();
        let mut functions = FunctionSection::new();
        let mut code = CodeSection::new();
        for function in &self.functions {
            functions.function(types.index(&function.signature));
            let mut body = wasm_encoder::Function::new_with_locals_types(function.local_types());
            let mut type_of = |signature: &Signature| types.index(signature);
            function.encode(&mut body.instructions(), &mut globals, &mut type_of);
            code.function(&body);
        }

        let mut imports = ImportSection::new();
        for (index, signature) in self.imported_functions.iter().enumerate() {
            let ty = EntityType::Function(types.index(signature));
            imports.import("functions", &index.to_string(), ty);
        }
        for index in 0..self.imported_tables {
            imports.import("tables", &index.to_string(), table(0, false));
        }
        let first = self.imported_functions.len() as u32;
        let own: Vec<u32> = (first..first + self.functions.len() as u32).collect();
        let mut tables = TableSection::new();
        tables.table(table(own.len(), false));
        tables.table(table(own.len(), true));
        tables.table(table(1, false));
        let mut elements = ElementSection::new();
        for index in [self.imported_tables, self.imported_tables + 1] {
            let own = Elements::Functions(Cow::Borrowed(&own));
            elements.active(Some(index), &ConstExpr::i32_const(0), own);
        }

        let mut section = GlobalSection::new();
        let mut exports = ExportSection::new();
        for index in &own {
            exports.export(&format!("f{index}"), ExportKind::Func, *index);
        }
        exports.export("growable", ExportKind::Table, self.imported_tables);
        exports.export("fixed", ExportKind::Table, self.imported_tables + 1);
        for (index, key) in globals.keys().iter().enumerate() {
            let val_type = key.global_type();
            let ty = GlobalType {
                val_type,
                mutable: true,
                shared: false,
            };
            section.global(ty, &zero(val_type));
            exports.export(&format!("g{index}"), ExportKind::Global, index as u32);
        }

        let mut module = Encoder::new();
        module.section(&types.section);
        module.section(&imports).section(&functions);
        module.section(&tables).section(&section);
        module.section(&exports).section(&elements).section(&code);
        Encoded {
            bytes: module.finish(),
            code: code.byte_len(),
            keys: globals.keys().to_vec(),
        }
    }
}

impl Encoded {
    /// Instantiates the module, compiled from these bytes.
    pub fn instantiate(
        &self,
        group: &mut Group,
        module: &Arc<Module>,
        imports: Vec<Import>,
    ) -> Instance {
        let made = group
            .instantiate(module, imports, Vec::new(), |_| {})
            .expect("instantiates");
        let mut instance = Instance {
            functions: Vec::new(),
            tables: [0; 2],
            globals: Vec::new(),
        };
        let mut tables = instance.tables.iter_mut();
        let mut keys = self.keys.iter();
        for export in made.exports {
            match export {
                ExportValue::Function(anyfunc) => instance.functions.push(anyfunc),
                ExportValue::Table(id) => *tables.next().expect("two tables") = id,
                ExportValue::Global(address) => {
                    let key = *keys.next().expect("a key for every global");
                    instance.globals.push((key, address));
                }
                other => panic!("unexpected export: {other:?}"),
            }
        }
        instance
    }
}
