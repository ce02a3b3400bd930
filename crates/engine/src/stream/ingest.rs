//! One module's way from bytes to a validated declaration and chunks of function bodies.

use std::ops::Range;
use std::sync::Arc;

use wasmer_compiler::wasmparser::{
    self, ElementItems, FuncToValidate, FuncValidatorAllocations, Parser, Payload, RefType,
    TableType, TypeRef, ValidPayload, Validator, ValidatorResources,
};

use crate::error::CompileError;
use crate::limits::MAX_MODULE_BYTES;
use crate::module::{
    ActiveData, BodyTier, ELEMENT_SECTION, Handlers, Ingested, Skeleton, SkeletonBuilder,
    SplitElements, check_body, split_data, split_elements, wasm_features,
};

/// Function bodies are handed on in chunks of at least this many bytes, so that the 0.2 ms floor of
/// one donor's compile does not count, and small enough to keep every core busy.
const MIN_CHUNK_BYTES: usize = 96 << 10;

/// The largest chunk that a large declaration calls for.
const MAX_CHUNK_BYTES: usize = 1 << 20;

/// A chunk's bodies are that many times the weight of the declaration, which every donor carries.
const BODIES_TO_DECLARATION: usize = 4;

const PAGE: u64 = 65_536;

/// Functions that follow each other in the code section.
pub struct Chunk {
    /// Shared by all chunks of the module.
    pub skeleton: Arc<Skeleton>,
    /// The functions in order.
    pub functions: Vec<ChunkFunction>,
    /// Their bodies, one behind the other.
    pub bytes: Vec<u8>,
    /// How many bytes all of the module's code has.
    pub code: usize,
}

/// One function of a [`Chunk`].
pub struct ChunkFunction {
    /// Index among the module's own functions.
    pub local: u32,
    /// Until it is validated, on any thread.
    pub to_validate: Option<FuncToValidate<ValidatorResources>>,
    /// The body in [`Chunk::bytes`].
    pub range: Range<usize>,
    /// Where the body starts in the module.
    pub offset: u64,
}

/// A module that was not accepted, and its bytes: another engine may take them.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: CompileError,
    /// All of them.
    pub bytes: Arc<Vec<u8>>,
}

impl From<CompileError> for Refused {
    fn from(error: CompileError) -> Self {
        Self {
            error,
            bytes: Arc::default(),
        }
    }
}

/// See the module head.
pub struct Ingest {
    parser: Parser,
    validator: Validator,
    hasher: blake3::Hasher,
    builder: SkeletonBuilder,
    skeleton: Option<Arc<Skeleton>>,
    bytes: Vec<u8>,
    parsed: usize,
    ended: bool,
    /// What was decided when the code section began.
    deferred: Option<bool>,
    before: Vec<(u8, Range<usize>)>,
    code: Range<usize>,
    data: Vec<u8>,
    active: ActiveData,
    elements: Option<SplitElements>,
    /// Initial bytes of the memories that the module defines; `None` for imported ones.
    memories: Vec<Option<u64>>,
    custom: Vec<(String, Range<usize>)>,
    start: Option<u32>,
    next_local: u32,
    chunk: Vec<ChunkFunction>,
    chunk_bytes: Vec<u8>,
    /// When a chunk is full.
    full_chunk: usize,
}

impl Default for Ingest {
    fn default() -> Self {
        Self::new()
    }
}

impl Ingest {
    /// Ready for the first byte.
    pub fn new() -> Self {
        let mut parser = Parser::new(0);
        parser.set_features(wasm_features());
        Self {
            parser,
            validator: Validator::new_with_features(wasm_features()),
            hasher: blake3::Hasher::new(),
            builder: SkeletonBuilder::new(),
            skeleton: None,
            bytes: Vec::new(),
            parsed: 0,
            ended: false,
            deferred: None,
            before: Vec::new(),
            code: 0..0,
            data: Vec::new(),
            active: ActiveData::default(),
            elements: None,
            memories: Vec::new(),
            custom: Vec::new(),
            start: None,
            next_local: 0,
            chunk: Vec::new(),
            chunk_bytes: Vec::new(),
            full_chunk: MIN_CHUNK_BYTES,
        }
    }

