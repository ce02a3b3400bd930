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
    locals: Vec<Local>,
}

struct Local {
    ty: Type,
    /// It is somebody's all along.
    is_kept: bool,
}

impl Temporaries {
    /// Behind so many parameters.
    pub(super) fn new(parameters: u32) -> Self {
        Self {
            first: parameters,
            groups: 0,
            locals: Vec::new(),
        }
    }

    /// A group of so many locals that the function declares.
    pub(super) fn behind(&mut self, count: u32) {
        self.first += count;
        self.groups += 1;
    }

    /// Locals of these types, no two the same, which whoever asks next gets, too.
    pub(super) fn take(&mut self, wanted: &[Type]) -> Vec<u32> {
        let mut taken = Vec::with_capacity(wanted.len());
        for ty in wanted {
            let mut known = (0..).zip(&self.locals);
            let free = known
                .find(|(index, local)| local.ty == *ty && !local.is_kept && !taken.contains(index));
            let index = match free {
                Some((index, _)) => index,
                None => self.add(*ty, false),
            };
            taken.push(index);
        }
        taken.iter().map(|index| self.first + index).collect()
    }

    /// A local that nobody else gets.
    pub(super) fn keep(&mut self, ty: Type) -> u32 {
        self.first + self.add(ty, true)
    }

    fn add(&mut self, ty: Type, is_kept: bool) -> u32 {
        self.locals.push(Local { ty, is_kept });
        self.locals.len() as u32 - 1
    }

    /// The declaration of all locals; `declared` is the function's own.
    pub(super) fn declare(&self, declared: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(declared.len());
        (self.groups + self.locals.len() as u32).encode(&mut bytes);
        let count = declared.iter().take_while(|byte| *byte & 0x80 != 0);
        bytes.extend_from_slice(&declared[count.count() + 1..]);
        for local in &self.locals {
            bytes.push(1);
            encoded(local.ty).encode(&mut bytes);
        }
        bytes
    }
}
