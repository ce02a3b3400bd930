//! Link groups: instances that share one store, because they share tables, tags or functions.
//!
//! A group is dropped as a whole when the last JavaScript wrapper of anything in it is gone. What comes and goes before
//! that is in `unit.rs`.
//!
//! Invariant: a group is used by one thread. Everything in it that another thread may write (the
//! slots) is registered with its module and unregistered in [`Group::drop`], before it is freed.

use std::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmer_types::{
    ExportIndex, FunctionType, GlobalIndex, RawValue, TableStyle, TableType, TagKind, Type,
};
use wasmer_vm::{
    InternalStoreHandle, MaybeInstanceOwned, StoreObjects, TableElement, VMCallerCheckedAnyfunc,
    VMExceptionRef, VMExtern, VMExternRef, VMFuncRef, VMGlobalDefinition, VMInstance, VMTable,
    VMTag,
};

use super::callee::Callee;
use super::exception::{self, Exceptions, Serial};
use super::globals::{KnownGlobals, global_at};
use super::host::HostFunction;
use super::libcall;
use super::member::{Anyfuncs, Host, Part, Region, Retired, Unit, UnitId};
use super::reference::References;
use super::tunables::limited;
use super::unwind::{self, InFlight};
use super::vacant::Vacancies;
use crate::tier::Mutator;

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// How many groups are alive in the process.
pub fn live_groups() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// What is known of a function by its anyfunc's address.
#[derive(Clone, Debug)]
pub struct FunctionMeta {
    /// Its type.
    pub ty: FunctionType,
    /// Its index in its module, which is its name in JavaScript.
    pub index: u32,
}

/// A global that JavaScript made.
struct HostGlobal {
    ty: Type,
    definition: Box<UnsafeCell<VMGlobalDefinition>>,
}

/// A table that JavaScript knows.
struct KnownTable {
    handle: InternalStoreHandle<VMTable>,
    declared: Option<u32>,
}

/// See the module head.
///
/// The store is dropped before the instances, which lengths of memories are written into.
pub struct Group {
    pub(super) objects: Box<StoreObjects>,
    pub(super) units: Vec<Option<Unit>>,
    pub(super) vacant_units: Vec<UnitId>,
    /// By the address of the first.
    pub(super) regions: BTreeMap<usize, Region>,
    pub(super) vacancies: Vacancies,
    pub(super) retired: Vec<Retired>,
    pub(super) mutator: Arc<dyn Mutator>,
    tables: Vec<KnownTable>,
    pub(super) tags: Vec<InternalStoreHandle<VMTag>>,
    globals: Vec<HostGlobal>,
    pub(super) known_globals: KnownGlobals,
    pub(super) references: References,
    /// Boxed: the allocation function of compiled code holds the address.
    pub(super) exceptions: Box<UnsafeCell<Exceptions>>,
}

