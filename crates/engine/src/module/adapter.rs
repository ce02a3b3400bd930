//! Adapters: functions that Cranelift compiles for what Singlepass compiled. They do what Singlepass' code cannot: pass floats
//! where Cranelift's has them, and throw and catch exceptions.

use wasmer_compiler::wasmparser::FuncType;

use super::signature::{is_importable, is_plain_func, is_plain_value, is_scalar};

/// An adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// Calls a function of a type with floats through a table. It takes integers for floats, and behind them the place in the table.
    Floats {
        /// The type's index.
        ty: u32,
        /// The table's.
        table: u32,
    },
    /// Likewise, calls an imported function whose type Singlepass' own trampolines cannot pass.
    FloatsImport {
        /// Its index.
        function: u32,
    },
    /// Calls a function of any type through a table, and catches what that throws: behind the result, which is as wide as it can
    /// be, is the exception, or null.
    Catches {
        /// The type's index.
        ty: u32,
        /// The table's.
        table: u32,
    },
    /// Likewise, calls an imported function.
    CatchesImport {
        /// Its index.
        function: u32,
    },
    /// Takes what a tag carries, and makes an exception of it.
    Makes {
        /// The tag's index.
        tag: u32,
    },
    /// Takes an exception: what it carries, as wide as it can be, and whether it has the tag.
    Matches {
        /// The tag's index.
        tag: u32,
    },
    /// Throws an exception.
    Throws,
}

/// Which adapters a module has.
#[derive(Default)]
pub(super) struct Adapters {
    /// Types with floats, ascending.
    floats: Vec<u32>,
    /// Imported functions that Singlepass' code cannot call, ascending.
    float_imports: Vec<u32>,
    /// Types that can be called where exceptions are caught, ascending; none where nothing can throw.
    caught: Vec<u32>,
    tables: u32,
    imports: u32,
    tags: u32,
}

/// There are adapters to so many types, imports and tags at most, and for modules with so many tables: each instance has a
/// record for each adapter. What is beyond that is compiled by Cranelift.
const MANY: usize = 1024;
const MANY_TABLES: usize = 8;
/// Floats on the stack are moved, and what lies above them. Where code is unreachable, a call of so many parameters takes two
/// bytes, and moving them would take kilobytes.
const PARAMETERS: usize = 16;

/// Whether there can be adapters to a type.
fn has_adapters(ty: &FuncType) -> bool {
    let params = ty.params();
    params.iter().chain(ty.results()).all(is_scalar)
        && (params.len() <= PARAMETERS || params.iter().all(is_plain_value))
        && ty.results().len() <= 1
}

impl Adapters {
    /// Of what a module declares: `tables` with the hidden one, and the types of imported functions and of `tags`.
    pub(super) fn new(
        types: &[Option<FuncType>],
        tables: usize,
        imports: &[u32],
        tags: &[u32],
    ) -> Self {
        if tables > MANY_TABLES {
            return Self::default();
        }
        let of = |wanted: fn(&FuncType) -> bool| {
            let types = (0..).zip(types);
            let types = types.filter(|(_, ty)| ty.as_ref().is_some_and(wanted));
            types.map(|(index, _)| index).take(MANY).collect()
        };
        let throws = !tags.is_empty() && tags.len() <= MANY && imports.len() <= MANY;
        let float_imports = (0..).zip(imports).filter(|(_, ty)| {
            let ty = types.get(**ty as usize).and_then(Option::as_ref);
            ty.is_some_and(|ty| has_adapters(ty) && !is_importable(ty))
        });
        Self {
            floats: of(|ty| has_adapters(ty) && !is_plain_func(ty)),
            float_imports: float_imports
                .map(|(function, _)| function)
                .take(MANY)
                .collect(),
            caught: if throws { of(has_adapters) } else { Vec::new() },
            tables: tables as u32,
            imports: if throws { imports.len() as u32 } else { 0 },
            tags: if throws { tags.len() as u32 } else { 0 },
        }
    }

