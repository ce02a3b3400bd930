//! Link groups: instances that share one store, because they share tables, tags or functions.
//!
//! wasmer's `StoreObjects` only grows, so what is freed together lives in one store, and a group
//! is dropped as a whole when the last JavaScript wrapper of anything in it is gone.
//!
//! Invariant: a group is used by one thread. Everything in it that another thread may write (the
//! slots) is registered with its module and unregistered in [`Group::drop`], before it is freed.

use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmer_types::entity::EntityRef;
use wasmer_types::{
    ExportIndex, FunctionType, GlobalIndex, LocalFunctionIndex, RawValue, TableStyle, TableType,
    TagKind, Type,
};
use wasmer_vm::{
    InternalStoreHandle, MaybeInstanceOwned, StoreObjects, TableElement, VMCallerCheckedAnyfunc,
    VMExceptionRef, VMExtern, VMExternRef, VMFuncRef, VMGlobalDefinition, VMInstance, VMTable,
    VMTag,
};

use super::exception::{self, CATCHES, Exceptions, InFlight, Serial};
use super::host::{Callee, HostFunction};
use super::interrupt::Library;
use super::libcall;
use super::reference::References;
use super::tunables::limited;
use crate::tier::{Kit, Loaded, Module, Mutator, Slots};

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

/// An instance of the group.
pub(super) struct Member {
    pub(super) module: Arc<Module>,
    pub(super) id: u64,
    pub(super) slots: Slots,
    pub(super) instance: InternalStoreHandle<VMInstance>,
    /// Keeps the instance's trampolines mapped.
    pub(super) _trampolines: Arc<Loaded>,
}

/// A table that JavaScript knows.
struct KnownTable {
    handle: InternalStoreHandle<VMTable>,
    declared: Option<u32>,
}

/// See the module head.
pub struct Group {
    pub(super) objects: Box<StoreObjects>,
    pub(super) members: Vec<Member>,
    pub(super) libraries: Vec<Library>,
    #[expect(clippy::vec_box, reason = "compiled code holds the addresses")]
    pub(super) hosts: Vec<Box<HostFunction>>,
    pub(super) host_functions: HashMap<usize, FunctionMeta>,
    pub(super) mutator: Arc<dyn Mutator>,
    tables: Vec<KnownTable>,
    pub(super) tags: Vec<InternalStoreHandle<VMTag>>,
    #[expect(
        clippy::vec_box,
        reason = "instances and JavaScript hold the addresses"
    )]
    globals: Vec<Box<UnsafeCell<VMGlobalDefinition>>>,
    pub(super) references: References,
    kits: Vec<Arc<Kit>>,
    /// Boxed: the allocation function of compiled code holds the address.
    pub(super) exceptions: Box<UnsafeCell<Exceptions>>,
    /// Its instances for [`libcall::unhook`].
    pub(super) hooked: Vec<usize>,
    #[expect(clippy::vec_box, reason = "tables hold the addresses")]
    owned_anyfuncs: Vec<Box<UnsafeCell<VMCallerCheckedAnyfunc>>>,
}

impl Drop for Group {
    fn drop(&mut self) {
        for member in &self.members {
            member.module.detach(member.id);
        }
        libcall::unhook(&self.hooked);
        exception::unhook(self.exceptions.get_mut());
        self.libraries.clear();
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
            members: Vec::new(),
            libraries: Vec::new(),
            hosts: Vec::new(),
            host_functions: HashMap::new(),
            mutator,
            tables: Vec::new(),
            tags: Vec::new(),
            globals: Vec::new(),
            references: References::default(),
            kits: Vec::new(),
            exceptions: Box::default(),
            hooked: Vec::new(),
            owned_anyfuncs: Vec::new(),
        }
    }

    /// Which member's local function has its slot at this address.
    pub(super) fn member_of(&self, address: usize) -> Option<(&Member, u32)> {
        self.members.iter().rev().find_map(|member| {
            let offset = address.checked_sub(member.slots.base as usize)?;
            let local = offset / size_of::<VMCallerCheckedAnyfunc>();
            let own = local < member.slots.count
                && offset.is_multiple_of(size_of::<VMCallerCheckedAnyfunc>());
            own.then_some((member, local as u32))
        })
    }

    /// What is known of the function whose anyfunc has this address; `None` if it is none of the
    /// group's.
    pub fn function(&self, address: usize) -> Option<FunctionMeta> {
        if let Some((member, local)) = self.member_of(address) {
            let info = &member.module.declaration.info;
            let index = info.func_index(LocalFunctionIndex::new(local as usize));
            return Some(FunctionMeta {
                ty: info.signatures[info.functions[index]].clone(),
                index: index.as_u32(),
            });
        }
        self.host_functions.get(&address).cloned()
    }

    /// Makes a host function that tables and globals of the group can hold.
    ///
    /// # Errors
    /// The signature cannot be compiled.
    pub fn host_function(
        &mut self,
        ty: &FunctionType,
        callee: Box<dyn Callee>,
    ) -> Result<usize, String> {
        let kit = crate::tier::kit(ty).map_err(|error| error.to_string())?;
        let mut host = HostFunction::new(callee);
        let anyfunc = Box::new(UnsafeCell::new(VMCallerCheckedAnyfunc {
            func_ptr: kit.dynamic_trampoline(),
            type_signature_hash: kit.signature(),
            vmctx: host.context(),
            call_trampoline: kit.call_trampoline(),
        }));
        let address = anyfunc.get() as usize;
        self.hosts.push(host);
        self.owned_anyfuncs.push(anyfunc);
        self.kits.push(kit);
        self.host_functions.insert(
            address,
            FunctionMeta {
                ty: ty.clone(),
                index: 0,
            },
        );
        Ok(address)
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
        self.globals.push(definition);
        self.watch_global(ty, NonNull::new(address).unwrap_or(NonNull::dangling()));
        address as usize
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
        CATCHES
            && self
                .members
                .iter()
                .any(|member| member.module.declaration.catches)
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

    /// The exceptions among those JavaScript was told that something of WebAssembly may hold.
    pub fn live_exceptions(&mut self) -> Vec<Serial> {
        self.exceptions.get_mut().live(&self.objects)
    }

    pub(super) fn global_address(
        &mut self,
        instance: InternalStoreHandle<VMInstance>,
        index: GlobalIndex,
    ) -> NonNull<VMGlobalDefinition> {
        let instance = instance.get_mut(&mut self.objects);
        match instance.lookup_by_declaration(ExportIndex::Global(index)) {
            VMExtern::Global(handle) => handle.get(&self.objects).vmglobal(),
            _ => unreachable!("a global's declaration is a global"),
        }
    }

    /// Instances, their slots, and how many slots hold optimized bodies.
    pub fn inspect(&self) -> (usize, usize, usize) {
        let mut slots = 0;
        let mut optimized = 0;
        for member in &self.members {
            let (count, swapped) = member.module.inspect(member.id);
            slots += count;
            optimized += swapped;
        }
        (self.members.len(), slots, optimized)
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

fn raw_externref(reference: VMExternRef) -> RawReference {
    // SAFETY: reads the field that `into_raw` wrote; both are the word itself.
    unsafe { reference.into_raw().externref }
}
