//! Active data segments, kept apart from the code.
//!
//! An active segment is empty once its instance was made (core, 4.5.4), so the lowered module
//! leaves it out, and an artifact's metadata, all of which wasmer copies whenever it loads one,
//! stays small. The segments' bytes form one image. Go's compiler makes a segment of every run of
//! non-zero bytes (98,450 in esbuild.wasm): neighbours are joined.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use wasm_encoder::{DataSection, Encode};
use wasmer_compiler::wasmparser::{
    BinaryReader, BinaryReaderError, ConstExpr, Data, DataKind, DataSectionReader, Operator,
};
use wasmer_types::entity::EntityRef;
use wasmer_types::{GlobalIndex, InitExpr, InitExprOp};

/// Zeros between two segments that are joined: fewer bytes than what another segment costs.
const MAX_GAP: u64 = 64;

/// The active segments of a module.
#[derive(Debug, Default)]
pub struct ActiveData {
    /// In the order in which they take effect.
    pub segments: Vec<ActiveSegment>,
    /// Their bytes.
    pub image: Vec<u8>,
}

impl ActiveData {
    /// Whether instances can be made: every offset has a value, whatever the globals are, because expressions have neither
    /// branches nor traps.
    pub fn is_evaluable(&self) -> bool {
        let mut segments = self.segments.iter();
        segments.all(|segment| segment.offset.evaluate(|_| 0).is_some())
    }
}

/// One active segment, or several that were joined.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActiveSegment {
    /// Its index in the module; the first one's, if several were joined.
    pub index: u32,
    /// Memory index.
    pub memory: u32,
    /// Where its bytes go.
    pub offset: Offset,
    /// Where they are in the image.
    pub range: Range<u64>,
}

/// The offset of an active segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offset {
    /// `i32.const`
    Constant(u32),
    /// Any other constant expression, as it stands in the module.
    Expression(Vec<u8>),
}

impl Offset {
    /// Its value; `global` reads an i32 global. `None` for what [`Self::expression`] has none for.
    pub fn evaluate(&self, mut global: impl FnMut(GlobalIndex) -> i32) -> Option<u32> {
        if let Self::Constant(offset) = self {
            return Some(*offset);
        }
        let expression = self.expression()?;
        let mut stack: Vec<i32> = Vec::new();
        for op in expression.ops() {
            let value = match op {
                InitExprOp::I32Const(value) => *value,
                InitExprOp::GlobalGetI32(index) => global(*index),
                binary => {
                    let (right, left) = (stack.pop()?, stack.pop()?);
                    match binary {
                        InitExprOp::I32Add => left.wrapping_add(right),
                        InitExprOp::I32Sub => left.wrapping_sub(right),
                        InitExprOp::I32Mul => left.wrapping_mul(right),
                        _ => return None,
                    }
                }
            };
            stack.push(value);
        }
        stack.pop().map(|value| value as u32)
    }

    /// As wasmer evaluates it; `None` for what it cannot evaluate.
    pub fn expression(&self) -> Option<InitExpr> {
        let mut ops = Vec::new();
        match self {
            Self::Constant(offset) => ops.push(InitExprOp::I32Const(*offset as i32)),
            Self::Expression(bytes) => {
                let expression = ConstExpr::new(BinaryReader::new(bytes, 0));
                let mut operators = expression.get_operators_reader();
                loop {
                    ops.push(match operators.read().ok()? {
                        Operator::End => break,
                        Operator::I32Const { value } => InitExprOp::I32Const(value),
                        Operator::GlobalGet { global_index } => {
                            InitExprOp::GlobalGetI32(GlobalIndex::new(global_index as usize))
                        }
                        Operator::I32Add => InitExprOp::I32Add,
                        Operator::I32Sub => InitExprOp::I32Sub,
                        Operator::I32Mul => InitExprOp::I32Mul,
                        _ => return None,
                    });
                }
            }
        }
        (!ops.is_empty()).then(|| InitExpr::new(ops.into_boxed_slice()))
    }
}

/// Splits a data section: the payload of the lowered one (passive segments at their indices, empty
/// if there are none), and the active segments. `defined` has the initial bytes of every memory
/// that the module defines, `None` for imported ones.
///
/// # Errors
/// A malformed section (the validator reports the same).
pub fn split_data(
    section: &DataSectionReader<'_>,
    bytes: &[u8],
    defined: &[Option<u64>],
) -> Result<(Vec<u8>, ActiveData), BinaryReaderError> {
    let mut passive = Vec::new();
    let mut active = Joiner::new(defined);
    for (index, segment) in section.clone().into_iter().enumerate() {
        let Data { kind, data, .. } = segment?;
        match kind {
            DataKind::Passive => {
                // A missing segment is an empty one to wasmer; only the index counts.
                passive.resize(index, &[][..]);
                passive.push(data);
            }
            DataKind::Active {
                memory_index,
                offset_expr,
            } => {
                let offset = offset_of(&offset_expr, bytes)?;
                active.push(index as u32, memory_index, offset, data);
            }
        }
    }
    if passive.is_empty() {
        return Ok((Vec::new(), active.data));
    }
    let mut lowered = DataSection::new();
    for data in passive {
        lowered.passive(data.iter().copied());
    }
    let mut payload = Vec::new();
    lowered.encode(&mut payload);
    Ok((super::skeleton::strip_size(&payload).to_vec(), active.data))
}