    /// Takes in more bytes; chunks that became complete go to `sink`. When the code section
    /// begins, `defer` is asked, with a hash of everything before it, whether to put off parsing
    /// until [`Self::finish`]: the module is probably cached.
    ///
    /// # Errors
    /// Whatever made the module invalid so far.
    pub fn push(
        &mut self,
        bytes: &[u8],
        defer: &dyn Fn(&[u8; 32]) -> bool,
        sink: &mut dyn FnMut(Chunk),
    ) -> Result<(), CompileError> {
        if self.bytes.len().saturating_add(bytes.len()) > MAX_MODULE_BYTES {
            return Err(CompileError::too_large());
        }
        self.hasher.update(bytes);
        self.bytes.extend_from_slice(bytes);
        if self.deferred == Some(true) {
            return Ok(());
        }
        self.parse(false, sink)?;
        if self.deferred.is_none() && !self.code.is_empty() {
            let head = blake3::hash(&self.bytes[..self.code.start]);
            self.deferred = Some(defer(head.as_bytes()));
            if self.deferred == Some(false) {
                self.parse(false, sink)?;
            }
        }
        Ok(())
    }

    /// All bytes of a module whose hash is already known.
    ///
    /// # Errors
    /// Whatever made the module invalid.
    pub fn whole(bytes: Vec<u8>, sink: &mut dyn FnMut(Chunk)) -> Result<Ingested, Refused> {
        let mut ingest = Self::new();
        ingest.bytes = bytes;
        ingest.finish(sink)
    }

    /// The hash of the bytes so far.
    pub fn hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    /// The last byte was pushed.
    ///
    /// # Errors
    /// Whatever made the module invalid.
    pub fn finish(mut self, sink: &mut dyn FnMut(Chunk)) -> Result<Ingested, Refused> {
        self.deferred = Some(false);
        if let Err(error) = self.parse(true, sink) {
            return Err(self.refuse(error));
        }
        self.flush(sink);
        let skeleton = match self.skeleton {
            Some(skeleton) => skeleton,
            None => Arc::new(self.builder.finish()),
        };
        let (elements, lowered_elements) = match self.elements {
            Some(split) => (split.active, Some(split.payload)),
            None => (Vec::new(), None),
        };
        Ok(Ingested {
            bytes: Arc::new(self.bytes),
            skeleton,
            before: self.before,
            code: self.code,
            data: self.data,
            active: self.active,
            elements,
            lowered_elements,
            custom: self.custom,
            start: self.start,
        })
    }

    /// Parses nothing more: what still comes is kept for [`Self::refuse`].
    pub fn give_up(&mut self) {
        self.deferred = Some(true);
    }

    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives the bytes back.
    pub fn into_bytes(self) -> Arc<Vec<u8>> {
        Arc::new(self.bytes)
    }

    /// Gives the bytes back with the reason.
    pub fn refuse(self, error: CompileError) -> Refused {
        Refused {
            error,
            bytes: self.into_bytes(),
        }
    }

