//! Functions that write down what reaches them.
//!
//! A function of the proof stores every parameter it gets and every result of the function it
//! calls, bit for bit, into globals, where the test reads them. What it passes on and returns are
//! its own parameters, the called function's results, and globals that the test has filled.

use std::collections::HashMap;

use wasm_encoder::{InstructionSink, ValType};

use super::signature::{PLAIN, Random, Signature, significant};

/// Index of the table of own functions that may grow.
pub const GROWABLE: u32 = 0;
/// Index of the table of own functions that may not.
pub const FIXED: u32 = 1;
/// Index of a table that is written before it is called through.
pub const SCRATCH: u32 = 2;

/// What a global is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// The parameter that arrived.
    Received,
    /// An argument for the called function.
    Passed,
    /// The called function's result that came back.
    CameBack,
    /// A result.
    Returned,
    /// A value that the function holds during the call.
    Held,
    /// The same, after the call.
    Kept,
}

/// Names a global; a chain's functions have different roles, so that they share none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub role: u8,
    pub used: Use,
    pub index: usize,
    pub ty: ValType,
}

impl Key {
    /// An i32 is kept in an i64: it is cut out of one whose upper half is not zero, and put back
    /// by an operator that relies on the upper half of its register.
    pub fn global_type(&self) -> ValType {
        match self.ty {
            ValType::I32 => ValType::I64,
            ty => ty,
        }
    }

    /// The value in a global whose content is `bits`.
    pub fn value(&self, bits: u128) -> u128 {
        match self.used {
            Use::Passed | Use::Returned => significant(self.ty, bits),
            _ => significant(self.global_type(), bits),
        }
    }
}

/// Where a value that is passed on comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// An argument: the function's own parameter; a result: the called function's result.
    Value(usize),
    /// A global.
    Global,
}

/// How another function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// By function index: of the same module or imported.
    Direct,
    /// `call_indirect` with a table's index.
    Table(u32),
    /// `ref.func`, `table.set` into the scratch table, and `call_indirect` through it.
    Reference,
}

/// A call of the next function of the chain.
#[derive(Clone, Debug)]
pub struct Call {
    pub via: Via,
    /// Function index, or element of the table.
    pub target: u32,
    pub signature: Signature,
}

/// A function of a chain.
#[derive(Clone, Debug)]
pub struct Function {
    pub role: u8,
    pub signature: Signature,
    pub call: Option<Call>,
    /// One an argument of the call.
    pub args: Vec<Source>,
    /// One a result.
    pub returns: Vec<Source>,
    /// Values on the operand stack during the call.
    operands: Vec<ValType>,
    /// Values in locals during the call.
    locals: usize,
}

impl Function {
    /// The last function of a chain.
    pub fn leaf(random: &mut Random, role: u8, signature: &Signature) -> Self {
        Self::new(random, role, signature, None)
    }

    /// A function that makes a call. Its own signature is the called one's, or a plain one.
    pub fn caller(random: &mut Random, role: u8, call: Call) -> Self {
        let signature = if random.coin() {
            call.signature.clone()
        } else {
            random.plain()
        };
        Self::new(random, role, &signature, Some(call))
    }

    /// A host function that passes on its parameters and returns what comes back.
    pub fn relay(role: u8, signature: &Signature) -> Self {
        let all = |types: &[ValType]| (0..types.len()).map(Source::Value).collect();
        Self {
            role,
            signature: signature.clone(),
            args: all(&signature.params),
            returns: all(&signature.results),
            call: Some(Call {
                via: Via::Direct,
                target: 0,
                signature: signature.clone(),
            }),
            operands: Vec::new(),
            locals: 0,
        }
    }

    /// A host function at the end of a chain.
    pub fn host_leaf(role: u8, signature: &Signature) -> Self {
        Self {
            role,
            signature: signature.clone(),
            call: None,
            args: Vec::new(),
            returns: vec![Source::Global; signature.results.len()],
            operands: Vec::new(),
            locals: 0,
        }
    }

    fn new(random: &mut Random, role: u8, signature: &Signature, call: Option<Call>) -> Self {
        let called = call.as_ref().map(|call| &call.signature);
        let params = called.map_or(&[][..], |called| &called.params);
        let results = called.map_or(&[][..], |called| &called.results);
        let args = sources(random, params, &signature.params);
        let returns = sources(random, &signature.results, results);
        // Vectors mostly where the compiler is Cranelift anyway, so that Singlepass gets its share.
        let plain = signature.params.iter().all(|ty| PLAIN.contains(ty));
        let vectors = random.below(if plain { 8 } else { 2 }) == 0;
        let types = [ValType::I64, ValType::I64, ValType::F64, ValType::F32];
        let mut operands: Vec<_> = (0..random.below(13)).map(|_| random.pick(&types)).collect();
        if vectors {
            operands.extend([ValType::V128; 3]);
        }
        Self {
            role,
            signature: signature.clone(),
            call,
            args,
            returns,
            operands,
            locals: random.below(7),
        }
    }

    fn key(&self, used: Use, index: usize, ty: ValType) -> Key {
        let role = self.role;
        Key {
            role,
            used,
            index,
            ty,
        }
    }

