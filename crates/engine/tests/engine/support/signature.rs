//! The generated signatures, and the values that are passed through them.

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};

use wasm_encoder::ValType;

/// Every value type that a signature of ours may have (exnref is not one: it never leaves wasm).
pub const TYPES: [ValType; 7] = [
    ValType::I32,
    ValType::I64,
    ValType::F32,
    ValType::F64,
    ValType::V128,
    ValType::EXTERNREF,
    ValType::FUNCREF,
];

/// Those that both compilers pass alike.
pub const PLAIN: [ValType; 4] = [
    ValType::I32,
    ValType::I64,
    ValType::EXTERNREF,
    ValType::FUNCREF,
];

/// Those that Singlepass knows.
const SCALAR: [ValType; 6] = [
    ValType::I32,
    ValType::I64,
    ValType::F32,
    ValType::F64,
    ValType::EXTERNREF,
    ValType::FUNCREF,
];

const MAX_PARAMS: usize = 12;
const MAX_RESULTS: usize = 4;

/// How many random signatures come behind the exhaustive ones.
const RANDOM: usize = 600;

/// A function type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    pub params: Vec<ValType>,
    pub results: Vec<ValType>,
}

impl Display for Signature {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let name = |ty: &ValType| match *ty {
            ValType::EXTERNREF => "externref".to_owned(),
            ValType::FUNCREF => "funcref".to_owned(),
            number => format!("{number:?}").to_lowercase(),
        };
        let list = |types: &[ValType]| types.iter().map(name).collect::<Vec<_>>().join(" ");
        let (params, results) = (list(&self.params), list(&self.results));
        write!(formatter, "[{params}] -> [{results}]")
    }
}

/// SplitMix64: the same sequence for the same seed, for ever.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A value for any type: floats are NaNs now and then, references are opaque words. Nothing
    /// follows a reference that is only passed on.
    pub fn bits(&mut self) -> u128 {
        match self.word() % 16 {
            0 => u128::MAX,
            1 => u128::from(self.word()) << 64,
            _ => (u128::from(self.word()) << 64) | u128::from(self.word()),
        }
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.word() % end as u64) as usize
    }

    pub fn coin(&mut self) -> bool {
        self.word() & (1 << 40) != 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn list(&mut self, types: &[ValType], longest: usize) -> Vec<ValType> {
        let length = self.below(longest + 1);
        (0..length).map(|_| self.pick(types)).collect()
    }

    /// A signature that Singlepass may compile.
    pub fn plain(&mut self) -> Signature {
        self.signature(&PLAIN, MAX_PARAMS, 2)
    }

    fn signature(&mut self, types: &[ValType], params: usize, results: usize) -> Signature {
        Signature {
            params: self.list(types, params),
            results: self.list(types, results),
        }
    }
}

/// The bits of a value that mean something.
pub fn significant(ty: ValType, bits: u128) -> u128 {
    match ty {
        ValType::I32 | ValType::F32 => bits & u128::from(u32::MAX),
        ValType::V128 => bits,
        _ => bits & u128::from(u64::MAX),
    }
}

/// All signatures of the proof, in a fixed shuffled order:
///
/// - every list of up to two parameters with every list of up to one result,
/// - every list of up to one parameter with every list of two results,
/// - for every type, 0 to 12 parameters of it with 0 to 4 results of it,
/// - [`RANDOM`] mixes of up to 12 parameters and 4 results: a third each of plain ones, of
///   scalars, and of everything.
pub fn signatures(random: &mut Random) -> Vec<Signature> {
    let lists = |longest: usize| {
        let mut lists: Vec<Vec<ValType>> = vec![Vec::new()];
        let mut from = 0;
        for _ in 0..longest {
            let until = lists.len();
            for at in from..until {
                for ty in TYPES {
                    lists.push([lists[at].as_slice(), &[ty]].concat());
                }
            }
            from = until;
        }
        lists
    };
    let mut all = Vec::new();
    for params in lists(2) {
        for results in lists(2) {
            if params.len() <= 1 || results.len() <= 1 {
                let params = params.clone();
                all.push(Signature { params, results });
            }
        }
    }
    for ty in TYPES {
        for params in 0..=MAX_PARAMS {
            for results in 0..=MAX_RESULTS {
                all.push(Signature {
                    params: vec![ty; params],
                    results: vec![ty; results],
                });
            }
        }
    }
    for number in 0..RANDOM {
        all.push(match number % 3 {
            0 => random.plain(),
            1 => random.signature(&SCALAR, MAX_PARAMS, MAX_RESULTS),
            _ => random.signature(&TYPES, MAX_PARAMS, MAX_RESULTS),
        });
    }
    let mut known = HashSet::new();
    all.retain(|signature| known.insert(signature.clone()));
    for at in (1..all.len()).rev() {
        all.swap(at, random.below(at + 1));
    }
    all
}
