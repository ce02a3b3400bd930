//! Modules with exceptions in their older form, which wasm-smith does not make: nests of `try`, `catch`, `catch_all`, `delegate`
//! and `rethrow`, with values on the stack below, around calls of each other and of JavaScript.

use std::borrow::Cow;

use anyhow::Result;
use arbitrary::Unstructured;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, Function, FunctionSection, GlobalSection,
    GlobalType, ImportSection, Instruction, Module, TagKind, TagSection, TagType, TypeSection,
    ValType,
};

use crate::generate::FUEL;

use ValType::{F64, I32, I64};

const EXTERNREF: ValType = ValType::EXTERNREF;

/// Of functions, blocks and tags: parameters and results.
const TYPES: &[(&[ValType], &[ValType])] = &[
    (&[], &[]),
    (&[I32], &[]),
    (&[I64, F64], &[]),
    (&[EXTERNREF], &[]),
    (&[ValType::V128, I32], &[]),
    (&[], &[I32]),
    (&[I32], &[I32]),
    (&[I32, I64], &[I64, I32]),
    (&[F64, I32], &[F64]),
    (&[EXTERNREF, I32], &[EXTERNREF]),
    (&[I64, I64, I32], &[I32, F64, I64]),
];

/// The types that tags have. The first is imported.
const TAGS: &[u32] = &[1, 0, 1, 2, 3];

/// The types that imported functions have.
const IMPORTS: &[u32] = &[1, 6, 7, 9, 0];

/// The global of each type that there is, and the fuel.
const GLOBALS: &[ValType] = &[I32, I64, F64];
const FUEL_GLOBAL: u32 = GLOBALS.len() as u32;

/// Locals behind the parameters.
const LOCALS: &[ValType] = &[I32, I32, I64, F64, EXTERNREF, ValType::V128];

/// How deep expressions and blocks are in each other.
const DEPTH: u32 = 7;

/// A module of the bytes.
pub(crate) fn tries(unstructured: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut types = TypeSection::new();
    for (params, results) in TYPES {
        types
            .ty()
            .function(params.iter().copied(), results.iter().copied());
    }
    let tag = |func_type_idx| TagType {
        kind: TagKind::Exception,
        func_type_idx,
    };
    let mut imports = ImportSection::new();
    imports.import("env", "tag", EntityType::Tag(tag(TAGS[0])));
    // Few, or so many that donors do not declare them all.
    let times = if unstructured.arbitrary()? { 4 } else { 1 };
    let imported = IMPORTS.repeat(times);
    for ty in &imported {
        imports.import("env", "function", EntityType::Function(*ty));
    }
    let count = unstructured.int_in_range(3..=7)?;
    let own = (0..count).map(|_| unstructured.int_in_range(0..=TYPES.len() as u32 - 1));
    let own = own.collect::<arbitrary::Result<Vec<_>>>()?;
    let mut functions = FunctionSection::new();
    for ty in &own {
        functions.function(*ty);
    }
    let mut tags = TagSection::new();
    for ty in &TAGS[1..] {
        tags.tag(tag(*ty));
    }
    let mut globals = GlobalSection::new();
    for ty in GLOBALS {
        let zero = match ty {
            I32 => ConstExpr::i32_const(0),
            I64 => ConstExpr::i64_const(0),
            _ => ConstExpr::f64_const(0.0.into()),
        };
        globals.global(mutable(*ty), &zero);
    }
    globals.global(mutable(I32), &ConstExpr::i32_const(FUEL as i32));
    let all = [imported, own.clone()].concat();
    let mut code = CodeSection::new();
    for ty in &own {
        code.function(&body(unstructured, &all, *ty)?);
    }
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&tags)
        .section(&globals)
        .section(&code);
    Ok(module.finish())
}

fn mutable(val_type: ValType) -> GlobalType {
    GlobalType {
        val_type,
        mutable: true,
        shared: false,
    }
}

fn body(unstructured: &mut Unstructured<'_>, functions: &[u32], ty: u32) -> Result<Function> {
    let (params, results) = TYPES[ty as usize];
    let mut body = Body {
        unstructured,
        functions,
        locals: params.iter().chain(LOCALS).copied().collect(),
        labels: vec![Label {
            types: results,
            handler: false,
        }],
        function: Function::new_with_locals_types(LOCALS.iter().copied()),
        room: 250,
    };
    body.burn();
    body.sequence(results, DEPTH)?;
    body.function.instruction(&Instruction::End);
    Ok(body.function)
}

/// What a branch goes to.
struct Label {
    types: &'static [ValType],
    /// A handler, in which the exception can be thrown again.
    handler: bool,
}

