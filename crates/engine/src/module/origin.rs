//! Where lowered code came from: positions in the module as the program gave it.
//!
//! The optimizing tier's bodies are the original bytes, so one difference serves all of them. The
//! baseline's are rewritten ([`super::lower_body`]); each remembers its replacements, and is
//! dropped with the baseline's code. Both remember the few instructions whose trap codes do not say
//! which of V8's messages is meant. Everything is LEB128, read on the first trap.

use wasm_encoder::Encode;
use wasmer_compiler::wasmparser::{BinaryReader, BinaryReaderError, CodeSectionReader, Operator};

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
        let mut reader = BinaryReader::new(&self.replaced, 0);
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

    /// The ambiguous instructions.
    pub fn sites(&self) -> impl Iterator<Item = (u32, Site)> {
        read_sites(&self.sites)
    }
}

/// All bodies of the optimizing tier's module.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WholeOrigin {
    /// Where the code section's contents start in the module.
    original: u32,
    /// And in the lowered one.
    lowered: u32,
    /// Where each body starts, behind the one before.
    starts: Vec<u8>,
    sites: Vec<u8>,
}

impl WholeOrigin {
    /// `code` are the contents of the (validated) code section, which starts at `original` in the
    /// module and at `lowered` in the lowered one.
    ///
    /// # Errors
    /// A malformed section.
    pub fn new(code: &[u8], original: usize, lowered: usize) -> Result<Self, BinaryReaderError> {
        let mut starts = Vec::new();
        let mut sites = Sites::default();
        if !code.is_empty() {
            let mut reader = BinaryReader::new(code, 0);
            reader.set_features(super::wasm_features());
            let mut last = 0;
            for body in CodeSectionReader::new(reader)? {
                let body = body?;
                let start = body.range().start as u32;
                (start - last).encode(&mut starts);
                last = start;
                let mut operators = body.get_operators_reader()?;
                while !operators.eof() {
                    let at = operators.original_position() as u32;
                    let site = Site::of(&operators.read()?);
                    if let Some(site @ (Site::Remainder | Site::Truncation)) = site {
                        sites.push(at, site);
                    }
                }
            }
        }
        Ok(Self {
            original: original as u32,
            lowered: lowered as u32,
            starts,
            sites: sites.bytes,
        })
    }

    /// From the lowered module to the original one.
    pub fn original(&self, lowered: u32) -> u32 {
        lowered
            .wrapping_sub(self.lowered)
            .wrapping_add(self.original)
    }

    /// Where a function's body starts in the original module.
    pub fn start(&self, local: u32) -> u32 {
        let mut reader = BinaryReader::new(&self.starts, 0);
        let sizes = std::iter::from_fn(|| reader.read_var_u32().ok());
        self.original + sizes.take(local as usize + 1).sum::<u32>()
    }

    /// The ambiguous instruction at a position of the original module.
    pub fn site(&self, original: u32) -> Option<Site> {
        let at = original.checked_sub(self.original)?;
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

    #[test]
    fn a_module_knows_its_bodies_and_sites() {
        // Two bodies: no locals, `drop(1 rem_u 0)`; no locals, `drop(trunc 0.0)`.
        let code = [
            2, 8, 0, 0x41, 1, 0x41, 0, 0x70, 0x1a, 0x0b, 9, 0, 0x43, 0, 0, 0, 0, 0xa8, 0x1a, 0x0b,
        ];
        let origin = WholeOrigin::new(&code, 100, 40).expect("is valid");
        assert_eq!((origin.start(0), origin.start(1)), (102, 111));
        assert_eq!(origin.original(47), 107);
        assert_eq!(origin.site(107), Some(Site::Remainder));
        assert_eq!(origin.site(117), Some(Site::Truncation));
        assert_eq!(origin.site(106), None);
    }
}
