//! Instantiation (JS API, "instantiate the core of a WebAssembly module"; core, 4.5.4).

use std::cell::UnsafeCell;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use wasmer_compiler::{Tunables, resolve_imports};
use wasmer_types::entity::{EntityRef, PrimaryMap};
use wasmer_types::{
    ExportIndex, FunctionIndex, LocalFunctionIndex, LocalTableIndex, MemoryStyle, TableStyle,
    TableType, TagIndex, TagKind, Type,
};
use wasmer_vm::{
    InstanceAllocator, InternalStoreHandle, StoreObject, TableElement, Trap,
    VMCallerCheckedAnyfunc, VMConfig, VMExtern, VMFuncRef, VMFunction, VMFunctionContext,
    VMInstance, VMTag,
};

use super::active::OutOfBounds;
use super::exception;
use super::group::{Group, global_address};
use super::host::HostFunction;
use super::imports::{Externs, Import};
use super::interrupt::Library;
use super::libcall;
use super::member::{Anyfuncs, Member, Part, Unit, UnitId};
use super::memory::MemoryState;
#[cfg(direct_throw)]
use super::throw;
use super::tunables::InstanceTunables;
use super::vacant::Holdings;
use crate::error::LinkError;
use crate::limits::MAX_TABLE_ENTRIES;
use crate::tier::{Code, LiveInstance, Loaded, Module, Slots};

/// One export, in the module's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportValue {
    /// Address of the anyfunc.
    Function(usize),
    /// Table id.
    Table(usize),
    /// Memory index.
    Memory(usize),
    /// Address of the definition.
    Global(usize),
    /// Tag id.
    Tag(usize),
}

/// Why an instance was not made.
#[derive(Debug)]
pub enum InstantiateError {
    /// An import does not fit.
    Link(LinkError),
    /// A table is larger than the limit.
    Size(String),
    /// An active data segment is out of bounds.
    Segment(OutOfBounds),
    /// An active element segment trapped.
    Trap(Trap),
}

impl From<LinkError> for InstantiateError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

fn incompatible(text: impl ToString) -> InstantiateError {
    LinkError::incompatible(text).into()
}

/// An instance that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instantiated {
    /// The instance among the units of its group.
    pub unit: UnitId,
    /// In the module's order.
    pub exports: Vec<ExportValue>,
    /// The address of the start function's anyfunc.
    pub start: Option<usize>,
    /// The addresses of the anyfuncs of its own functions.
    pub slots: std::ops::Range<usize>,
}

/// A new instance, before it is initialised.
struct Made {
    instance: VMInstance,
    slots: Slots,
    trampolines: Arc<[Arc<Loaded>]>,
    adapters: Box<[UnsafeCell<VMCallerCheckedAnyfunc>]>,
    functions: Vec<InternalStoreHandle<VMFunction>>,
    holdings: Holdings,
    #[expect(clippy::vec_box, reason = "compiled code holds the addresses")]
    hosts: Vec<Box<HostFunction>>,
    hooked: Option<usize>,
}