struct Body<'a, 'bytes> {
    unstructured: &'a mut Unstructured<'bytes>,
    /// Their types.
    functions: &'a [u32],
    locals: Vec<ValType>,
    labels: Vec<Label>,
    function: Function,
    /// So many statements and expressions are still to come.
    room: u32,
}

impl Body<'_, '_> {
    fn choose(&mut self, count: usize) -> Result<usize> {
        Ok(self.unstructured.int_in_range(0..=count - 1)?)
    }

    fn emit(&mut self, instruction: &Instruction<'_>) {
        self.function.instruction(instruction);
    }

    /// Ends in a trap when there is no fuel any more.
    fn burn(&mut self) {
        for instruction in [
            Instruction::GlobalGet(FUEL_GLOBAL),
            Instruction::I32Eqz,
            Instruction::If(BlockType::Empty),
            Instruction::Unreachable,
            Instruction::End,
            Instruction::GlobalGet(FUEL_GLOBAL),
            Instruction::I32Const(1),
            Instruction::I32Sub,
            Instruction::GlobalSet(FUEL_GLOBAL),
        ] {
            self.emit(&instruction);
        }
    }

    /// Some statements, then values of the types.
    fn sequence(&mut self, types: &[ValType], depth: u32) -> Result<()> {
        for _ in 0..self.choose(4)? {
            self.statement(depth)?;
        }
        self.values(types, depth)
    }

    fn values(&mut self, types: &[ValType], depth: u32) -> Result<()> {
        for ty in types {
            self.value(*ty, depth)?;
        }
        Ok(())
    }

    /// Whether there is room for something large.
    fn goes_on(&mut self, depth: u32) -> bool {
        self.room = self.room.saturating_sub(1);
        depth > 0 && self.room > 0
    }

    fn value(&mut self, ty: ValType, depth: u32) -> Result<()> {
        let kinds = if self.goes_on(depth) { 8 } else { 2 };
        match self.choose(kinds)? {
            0 => self.constant(ty)?,
            1 => self.local(ty, Instruction::LocalGet)?,
            2 => {
                let global = GLOBALS.iter().position(|global| *global == ty);
                match global {
                    Some(global) => self.emit(&Instruction::GlobalGet(global as u32)),
                    None => self.constant(ty)?,
                }
            }
            3 => {
                // What is on the left lies on the stack, whatever is on the right.
                self.value(ty, depth - 1)?;
                self.value(ty, depth - 1)?;
                match ty {
                    I32 => self.emit(&Instruction::I32Add),
                    I64 => self.emit(&Instruction::I64Xor),
                    _ => {
                        self.value(I32, depth - 1)?;
                        self.emit(&Instruction::TypedSelect(ty));
                    }
                }
            }
            4 => self.call(Some(ty), depth - 1)?,
            _ => {
                let types: Vec<_> = TYPES
                    .iter()
                    .filter(|(_, results)| *results == [ty])
                    .collect();
                if let Some((params, results)) = types.first()
                    && self.choose(3)? == 0
                {
                    let index = TYPES.iter().position(|known| known == types[0]);
                    let index = index.unwrap_or_default() as u32;
                    self.values(params, depth - 1)?;
                    self.block(BlockType::FunctionType(index), params, results, depth - 1)?;
                } else {
                    let results = single(ty);
                    self.block(BlockType::Result(ty), &[], results, depth - 1)?;
                }
            }
        }
        Ok(())
    }

    /// Some oftener than others, so that what is thrown is caught.
    fn tag(&mut self) -> Result<usize> {
        Ok(self.choose(TAGS.len())?.min(self.choose(TAGS.len())?))
    }

    fn constant(&mut self, ty: ValType) -> Result<()> {
        let number = self.choose(7)? as i32 - 2;
        self.emit(&match ty {
            I32 => Instruction::I32Const(number),
            I64 => Instruction::I64Const(i64::from(number) << 33),
            F64 => Instruction::F64Const((f64::from(number) / 4.0).into()),
            ValType::V128 => Instruction::V128Const(i128::from(number)),
            _ => Instruction::RefNull(wasm_encoder::HeapType::EXTERN),
        });
        Ok(())
    }

    fn local(
        &mut self,
        ty: ValType,
        instruction: impl Fn(u32) -> Instruction<'static>,
    ) -> Result<()> {
        let fitting: Vec<_> = (0..)
            .zip(&self.locals)
            .filter(|(_, local)| **local == ty)
            .collect();
        let fitting: Vec<u32> = fitting.into_iter().map(|(index, _)| index).collect();
        let chosen = fitting[self.choose(fitting.len())?];
        self.emit(&instruction(chosen));
        Ok(())
    }

