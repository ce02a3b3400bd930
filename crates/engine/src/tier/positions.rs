//! From an address in compiled code to the function and the byte of the module it was made from.
//!
//! wasmer's frame information gives the position in what its compiler was given: a donor or the
//! lowered module. What lies behind that, the code's own [`Positions`] know.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::RwLock;
use wasmer_compiler::{Artifact, ArtifactCreate, FRAME_INFO};
use wasmer_types::entity::EntityRef;
use wasmer_types::{FrameInfo, LocalFunctionIndex, TrapCode};

use super::thunks;
use crate::module::{BodyOrigin, Declaration, Site, WholeOrigin};

/// Where the bodies of one artifact came from.
pub enum Positions {
    /// Chosen functions by their local index, lowered.
    Donor(Vec<(u32, BodyOrigin)>),
    /// All of the module's.
    Whole(WholeOrigin),
    /// There are none: functions between those of the module, which no stack shows.
    Adapters,
}

/// A place in a module.
#[derive(Clone)]
pub struct Position {
    /// Of the module.
    pub declaration: Arc<Declaration>,
    /// Index of the function.
    pub function: u32,
    /// Where its body starts, in bytes from the module's start.
    pub start: u32,
    /// Where the instruction is, likewise.
    pub offset: u32,
    /// What it is, where its trap codes do not say.
    pub site: Option<Site>,
    /// Where the function's code starts.
    pub entry: usize,
}

/// An artifact whose functions can be found by address.
pub(super) struct Located {
    positions: Positions,
    /// How many functions the artifact imports, which those of its own come after: a donor does not import all that its module does.
    imports: usize,
    /// Of the functions, by their index in the artifact.
    entries: Box<[usize]>,
    /// See [`record_distance`].
    record: usize,
    declaration: OnceLock<Weak<Declaration>>,
}

/// By the lowest address of their bodies. Artifacts do not overlap.
static LOCATED: RwLock<BTreeMap<usize, Arc<Located>>> = RwLock::new(BTreeMap::new());

/// Keeps an artifact's functions findable.
pub(super) struct Registration {
    start: usize,
    located: Arc<Located>,
}

impl Registration {
    /// `None` where there are no functions.
    pub(super) fn new(artifact: &Artifact, positions: Positions) -> Option<Self> {
        let bodies = artifact.finished_functions().values();
        let entries: Box<[_]> = bodies.map(|body| body.0 as usize).collect();
        let start = *entries.iter().min()?;
        let located = Arc::new(Located {
            positions,
            imports: artifact.module_info().num_imported_functions,
            entries,
            record: distance(start),
            declaration: OnceLock::new(),
        });
        LOCATED.write().insert(start, Arc::clone(&located));
        Some(Self { start, located })
    }

    /// The functions are those that are declared there.
    pub(super) fn belongs_to(&self, declaration: &Weak<Declaration>) {
        let _ = self.located.declaration.set(Weak::clone(declaration));
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        LOCATED.write().remove(&self.start);
    }
}

/// What is at an address; `None` if it is no code of a module's function. `trap` is the code of the
/// trap at this very address, `None` for a call that is to return there.
pub fn position(address: usize, trap: Option<TrapCode>) -> Option<Position> {
    // A call's return address may belong to the next instruction already.
    let address = if trap.is_some() { address } else { address - 1 };
    let located = LOCATED.read().range(..=address).next_back()?.1.clone();
    let info = FRAME_INFO.read().ok()?.lookup_frame_info(address)?;
    let declaration = located.declaration.get()?.upgrade()?;
    let declared = &declaration.info;
    let own = (info.func_index() as usize).checked_sub(located.imports)?;
    let local = LocalFunctionIndex::new(own);
    let place = located.place(local, &info, trap)?;
    let index = declared.func_index(LocalFunctionIndex::from_u32(place.local));
    Some(Position {
        function: index.as_u32(),
        start: place.start,
        offset: place.offset,
        site: place.site,
        entry: *located.entries.get(local.index())?,
        declaration,
    })
}

/// How many bytes the frame record lies above where the frame pointer of the function points that calls at a return address. In
/// all functions of an artifact it is the same.
pub fn record_distance(address: usize) -> usize {
    if !cfg!(target_arch = "aarch64") || address == 0 || !is_function(address - 1) {
        return 0;
    }
    let located = LOCATED.read();
    let found = located.range(..address).next_back();
    found.map_or(0, |(_, located)| located.record)
}

