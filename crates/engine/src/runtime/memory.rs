//! Linear memories that belong to the host's engine.
//!
//! Invariant: compiled code has no bounds checks (wasmer's static style), so a memory may only be
//! reached by code if it is guarded. [`MemoryState::new`] is the only way in, and asks `guard.rs`.

use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use wasmer_types::{MemoryError, MemoryStyle, MemoryType, Pages};
use wasmer_vm::{
    ExpectedValue, LinearMemory, MaybeInstanceOwned, VMMemory, VMMemoryDefinition, WaiterError,
    on_host_stack,
};

use super::guard::has_guard_region;
use crate::error::LinkError;

pub(super) const PAGE: usize = 64 * 1024;

/// The engine that owns the memory.
pub trait MemoryHost: Send + Sync {
    /// Grows by `delta` pages; the previous size in pages, or `None` if refused.
    fn grow(&self, delta: u32) -> Option<u32>;

    /// The length in bytes right now.
    fn length(&self) -> Option<usize>;

    /// `Atomics.wait` on the memory's buffer; `None` where waiting is not allowed.
    fn wait(&self, address: u32, expected: Waited, timeout: Option<Duration>) -> Option<u32>;

    /// `Atomics.notify` on the memory's buffer.
    fn notify(&self, address: u32, count: u32) -> u32;
}

/// The value a wait expects.
#[derive(Clone, Copy, Debug)]
pub enum Waited {
    /// `memory.atomic.wait32`
    I32(u32),
    /// `memory.atomic.wait64`
    I64(u64),
}

/// The length of a memory, and every copy of it that compiled code reads.
#[derive(Default)]
struct Length {
    bytes: AtomicUsize,
    definitions: Mutex<Vec<Definition>>,
}

/// Address of a `VMMemoryDefinition` of a living `GuestMemory`.
#[derive(PartialEq, Eq)]
struct Definition(NonNull<VMMemoryDefinition>);

// SAFETY: only followed under `Length::definitions`' lock, and removed there before it is freed.
unsafe impl Send for Definition {}

impl Length {
    fn set(&self, bytes: usize) {
        let definitions = self.definitions.lock();
        // Memories only grow; a late report of an earlier size must not shrink them.
        if self.bytes.fetch_max(bytes, Ordering::AcqRel) >= bytes {
            return;
        }
        for definition in definitions.iter() {
            let length = definition.0.as_ptr();
            // SAFETY: alive, because it is in the list.
            let length = unsafe { &raw mut (*length).current_length };
            // SAFETY: aligned and alive; threads that read it see the old or the new length.
            unsafe { AtomicUsize::from_ptr(length) }.store(bytes, Ordering::Release);
        }
    }
}

/// Shared memories by base address: threads attach the same memory separately.
static SHARED: LazyLock<Mutex<std::collections::HashMap<usize, Weak<Length>>>> =
    LazyLock::new(Mutex::default);

/// One memory as one thread knows it.
pub struct MemoryState {
    base: NonNull<u8>,
    ty: MemoryType,
    length: Arc<Length>,
    host: Box<dyn MemoryHost>,
}

// SAFETY: `base` is only handed to compiled code; the host is `Send + Sync` itself.
unsafe impl Send for MemoryState {}
// SAFETY: as above.
unsafe impl Sync for MemoryState {}

impl MemoryState {
    /// Takes on a memory of the host's.
    ///
    /// # Errors
    /// [`LinkError::NoGuardRegion`] if the space behind it is not reserved.
    pub fn new(
        base: NonNull<u8>,
        bytes: usize,
        shared: bool,
        maximum: Option<u32>,
        host: Box<dyn MemoryHost>,
    ) -> Result<Arc<Self>, LinkError> {
        if !has_guard_region(base.as_ptr(), bytes, shared) {
            return Err(LinkError::NoGuardRegion);
        }
        let length = if shared {
            let mut known = SHARED.lock();
            if known.len() == known.capacity() {
                known.retain(|_, length| length.strong_count() > 0);
                // The next time is when there are as many again.
                let living = known.len();
                known.reserve(living + 1);
            }
            let at = base.as_ptr() as usize;
            let length = known.get(&at).and_then(Weak::upgrade);
            // The host grows before it tells us, so a length beyond the real one is that of another
            // memory, which was at this address and is not finalised yet.
            let length = length.filter(|length| {
                let known = length.bytes.load(Ordering::Acquire);
                // V8 lets other threads know of growth when it pleases; growing by nothing asks the
                // memory itself.
                known <= bytes || known <= host.grow(0).map_or(bytes, |pages| pages as usize * PAGE)
            });
            let length = length.unwrap_or_default();
            known.insert(at, Arc::downgrade(&length));
            length
        } else {
            Arc::default()
        };
        length.set(bytes);
        let ty = MemoryType {
            minimum: Pages((bytes / PAGE) as u32),
            maximum: maximum.map(Pages),
            shared,
        };
        Ok(Arc::new(Self {
            base,
            ty,
            length,
            host,
        }))
    }

    fn bytes(&self) -> usize {
        self.length.bytes.load(Ordering::Acquire)
    }
}