    fn keys(&self, used: Use, types: &[ValType]) -> Vec<Key> {
        let keys = types.iter().enumerate();
        keys.map(|(index, ty)| self.key(used, index, *ty)).collect()
    }

    /// Where its parameters arrive.
    pub fn received(&self) -> Vec<Key> {
        self.keys(Use::Received, &self.signature.params)
    }

    /// What it may pass on.
    pub fn passed(&self) -> Vec<Key> {
        let call = self.call.as_ref();
        call.map_or_else(Vec::new, |call| {
            self.keys(Use::Passed, &call.signature.params)
        })
    }

    /// Where the called function's results arrive.
    pub fn came_back(&self) -> Vec<Key> {
        let call = self.call.as_ref();
        call.map_or_else(Vec::new, |call| {
            self.keys(Use::CameBack, &call.signature.results)
        })
    }

    /// What it may return.
    pub fn returned(&self) -> Vec<Key> {
        self.keys(Use::Returned, &self.signature.results)
    }

    /// What it holds during the call.
    pub fn held(&self, used: Use) -> Vec<Key> {
        let types = [self.operands.as_slice(), &vec![ValType::I64; self.locals]].concat();
        self.keys(used, &types)
    }

    /// The types of the locals behind the parameters.
    pub fn local_types(&self) -> Vec<ValType> {
        let call = self.call.as_ref();
        let results = call.map_or(&[][..], |call| call.signature.results.as_slice());
        [results, &vec![ValType::I64; self.locals]].concat()
    }

    /// Writes the body; `type_of` gives a signature's type index.
    pub fn encode(
        &self,
        code: &mut InstructionSink<'_>,
        globals: &mut Globals,
        type_of: &mut impl FnMut(&Signature) -> u32,
    ) {
        let first_result = self.signature.params.len() as u32;
        let first_held = first_result + self.came_back().len() as u32;
        let store = |code: &mut InstructionSink<'_>, globals: &mut Globals, key: Key| {
            if key.ty == ValType::I32 {
                code.i64_extend_i32_u();
            }
            code.global_set(globals.index(key));
        };
        let load = |code: &mut InstructionSink<'_>, globals: &mut Globals, key: Key| {
            code.global_get(globals.index(key));
            if key.ty == ValType::I32 {
                code.i32_wrap_i64();
            }
        };
        for (index, key) in self.received().into_iter().enumerate() {
            code.local_get(index as u32);
            store(code, globals, key);
        }
        let held = self.held(Use::Held);
        let (operands, locals) = held.split_at(self.operands.len());
        for (index, key) in locals.iter().enumerate() {
            load(code, globals, *key);
            code.local_set(first_held + index as u32);
        }
        for key in operands {
            load(code, globals, *key);
        }
        if let Some(call) = &self.call {
            if call.via == Via::Reference {
                code.i32_const(0).ref_func(call.target).table_set(SCRATCH);
            }
            for (source, key) in self.args.iter().zip(self.passed()) {
                match source {
                    Source::Value(own) => {
                        code.local_get(*own as u32);
                    }
                    Source::Global => load(code, globals, key),
                }
            }
            match call.via {
                Via::Direct => code.call(call.target),
                Via::Table(table) => {
                    code.i32_const(call.target as i32);
                    code.call_indirect(table, type_of(&call.signature))
                }
                Via::Reference => {
                    code.i32_const(0);
                    code.call_indirect(SCRATCH, type_of(&call.signature))
                }
            };
            let came_back = self.came_back();
            for index in (0..came_back.len()).rev() {
                code.local_set(first_result + index as u32);
            }
            for (index, key) in came_back.into_iter().enumerate() {
                code.local_get(first_result + index as u32);
                store(code, globals, key);
            }
        }
        let kept = self.held(Use::Kept);
        let (operands, locals) = kept.split_at(self.operands.len());
        for key in operands.iter().rev() {
            store(code, globals, *key);
        }
        for (index, key) in locals.iter().enumerate() {
            code.local_get(first_held + index as u32);
            store(code, globals, *key);
        }
        for (source, key) in self.returns.iter().zip(self.returned()) {
            match source {
                Source::Value(result) => {
                    code.local_get(first_result + *result as u32);
                }
                Source::Global => load(code, globals, key),
            }
        }
        code.end();
    }
}

/// Half of the values come from a random one of the same type, the others from globals.
fn sources(random: &mut Random, wanted: &[ValType], offered: &[ValType]) -> Vec<Source> {
    let mut source = |ty: &ValType| {
        let same = offered.iter().enumerate();
        let same: Vec<_> = same.filter(|(_, own)| *own == ty).collect();
        if same.is_empty() || random.coin() {
            return Source::Global;
        }
        Source::Value(random.pick(&same).0)
    };
    wanted.iter().map(&mut source).collect()
}

/// A module's globals, by what they are for.
#[derive(Default)]
pub struct Globals {
    keys: Vec<Key>,
    indices: HashMap<Key, u32>,
}

impl Globals {
    fn index(&mut self, key: Key) -> u32 {
        *self.indices.entry(key).or_insert_with(|| {
            self.keys.push(key);
            self.keys.len() as u32 - 1
        })
    }

    /// In the order of their indices.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}