    /// Where the numbers of each kind begin, and end.
    fn starts(&self) -> [u32; 7] {
        let floats = self.floats.len() as u32 * self.tables;
        let float_imports = floats + self.float_imports.len() as u32;
        let caught = float_imports + self.caught.len() as u32 * self.tables;
        let imports = caught + self.imports;
        let makes = imports + self.tags;
        let matches = makes + self.tags;
        [
            floats,
            float_imports,
            caught,
            imports,
            makes,
            matches,
            matches + u32::from(self.tags > 0),
        ]
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> u32 {
        self.starts()[6]
    }

    /// The number of an adapter; `None` if there is no such adapter.
    pub(super) fn number(&self, adapter: Adapter) -> Option<u32> {
        let [floats, float_imports, caught, imports, makes, matches, _] = self.starts();
        let of_type = |types: &[u32], ty, table| {
            let position = types.binary_search(&ty).ok()? as u32;
            (table < self.tables).then_some(position * self.tables + table)
        };
        match adapter {
            Adapter::Floats { ty, table } => of_type(&self.floats, ty, table),
            Adapter::FloatsImport { function } => {
                let position = self.float_imports.binary_search(&function).ok()?;
                Some(floats + position as u32)
            }
            Adapter::Catches { ty, table } => {
                Some(float_imports + of_type(&self.caught, ty, table)?)
            }
            Adapter::CatchesImport { function } => {
                (function < self.imports).then_some(caught + function)
            }
            Adapter::Makes { tag } => (tag < self.tags).then_some(imports + tag),
            Adapter::Matches { tag } => (tag < self.tags).then_some(makes + tag),
            Adapter::Throws => (self.tags > 0).then_some(matches),
        }
    }

    /// The inverse of [`Self::number`].
    pub(super) fn adapter(&self, number: u32) -> Adapter {
        let [floats, float_imports, caught, imports, makes, matches, _] = self.starts();
        let of_type = |types: &[u32], number: u32| {
            let ty = types[(number / self.tables) as usize];
            (ty, number % self.tables)
        };
        match number {
            _ if number < floats => {
                let (ty, table) = of_type(&self.floats, number);
                Adapter::Floats { ty, table }
            }
            _ if number < float_imports => Adapter::FloatsImport {
                function: self.float_imports[(number - floats) as usize],
            },
            _ if number < caught => {
                let (ty, table) = of_type(&self.caught, number - float_imports);
                Adapter::Catches { ty, table }
            }
            _ if number < imports => Adapter::CatchesImport {
                function: number - caught,
            },
            _ if number < makes => Adapter::Makes {
                tag: number - imports,
            },
            _ if number < matches => Adapter::Matches {
                tag: number - makes,
            },
            _ => Adapter::Throws,
        }
    }

    /// Whether a type is called through adapters for its floats.
    pub(super) fn has_floats(&self, ty: u32) -> bool {
        self.floats.binary_search(&ty).is_ok()
    }

    /// Whether a type can be called where exceptions are caught, and be that of a tag.
    pub(super) fn is_caught(&self, ty: u32) -> bool {
        self.caught.binary_search(&ty).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmer_compiler::wasmparser::ValType;

    #[test]
    fn every_adapter_has_a_number_of_its_own() {
        let ty = |params: &[ValType], results: &[ValType]| {
            Some(FuncType::new(params.to_vec(), results.to_vec()))
        };
        let types = [
            ty(&[ValType::I32], &[]),
            ty(&[ValType::F64], &[ValType::I32]),
            ty(&[ValType::V128], &[]),
            ty(&[], &[ValType::I32, ValType::I64]),
            ty(&[], &[ValType::F32]),
        ];
        // The second takes a float, which Singlepass' trampolines can; the third gives one.
        let imports = [0, 1, 4];
        let adapters = Adapters::new(&types, 2, &imports, &[0, 1]);
        let all: Vec<_> = (0..adapters.count())
            .map(|number| adapters.adapter(number))
            .collect();
        for (number, adapter) in (0..).zip(&all) {
            assert_eq!(adapters.number(*adapter), Some(number), "{adapter:?}");
        }
        // Two types with floats and three that can be called, through two tables; an import that gives a float, and all imports; two
        // tags, made and matched.
        assert_eq!(all.len(), 2 * 2 + 1 + 3 * 2 + 3 + 2 + 2 + 1);
        let import = |function| Adapter::FloatsImport { function };
        assert_eq!(adapters.number(import(1)), None);
        assert_eq!(adapters.number(import(2)), Some(4));
        assert_eq!(adapters.number(Adapter::Floats { ty: 0, table: 0 }), None);
        assert_eq!(adapters.number(Adapter::Catches { ty: 2, table: 0 }), None);
        assert_eq!(adapters.number(Adapter::Catches { ty: 3, table: 0 }), None);
        assert_eq!(adapters.number(Adapter::Catches { ty: 0, table: 2 }), None);
        let without = Adapters::new(&types, 2, &imports, &[]);
        assert_eq!(without.count(), 4 + 1);
        assert_eq!(without.number(Adapter::Throws), None);
        assert_eq!(
            Adapters::new(&types, MANY_TABLES + 1, &imports, &[0]).count(),
            0
        );
    }

    #[test]
    fn many_parameters_have_adapters_where_none_is_a_float() {
        let ty = |ty: ValType| FuncType::new(vec![ty; PARAMETERS + 1], []);
        assert!(has_adapters(&ty(ValType::I32)));
        assert!(!has_adapters(&ty(ValType::F32)));
        assert!(!has_adapters(&ty(ValType::V128)));
    }
}