impl Group {
    /// Instantiates `module` into the group and runs its active segments, but not its start
    /// function. `memories` are those it defines itself. `made` gets the instance before its
    /// segments run: where one of them is out of bounds, it stays, as the specification says, because
    /// earlier ones may have published it.
    ///
    /// # Errors
    /// An import that does not fit, or a segment that is out of bounds.
    pub fn instantiate(
        &mut self,
        module: &Arc<Module>,
        imports: Vec<Import>,
        memories: Vec<Arc<MemoryState>>,
        made: impl FnOnce(UnitId),
    ) -> Result<Instantiated, InstantiateError> {
        if memories.len() != module.declaration.defined_memories().count() {
            return Err(incompatible("a memory that the module defines is missing"));
        }
        check_sizes(&module.declaration.tables)?;
        let segments = module.declaration.segments();
        let segments = segments.map_err(|error| incompatible(format!("data segments: {error}")))?;
        let mut imports = Some(imports);
        let mut memories = Some(memories);
        let (id, new) = module.registered.attach(|code| {
            let made = self.make(
                module,
                code,
                imports.take().unwrap_or_default(),
                memories.take().unwrap_or_default(),
            )?;
            let live = LiveInstance {
                slots: made.slots,
                adapters: Slots {
                    base: made
                        .adapters
                        .first()
                        .map_or(ptr::null_mut(), UnsafeCell::get),
                    count: made.adapters.len(),
                },
                mutator: Arc::clone(&self.mutator),
                dependents: Vec::new(),
            };
            Ok::<_, InstantiateError>((made, live))
        })?;
        let Made {
            mut instance,
            slots,
            trampolines,
            adapters,
            functions,
            holdings,
            hosts,
            hooked,
        } = new;

        self.depend(&instance, &functions);
        let unit = self.reserve_unit();
        let imported = self.map_functions(unit, slots, &functions);
        made(unit);
        let library = Library::of(&instance);
        let elements = module.declaration.elements();
        let initialized = self
            .initialize_tables(&mut instance, elements, slots, &functions)
            .and_then(|()| initialize(&mut instance))
            .map_err(InstantiateError::Trap)
            .and_then(|()| {
                let done = self.initialize_memories(&mut instance, &segments);
                done.map_err(InstantiateError::Segment)
            });
        self.watch(module, &mut instance);
        let exports = self.exports(module, &mut instance, slots, &functions);
        let start = module.declaration.start.map(|index| {
            let index = FunctionIndex::from_u32(index);
            self.function_address(module, index, slots, &functions)
        });
        let member = Member {
            module: Arc::clone(module),
            id,
            instance,
            holdings,
            hosts,
            hooked,
            library,
            trampolines,
            _adapters: adapters,
        };
        self.units[unit] = Some(Unit {
            part: Part::Instance(Box::new(member)),
            starts: imported.starts,
            imports: imported.units,
            pinned: is_pinned(module),
        });
        initialized?;
        let start_of_slots = slots.base as usize;
        Ok(Instantiated {
            unit,
            exports,
            start,
            slots: start_of_slots
                ..start_of_slots + slots.count * size_of::<VMCallerCheckedAnyfunc>(),
        })
    }

    /// Its own globals and tables may hold exceptions and references; those it imports are watched.
    fn watch(&mut self, module: &Module, instance: &mut VMInstance) {
        let info = &module.declaration.info;
        for (index, ty) in info.globals.iter().skip(info.num_imported_globals) {
            if matches!(ty.ty, Type::ExceptionRef | Type::ExternRef) {
                let global = global_address(&self.objects, instance, index);
                self.watch_global(ty.ty, global);
            }
        }
        for (index, ty) in info.tables.iter().skip(info.num_imported_tables) {
            if ty.ty != Type::ExternRef {
                continue;
            }
            if let VMExtern::Table(table) =
                instance.lookup_by_declaration(ExportIndex::Table(index))
            {
                self.references.watch_table(table);
            }
        }
    }

    /// Makes known whose the functions are that an instance defines and imports.
    fn map_functions(
        &mut self,
        unit: UnitId,
        slots: Slots,
        functions: &[InternalStoreHandle<VMFunction>],
    ) -> Imported {
        let mut imported = Imported::default();
        self.map_region(slots.base as usize, slots.count, unit, Anyfuncs::Slots);
        imported.starts.push(slots.base as usize);
        for (index, handle) in functions.iter().enumerate() {
            let address = self.anyfunc_of(*handle).as_ptr() as usize;
            match self.unit_of(address) {
                Some(other) => imported.units.push(other),
                None => {
                    let what = Anyfuncs::Import(FunctionIndex::new(index));
                    self.map_region(address, 1, unit, what);
                    imported.starts.push(address);
                }
            }
        }
        imported
    }

