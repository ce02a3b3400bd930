//! The exceptions of a link group.
//!
//! wasmer's store only grows, and its `throw` makes an exception (with a backtrace) every time. So
//! instances get an allocation function of ours ([`hook`]) that uses exceptions again which nothing
//! can reach any more. An exnref is the exception's index in the store; it is held by frames of
//! WebAssembly, by globals, by payloads, and by what JavaScript was given (no tables: wasmer has
//! none of exnrefs). Frames are not described by compiled code, so whatever on the stacks looks like an
//! index counts as one ([`super::scan`]): some exceptions live longer than they must, none shorter,
//! and as many as are kept by mistake are at most the words on the stacks.
//!
//! Invariant: an exception is used again only when no frame, no global, no reachable payload and no
//! pin holds its index.

use std::cell::{RefCell, UnsafeCell};
use std::collections::{HashMap, HashSet};
use std::ptr::{self, NonNull};

use wasmer_types::{RawValue, TagIndex, Type, entity::BoxedSlice, entity::EntityRef};
use wasmer_vm::{
    InternalStoreHandle, StoreObject, StoreObjects, VMBuiltinFunctionIndex, VMContext,
    VMExceptionObj, VMExceptionRef, VMGlobalDefinition, VMInstance, VMTag,
};

use super::unwind::InFlight;
use super::{libcall, scan};

/// Exceptions that are made before the first sweep.
const FIRST_SWEEP: usize = 64;

/// So many words are looked at for every exception that is made until the next sweep, at least.
const WORDS_AN_EXCEPTION: usize = 32;

/// The number under which JavaScript knows an exception: never used again, as an exnref is.
pub type Serial = u64;

/// See the module head.
#[derive(Default)]
pub(super) struct Exceptions {
    /// By exnref - 1; 0 where the exception is free.
    serials: Vec<Serial>,
    last: Serial,
    /// Exnrefs, by tag: an exception keeps its tag for ever.
    free: Vec<(InternalStoreHandle<VMTag>, Vec<u32>)>,
    used: usize,
    limit: usize,
    /// What JavaScript knows.
    named: HashMap<Serial, u32>,
    pinned: HashSet<Serial>,
    globals: Vec<NonNull<VMGlobalDefinition>>,
    hooked: Vec<usize>,
}

impl Exceptions {
    /// A global that may hold an exnref.
    pub(super) fn watch(&mut self, global: NonNull<VMGlobalDefinition>) {
        self.globals.push(global);
    }

    /// An exception whose payload is to be written.
    fn allocate(&mut self, objects: &mut StoreObjects, tag: InternalStoreHandle<VMTag>) -> u32 {
        if self.used >= self.limit() {
            self.sweep(objects);
        }
        let free = self.free.iter_mut().find(|(known, _)| *known == tag);
        let exnref = free.and_then(|(_, free)| free.pop()).unwrap_or_else(|| {
            let exception = VMExceptionObj::new_zeroed(objects, tag);
            VMExceptionObj::list_mut(objects).push(exception);
            self.serials.push(0);
            self.serials.len() as u32
        });
        self.last += 1;
        self.serials[exnref as usize - 1] = self.last;
        self.used += 1;
        exnref
    }

    /// Makes an exception; its number.
    pub(super) fn create(
        &mut self,
        objects: &mut StoreObjects,
        tag: InternalStoreHandle<VMTag>,
        values: &[RawValue],
    ) -> Serial {
        let packed = pack(tag.get(objects).signature.params(), values);
        let exnref = self.allocate(objects, tag);
        let payload = object(objects, exnref).payload();
        for (at, value) in packed.into_iter().enumerate() {
            // SAFETY: the payload has a value for every parameter of the tag, and so has `packed`.
            let slot = unsafe { payload.cast::<RawValue>().add(at) };
            // SAFETY: as above; nobody else uses a new exception.
            unsafe { slot.write(value) };
        }
        self.name(exnref)
    }

    /// JavaScript gets to know the exception.
    fn name(&mut self, exnref: u32) -> Serial {
        let serial = self.serials[exnref as usize - 1];
        self.named.insert(serial, exnref);
        serial
    }

    /// An exception that left the group's code: its number, its tag and its payload.
    pub(super) fn left(
        &mut self,
        objects: &StoreObjects,
        exception: &VMExceptionRef,
    ) -> (Serial, InternalStoreHandle<VMTag>, Vec<RawValue>) {
        let exnref = exception.to_u32_exnref();
        let exception = object(objects, exnref);
        let types = exception.tag().get(objects).signature.params();
        (self.name(exnref), exception.tag(), values(types, exception))
    }

    /// The exception, if there still is one with this number.
    pub(super) fn find(&self, objects: &StoreObjects, serial: Serial) -> Option<InFlight> {
        Some(InFlight::new(objects, *self.named.get(&serial)?))
    }

