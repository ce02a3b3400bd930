//! What a lowered module declares of types and imports: a donor those that its bodies name, the optimizing tier's module all that
//! there are, and behind them what its blocks need.

use std::collections::HashMap;

use wasmer_types::FunctionType;

/// A type that a lowered module declares.
#[derive(Clone)]
pub(super) enum Declared {
    /// The module's.
    Module(u32),
    /// A block's or an adapter's, that the module may not have.
    Other(FunctionType),
}

/// The types and the imported functions that lowered bodies name. A declaration may have hundreds, and compilers make
/// trampolines for each that a donor declares.
///
/// Donors declare the first of the imported functions only, or none. A `VMContext` begins with all of them, and behind them has
/// the imported tables, which are half as large: so the compiler is told of two tables in the place of each function that is not
/// declared ([`super::Undeclared`]), and bodies name tables by what these make of their numbers ([`Types::table`]).
pub struct Types {
    /// By the module's index, the lowered module's.
    names: Vec<Option<u32>>,
    /// The index of the first of `used`.
    first: u32,
    /// What is declared because it is named.
    used: Vec<Declared>,
    others: HashMap<FunctionType, u32>,
    /// The imported functions that are called.
    imports: Vec<bool>,
    /// How many of them are declared.
    declared: u32,
    /// How many have to be, as the bodies are.
    wanted: u32,
}

/// So many imported tables take the place of an imported function in a `VMContext`.
pub const TABLES_PER_FUNCTION: u32 = 2;

impl Types {
    /// The donor's index of the type without parameters and results.
    pub(super) const EMPTY: u32 = 0;

    /// None of so many, behind [`Self::EMPTY`]; those that are named from now on. The first `declared` of so many imported
    /// functions.
    pub(super) fn named(types: usize, imports: usize, declared: u32) -> Self {
        Self::new(vec![None; types], Self::EMPTY + 1, imports, declared)
    }

    /// All of the module's, under its own names.
    pub(super) fn whole(types: u32, imports: usize) -> Self {
        let names = (0..types).map(Some).collect();
        Self::new(names, types, imports, imports as u32)
    }

    fn new(names: Vec<Option<u32>>, first: u32, imports: usize, declared: u32) -> Self {
        Self {
            names,
            first,
            used: Vec::new(),
            others: HashMap::new(),
            imports: vec![false; imports],
            declared,
            wanted: 0,
        }
    }

    /// The lowered module's index of a (validated) type of the module.
    pub fn name(&mut self, ty: u32) -> u32 {
        let (first, used) = (self.first, &mut self.used);
        let name = &mut self.names[ty as usize];
        *name.get_or_insert_with(|| declare(first, used, Declared::Module(ty)))
    }

    /// The lowered module's index of a type that the module may not have.
    pub fn name_other(&mut self, ty: FunctionType) -> u32 {
        let (first, used) = (self.first, &mut self.used);
        let others = self.others.entry(ty.clone());
        *others.or_insert_with(|| declare(first, used, Declared::Other(ty)))
    }

    /// What is declared because it is named.
    pub(super) fn used(&self) -> &[Declared] {
        &self.used
    }

    pub(super) fn calls_import(&self, function: u32) -> bool {
        self.imports[function as usize]
    }

    pub(super) fn call_import(&mut self, function: u32) {
        self.imports[function as usize] = true;
        self.wanted = self.wanted.max(function + 1);
    }

    /// A body has an instruction by which compilers pass on a number of a table or of a function to what runs, where these are
    /// the module's.
    pub(super) fn keep_numbers(&mut self) {
        self.wanted = self.imports.len() as u32;
    }

    /// The lowered module's index of a table: of what compilers read out of the `VMContext` themselves.
    pub(super) fn table(&self, table: u32) -> u32 {
        TABLES_PER_FUNCTION * self.undeclared() + table
    }

    /// How many of the imported functions are declared.
    pub(super) fn declared(&self) -> u32 {
        self.declared
    }

    /// How many of the imported functions are not declared.
    pub(super) fn undeclared(&self) -> u32 {
        self.imports.len() as u32 - self.declared
    }

    /// How many imported functions have to be declared, if these are too few: the bodies have to be lowered again.
    pub fn too_few(&self) -> Option<u32> {
        (self.wanted > self.declared).then_some(self.wanted)
    }
}

fn declare(first: u32, used: &mut Vec<Declared>, ty: Declared) -> u32 {
    used.push(ty);
    first + used.len() as u32 - 1
}
