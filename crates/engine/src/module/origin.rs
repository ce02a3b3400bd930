//! Where lowered code came from: positions in the module as the program gave it.
//!
//! The optimizing tier's bodies are the original bytes, but those with exceptions in their older form. The
//! baseline's are rewritten ([`super::lower_body`]); each remembers its replacements, and is
//! dropped with the baseline's code. Both remember the few instructions whose trap codes do not say
//! which of V8's messages is meant. Everything is LEB128, read on the first trap.

use std::ops::Range;

use wasm_encoder::Encode;
use wasmer_compiler::wasmparser::{BinaryReader, Operator};

/// An instruction that shares its trap codes with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// `div_s`, `div_u`
    Division,
    /// `rem_s`, `rem_u`
    Remainder,
    /// Float to integer, not saturating.
    Truncation,
    /// `call_indirect`
    IndirectCall,
    /// An atomic access.
    Atomic,
    /// What calls a function of the engine: bulk operations, tables, waiting.
    Library,
}

const SITES: [Site; 6] = [
    Site::Division,
    Site::Remainder,
    Site::Truncation,
    Site::IndirectCall,
    Site::Atomic,
    Site::Library,
];

impl Site {
    /// What an operator is, if it is one of them.
    pub fn of(operator: &Operator<'_>) -> Option<Self> {
        use Operator as O;
        Some(match operator {
            O::I32DivS | O::I32DivU | O::I64DivS | O::I64DivU => Self::Division,
            O::I32RemS | O::I32RemU | O::I64RemS | O::I64RemU => Self::Remainder,
            O::I32TruncF32S
            | O::I32TruncF32U
            | O::I32TruncF64S
            | O::I32TruncF64U
            | O::I64TruncF32S
            | O::I64TruncF32U
            | O::I64TruncF64S
            | O::I64TruncF64U => Self::Truncation,
            O::CallIndirect { .. } => Self::IndirectCall,
            O::MemoryInit { .. }
            | O::MemoryCopy { .. }
            | O::MemoryFill { .. }
            | O::TableInit { .. }
            | O::TableCopy { .. }
            | O::TableFill { .. }
            | O::TableGet { .. }
            | O::TableSet { .. }
            | O::MemoryAtomicNotify { .. }
            | O::MemoryAtomicWait32 { .. }
            | O::MemoryAtomicWait64 { .. } => Self::Library,
            _ => return None,
        })
    }
}

/// Positions that only grow, and what is there.
#[derive(Debug, Default)]
struct Sites {
    bytes: Vec<u8>,
    last: u32,
}

impl Sites {
    fn push(&mut self, at: u32, site: Site) {
        let kind = SITES.iter().position(|known| *known == site);
        (at - self.last).encode(&mut self.bytes);
        self.bytes.push(kind.unwrap_or_default() as u8);
        self.last = at;
    }
}

fn read_sites(bytes: &[u8]) -> impl Iterator<Item = (u32, Site)> {
    let mut reader = BinaryReader::new(bytes, 0);
    let mut at = 0;
    std::iter::from_fn(move || {
        at += reader.read_var_u32().ok()?;
        let site = SITES.get(usize::from(reader.read_u8().ok()?))?;
        Some((at, *site))
    })
}

/// Back through replacements.
fn original(replaced: &[u8], lowered: u32) -> u32 {
    let mut reader = BinaryReader::new(replaced, 0);
    let (mut new, mut old) = (0, 0);
    let mut next = || {
        let kept = reader.read_var_u32().ok()?;
        Some((
            kept,
            reader.read_var_u32().ok()?,
            reader.read_var_u32().ok()?,
        ))
    };
    while let Some((kept, was, is)) = next() {
        if lowered < new + kept {
            break;
        }
        (new, old) = (new + kept, old + kept);
        if lowered < new + is {
            return old;
        }
        (new, old) = (new + is, old + was);
    }
    old + (lowered - new)
}

/// One body of a donor. Positions are relative to the body's start, where its locals are declared.
pub struct BodyOrigin {
    /// Where the body starts in the module.
    pub start: u32,
    /// Bytes that are as they were, bytes of what was replaced, bytes of what replaces them; again.
    replaced: Box<[u8]>,
    sites: Box<[u8]>,
}

/// A [`BodyOrigin`] in the making.
#[derive(Default)]
pub(super) struct BodyOriginBuilder {
    replaced: Vec<u8>,
    sites: Sites,
}

impl BodyOriginBuilder {
    pub(super) fn replaced(&mut self, kept: usize, old: usize, new: usize) {
        for count in [kept, old, new] {
            (count as u32).encode(&mut self.replaced);
        }
    }

    pub(super) fn operator(&mut self, at: usize, operator: &Operator<'_>, opcode: u8) {
        const ATOMIC_PREFIX: u8 = 0xfe;
        let atomic = (opcode == ATOMIC_PREFIX).then_some(Site::Atomic);
        if let Some(site) = Site::of(operator).or(atomic) {
            self.sites.push(at as u32, site);
        }
    }

