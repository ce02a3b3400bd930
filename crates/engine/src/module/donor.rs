//! What a donor declares, and what it does not.

use std::sync::Arc;

use wasm_encoder::{CodeSection, Encode, FunctionSection, Module as Encoder, TypeSection};

use super::import::Import;
use super::skeleton::{Globals, Skeleton, payload};
use super::types::Types;

/// What a donor does not declare, and its compiler has to know.
#[derive(Debug)]
pub struct Undeclared {
    /// All that the module has.
    pub globals: Globals,
    /// How many of the imported functions, the last ones: see [`Types`].
    pub functions: u32,
}

/// Where fewer functions are imported, donors declare them all: their trampolines are made in no time.
const MANY_IMPORTS: u32 = 16;

impl Skeleton {
    /// Whether donors need not declare imported functions that they do not call.
    ///
    /// A compiler is then told of imported tables in their place ([`Types`]). wasmer counts imported tables in a `VMContext` once
    /// more, where it has those that are defined; a fixed funcref table takes room behind these, as much for an entry as a function
    /// takes as an import. So the last table is a fixed one with as many entries as functions are declared, and all that follows is
    /// where it was. Nothing is ever in it.
    pub(super) fn is_padded(&self) -> bool {
        self.imported_functions >= MANY_IMPORTS
    }

    /// What a donor without bodies declares: so many imported functions at least, and no types.
    pub fn no_types(&self, imported_functions: u32) -> Types {
        let all = self.imported_functions;
        let declared = if self.is_padded() {
            imported_functions
        } else {
            all
        };
        Types::named(self.types.len(), all as usize, declared)
    }

    /// What a donor that declares `types` does not. Globals, imports first, are as if they could all be changed, which compilers
    /// do not ask.
    pub fn undeclared(&self, types: &Types) -> Undeclared {
        Undeclared {
            globals: Arc::clone(&self.global_types),
            functions: types.undeclared(),
        }
    }

    /// A donor, for Singlepass or for Cranelift, which declares no types but those that its bodies name, and what is imported and not called as of a
    /// type without parameters and results. So does Singlepass' declare tags that have what it does not know, which its bodies
    /// neither throw nor catch: on ARM64 it makes trampolines for every type.
    ///
    /// No donor declares globals of its own, of which there may be thousands, nor imported functions behind those that it calls:
    /// compilers know of them from [`Self::undeclared`].
    ///
    /// `bodies` are the functions' types, as they are named, and lowered bodies.
    pub fn donor<'a>(
        &self,
        is_singlepass: bool,
        mut types: Types,
        bodies: impl Iterator<Item = (u32, &'a [u8])>,
    ) -> Vec<u8> {
        let mut functions = FunctionSection::new();
        let mut code = CodeSection::new();
        for (ty, body) in bodies {
            functions.function(ty);
            code.raw(body);
        }
        let tag = |types: &mut Types, ty| {
            if !is_singlepass || self.is_scalar_type(ty) {
                types.name(ty)
            } else {
                Types::EMPTY
            }
        };
        let mut imports = Vec::new();
        let declared = self.imports.len() - types.undeclared() as usize;
        declared.encode(&mut imports);
        let mut function = 0;
        for import in &self.imports {
            if matches!(import, Import::Function(_)) && function == types.declared() {
                continue;
            }
            // Two empty names.
            imports.extend([0, 0]);
            match import {
                Import::Function(ty) => {
                    let called = types.calls_import(function);
                    let ty = if called {
                        types.name(*ty)
                    } else {
                        Types::EMPTY
                    };
                    imports.push(0);
                    ty.encode(&mut imports);
                    function += 1;
                }
                Import::Tag(ty) => {
                    imports.extend([4, 0]);
                    tag(&mut types, *ty).encode(&mut imports);
                }
                Import::Other(description) => imports.extend_from_slice(description),
            }
        }
        let mut tags = Vec::new();
        let own = &self.tags[self.imported_tags..];
        if !own.is_empty() {
            own.len().encode(&mut tags);
            for ty in own {
                tags.push(0);
                tag(&mut types, *ty).encode(&mut tags);
            }
        }
        let mut section = TypeSection::new();
        section.ty().function([], []);
        self.declare_types(&types, &mut section);
        let mut module = Encoder::new();
        module.section(&section);
        let imports = if declared == 0 { &[][..] } else { &imports };
        let tables = self.table_section(types.declared());
        self.declare_between(&mut module, imports, &payload(&functions), &tables, &tags);
        if !code.is_empty() {
            module.section(&code);
        }
        module.finish()
    }
}
