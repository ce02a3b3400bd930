//! Locals that lowering adds to a body.

use wasm_encoder::Encode;
use wasmer_types::Type;

use super::signature::encoded;

/// Locals of a lowered body that the function does not have.
pub(super) struct Temporaries {
    /// The index of the first.
    first: u32,
    /// How many groups of locals the function declares.
    groups: u32,
    types: Vec<Type>,
}

impl Temporaries {
    /// Behind so many parameters.
    pub(super) fn new(parameters: u32) -> Self {
        Self {
            first: parameters,
            groups: 0,
            types: Vec::new(),
        }
    }

    /// A group of so many locals that the function declares.
    pub(super) fn behind(&mut self, count: u32) {
        self.first += count;
        self.groups += 1;
    }

    /// Locals of these types, no two the same.
    pub(super) fn take(&mut self, wanted: &[Type]) -> Vec<u32> {
        let mut taken = Vec::with_capacity(wanted.len());
        for ty in wanted {
            let mut known = (0..).zip(&self.types);
            let free = known.find(|(index, known)| *known == ty && !taken.contains(index));
            let index = free.map_or(self.types.len() as u32, |(index, _)| index);
            if index as usize == self.types.len() {
                self.types.push(*ty);
            }
            taken.push(index);
        }
        taken.iter().map(|index| self.first + index).collect()
    }

    /// The declaration of all locals; `declared` is the function's own.
    pub(super) fn declare(&self, declared: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(declared.len());
        (self.groups + self.types.len() as u32).encode(&mut bytes);
        let count = declared.iter().take_while(|byte| *byte & 0x80 != 0);
        bytes.extend_from_slice(&declared[count.count() + 1..]);
        for ty in &self.types {
            bytes.push(1);
            encoded(*ty).encode(&mut bytes);
        }
        bytes
    }
}