    /// A call of a function with such a first result, or with none; of the results, that one is left.
    fn call(&mut self, wanted: Option<ValType>, depth: u32) -> Result<()> {
        let first = |ty: u32| TYPES[ty as usize].1.first().copied();
        let all = self.functions;
        let fitting = (0..).zip(all).filter(|(_, ty)| first(**ty) == wanted);
        let fitting: Vec<_> = fitting.collect();
        if fitting.is_empty() {
            return wanted.map_or(Ok(()), |ty| self.constant(ty));
        }
        let (index, ty) = fitting[self.choose(fitting.len())?];
        let (params, results) = TYPES[*ty as usize];
        self.values(params, depth)?;
        self.emit(&Instruction::Call(index));
        for _ in 1..results.len() {
            self.emit(&Instruction::Drop);
        }
        Ok(())
    }

    fn statement(&mut self, depth: u32) -> Result<()> {
        if !self.goes_on(depth) {
            return Ok(());
        }
        let depth = depth - 1;
        match self.choose(17)? {
            0 => {
                let ty = self.locals[self.unstructured.choose_index(self.locals.len())?];
                self.value(ty, depth)?;
                self.local(ty, Instruction::LocalSet)?;
            }
            1 => {
                let global = self.choose(GLOBALS.len())?;
                self.value(GLOBALS[global], depth)?;
                self.emit(&Instruction::GlobalSet(global as u32));
            }
            2 => self.call(None, depth)?,
            3 => {
                self.value(I32, depth)?;
                self.emit(&Instruction::Drop);
            }
            14 => self.relay(depth)?,
            15 => self.skip(depth)?,
            4 | 5 => {
                let tag = self.tag()?;
                let (params, _) = TYPES[TAGS[tag] as usize];
                if self.choose(4)? == 0 {
                    // What follows is never reached.
                    self.values(params, depth)?;
                    self.emit(&Instruction::Throw(tag as u32));
                } else {
                    self.under_condition(depth, |body| {
                        body.values(params, depth)?;
                        body.emit(&Instruction::Throw(tag as u32));
                        Ok(())
                    })?;
                }
            }
            6 | 7 => {
                let handlers = (0..).zip(self.labels.iter().rev());
                let handlers = handlers.filter(|(_, label)| label.handler);
                let handlers: Vec<u32> = handlers.map(|(depth, _)| depth).collect();
                if handlers.is_empty() {
                    return Ok(());
                }
                let chosen = handlers[self.choose(handlers.len())?];
                if self.choose(4)? == 0 {
                    self.emit(&Instruction::Rethrow(chosen));
                } else {
                    self.under_condition(depth, |body| {
                        body.emit(&Instruction::Rethrow(chosen + 1));
                        Ok(())
                    })?;
                }
            }
            8 => {
                let label = self.choose(self.labels.len())?;
                let types = self.labels[self.labels.len() - 1 - label].types;
                self.values(types, depth)?;
                self.value(I32, depth)?;
                self.emit(&Instruction::BrIf(label as u32));
                for _ in types {
                    self.emit(&Instruction::Drop);
                }
            }
            9 => {
                let label = self.choose(self.labels.len())?;
                let types = self.labels[self.labels.len() - 1 - label].types;
                // Seen from within one more block.
                let fitting = (1..).zip(self.labels.iter().rev());
                let fitting = fitting.filter(|(_, label)| label.types == types);
                let fitting: Vec<u32> = fitting.map(|(depth, _)| depth).collect();
                self.under_condition(depth, |body| {
                    body.values(types, depth)?;
                    body.value(I32, depth)?;
                    let targets = Cow::Borrowed(&fitting[..]);
                    body.emit(&Instruction::BrTable(targets, label as u32 + 1));
                    Ok(())
                })?;
            }
            _ => {
                let index = self.choose(TYPES.len())?;
                let (params, results) = TYPES[index];
                self.values(params, depth)?;
                let ty = BlockType::FunctionType(index as u32);
                self.block(ty, params, results, depth)?;
                for _ in results {
                    self.emit(&Instruction::Drop);
                }
            }
        }
        Ok(())
    }

    /// In a handler: another exception comes and goes, then its own is thrown again.
    fn relay(&mut self, depth: u32) -> Result<()> {
        let handlers = (0..).zip(self.labels.iter().rev());
        let mut handlers = handlers.filter(|(_, label)| label.handler);
        let Some((outer, _)) = handlers.next() else {
            return Ok(());
        };
        let tag = self.tag()?;
        let (params, _) = TYPES[TAGS[tag] as usize];
        self.emit(&Instruction::Try(BlockType::Empty));
        self.labels.push(Label {
            types: &[],
            handler: false,
        });
        self.values(params, depth)?;
        self.emit(&Instruction::Throw(tag as u32));
        self.emit(&Instruction::CatchAll);
        self.labels.pop();
        self.labels.push(Label {
            types: &[],
            handler: true,
        });
        self.under_condition(0, |body| {
            body.emit(&Instruction::Rethrow(1));
            Ok(())
        })?;
        self.labels.pop();
        self.emit(&Instruction::End);
        self.under_condition(0, |body| {
            body.emit(&Instruction::Rethrow(outer + 1));
            Ok(())
        })
    }

