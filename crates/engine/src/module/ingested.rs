//! A module of which all bytes were read and validated.

use std::ops::Range;
use std::sync::Arc;

use super::element::ActiveElements;
use super::segment::ActiveData;
use super::skeleton::Skeleton;

/// Its id.
pub const ELEMENT_SECTION: u8 = 9;

/// Everything known once the last byte was read.
pub struct Ingested {
    /// The module.
    pub bytes: Arc<Vec<u8>>,
    /// Its declaration.
    pub skeleton: Arc<Skeleton>,
    /// Raw sections between the declaration and the code, as (id, range).
    pub before: Vec<(u8, Range<usize>)>,
    /// The code section's payload.
    pub code: Range<usize>,
    /// The lowered data section's payload; empty if there is none.
    pub data: Vec<u8>,
    /// The active data segments.
    pub active: ActiveData,
    /// The active element segments, if wasmer cannot be given them.
    pub elements: Vec<ActiveElements>,
    /// The lowered element section's payload, if it differs from the module's.
    pub lowered_elements: Option<Vec<u8>>,
    /// Custom sections: name and range of the data.
    pub custom: Vec<(String, Range<usize>)>,
    /// The start function.
    pub start: Option<u32>,
}

impl Ingested {
    /// The sections between the declaration and the code, with their bytes.
    pub fn raw_before(&self) -> Vec<(u8, &[u8])> {
        self.before
            .iter()
            .map(|(id, range)| match &self.lowered_elements {
                Some(payload) if *id == ELEMENT_SECTION => (*id, payload.as_slice()),
                _ => (*id, &self.bytes[range.clone()]),
            })
            .collect()
    }
}