    /// Keeps an exception although only JavaScript holds it, or does not any more.
    pub(super) fn pin(&mut self, serial: Serial, pinned: bool) {
        if pinned {
            self.pinned.insert(serial);
        } else {
            self.pinned.remove(&serial);
        }
    }

    /// How many there may be before it pays to look for those that nothing holds.
    pub(super) fn limit(&self) -> usize {
        self.limit.max(FIRST_SWEEP)
    }

    /// Those that JavaScript knows and that something of WebAssembly may still hold.
    pub(super) fn live(&mut self, objects: &StoreObjects) -> Vec<Serial> {
        self.sweep(objects);
        self.named.keys().copied().collect()
    }

    /// The externrefs in the payloads of all exceptions that something may hold, and how many words were looked at
    /// for that.
    pub(super) fn references(&mut self, objects: &StoreObjects) -> (Vec<RawValue>, usize) {
        if self
            .payload_values(objects, Type::ExternRef)
            .next()
            .is_none()
        {
            return (Vec::new(), self.serials.len());
        }
        let seen = self.sweep(objects);
        let references: Vec<_> = self.payload_values(objects, Type::ExternRef).collect();
        (references, seen + self.serials.len())
    }

    /// The values of one type in the payloads of all exceptions that are not free.
    pub(super) fn payload_values(
        &self,
        objects: &StoreObjects,
        ty: Type,
    ) -> impl Iterator<Item = RawValue> {
        let used = (1..).zip(&self.serials).filter(|(_, serial)| **serial != 0);
        used.flat_map(move |(exnref, _)| values_of(objects, exnref, ty))
    }

    /// How many words it looked at.
    fn sweep(&mut self, objects: &StoreObjects) -> usize {
        let mut held = vec![false; self.serials.len()];
        let mut reached = Vec::new();
        let mut hold = |exnref: u32, reached: &mut Vec<u32>| {
            let index = (exnref as usize).wrapping_sub(1);
            if let Some(held @ false) = held.get_mut(index) {
                *held = true;
                reached.push(exnref);
            }
        };
        for global in &self.globals {
            // SAFETY: the definition lives as long as the group.
            let value = unsafe { global.read() }.val;
            // SAFETY: every bit pattern is a number.
            hold(unsafe { value.exnref }, &mut reached);
        }
        for serial in &self.pinned {
            if let Some(exnref) = self.named.get(serial) {
                hold(*exnref, &mut reached);
            }
        }
        let seen = scan::each_word(&mut |word| hold(word, &mut reached));
        while let Some(exnref) = reached.pop() {
            for value in values_of(objects, exnref, Type::ExceptionRef) {
                // SAFETY: every bit pattern is a number.
                hold(unsafe { value.exnref }, &mut reached);
            }
        }
        for (index, held) in held.into_iter().enumerate() {
            if held || self.serials[index] == 0 {
                continue;
            }
            let exnref = index as u32 + 1;
            self.named.remove(&self.serials[index]);
            self.serials[index] = 0;
            self.used -= 1;
            let tag = object(objects, exnref).tag();
            match self.free.iter_mut().find(|(known, _)| *known == tag) {
                Some((_, free)) => free.push(exnref),
                None => self.free.push((tag, vec![exnref])),
            }
        }
        // A long stack is not looked at again for a few more.
        self.limit = 2 * self.used + seen / WORDS_AN_EXCEPTION;
        seen
    }
}

fn object(objects: &StoreObjects, exnref: u32) -> &VMExceptionObj {
    &VMExceptionObj::list(objects)[exnref as usize - 1]
}

/// The values of one type in an exception's payload.
fn values_of(objects: &StoreObjects, exnref: u32, ty: Type) -> Vec<RawValue> {
    let exception = object(objects, exnref);
    let types = exception.tag().get(objects).signature.params();
    if !types.contains(&ty) {
        return Vec::new();
    }
    let all = types.iter().zip(values(types, exception));
    all.filter(|(own, _)| **own == ty)
        .map(|(_, value)| value)
        .collect()
}

fn values(types: &[Type], exception: &VMExceptionObj) -> Vec<RawValue> {
    // SAFETY: the exception lives in the store, and no code runs that could write it.
    unpack(types, unsafe { exception.payload().as_ref() })
}

/// Where compiled code puts an exception's fields: like a C structure's, a reference as wide as a
/// pointer.
fn fields(types: &[Type]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut end = 0_usize;
    types.iter().map(move |ty| {
        let size = match ty {
            Type::I32 | Type::F32 => 4,
            Type::I64 | Type::F64 => 8,
            Type::V128 => 16,
            Type::ExternRef | Type::FuncRef | Type::ExceptionRef => size_of::<usize>(),
        };
        let start = end.next_multiple_of(size);
        end = start + size;
        start..end
    })
}

