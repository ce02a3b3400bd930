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
}

impl Types {
    /// The donor's index of the type without parameters and results.
    pub(super) const EMPTY: u32 = 0;

    /// None of so many, behind [`Self::EMPTY`]; those that are named from now on.
    pub(super) fn named(types: usize, imports: usize) -> Self {
        Self::new(vec![None; types], Self::EMPTY + 1, imports)
    }

    /// All of the module's, under its own names.
    pub(super) fn whole(types: u32, imports: usize) -> Self {
        Self::new((0..types).map(Some).collect(), types, imports)
    }

    fn new(names: Vec<Option<u32>>, first: u32, imports: usize) -> Self {
        Self {
            names,
            first,
            used: Vec::new(),
            others: HashMap::new(),
            imports: vec![false; imports],
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
    }
}

fn declare(first: u32, used: &mut Vec<Declared>, ty: Declared) -> u32 {
    used.push(ty);
    first + used.len() as u32 - 1
}