    fn make(
        &mut self,
        module: &Arc<Module>,
        code: &Arc<Code>,
        imports: Vec<Import>,
        memories: Vec<Arc<MemoryState>>,
    ) -> Result<Made, InstantiateError> {
        let info = &code.info;
        let Externs {
            all: externs,
            mut holdings,
            hosts,
        } = self.externs(code, imports)?;
        let memory_styles = info.memories.values().map(|_| MemoryStyle::Static);
        let memory_styles: PrimaryMap<_, _> = memory_styles.collect();
        let table_styles = info.tables.values();
        let table_styles: PrimaryMap<_, _> = table_styles
            .map(|_| TableStyle::CallerChecksSignature)
            .collect();

        let tags = self.tags(code, &externs)?;
        let own_tags = tags.clone();
        let resolved = resolve_imports(
            info,
            &externs,
            &mut self.objects,
            &code.dynamic_trampolines,
            &memory_styles,
            &table_styles,
        )
        .map_err(incompatible)?;

        let tables = &module.declaration.tables[info.num_imported_tables..];
        let hidden = LocalTableIndex::new(tables.len());
        let tunables = InstanceTunables::new(memories, tables, code.hidden_entries);
        let (allocator, memory_at, table_at, global_at) = InstanceAllocator::new(info);
        // SAFETY: the locations belong to the allocation that the instance is made in.
        let mut memories = unsafe {
            tunables.create_memories(&mut self.objects, info, &memory_styles, &memory_at)
        }
        .map_err(incompatible)?;
        // SAFETY: as above.
        let mut tables =
            unsafe { tunables.create_tables(&mut self.objects, info, &table_styles, &table_at) }
                .map_err(incompatible)?;
        let mut globals = tunables
            .create_globals(&mut self.objects, info, &global_at)
            .map_err(incompatible)?;
        let vacancies = &mut self.vacancies;
        vacancies
            .memories
            .give_places(&mut self.objects, &mut memories);
        vacancies.tables.give_places(&mut self.objects, &mut tables);
        vacancies
            .globals
            .give_places(&mut self.objects, &mut globals);
        holdings.memories.extend(memories.values());
        holdings.tables.extend(tables.values());
        holdings.globals.extend(globals.values());

        // SAFETY: every part was made for this declaration, the store outlives the instance
        // (it owns it), and memories and tables are initialised.
        let instance = unsafe {
            VMInstance::new(
                allocator,
                Arc::clone(info),
                &mut self.objects,
                code.bodies.all(),
                code.call_trampolines.clone(),
                memories.into_boxed_slice(),
                tables.into_boxed_slice(),
                globals.into_boxed_slice(),
                tags,
                resolved,
                code.signatures.clone(),
            )
        };
        let mut instance = instance.map_err(InstantiateError::Trap)?;
        let hooked = libcall::hook(&instance, info);
        #[cfg(direct_throw)]
        throw::hook(&instance);
        if !own_tags.is_empty() {
            let objects = NonNull::from(&mut *self.objects);
            // SAFETY: the group owns all of them, boxed, and `Group::drop` unhooks.
            unsafe { exception::hook(&self.exceptions, objects, &instance, own_tags) };
        }
        let slots = self.slots_of(&mut instance, code);
        if code.hidden_entries > 0 {
            let table = instance.get_local_table(hidden);
            for local in 0..slots.count {
                // SAFETY: below the slots' count.
                let slot = NonNull::new(unsafe { slots.base.add(local) });
                let entry = TableElement::FuncRef(slot.map(VMFuncRef));
                table
                    .set(local as u32, entry)
                    .map_err(InstantiateError::Trap)?;
            }
        }
        let adapters = adapters(&instance, code);
        if !adapters.is_empty() {
            let table = instance.get_local_table(hidden);
            for (entry, adapter) in (slots.count as u32..).zip(&adapters) {
                let adapter = TableElement::FuncRef(NonNull::new(adapter.get()).map(VMFuncRef));
                table.set(entry, adapter).map_err(InstantiateError::Trap)?;
            }
        }
        let functions = externs
            .iter()
            .filter_map(|external| match external {
                VMExtern::Function(handle) => Some(*handle),
                _ => None,
            })
            .collect();
        Ok(Made {
            instance,
            slots,
            trampolines: Arc::clone(&code.trampolines),
            adapters,
            functions,
            holdings,
            hosts,
            hooked,
        })
    }