pub(super) fn offset_of(
    expression: &ConstExpr<'_>,
    bytes: &[u8],
) -> Result<Offset, BinaryReaderError> {
    let mut operators = expression.get_operators_reader();
    if let Operator::I32Const { value } = operators.read()?
        && let Operator::End = operators.read()?
    {
        return Ok(Offset::Constant(value as u32));
    }
    let at = expression.get_binary_reader().range();
    let bytes = bytes[at.start as usize..at.end as usize].to_vec();
    Ok(Offset::Expression(bytes))
}

/// Collects the active segments.
struct Joiner<'memories> {
    data: ActiveData,
    defined: &'memories [Option<u64>],
    /// For each memory, the end of what its segments wrote so far; `None` if that, or what was
    /// there before, is not known.
    written: Vec<Option<u64>>,
}

impl<'memories> Joiner<'memories> {
    fn new(defined: &'memories [Option<u64>]) -> Self {
        Self {
            data: ActiveData::default(),
            defined,
            written: defined.iter().map(|bytes| bytes.map(|_| 0)).collect(),
        }
    }

    fn push(&mut self, index: u32, memory: u32, offset: Offset, bytes: &[u8]) {
        let at = memory as usize;
        let end = self.end(memory, &offset, bytes);
        let written = self.written.get(at).copied().flatten();
        let gap = match (&offset, end, written) {
            (Offset::Constant(offset), Some(_), Some(written)) => {
                u64::from(*offset).checked_sub(written)
            }
            _ => None,
        };
        let last = self.data.segments.last();
        let beside = last.is_some_and(|last| {
            // It has to be the one that wrote furthest.
            last.memory == memory
                && self.end(memory, &last.offset, &[]).is_some_and(|start| {
                    written == Some(start + (last.range.end - last.range.start))
                })
        });
        let image = &mut self.data.image;
        match gap {
            Some(gap) if gap <= MAX_GAP && beside => {
                image.resize(image.len() + gap as usize, 0);
            }
            _ => {
                let start = image.len() as u64;
                self.data.segments.push(ActiveSegment {
                    index,
                    memory,
                    offset,
                    range: start..start,
                });
            }
        }
        image.extend_from_slice(bytes);
        if let Some(last) = self.data.segments.last_mut() {
            last.range.end = image.len() as u64;
        }
        if let Some(known) = self.written.get_mut(at) {
            *known = written.zip(end).map(|(written, end)| written.max(end));
        }
    }

    /// Where the segment ends, if that is known and within a memory that the module defines: then
    /// what no segment wrote is zero, and no trap can tell whether segments were joined.
    fn end(&self, memory: u32, offset: &Offset, bytes: &[u8]) -> Option<u64> {
        let initial = (*self.defined.get(memory as usize)?)?;
        let Offset::Constant(offset) = offset else {
            return None;
        };
        let end = u64::from(*offset) + bytes.len() as u64;
        (end <= initial).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 65_536;

    fn joined(defined: &[Option<u64>], segments: &[(u32, Offset, &[u8])]) -> ActiveData {
        let mut joiner = Joiner::new(defined);
        for (index, (memory, offset, bytes)) in (0..).zip(segments) {
            joiner.push(index, *memory, offset.clone(), bytes);
        }
        joiner.data
    }

    #[test]
    fn neighbours_are_joined_with_zeros_between() {
        let segments = [
            (0, Offset::Constant(8), &b"ab"[..]),
            (0, Offset::Constant(12), b"cd"),
            (0, Offset::Constant(14), b"e"),
        ];
        let data = joined(&[Some(PAGE)], &segments);
        assert_eq!(data.image, b"ab\0\0cde");
        assert_eq!(data.segments.len(), 1);
        assert_eq!(data.segments[0].offset, Offset::Constant(8));
        assert_eq!(data.segments[0].range, 0..7);
    }

    #[test]
    fn nothing_is_joined_where_it_could_be_seen() {
        let apart = |defined: &[Option<u64>], second: (u32, Offset, &'static [u8])| {
            let first = (0, Offset::Constant(8), &b"ab"[..]);
            joined(defined, &[first, second]).segments.len() == 2
        };
        let defined = [Some(PAGE), Some(PAGE)];
        let at = Offset::Constant;
        assert!(
            apart(&[None], (0, at(10), b"c")),
            "an imported memory is not zero"
        );
        assert!(apart(&defined, (1, at(10), b"c")), "another memory");
        assert!(apart(&defined, (0, at(9), b"c")), "an overlap");
        assert!(apart(&defined, (0, at(4), b"c")), "before");
        assert!(
            apart(&defined, (0, at(10 + MAX_GAP as u32 + 1), b"c")),
            "too far"
        );
        assert!(apart(&defined, (0, at(PAGE as u32), b"c")), "out of bounds");
        let unknown = Offset::Expression(vec![0x23, 0, 0x0b]);
        assert!(apart(&defined, (0, unknown, b"c")), "an unknown offset");
    }

    #[test]
    fn nothing_is_joined_behind_an_unknown_or_a_later_segment() {
        let unknown = Offset::Expression(vec![0x23, 0, 0x0b]);
        let segments = [
            (0, unknown, &b"x"[..]),
            (0, Offset::Constant(8), b"ab"),
            (0, Offset::Constant(12), b"cd"),
        ];
        assert_eq!(joined(&[Some(PAGE)], &segments).segments.len(), 3);
        let segments = [
            (0, Offset::Constant(11), &b"x"[..]),
            (0, Offset::Constant(8), b"ab"),
            (0, Offset::Constant(12), b"cd"),
        ];
        assert_eq!(joined(&[Some(PAGE)], &segments).segments.len(), 3);
    }
}
