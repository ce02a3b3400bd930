//! The parts of a link group that come and go (see `unit.rs`), and where their functions are.

use std::cell::UnsafeCell;
use std::sync::Arc;

use wasmer_types::{FunctionIndex, FunctionType};
use wasmer_vm::{VMCallerCheckedAnyfunc, VMInstance};

use super::host::HostFunction;
use super::interrupt::Library;
use super::vacant::Holdings;
use crate::tier::{Kit, Loaded, Module};

/// The number of a unit among those of its group; used again when it was freed.
pub type UnitId = usize;

/// An instance of the group.
pub(super) struct Member {
    pub(super) module: Arc<Module>,
    pub(super) id: u64,
    /// Dropped before the instance.
    pub(super) library: Library,
    pub(super) instance: VMInstance,
    pub(super) holdings: Holdings,
    #[expect(clippy::vec_box, reason = "compiled code holds the addresses")]
    pub(super) hosts: Vec<Box<HostFunction>>,
    /// Its key for [`super::libcall::unhook`], if it has one.
    pub(super) hooked: Option<usize>,
    /// Keeps the instance's trampolines mapped.
    pub(super) trampolines: Arc<[Arc<Loaded>]>,
    /// What its hidden table holds behind its own functions.
    pub(super) _adapters: Box<[UnsafeCell<VMCallerCheckedAnyfunc>]>,
}

/// A host function that tables and globals can hold.
pub(super) struct Host {
    pub(super) ty: FunctionType,
    pub(super) _anyfunc: Box<UnsafeCell<VMCallerCheckedAnyfunc>>,
    pub(super) function: Box<HostFunction>,
    /// Its trampolines.
    pub(super) _kit: Arc<Kit>,
}

pub(super) enum Part {
    Instance(Box<Member>),
    Host(Host),
}

pub(super) struct Unit {
    pub(super) part: Part,
    /// Where its functions' anyfuncs begin.
    pub(super) starts: Vec<usize>,
    /// Units whose functions it imports.
    pub(super) imports: Vec<UnitId>,
    /// Whether it is never freed before the group.
    pub(super) pinned: bool,
}

impl Unit {
    /// Whether a call of one of its host functions is under way.
    pub(super) fn is_running(&self) -> bool {
        match &self.part {
            Part::Instance(member) => member.hosts.iter().any(|host| host.is_running()),
            Part::Host(host) => host.function.is_running(),
        }
    }
}

/// Code that may have frames on the stack although the last instance of the group that used it was freed.
pub(super) struct Retired {
    pub(super) module: Arc<Module>,
    pub(super) _trampolines: Arc<[Arc<Loaded>]>,
}

/// Anyfuncs that lie one behind the other.
pub(super) struct Region {
    pub(super) end: usize,
    pub(super) unit: UnitId,
    pub(super) what: Anyfuncs,
}

#[derive(Clone, Copy)]
pub(super) enum Anyfuncs {
    /// An instance's own functions.
    Slots,
    /// A host function that an instance imports.
    Import(FunctionIndex),
    /// A host function of its own.
    Host,
}