    /// The anyfuncs of an instance's own functions lie one behind the other.
    ///
    /// Looking a function up writes to the store behind the instance's back, so no reference to the
    /// store may be held meanwhile.
    fn slots_of(&mut self, instance: &mut VMInstance, code: &Code) -> Slots {
        let count = code.bodies.len();
        let mut base = std::ptr::null_mut();
        if count > 0 {
            let first = code.info.func_index(LocalFunctionIndex::new(0));
            let found = instance.lookup_by_declaration(ExportIndex::Function(first));
            if let VMExtern::Function(handle) = found {
                base = self.anyfunc_of(handle).as_ptr();
                // It is behind the others now, where nobody needs it.
                VMFunction::list_mut(&mut self.objects).pop();
            }
        }
        Slots { base, count }
    }

    /// Imported tags, then new ones: a tag is generative (core, 4.5.3.5).
    fn tags(
        &mut self,
        code: &Code,
        externs: &[VMExtern],
    ) -> Result<
        wasmer_types::entity::BoxedSlice<TagIndex, InternalStoreHandle<VMTag>>,
        InstantiateError,
    > {
        let info = &code.info;
        let mut tags = PrimaryMap::with_capacity(info.tags.len());
        for external in externs {
            if let VMExtern::Tag(handle) = external {
                let expected = &info.signatures[info.tags[TagIndex::new(tags.len())]];
                if handle.get(&self.objects).signature != *expected {
                    return Err(incompatible(
                        "imported tag does not match the expected type",
                    ));
                }
                tags.push(*handle);
            }
        }
        for (_, signature) in info.tags.iter().skip(tags.len()) {
            let tag = VMTag::new(TagKind::Exception, info.signatures[*signature].clone());
            tags.push(InternalStoreHandle::new(&mut self.objects, tag));
        }
        Ok(tags.into_boxed_slice())
    }

    /// Import records that hold a body of another instance follow its swaps.
    fn depend(&self, instance: &VMInstance, functions: &[InternalStoreHandle<VMFunction>]) {
        let offsets = instance.vmoffsets();
        for (index, handle) in functions.iter().enumerate() {
            let address = self.anyfunc_of(*handle).as_ptr() as usize;
            let Some((member, local)) = self.member_of(address) else {
                continue;
            };
            let offset = offsets.vmctx_vmfunction_import_body(FunctionIndex::new(index));
            // SAFETY: the record lies in the instance's `VMContext`.
            let record = unsafe { instance.vmctx_ptr().cast::<u8>().add(offset as usize) };
            // SAFETY: both instances live in this group; `Group::free` and `Group::drop` detach the one whose body it
            // is, or say that the record is gone, before the memory is freed.
            unsafe {
                member
                    .module
                    .registered
                    .depend(member.id, local, record.cast())
            };
        }
    }

    fn function_address(
        &self,
        module: &Module,
        index: FunctionIndex,
        slots: Slots,
        functions: &[InternalStoreHandle<VMFunction>],
    ) -> usize {
        match module.declaration.info.local_func_index(index) {
            // SAFETY: below the slots' count, because the module was validated.
            Some(local) => unsafe { slots.base.add(local.index()) as usize },
            None => self.anyfunc_of(functions[index.index()]).as_ptr() as usize,
        }
    }