impl Drop for Group {
    fn drop(&mut self) {
        for member in self.members() {
            member.module.registered.detach(member.id);
        }
        let hooked: Vec<_> = self.members().filter_map(|member| member.hooked).collect();
        libcall::unhook(hooked);
        exception::unhook(self.exceptions.get_mut());
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A reference as JavaScript sees it: the address of an anyfunc, or an externref (see `reference`); 0 for null.
pub type RawReference = usize;

impl Group {
    /// An empty group of the given thread.
    pub fn new(mutator: Arc<dyn Mutator>) -> Self {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Self {
            objects: Box::default(),
            units: Vec::new(),
            vacant_units: Vec::new(),
            regions: BTreeMap::new(),
            vacancies: Vacancies::default(),
            retired: Vec::new(),
            mutator,
            tables: Vec::new(),
            tags: Vec::new(),
            globals: Vec::new(),
            known_globals: KnownGlobals::default(),
            references: References::default(),
            exceptions: Box::default(),
        }
    }

    /// Makes a host function that tables and globals of the group can hold; the address of its anyfunc.
    ///
    /// # Errors
    /// The signature cannot be compiled.
    pub fn host_function(
        &mut self,
        ty: &FunctionType,
        callee: Box<dyn Callee>,
    ) -> Result<(UnitId, usize), String> {
        let kit = crate::tier::kit(ty).map_err(|error| error.to_string())?;
        let mut function = HostFunction::new(callee);
        let anyfunc = Box::new(UnsafeCell::new(VMCallerCheckedAnyfunc {
            func_ptr: kit.dynamic_trampoline(),
            type_signature_hash: kit.signature(),
            vmctx: function.context(),
            call_trampoline: kit.call_trampoline(),
        }));
        let address = anyfunc.get() as usize;
        let id = self.reserve_unit();
        self.map_region(address, 1, id, Anyfuncs::Host);
        self.units[id] = Some(Unit {
            part: Part::Host(Host {
                ty: ty.clone(),
                _anyfunc: anyfunc,
                function,
                _kit: kit,
            }),
            starts: vec![address],
            imports: Vec::new(),
            pinned: false,
        });
        Ok((id, address))
    }

    /// A table that JavaScript made; its id.
    ///
    /// # Errors
    /// Limits that wasmer refuses.
    pub fn table_create(&mut self, ty: &TableType) -> Result<usize, String> {
        let table = VMTable::new(&limited(ty), &TableStyle::CallerChecksSignature)?;
        let handle = InternalStoreHandle::new(&mut self.objects, table);
        if ty.ty == Type::ExternRef {
            self.references.watch_table(handle);
        }
        Ok(self.table_id(handle, ty.maximum))
    }

    pub(super) fn table_id(
        &mut self,
        handle: InternalStoreHandle<VMTable>,
        declared: Option<u32>,
    ) -> usize {
        let known = self.tables.iter().position(|known| known.handle == handle);
        known.unwrap_or_else(|| {
            self.tables.push(KnownTable { handle, declared });
            self.tables.len() - 1
        })
    }

    /// The maximum that a table declares; the engine's limit may be below it.
    pub fn table_maximum(&self, id: usize) -> Option<u32> {
        self.tables.get(id)?.declared
    }

    pub(super) fn table_handle(&self, id: usize) -> Option<InternalStoreHandle<VMTable>> {
        Some(self.tables.get(id)?.handle)
    }

    pub(super) fn table_count(&self) -> usize {
        self.tables.len()
    }

    /// The values of the globals of one type that JavaScript made.
    pub(super) fn host_globals(&self, ty: Type) -> impl Iterator<Item = RawValue> {
        let own = self.globals.iter().filter(move |own| own.ty == ty);
        // SAFETY: owned by the group and used by its thread only.
        own.map(|global| unsafe { global.definition.get().read() }.val)
    }

    /// The table with this id.
    pub fn table(&self, id: usize) -> Option<&VMTable> {
        Some(self.table_handle(id)?.get(&self.objects))
    }

    fn element(&self, id: usize, raw: RawReference) -> Option<TableElement> {
        Some(match self.table(id)?.ty().ty {
            Type::ExternRef => {
                // SAFETY: an externref is a word of ours, which wasmer never follows.
                let reference = unsafe { VMExternRef::from_raw(RawValue { externref: raw }) };
                TableElement::ExternRef(reference)
            }
            _ => {
                let anyfunc = NonNull::new(raw as *mut VMCallerCheckedAnyfunc);
                // Only functions of this group may be stored: others could be freed earlier.
                if raw != 0 {
                    self.function(raw)?;
                }
                TableElement::FuncRef(anyfunc.map(VMFuncRef))
            }
        })
    }

    /// An element; `None` if there is no such table or index.
    pub fn table_get(&self, id: usize, index: u32) -> Option<RawReference> {
        Some(match self.table(id)?.get(index)? {
            TableElement::ExternRef(reference) => reference.map_or(0, raw_externref),
            TableElement::FuncRef(reference) => {
                reference.map_or(0, |reference| reference.0.as_ptr() as usize)
            }
        })
    }

    /// Sets an element; `None` if there is no such table or index, or the reference is not one of
    /// the group's.
    pub fn table_set(&mut self, id: usize, index: u32, raw: RawReference) -> Option<()> {
        let element = self.element(id, raw)?;
        let handle = self.table_handle(id)?;
        handle.get_mut(&mut self.objects).set(index, element).ok()
    }

    /// Grows a table; the previous size, or `None` if refused.
    pub fn table_grow(&mut self, id: usize, delta: u32, raw: RawReference) -> Option<u32> {
        let element = self.element(id, raw)?;
        let handle = self.table_handle(id)?;
        handle.get_mut(&mut self.objects).grow(delta, element)
    }

    /// A global that JavaScript made; the address of its definition.
    pub fn global_create(&mut self, ty: Type) -> usize {
        let definition = Box::new(UnsafeCell::new(VMGlobalDefinition::new()));
        let address = definition.get();
        self.globals.push(HostGlobal { ty, definition });
        let definition = NonNull::new(address).unwrap_or(NonNull::dangling());
        self.watch_global(ty, definition);
        self.known_globals.add(definition, ty);
        address as usize
    }

    /// The value of the global at an address; `None` if there is none.
    pub fn global_get(&self, address: usize) -> Option<RawValue> {
        let (definition, _) = global_at(address)?;
        // SAFETY: alive, and used by this thread only.
        Some(unsafe { definition.read() }.val)
    }

    /// Sets the global at an address; `None` if there is none, or it cannot hold the value.
    pub fn global_set(&mut self, address: usize, value: RawValue) -> Option<()> {
        let (definition, ty) = global_at(address)?;
        // SAFETY: every bit pattern is a number.
        let function = unsafe { value.funcref };
        // Only functions of this group may be stored: others could be freed earlier.
        if ty == Type::FuncRef && function != 0 {
            self.function(function)?;
        }
        // SAFETY: alive, and used by this thread only.
        unsafe { (*definition.as_ptr()).val = value };
        Some(())
    }

    /// The collectors of exceptions and of references look at it, if it can hold one.
    pub(super) fn watch_global(&mut self, ty: Type, definition: NonNull<VMGlobalDefinition>) {
        match ty {
            Type::ExceptionRef => self.exceptions.get_mut().watch(definition),
            Type::ExternRef => self.references.watch_global(definition),
            _ => {}
        }
    }

    /// A tag that JavaScript made; its id.
    pub fn tag_create(&mut self, ty: FunctionType) -> usize {
        let tag = VMTag::new(TagKind::Exception, ty);
        let handle = InternalStoreHandle::new(&mut self.objects, tag);
        self.tag_id(handle)
    }

    pub(super) fn tag_id(&mut self, handle: InternalStoreHandle<VMTag>) -> usize {
        if let Some(id) = self.tags.iter().position(|known| *known == handle) {
            return id;
        }
        self.tags.push(handle);
        self.tags.len() - 1
    }

    /// The signature of a tag.
    pub fn tag(&self, id: usize) -> Option<&FunctionType> {
        Some(&self.tags.get(id)?.get(&self.objects).signature)
    }

    /// Whether code of the group has handlers, so that what its imports throw is of interest to it.
    pub fn catches(&self) -> bool {
        self.members()
            .any(|member| member.module.declaration.catches)
            && unwind::works()
    }

    /// Makes an exception with this payload, one slot a value; `None` if there is no such tag.
    pub fn exception_create(&mut self, tag: usize, payload: &[RawValue]) -> Option<Serial> {
        let tag = *self.tags.get(tag)?;
        let exceptions = self.exceptions.get_mut();
        Some(exceptions.create(&mut self.objects, tag, payload))
    }

    /// The number, the tag's id and the payload of an exception that left the group's code.
    pub fn exception(&mut self, exception: &VMExceptionRef) -> (Serial, usize, Vec<RawValue>) {
        let exceptions = self.exceptions.get_mut();
        let (serial, tag, payload) = exceptions.left(&self.objects, exception);
        (serial, self.tag_id(tag), payload)
    }

    /// The exception, if the group still has one with this number.
    pub fn exception_in_flight(&mut self, serial: Serial) -> Option<InFlight> {
        self.exceptions.get_mut().find(&self.objects, serial)
    }

    /// Keeps an exception although only JavaScript holds it, or does not any more.
    pub fn exception_pin(&mut self, serial: Serial, pinned: bool) {
        self.exceptions.get_mut().pin(serial, pinned);
    }

    /// How many of its exceptions JavaScript may know before it pays to ask for those that are live.
    pub fn exception_limit(&mut self) -> usize {
        self.exceptions.get_mut().limit()
    }

    /// Of the exceptions that JavaScript has been given, those that something of WebAssembly may hold.
    pub fn live_exceptions(&mut self) -> Vec<Serial> {
        self.exceptions.get_mut().live(&self.objects)
    }

    /// Sets the mark of every index of an externref that WebAssembly may hold; `pending` is what is on its way there. How
    /// many words were looked at.
    pub fn mark_references(&mut self, pending: &[RawValue], marks: &mut [u8]) -> usize {
        let exceptions = self.exceptions.get_mut();
        self.references
            .mark(&self.objects, exceptions, pending, marks)
    }

    /// Instances, their slots, and how many slots hold optimized bodies.
    pub fn inspect(&self) -> (usize, usize, usize) {
        let mut instances = 0;
        let mut slots = 0;
        let mut optimized = 0;
        for member in self.members() {
            let (count, swapped) = member.module.registered.inspect(member.id);
            instances += 1;
            slots += count;
            optimized += swapped;
        }
        (instances, slots, optimized)
    }

    pub(super) fn anyfunc_of(
        &self,
        handle: InternalStoreHandle<wasmer_vm::VMFunction>,
    ) -> NonNull<VMCallerCheckedAnyfunc> {
        let function = handle.get(&self.objects);
        match &function.anyfunc {
            MaybeInstanceOwned::Host(own) => NonNull::new(own.get()).unwrap_or(NonNull::dangling()),
            MaybeInstanceOwned::Instance(anyfunc) => *anyfunc,
        }
    }
}

/// Where the definition of an instance's global lies.
pub(super) fn global_address(
    objects: &StoreObjects,
    instance: &mut VMInstance,
    index: GlobalIndex,
) -> NonNull<VMGlobalDefinition> {
    match instance.lookup_by_declaration(ExportIndex::Global(index)) {
        VMExtern::Global(handle) => handle.get(objects).vmglobal(),
        _ => unreachable!("a global's declaration is a global"),
    }
}

fn raw_externref(reference: VMExternRef) -> RawReference {
    // SAFETY: reads the field that `into_raw` wrote; both are the word itself.
    unsafe { reference.into_raw().externref }
}