    /// An exception that passes one handler, to be seen by the next: which clause of it that was, a global says.
    fn skip(&mut self, depth: u32) -> Result<()> {
        let label = |handler| Label {
            types: &[],
            handler,
        };
        for _ in 0..3 {
            self.emit(&Instruction::Try(BlockType::Empty));
            self.labels.push(label(false));
        }
        let tag = self.tag()?;
        let (params, _) = TYPES[TAGS[tag] as usize];
        self.under_condition(depth, |body| {
            body.values(params, depth)?;
            body.emit(&Instruction::Throw(tag as u32));
            Ok(())
        })?;
        self.labels.pop();
        self.emit(&Instruction::Delegate(1));
        self.emit(&Instruction::CatchAll);
        self.emit(&Instruction::End);
        self.labels.pop();
        self.labels.pop();
        self.labels.push(label(true));
        for _ in 0..self.choose(3)? {
            let tag = self.choose(TAGS.len())?;
            self.emit(&Instruction::Catch(tag as u32));
            self.take(TYPES[TAGS[tag] as usize].0)?;
            self.emit(&Instruction::I32Const(tag as i32));
            self.emit(&Instruction::GlobalSet(0));
        }
        if self.choose(2)? == 0 {
            self.emit(&Instruction::CatchAll);
            self.emit(&Instruction::I32Const(TAGS.len() as i32));
            self.emit(&Instruction::GlobalSet(0));
        }
        self.labels.pop();
        self.emit(&Instruction::End);
        Ok(())
    }

    /// In a block of its own.
    fn under_condition(
        &mut self,
        depth: u32,
        inside: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        self.value(I32, depth)?;
        self.emit(&Instruction::If(BlockType::Empty));
        self.labels.push(Label {
            types: &[],
            handler: false,
        });
        inside(self)?;
        self.labels.pop();
        self.emit(&Instruction::End);
        Ok(())
    }

    /// A block of any kind; its parameters are on the stack.
    fn block(
        &mut self,
        ty: BlockType,
        params: &[ValType],
        results: &'static [ValType],
        depth: u32,
    ) -> Result<()> {
        let kind = self.choose(8)?;
        let label = |types, handler| Label { types, handler };
        match kind {
            0 => {
                self.emit(&Instruction::Block(ty));
                self.labels.push(label(results, false));
            }
            1 if params.is_empty() => {
                self.emit(&Instruction::Loop(ty));
                self.labels.push(label(&[], false));
                self.burn();
            }
            2 => {
                self.value(I32, depth)?;
                self.emit(&Instruction::If(ty));
                self.labels.push(label(results, false));
                self.take(params)?;
                self.sequence(results, depth)?;
                self.emit(&Instruction::Else);
            }
            _ => {
                self.emit(&Instruction::Try(ty));
                self.labels.push(label(results, false));
            }
        }
        self.take(params)?;
        self.sequence(results, depth)?;
        if kind > 2 {
            if self.choose(4)? == 0 {
                self.labels.pop();
                let target = self.choose(self.labels.len())?;
                self.emit(&Instruction::Delegate(target as u32));
                return Ok(());
            }
            self.catches(results, depth)?;
        }
        self.labels.pop();
        self.emit(&Instruction::End);
        Ok(())
    }

    fn catches(&mut self, results: &'static [ValType], depth: u32) -> Result<()> {
        if let Some(label) = self.labels.last_mut() {
            label.handler = true;
        }
        for _ in 0..self.choose(4)? {
            let tag = self.tag()?;
            self.emit(&Instruction::Catch(tag as u32));
            let (params, _) = TYPES[TAGS[tag] as usize];
            self.take(params)?;
            self.sequence(results, depth)?;
        }
        if self.choose(2)? == 0 {
            self.emit(&Instruction::CatchAll);
            self.sequence(results, depth)?;
        }
        Ok(())
    }

    /// What is on the stack goes to locals.
    fn take(&mut self, types: &[ValType]) -> Result<()> {
        for ty in types.iter().rev() {
            self.local(*ty, Instruction::LocalSet)?;
        }
        Ok(())
    }
}

fn single(ty: ValType) -> &'static [ValType] {
    match ty {
        I32 => &[I32],
        I64 => &[I64],
        F64 => &[F64],
        ValType::V128 => &[ValType::V128],
        _ => &[EXTERNREF],
    }
}