    /// How many bytes so far.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn parse(&mut self, eof: bool, sink: &mut dyn FnMut(Chunk)) -> Result<(), CompileError> {
        check_preamble(&self.bytes, eof)?;
        // Taken out for the loop because the payloads borrow it.
        let bytes = std::mem::take(&mut self.bytes);
        let result = self.parse_loop(&bytes, eof, sink);
        self.bytes = bytes;
        result
    }

    fn parse_loop(
        &mut self,
        bytes: &[u8],
        eof: bool,
        sink: &mut dyn FnMut(Chunk),
    ) -> Result<(), CompileError> {
        while !self.ended {
            let rest = &bytes[self.parsed..];
            match self.parser.parse(rest, eof)? {
                wasmparser::Chunk::NeedMoreData(_) => return Ok(()),
                wasmparser::Chunk::Parsed { consumed, payload } => {
                    self.parsed += consumed;
                    self.payload(bytes, &payload)?;
                }
            }
            if self.chunk_bytes.len() >= self.full_chunk {
                self.flush(sink);
            }
            if self.deferred.is_none() && !self.code.is_empty() {
                return Ok(());
            }
        }
        if self.ended && self.parsed < bytes.len() {
            return Err(CompileError::Invalid {
                message: "unexpected content after the module's end".to_owned(),
                offset: self.parsed as u64,
            });
        }
        Ok(())
    }

    fn payload(&mut self, bytes: &[u8], payload: &Payload<'_>) -> Result<(), CompileError> {
        let range = |range: Range<u64>| range.start as usize..range.end as usize;
        let valid = self.validator.payload(payload)?;
        check_tables(payload)?;
        self.builder
            .payload(payload, |at| bytes[range(at)].to_vec())?;
        match payload {
            Payload::ImportSection(reader) => {
                for import in reader.clone().into_imports() {
                    if let TypeRef::Memory(_) = import?.ty {
                        self.memories.push(None);
                    }
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader.clone() {
                    self.memories.push(Some(memory?.initial * PAGE));
                }
            }
            Payload::ExportSection(reader) => self.before.push((7, range(reader.range()))),
            Payload::ElementSection(reader) => {
                let at = range(reader.range());
                self.before.push((ELEMENT_SECTION, at));
                self.elements = split_elements(reader, bytes)?;
            }
            Payload::StartSection { func, .. } => self.start = Some(*func),
            Payload::CodeSectionStart { range: at, .. } => {
                self.code = range(at.clone());
                let skeleton = self.builder.finish();
                let wanted = skeleton.weight().saturating_mul(BODIES_TO_DECLARATION);
                self.full_chunk = wanted.clamp(MIN_CHUNK_BYTES, MAX_CHUNK_BYTES);
                self.skeleton = Some(Arc::new(skeleton));
            }
            Payload::DataSection(reader) => {
                (self.data, self.active) = split_data(reader, bytes, &self.memories)?;
                if !self.active.is_evaluable() {
                    let text = "the offset of a data segment is no constant expression over i32";
                    return Err(CompileError::unsupported(text));
                }
            }
            Payload::CustomSection(reader) => {
                let data = reader.data_offset() as usize;
                let at = data..data + reader.data().len();
                self.custom.push((reader.name().to_owned(), at));
            }
            Payload::End(_) => self.ended = true,
            _ => {}
        }
        if let ValidPayload::Func(to_validate, body) = valid {
            let at = range(body.range());
            let start = self.chunk_bytes.len();
            self.chunk_bytes.extend_from_slice(&bytes[at.clone()]);
            self.chunk.push(ChunkFunction {
                local: self.next_local,
                to_validate: Some(to_validate),
                range: start..self.chunk_bytes.len(),
                offset: at.start as u64,
            });
            self.next_local += 1;
        }
        Ok(())
    }

    /// Hands on a chunk that is not full yet: no more bytes came for a while.
    pub fn flush(&mut self, sink: &mut dyn FnMut(Chunk)) {
        let Some(skeleton) = self.skeleton.as_ref() else {
            return;
        };
        if self.chunk.is_empty() {
            return;
        }
        sink(Chunk {
            skeleton: Arc::clone(skeleton),
            functions: std::mem::take(&mut self.chunk),
            bytes: std::mem::take(&mut self.chunk_bytes),
            code: self.code.len(),
        });
    }
}

/// The first eight bytes, in V8's words.
fn check_preamble(bytes: &[u8], eof: bool) -> Result<(), CompileError> {
    for (offset, what, expected) in [(0, "magic word", *b"\0asm"), (4, "version", [1, 0, 0, 0])] {
        let invalid = |message: String| CompileError::Invalid {
            message,
            offset: offset as u64,
        };
        match bytes.get(offset..offset + 4) {
            Some(found) if found == expected => {}
            Some(found) => {
                let spell = |bytes: &[u8]| {
                    let bytes: Vec<_> = bytes.iter().map(|byte| hex::encode([*byte])).collect();
                    bytes.join(" ")
                };
                let (expected, found) = (spell(&expected), spell(found));
                return Err(invalid(format!(
                    "expected {what} {expected}, found {found}"
                )));
            }
            None if eof => return Err(invalid("expected 4 bytes, fell off end".to_owned())),
            None => return Ok(()),
        }
    }
    Ok(())
}