/// Singlepass saves a pair of registers before it sets the frame pointer.
#[cfg(target_arch = "aarch64")]
fn distance(entry: usize) -> usize {
    // stp x29, x30, [sp, #-16]!; stp x27, x28, [sp, #-16]!
    const PROLOGUE: [u32; 2] = [0xa9bf_7bfd, 0xa9bf_73fb];
    // SAFETY: a function that was just made executable, which has a return at least, and is followed by more code or by padding
    // to a page's end.
    let found = unsafe { (entry as *const [u32; 2]).read() };
    if found == PROLOGUE { 16 } else { 0 }
}

#[cfg(not(target_arch = "aarch64"))]
fn distance(_entry: usize) -> usize {
    0
}

/// Whether an address is in an adapter, or a thunk.
pub fn is_adapter(address: usize) -> bool {
    if thunks::is_thunk(address) {
        return true;
    }
    let located = LOCATED.read();
    let found = located.range(..=address).next_back();
    found.is_some_and(|(_, located)| matches!(located.positions, Positions::Adapters))
        && is_function(address)
}

/// Whether an address is in a function that was compiled, or a thunk.
pub fn is_function(address: usize) -> bool {
    let frames = FRAME_INFO.read();
    frames.is_ok_and(|frames| frames.lookup_frame_info(address).is_some())
        || thunks::is_thunk(address)
}

/// What the module declares whose code is at an address. Of an address that is in no code, it may be any's.
pub fn declaration_near(address: usize) -> Option<Arc<Declaration>> {
    let located = LOCATED.read();
    located
        .range(..=address)
        .next_back()?
        .1
        .declaration
        .get()?
        .upgrade()
}

struct Place {
    local: u32,
    start: u32,
    offset: u32,
    site: Option<Site>,
}

impl Located {
    /// `index` and `info` are those of what the compiler was given.
    fn place(
        &self,
        index: LocalFunctionIndex,
        info: &FrameInfo,
        trap: Option<TrapCode>,
    ) -> Option<Place> {
        // Prologues have no position: that is where a stack overflows, which is its start to V8.
        let known =
            info.module_offset() as u32 != u32::MAX && trap != Some(TrapCode::StackOverflow);
        match &self.positions {
            Positions::Adapters => None,
            Positions::Donor(bodies) => {
                let (local, origin) = bodies.get(index.index())?;
                let mut at = if known {
                    origin.original(info.func_offset() as u32)
                } else {
                    0
                };
                let mut site = origin.sites().find(|(known, _)| *known == at);
                // A body's first byte counts its locals: no instruction is there.
                let unknown = match trap {
                    Some(_) => true,
                    None => at == 0,
                };
                let fits = |(_, site): &(u32, Site)| raises(*site, trap);
                if unknown && !site.as_ref().is_some_and(fits) {
                    site = origin.sites().find(fits).or(site);
                    at = site.map_or(at, |(known, _)| known);
                }
                Some(Place {
                    local: *local,
                    start: origin.start,
                    offset: origin.start + at,
                    site: site.map(|(_, site)| site),
                })
            }
            Positions::Whole(origin) => {
                let local = index.as_u32();
                let start = origin.start(local);
                let offset = if known {
                    origin.original(local, info.module_offset() as u32)
                } else {
                    start
                };
                Some(Place {
                    local,
                    start,
                    offset,
                    site: trap.and_then(|_| origin.site(offset)),
                })
            }
        }
    }
}

/// Whether Singlepass has one place a function for this trap of all such instructions, or does not
/// tell where they are: then the function's first such instruction is named. Without a code it is
/// the engine's function that they call which trapped.
fn raises(site: Site, trap: Option<TrapCode>) -> bool {
    let Some(trap) = trap else {
        return site == Site::Library;
    };
    match trap {
        TrapCode::IntegerDivisionByZero => matches!(site, Site::Division | Site::Remainder),
        TrapCode::IntegerOverflow => matches!(site, Site::Division | Site::Truncation),
        TrapCode::TableAccessOutOfBounds
        | TrapCode::IndirectCallToNull
        | TrapCode::BadSignature => site == Site::IndirectCall,
        TrapCode::BadConversionToInteger => site == Site::Truncation,
        TrapCode::HeapMisaligned | TrapCode::UnalignedAtomic => site == Site::Atomic,
        _ => false,
    }
}
