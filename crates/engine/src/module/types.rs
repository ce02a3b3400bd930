//! What a donor declares of the module's types and imports: those that its bodies name.

use std::collections::HashMap;

/// A type that a donor declares.
#[derive(Clone, Copy)]
pub(super) enum Declared {
    /// The module's.
    Module(u32),
    /// That of the adapters to a type of the module's ([`Skeleton::adapter`](super::Skeleton::adapter)).
    Adapter(u32),
}

/// The types and the imported functions that the bodies of a donor name. A declaration may have hundreds, and compilers make
/// trampolines for each that a donor declares.
pub struct Types {
    /// By the module's index, the donor's.
    names: Vec<Option<u32>>,
    /// What the donor declares behind [`Self::EMPTY`].
    used: Vec<Declared>,
    /// By the module's index of their type, adapters' types.
    adapters: HashMap<u32, u32>,
    /// The imported functions that are called.
    imports: Vec<bool>,
}

impl Types {
    /// The donor's index of the type without parameters and results.
    pub(super) const EMPTY: u32 = 0;

    /// None of so many; those that are named from now on.
    pub fn named(types: usize, imports: usize) -> Self {
        Self {
            names: vec![None; types],
            used: Vec::new(),
            adapters: HashMap::new(),
            imports: vec![false; imports],
        }
    }

    /// The donor's index of a (validated) type of the module.
    pub fn name(&mut self, ty: u32) -> u32 {
        let name = &mut self.names[ty as usize];
        *name.get_or_insert_with(|| {
            self.used.push(Declared::Module(ty));
            self.used.len() as u32
        })
    }

    /// The donor's index of the type of the adapters to a type of the module.
    pub fn name_adapter(&mut self, ty: u32) -> u32 {
        let used = &mut self.used;
        *self.adapters.entry(ty).or_insert_with(|| {
            used.push(Declared::Adapter(ty));
            used.len() as u32
        })
    }

    /// What is declared behind [`Self::EMPTY`].
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