/// What the validator accepts and tables cannot hold: wasmer's know functions and externrefs only.
/// One that is too large is an error of the instance (JS API, "implementation-defined limits").
fn check_tables(payload: &Payload<'_>) -> Result<(), CompileError> {
    let element = |ty: RefType| {
        if ty == RefType::FUNCREF || ty == RefType::EXTERNREF {
            Ok(())
        } else {
            let text = format!("tables and element segments of {ty}");
            Err(CompileError::unsupported(text))
        }
    };
    let table = |ty: &TableType| element(ty.element_type);
    match payload {
        Payload::ImportSection(reader) => {
            for import in reader.clone().into_imports() {
                match import?.ty {
                    TypeRef::Table(ty) => table(&ty)?,
                    TypeRef::FuncExact(_) => {
                        return Err(CompileError::unsupported("exact function imports"));
                    }
                    _ => {}
                }
            }
        }
        Payload::TableSection(reader) => {
            for declared in reader.clone() {
                table(&declared?.ty)?;
            }
        }
        Payload::ElementSection(reader) => {
            for segment in reader.clone() {
                if let ElementItems::Expressions(ty, _) = segment?.items {
                    element(ty)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether the bytes are a module that can be compiled. Nothing is.
///
/// # Errors
/// What is wrong with them.
pub fn validate(bytes: Vec<u8>) -> Result<(), CompileError> {
    check(bytes).map(drop).map_err(|refused| refused.error)
}

/// What [`validate`] says, with all that was found out on the way.
///
/// # Errors
/// What is wrong with the bytes.
pub fn check(bytes: Vec<u8>) -> Result<(Ingested, Handlers), Refused> {
    let mut outcome = Ok(Handlers::default());
    let ingested = Ingest::whole(bytes, &mut |mut chunk| {
        if let Ok(handlers) = outcome {
            let checked = chunk.check();
            outcome = checked.and_then(|(found, _)| handlers.and(found).check());
        }
    });
    match (ingested, outcome) {
        (Ok(ingested), Ok(handlers)) => Ok((ingested, handlers)),
        (Err(refused), Ok(_)) => Err(refused),
        // A function that comes earlier in the module is the error to report.
        (Ok(Ingested { bytes, .. }) | Err(Refused { bytes, .. }), Err(error)) => {
            Err(Refused { error, bytes })
        }
    }
}

impl Chunk {
    /// Validates the functions: which handlers of exceptions they have, and where each must be compiled.
    ///
    /// # Errors
    /// What is wrong with the first that is not valid.
    pub fn check(&mut self) -> Result<(Handlers, Vec<BodyTier>), CompileError> {
        let mut allocations = FuncValidatorAllocations::default();
        let mut handlers = Handlers::default();
        let mut tiers = Vec::with_capacity(self.functions.len());
        for function in &mut self.functions {
            let Some(to_validate) = function.to_validate.take() else {
                continue;
            };
            let body = &self.bytes[function.range.clone()];
            let skeleton = &self.skeleton;
            let (checked, returned) =
                check_body(skeleton, to_validate, allocations, body, function.offset)?;
            allocations = returned;
            handlers = handlers.and(checked.handlers).check()?;
            tiers.push(checked.tier);
        }
        Ok((handlers, tiers))
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{CodeSection, Function, FunctionSection, Module, TypeSection, ValType};

    use super::*;

    /// The sizes of the chunks of a module with that many types, which are all different.
    fn chunks(types: u32) -> Vec<usize> {
        const FUNCTIONS: u32 = 400;
        const BODY: usize = 8 << 10;
        let mut section = TypeSection::new();
        for number in 0..types {
            let params = (0..12).map(|bit| {
                if number >> bit & 1 == 0 {
                    ValType::I32
                } else {
                    ValType::I64
                }
            });
            section.ty().function(params, []);
        }
        let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
        for _ in 0..FUNCTIONS {
            let mut body = Function::new([]);
            body.raw([1; BODY]); // nop
            body.instructions().end();
            functions.function(0);
            code.function(&body);
        }
        let mut module = Module::new();
        module.section(&section).section(&functions).section(&code);
        let mut sizes = Vec::new();
        let ingested = Ingest::whole(module.finish(), &mut |chunk| sizes.push(chunk.bytes.len()));
        assert!(ingested.is_ok());
        sizes
    }

    #[test]
    fn the_larger_the_declaration_the_larger_the_chunks() {
        let small = chunks(1);
        assert!(small.len() > 30, "{small:?}");
        // Two thousand trampolines a chunk would take longer than its bodies.
        let large = chunks(2_000);
        assert!((3..8).contains(&large.len()), "{large:?}");
        let total = |lengths: &[usize]| lengths.iter().sum::<usize>();
        assert_eq!(total(&small), total(&large));
    }
}
