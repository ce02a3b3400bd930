//! What the optimizing tier compiles: the whole module, its functions as they are, but those that [`is_changed`] names.

use std::borrow::Cow;

use wasm_encoder::Encode;
use wasmer_compiler::wasmparser::{
    BinaryReader, BinaryReaderError, CodeSectionReader, FunctionBody,
};

use super::Ingested;
use super::lower::{is_changed, lower_whole};
use super::origin::{WholeOrigin, WholeOriginBuilder};
use super::skeleton::{Skeleton, strip_size};
use super::types::Types;

/// A module for the optimizing tier.
pub struct Whole {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where its bodies came from.
    pub origin: WholeOrigin,
}

impl Whole {
    /// Of a valid module.
    ///
    /// # Errors
    /// It is not valid.
    pub fn new(ingested: &Ingested) -> Result<Self, BinaryReaderError> {
        let skeleton = &*ingested.skeleton;
        let mut types = skeleton.all_types();
        let range = &ingested.code;
        let section = &ingested.bytes[range.clone()];
        let (code, origin) = code(skeleton, &mut types, section, range.start)?;
        let before = ingested.raw_before();
        let (bytes, start) = skeleton.whole(&types, &before, &code, &ingested.data);
        Ok(Self {
            bytes,
            origin: origin.finish(range.start as u32, start as u32),
        })
    }
}

/// The contents of the code section; `start` is where they are in the module.
fn code<'a>(
    skeleton: &Skeleton,
    types: &mut Types,
    section: &'a [u8],
    start: usize,
) -> Result<(Cow<'a, [u8]>, WholeOriginBuilder), BinaryReaderError> {
    let mut origin = WholeOriginBuilder::default();
    if section.is_empty() {
        return Ok((Cow::Borrowed(section), origin));
    }
    let mut reader = BinaryReader::new(section, 0);
    reader.set_features(super::wasm_features());
    let mut rewritten = Vec::new();
    // How much of the section is in `rewritten`.
    let mut copied = 0;
    // Behind the count.
    let mut behind = section.len() - strip_size(section).len();
    for (local, body) in (0..).zip(CodeSectionReader::new(reader)?) {
        let body = body?;
        let range = body.range().start as usize..body.range().end as usize;
        origin.body(range.start as u32);
        if read(&body, &mut origin)? {
            let bytes = &section[range.clone()];
            let at = (start + range.start) as u64;
            let lowered = lower_whole(skeleton, types, local, bytes, at)?;
            // Its size is in between.
            rewritten.extend_from_slice(&section[copied..behind]);
            lowered.bytes.len().encode(&mut rewritten);
            let begin = rewritten.len();
            rewritten.extend_from_slice(&lowered.bytes);
            copied = range.end;
            origin.rewritten(local, lowered.origin, begin..rewritten.len(), copied);
        }
        behind = range.end;
    }
    if copied == 0 {
        return Ok((Cow::Borrowed(section), origin));
    }
    rewritten.extend_from_slice(&section[copied..]);
    Ok((Cow::Owned(rewritten), origin))
}

/// Whether the body is not compiled as it is.
fn read(
    body: &FunctionBody<'_>,
    origin: &mut WholeOriginBuilder,
) -> Result<bool, BinaryReaderError> {
    let mut changed = false;
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let at = operators.original_position() as u32;
        let operator = operators.read()?;
        changed |= is_changed(&operator);
        origin.operator(at, &operator);
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::super::Site;
    use super::*;

    #[test]
    fn a_module_knows_its_bodies_and_sites() {
        // Two bodies: no locals, `drop(1 rem_u 0)`; no locals, `drop(trunc 0.0)`.
        let section = [
            2, 8, 0, 0x41, 1, 0x41, 0, 0x70, 0x1a, 0x0b, 9, 0, 0x43, 0, 0, 0, 0, 0xa8, 0x1a, 0x0b,
        ];
        let skeleton = Skeleton::default();
        let lowered = code(&skeleton, &mut skeleton.all_types(), &section, 100);
        let (code, origin) = lowered.expect("is valid");
        let origin = origin.finish(100, 40);
        assert_eq!(*code, section);
        assert_eq!((origin.start(0), origin.start(1)), (102, 111));
        assert_eq!(origin.original(0, 47), 107);
        assert_eq!(origin.site(107), Some(Site::Remainder));
        assert_eq!(origin.site(117), Some(Site::Truncation));
        assert_eq!(origin.site(106), None);
    }
}