fn unpack(types: &[Type], packed: &[RawValue]) -> Vec<RawValue> {
    let bytes: Vec<u8> = packed
        .iter()
        // SAFETY: every bit pattern is a valid array of bytes.
        .flat_map(|value| unsafe { value.bytes })
        .collect();
    fields(types)
        .map(|field| {
            let mut slot = [0; 16];
            slot[..field.len()].copy_from_slice(&bytes[field]);
            RawValue { bytes: slot }
        })
        .collect()
}

fn pack(types: &[Type], values: &[RawValue]) -> Vec<RawValue> {
    let mut packed = vec![0; types.len() * size_of::<RawValue>()];
    for (field, value) in fields(types).zip(values) {
        // SAFETY: every bit pattern is a valid array of bytes.
        let bytes = unsafe { value.bytes };
        packed[field.clone()].copy_from_slice(&bytes[..field.len()]);
    }
    let (values, _) = packed.as_chunks();
    values
        .iter()
        .map(|bytes| RawValue { bytes: *bytes })
        .collect()
}

/// What [`allocate`] knows of an instance.
struct Hooked {
    exceptions: NonNull<Exceptions>,
    objects: NonNull<StoreObjects>,
    tags: BoxedSlice<TagIndex, InternalStoreHandle<VMTag>>,
}

thread_local! {
    /// By the address of the `VMContext`.
    static HOOKED: RefCell<HashMap<usize, Box<Hooked>>> = RefCell::default();
}

/// Puts [`allocate`] in the place of wasmer's function, for an instance that has tags.
///
/// # Safety
/// The instance, the store and the exceptions must keep their addresses until [`unhook`], and be
/// used by this thread only.
pub(super) unsafe fn hook(
    exceptions: &UnsafeCell<Exceptions>,
    objects: NonNull<StoreObjects>,
    instance: &VMInstance,
    tags: BoxedSlice<TagIndex, InternalStoreHandle<VMTag>>,
) {
    let vmctx = instance.vmctx_ptr();
    let index = VMBuiltinFunctionIndex::get_imported_alloc_exception_index();
    // SAFETY: `allocate` is what compiled code calls; no code of the instance runs yet.
    unsafe { libcall::replace(instance, index, allocate as *const ()) };
    let Some(exceptions) = NonNull::new(exceptions.get()) else {
        return;
    };
    // SAFETY: nothing else refers to the exceptions while an instance is made.
    unsafe { &mut *exceptions.as_ptr() }
        .hooked
        .push(vmctx as usize);
    let hooked = Box::new(Hooked {
        exceptions,
        objects,
        tags,
    });
    HOOKED.with_borrow_mut(|all| all.insert(vmctx as usize, hooked));
}

/// Which of these tags of the instance's module an exception has.
///
/// # Safety
/// Compiled code of the instance must be what calls.
#[cfg(direct_throw)]
pub(super) unsafe fn matching(vmctx: *mut VMContext, exnref: u32, tags: &[u32]) -> Option<u32> {
    let hooked =
        HOOKED.with_borrow(|all| all.get(&(vmctx as usize)).map(|it| ptr::from_ref(&**it)))?;
    // SAFETY: boxed, and there until `unhook`.
    let hooked = unsafe { &*hooked };
    // SAFETY: alive by `hook`'s promise; nothing changes the store meanwhile.
    let objects = unsafe { hooked.objects.as_ref() };
    let thrown = object(objects, exnref).tag();
    let mut tags = tags.iter().copied();
    tags.find(|tag| hooked.tags[TagIndex::new(*tag as usize)] == thrown)
}

/// The instances are about to be freed.
pub(super) fn unhook(exceptions: &mut Exceptions) {
    // Nothing is left to forget where the thread is ending.
    let _ = HOOKED.try_with(|all| {
        for vmctx in exceptions.hooked.drain(..) {
            all.borrow_mut().remove(&vmctx);
        }
    });
}

/// What compiled code calls for a `throw`: the exnref of an exception with this tag of its module.
unsafe extern "C-unwind" fn allocate(vmctx: *mut VMContext, tag: u32) -> u32 {
    // The map is not borrowed any more when a trap could leave this function.
    let hooked = HOOKED.with_borrow(|all| ptr::from_ref(&*all[&(vmctx as usize)]));
    // SAFETY: boxed, and there until `unhook`.
    let hooked = unsafe { &*hooked };
    // SAFETY: alive by `hook`'s promise; while compiled code runs nothing else refers to them.
    let exceptions = unsafe { &mut *hooked.exceptions.as_ptr() };
    // SAFETY: as above.
    let objects = unsafe { &mut *hooked.objects.as_ptr() };
    exceptions.allocate(objects, hooked.tags[TagIndex::new(tag as usize)])
}