    fn exports(
        &mut self,
        module: &Module,
        instance: &mut VMInstance,
        slots: Slots,
        functions: &[InternalStoreHandle<VMFunction>],
    ) -> Vec<ExportValue> {
        let info = &module.declaration.info;
        let mut exports = Vec::with_capacity(info.exports.len());
        for index in info.exports.values() {
            exports.push(match *index {
                ExportIndex::Function(index) => {
                    ExportValue::Function(self.function_address(module, index, slots, functions))
                }
                ExportIndex::Memory(index) => ExportValue::Memory(index.index()),
                ExportIndex::Global(index) => {
                    let definition = global_address(&self.objects, instance, index);
                    let info = &module.declaration.info;
                    // Whose definition an imported one is, knows it.
                    if info.local_global_index(index).is_some() {
                        self.known_globals.add(definition, info.globals[index].ty);
                    }
                    ExportValue::Global(definition.as_ptr() as usize)
                }
                declaration => match instance.lookup_by_declaration(declaration) {
                    VMExtern::Table(handle) => {
                        let declared = match declaration {
                            ExportIndex::Table(index) => module.declaration.table(index).maximum,
                            _ => None,
                        };
                        ExportValue::Table(self.table_id(handle, declared))
                    }
                    VMExtern::Tag(handle) => ExportValue::Tag(self.tag_id(handle)),
                    _ => unreachable!("tables and tags are what is left"),
                },
            });
        }
        exports
    }
}

/// The anyfuncs of an instance's adapters.
fn adapters(instance: &VMInstance, code: &Code) -> Box<[UnsafeCell<VMCallerCheckedAnyfunc>]> {
    // Adapters are to types, which have trampolines. Nothing of the host calls one.
    let Some(call_trampoline) = code.call_trampolines.values().next().copied() else {
        return Box::default();
    };
    let signatures = (0..).zip(&code.adapter_signatures);
    let adapters = signatures.map(|(number, signature)| {
        UnsafeCell::new(VMCallerCheckedAnyfunc {
            func_ptr: code.adapters.get(number).0,
            type_signature_hash: *signature,
            vmctx: VMFunctionContext {
                vmctx: instance.vmctx_ptr(),
            },
            call_trampoline,
        })
    });
    adapters.collect()
}

/// Whose functions an instance imports.
#[derive(Default)]
struct Imported {
    /// Where the regions begin that are its own.
    starts: Vec<usize>,
    units: Vec<UnitId>,
}

/// Whether instances stay for as long as their group: JavaScript, other instances or exceptions may have state of theirs.
fn is_pinned(module: &Module) -> bool {
    let info = &module.declaration.info;
    let exports_state = info.exports.values().any(|export| match *export {
        ExportIndex::Table(index) => info.local_table_index(index).is_some(),
        ExportIndex::Global(index) => info.local_global_index(index).is_some(),
        _ => false,
    });
    let holds_exceptions = info.globals.values().any(|ty| ty.ty == Type::ExceptionRef);
    exports_state || holds_exceptions || !info.tags.is_empty()
}

/// V8's limit (`kV8MaxWasmTableSize`), in the words and with the class of its error.
fn check_sizes(tables: &[TableType]) -> Result<(), InstantiateError> {
    match tables.iter().find(|ty| ty.minimum > MAX_TABLE_ENTRIES) {
        Some(ty) => Err(InstantiateError::Size(format!(
            "initial table size ({} elements) is larger than implementation limit \
             ({MAX_TABLE_ENTRIES} elements)",
            ty.minimum
        ))),
        None => Ok(()),
    }
}

/// The active segments that wasmer knows: those of elements.
fn initialize(instance: &mut VMInstance) -> Result<(), Trap> {
    let config = VMConfig {
        wasm_stack_size: None,
    };
    // SAFETY: the instance was just made. The lowered module has no start function, so nothing
    // runs here.
    unsafe { instance.finish_instantiation(&config, None, &[]) }
}
