//! Active element segments that take their elements from globals.
//!
//! wasmer's table initializers are lists of functions. A module with an active segment that reads a
//! global (core, 3.4.13, "constant expressions") keeps all its active segments apart, because they
//! take effect in order; to the lowered module they are declared ones, which are as empty after
//! instantiation (core, 4.5.4). A passive segment that reads a global is left to wasmer, which
//! refuses it.

use serde::{Deserialize, Serialize};
use wasm_encoder::Encode;
use wasmer_compiler::wasmparser::{
    BinaryReaderError, ElementItems, ElementKind, ElementSectionReader, Operator,
};

use super::segment::{Offset, offset_of};

/// One active segment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActiveElements {
    /// Table index.
    pub table: u32,
    /// Where the elements go.
    pub offset: Offset,
    /// The elements.
    pub items: Vec<ElementItem>,
}

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElementItem {
    /// `ref.null`
    Null,
    /// `ref.func`
    Function(u32),
    /// `global.get`
    Global(u32),
}

/// An element section without its active segments.
#[derive(Debug)]
pub struct SplitElements {
    /// The payload of the lowered section.
    pub payload: Vec<u8>,
    /// The active segments, in order.
    pub active: Vec<ActiveElements>,
}

/// Splits an element section; `None` if no active segment reads a global.
///
/// # Errors
/// A malformed section (the validator reports the same).
pub fn split_elements(
    section: &ElementSectionReader<'_>,
    bytes: &[u8],
) -> Result<Option<SplitElements>, BinaryReaderError> {
    const DECLARED: u8 = 3;
    const FUNCTIONS: u8 = 0;
    let mut active = Vec::new();
    let mut payload = Vec::new();
    section.count().encode(&mut payload);
    for segment in section.clone() {
        let segment = segment?;
        let ElementKind::Active {
            table_index,
            offset_expr,
        } = &segment.kind
        else {
            let range = segment.range.start as usize..segment.range.end as usize;
            payload.extend_from_slice(&bytes[range]);
            continue;
        };
        let items = items_of(&segment.items)?;
        let functions = items.iter().filter_map(|item| match item {
            ElementItem::Function(index) => Some(*index),
            _ => None,
        });
        payload.extend([DECLARED, FUNCTIONS]);
        functions.collect::<Vec<_>>().encode(&mut payload);
        active.push(ActiveElements {
            table: table_index.unwrap_or(0),
            offset: offset_of(offset_expr, bytes)?,
            items,
        });
    }
    let reads = |segment: &ActiveElements| {
        let mut items = segment.items.iter();
        items.any(|item| matches!(item, ElementItem::Global(_)))
    };
    Ok(active
        .iter()
        .any(reads)
        .then_some(SplitElements { payload, active }))
}

fn items_of(items: &ElementItems<'_>) -> Result<Vec<ElementItem>, BinaryReaderError> {
    match items {
        ElementItems::Functions(functions) => functions
            .clone()
            .into_iter()
            .map(|index| Ok(ElementItem::Function(index?)))
            .collect(),
        ElementItems::Expressions(_, expressions) => expressions
            .clone()
            .into_iter()
            .map(|expression| {
                Ok(match expression?.get_operators_reader().read()? {
                    Operator::RefFunc { function_index } => ElementItem::Function(function_index),
                    Operator::GlobalGet { global_index } => ElementItem::Global(global_index),
                    _ => ElementItem::Null,
                })
            })
            .collect(),
    }
}
