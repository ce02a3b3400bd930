//! Active data segments, kept apart from the code.
//!
//! The lowered module has an empty passive segment in the place of every active one (which is what
//! an active segment is after instantiation, core 4.5.4), so that an artifact's metadata stays
//! small: wasmer copies all of it whenever it loads one.

use std::ops::Range;

use wasm_encoder::{DataSection, Encode};
use wasmer_compiler::wasmparser::{
    BinaryReader, BinaryReaderError, ConstExpr, Data, DataKind, DataSectionReader, Operator,
};
use wasmer_types::entity::EntityRef;
use wasmer_types::{GlobalIndex, InitExpr, InitExprOp};

/// Where an active segment's bytes go.
#[derive(Clone, Debug)]
pub struct ActiveSegment {
    /// Memory index.
    pub memory: u32,
    /// The offset's constant expression, as it stands in the module.
    pub offset: Vec<u8>,
    /// Its bytes in the module.
    pub range: Range<usize>,
}

/// Splits a data section: the lowered section's payload, and the active segments in order.
///
/// # Errors
/// A malformed section (the validator reports the same).
pub fn split_data(
    section: &DataSectionReader<'_>,
    bytes: &[u8],
) -> Result<(Vec<u8>, Vec<ActiveSegment>), BinaryReaderError> {
    let mut lowered = DataSection::new();
    let mut active = Vec::new();
    for segment in section.clone() {
        let Data { kind, data, range } = segment?;
        let end = range.end as usize;
        let range = end - data.len()..end;
        match kind {
            DataKind::Passive => {
                lowered.passive(data.iter().copied());
            }
            DataKind::Active {
                memory_index,
                offset_expr,
            } => {
                lowered.passive([]);
                let at = offset_expr.get_binary_reader().range();
                active.push(ActiveSegment {
                    memory: memory_index,
                    offset: bytes[at.start as usize..at.end as usize].to_vec(),
                    range,
                });
            }
        }
    }
    let mut payload = Vec::new();
    lowered.encode(&mut payload);
    Ok((super::skeleton::strip_size(&payload).to_vec(), active))
}

/// The offset of an active segment, as wasmer evaluates it: a constant expression over i32.
///
/// `None` for what wasmer cannot evaluate.
pub fn offset_of(expression: &[u8]) -> Option<InitExpr> {
    let mut operators = ConstExpr::new(BinaryReader::new(expression, 0)).get_operators_reader();
    let mut ops = Vec::new();
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
    (!ops.is_empty()).then(|| InitExpr::new(ops.into_boxed_slice()))
}