    pub(super) fn finish(self, start: u32) -> BodyOrigin {
        BodyOrigin {
            start,
            replaced: self.replaced.into_boxed_slice(),
            sites: self.sites.bytes.into_boxed_slice(),
        }
    }
}

impl BodyOrigin {
    /// From the lowered body to the original one.
    pub fn original(&self, lowered: u32) -> u32 {
        original(&self.replaced, lowered)
    }

    /// The ambiguous instructions.
    pub fn sites(&self) -> impl Iterator<Item = (u32, Site)> {
        read_sites(&self.sites)
    }
}

/// All bodies of the optimizing tier's module.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WholeOrigin {
    /// Where the code section's contents start in the module.
    code: u32,
    /// And in the lowered one.
    lowered: u32,
    /// Where each body starts, behind the one before.
    starts: Vec<u8>,
    sites: Vec<u8>,
    /// Ascending.
    rewritten: Vec<Rewritten>,
}

/// A body that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Rewritten {
    local: u32,
    /// Where it starts in the lowered code section's contents.
    start: u32,
    /// How much farther back than in the original what is behind it is (wrapping).
    moved: u32,
    /// See [`BodyOrigin`].
    replaced: Box<[u8]>,
}

/// A [`WholeOrigin`] in the making.
#[derive(Default)]
pub(super) struct WholeOriginBuilder {
    starts: Vec<u8>,
    last: u32,
    sites: Sites,
    rewritten: Vec<Rewritten>,
}

impl WholeOriginBuilder {
    /// The next body starts there in the code section's contents.
    pub(super) fn body(&mut self, start: u32) {
        (start - self.last).encode(&mut self.starts);
        self.last = start;
    }

    /// The next operator is there.
    pub(super) fn operator(&mut self, at: u32, operator: &Operator<'_>) {
        if let Some(site @ (Site::Remainder | Site::Truncation)) = Site::of(operator) {
            self.sites.push(at, site);
        }
    }

    /// The body was replaced by that in `range` of the lowered code section's contents; the original ends at `end`.
    pub(super) fn rewritten(
        &mut self,
        local: u32,
        origin: BodyOrigin,
        range: Range<usize>,
        end: usize,
    ) {
        self.rewritten.push(Rewritten {
            local,
            start: range.start as u32,
            moved: (range.end as u32).wrapping_sub(end as u32),
            replaced: origin.replaced,
        });
    }

    /// `code`: where the code section's contents start in the module, `lowered`: and in the lowered one.
    pub(super) fn finish(self, code: u32, lowered: u32) -> WholeOrigin {
        WholeOrigin {
            code,
            lowered,
            starts: self.starts,
            sites: self.sites.bytes,
            rewritten: self.rewritten,
        }
    }
}

impl WholeOrigin {
    /// From a local function in the lowered module to the original one.
    pub fn original(&self, local: u32, lowered: u32) -> u32 {
        let at = lowered.wrapping_sub(self.lowered);
        let rewritten = &self.rewritten;
        let moved = match rewritten.binary_search_by_key(&local, |one| one.local) {
            Ok(index) => {
                let body = &rewritten[index];
                return self.start(local) + original(&body.replaced, at.wrapping_sub(body.start));
            }
            Err(0) => 0,
            Err(index) => rewritten[index - 1].moved,
        };
        at.wrapping_sub(moved).wrapping_add(self.code)
    }

    /// Where a function's body starts in the original module.
    pub fn start(&self, local: u32) -> u32 {
        let mut reader = BinaryReader::new(&self.starts, 0);
        let sizes = std::iter::from_fn(|| reader.read_var_u32().ok());
        self.code + sizes.take(local as usize + 1).sum::<u32>()
    }

    /// The ambiguous instruction at a position of the original module.
    pub fn site(&self, original: u32) -> Option<Site> {
        let at = original.checked_sub(self.code)?;
        let site = read_sites(&self.sites).find(|(known, _)| *known >= at)?;
        (site.0 == at).then_some(site.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_go_back_through_replacements() {
        let mut builder = BodyOriginBuilder::default();
        builder.replaced(3, 2, 6);
        builder.replaced(0, 2, 5);
        builder.replaced(10, 3, 7);
        let origin = builder.finish(0);
        let pairs = [
            (0, 0),
            (2, 2),
            (3, 3),
            (8, 3),
            (9, 5),
            (13, 5),
            (14, 7),
            (23, 16),
            (24, 17),
        ];
        for (lowered, original) in pairs {
            assert_eq!(origin.original(lowered), original, "{lowered}");
        }
        assert_eq!(origin.original(31), 20);
        assert_eq!(origin.original(40), 29);
    }
}