/// A memory in a store: wasmer's view of a [`MemoryState`].
pub(super) struct GuestMemory {
    state: Arc<MemoryState>,
    definition: MaybeInstanceOwned<VMMemoryDefinition>,
    /// As the importer declares it: the host checked the real one, which we may not know.
    maximum: Option<Pages>,
}

// SAFETY: a store is used by one thread; the definition is reached through its address only.
unsafe impl Send for GuestMemory {}
// SAFETY: as above.
unsafe impl Sync for GuestMemory {}

impl GuestMemory {
    /// For an import record.
    pub(super) fn imported(state: Arc<MemoryState>, maximum: Option<Pages>) -> VMMemory {
        let definition = VMMemoryDefinition {
            base: state.base.as_ptr(),
            current_length: state.bytes(),
        };
        let definition = MaybeInstanceOwned::Host(Box::new(definition.into()));
        Self::register(state, definition, maximum)
    }

    /// For a memory that the module defines; `location` lies in its `VMContext`.
    ///
    /// # Safety
    /// `location` must be valid as long as the returned value lives.
    pub(super) unsafe fn defined(
        state: Arc<MemoryState>,
        location: NonNull<VMMemoryDefinition>,
    ) -> VMMemory {
        let definition = VMMemoryDefinition {
            base: state.base.as_ptr(),
            current_length: state.bytes(),
        };
        // SAFETY: valid by the caller's promise.
        unsafe { location.write(definition) };
        let maximum = state.ty.maximum;
        Self::register(state, MaybeInstanceOwned::Instance(location), maximum)
    }

    fn register(
        state: Arc<MemoryState>,
        definition: MaybeInstanceOwned<VMMemoryDefinition>,
        maximum: Option<Pages>,
    ) -> VMMemory {
        let mut definitions = state.length.definitions.lock();
        definitions.push(Definition(definition.as_ptr()));
        // Another thread may have grown it since the definition was filled.
        let bytes = state.bytes();
        let at = definition.as_ptr().as_ptr();
        // SAFETY: alive, and reached by no code yet.
        unsafe { (*at).current_length = bytes };
        drop(definitions);
        VMMemory(Box::new(Self {
            state,
            definition,
            maximum,
        }))
    }
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        let own = Definition(self.definition.as_ptr());
        self.state
            .length
            .definitions
            .lock()
            .retain(|known| *known != own);
    }
}

impl fmt::Debug for GuestMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("GuestMemory")
            .field("base", &self.state.base)
            .field("bytes", &self.state.bytes())
            .finish_non_exhaustive()
    }
}

fn unsupported(what: &str) -> MemoryError {
    MemoryError::UnsupportedOperation {
        message: format!("{what}: the memory belongs to the host"),
    }
}

impl LinearMemory for GuestMemory {
    fn ty(&self) -> MemoryType {
        let mut ty = self.state.ty;
        ty.maximum = self.maximum;
        ty.minimum = Pages((self.state.bytes() / PAGE) as u32);
        ty
    }

    fn size(&self) -> Pages {
        // Another thread, or the built-in engine beside us, may have grown it without telling us.
        if let Some(bytes) = on_host_stack(|| self.state.host.length()) {
            self.state.length.set(bytes);
        }
        Pages((self.state.bytes() / PAGE) as u32)
    }

    fn style(&self) -> MemoryStyle {
        MemoryStyle::Static
    }

    fn grow(&mut self, delta: Pages) -> Result<Pages, MemoryError> {
        let refused = || MemoryError::CouldNotGrow {
            current: Pages((self.state.bytes() / PAGE) as u32),
            attempted_delta: delta,
        };
        let previous = self.state.host.grow(delta.0).ok_or_else(refused)?;
        let pages = previous as usize + delta.0 as usize;
        self.state.length.set(pages * PAGE);
        Ok(Pages(previous))
    }

    fn vmmemory(&self) -> NonNull<VMMemoryDefinition> {
        self.definition.as_ptr()
    }

    fn try_clone(&self) -> Result<Box<dyn LinearMemory + Send + Sync + 'static>, MemoryError> {
        Err(unsupported("clone"))
    }

    fn copy(&self) -> Result<Box<dyn LinearMemory + Send + Sync + 'static>, MemoryError> {
        Err(unsupported("copy"))
    }

    unsafe fn do_wait(
        &mut self,
        address: u32,
        expected: ExpectedValue,
        timeout: Option<Duration>,
    ) -> Result<u32, WaiterError> {
        let expected = match expected {
            ExpectedValue::U32(value) => Waited::I32(value),
            ExpectedValue::U64(value) => Waited::I64(value),
            _ => return Err(WaiterError::Unimplemented),
        };
        if !self.state.ty.shared {
            return Err(WaiterError::Unimplemented);
        }
        on_host_stack(|| self.state.host.wait(address, expected, timeout))
            .ok_or(WaiterError::Unimplemented)
    }

    fn do_notify(&mut self, address: u32, count: u32) -> u32 {
        if !self.state.ty.shared {
            return 0;
        }
        on_host_stack(|| self.state.host.notify(address, count))
    }
}
