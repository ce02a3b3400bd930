//! Link groups, and what lives in them: instances, tables, globals, tags.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use wasm_compile_cache_engine::module::{ExternType, signature_text, type_of_letter};
use wasm_compile_cache_engine::runtime::{
    Callee, ExportValue, FunctionMeta, Group, Import, InFlight, InstantiateError, Outcome, Serial,
    UnitId, classify,
};
use wasmer_types::{FunctionType, RawValue};
use wasmer_vm::VMExceptionRef;

use super::calls::{Call, Exports};
use super::env::{EnvMutator, EnvState};
use super::function::{Adapter, FunctionEntry, signature_of};
use super::js::{self, Env, Native, Reference, Result, Value};
use super::memory::MemoryHandle;
use super::module::ModuleHandle;
use super::pending;
use super::thrown::{self, Thrown};

/// What JavaScript holds for a group; its finaliser frees the store.
pub struct GroupHandle {
    pub(super) group: RefCell<Group>,
    catches: Cell<bool>,
    /// The JavaScript object of the group, held weakly.
    owner: Reference,
    /// By unit. Freed after the store.
    units: RefCell<Vec<Option<UnitHandle>>>,
    /// The entries of its tables; they are freed after the store, with the wrappers.
    tables: RefCell<Vec<Box<dyn Any>>>,
}

/// What JavaScript has of a unit of the group.
struct UnitHandle {
    /// Its object, held weakly.
    object: Reference,
    /// The entries of its exported functions, which the object outlives.
    #[expect(clippy::vec_box, reason = "the functions hold the addresses")]
    entries: Vec<Box<FunctionEntry>>,
    bytes: i64,
}

impl UnitHandle {
    /// The collector, which sees the object only, learns of its `bytes`.
    fn new(env: Env, object: Value, bytes: i64) -> Result<Self> {
        let object = Reference::new(env, object, 0)?;
        js::adjust_external_memory(env, bytes);
        Ok(Self {
            object,
            entries: Vec::new(),
            bytes,
        })
    }
}

impl Drop for UnitHandle {
    fn drop(&mut self) {
        js::adjust_external_memory(self.object.env(), -self.bytes);
    }
}

/// What an instance takes, with the code of a small module of its own: measured, 50 to 75 kB.
const INSTANCE_BYTES: i64 = 64 << 10;

/// What a host function takes with its adapter.
const HOST_BYTES: i64 = 1 << 10;

impl Native for GroupHandle {
    const TAG: u64 = u64::from_be_bytes(*b"wcc:grp ");
}

impl GroupHandle {
    /// Keeps an exported function's entry with the unit it belongs to.
    pub fn keep(&self, entry: Box<FunctionEntry>) -> Result<()> {
        let mut units = self.units.borrow_mut();
        let unit = units.get_mut(entry.unit()).and_then(Option::as_mut);
        unit.ok_or_else(no_unit)?.entries.push(entry);
        Ok(())
    }

    fn add_unit(&self, unit: UnitId, handle: UnitHandle) {
        let mut units = self.units.borrow_mut();
        if units.len() <= unit {
            units.resize_with(unit + 1, || None);
        }
        units[unit] = Some(handle);
    }

    /// The JavaScript object of a unit; `None` if it was collected.
    fn unit_object(&self, unit: UnitId) -> Option<Value> {
        let units = self.units.borrow();
        units.get(unit)?.as_ref()?.object.get().ok()
    }

    /// The unit of a function of the group.
    pub fn unit_of(&self, address: usize) -> Result<UnitId> {
        self.group.borrow().unit_of(address).ok_or_else(no_unit)
    }

    /// A function of a unit that was loose is called.
    #[cold]
    pub fn hold(&self, env: Env, state: &EnvState, unit: UnitId) -> Result<()> {
        let hold = state.hold_unit().ok_or(Thrown::Pending)?.get()?;
        let object = self.unit_object(unit).ok_or_else(no_unit)?;
        js::call(env, hold, &[self.owner.get()?, object])?;
        Ok(())
    }

    fn sweep(&self, env: Env) -> Result<Value> {
        let sweep = self
            .group
            .borrow_mut()
            .sweep(|unit| self.unit_object(unit).is_some());
        {
            let mut units = self.units.borrow_mut();
            for unit in &sweep.freed {
                units[*unit] = None;
            }
            for unit in &sweep.loose {
                if let Some(unit) = &units[*unit] {
                    unit.entries.iter().for_each(|entry| entry.loosen());
                }
            }
        }
        // Whose object is gone while something on the stack looks like it is there for that alone.
        let objects = |units: Vec<UnitId>| -> Vec<Value> {
            let found = units.into_iter().filter_map(|unit| self.unit_object(unit));
            found.collect()
        };
        let result = js::object(env)?;
        js::set(
            env,
            result,
            "held",
            js::array(env, objects(sweep.held), Ok)?,
        )?;
        js::set(
            env,
            result,
            "loose",
            js::array(env, objects(sweep.loose), Ok)?,
        )?;
        let contents = sweep.contents.into_iter();
        let contents = contents.filter_map(|(unit, others)| {
            let unit = self.unit_object(unit)?;
            Some((unit, objects(others)))
        });
        let contents = js::array(env, contents, |(unit, others)| {
            let pair = [unit, js::array(env, others, Ok)?];
            js::array(env, pair, Ok)
        })?;
        js::set(env, result, "contents", contents)?;
        Ok(result)
    }

    /// Keeps a table's entry.
    pub fn keep_table(&self, entry: Box<dyn Any>) {
        self.tables.borrow_mut().push(entry);
    }

    /// What is known of a function of the group.
    pub fn function(&self, address: usize) -> Result<FunctionMeta> {
        self.group
            .borrow()
            .function(address)
            .ok_or_else(|| Thrown::Internal("no function of this group".to_owned()))
    }

    /// Throws an exception that left the group's code, as JavaScript sees it.
    pub fn throw(&self, env: Env, state: &EnvState, exception: &VMExceptionRef) -> Thrown {
        let value = self.convert(env, state, exception);
        value.map_or_else(|thrown| thrown, |value| pending::throw_value(env, value))
    }

    fn convert(&self, env: Env, state: &EnvState, exception: &VMExceptionRef) -> Result<Value> {
        let (serial, tag, payload) = self.group.borrow_mut().exception(exception);
        // SAFETY: at most 1,000 values (a module limit), which the arena holds.
        unsafe {
            std::ptr::copy_nonoverlapping(payload.as_ptr(), state.arena().cast(), payload.len());
        }
        let convert = state.exception_from_wasm().ok_or(Thrown::Pending)?.get()?;
        let arguments = [
            self.owner.get()?,
            js::number(env, serial as f64)?,
            js::number(env, tag as f64)?,
        ];
        js::call(env, convert, &arguments)
    }

    /// Whether code of the group has handlers, which see what its imports throw.
    pub fn catches(&self) -> bool {
        self.catches.get()
    }

    /// Calls an import of the group; what it threw, as the group's handlers see it. What they do
    /// not see stays pending. JavaScript does the catching, because it does not catch that a script
    /// is terminated, and Node-API cannot tell that from `throw null`.
    pub fn call_import(
        &self,
        env: Env,
        state: &EnvState,
        adapter: Value,
    ) -> Result<Option<InFlight>> {
        let guarded = state.call_import().ok_or(Thrown::Pending)?.get()?;
        let arguments = [self.owner.get()?, adapter];
        let mut thrown = std::ptr::null_mut();
        // SAFETY: live values; an arrow function ignores the receiver.
        js::check(unsafe {
            napi::sys::napi_call_function(
                env,
                guarded,
                guarded,
                arguments.len(),
                arguments.as_ptr(),
                &mut thrown,
            )
        })?;
        let serial = js::number_of(env, thrown)? as Serial;
        if serial == 0 {
            return Ok(None);
        }
        let found = self.group.borrow_mut().exception_in_flight(serial);
        found
            .map(Some)
            .ok_or_else(|| Thrown::Internal("no such exception".to_owned()))
    }

    /// Throws the error of a trap, made by the group's own copy of the package, in its realm.
    /// `words` is `None` for a stack overflow; `traced` says whether code of the group failed.
    pub fn fault(&self, env: Env, state: &EnvState, words: Option<&str>, traced: bool) -> Thrown {
        let error = self.fault_error(env, state, words, traced);
        error.map_or_else(|thrown| thrown, |error| pending::throw_value(env, error))
    }

    fn fault_error(
        &self,
        env: Env,
        state: &EnvState,
        words: Option<&str>,
        traced: bool,
    ) -> Result<Value> {
        let make = state.fault().ok_or(Thrown::Pending)?.get()?;
        let words = words.map_or_else(|| js::undefined(env), |words| js::string(env, words))?;
        let arguments = [self.owner.get()?, words, js::boolean(env, traced)?];
        let error = js::call(env, make, &arguments)?;
        pending::mark_trap(env, error)?;
        Ok(error)
    }

    /// An import's exception leaves the group's code: an error gets the frames of that code into
    /// its stack. Stays pending.
    pub fn pass(&self, env: Env, state: &EnvState) -> Thrown {
        match pending::take_exception(env) {
            Ok(Some(exception)) => {
                if self.add_frames(env, state, exception).is_err() {
                    pending::clear_exception(env);
                }
                pending::throw_value(env, exception)
            }
            Ok(None) => Thrown::Pending,
            Err(thrown) => thrown,
        }
    }

    fn add_frames(&self, env: Env, state: &EnvState, exception: Value) -> Result<()> {
        if pending::is_error(env, exception)? {
            let pass = state.pass().ok_or(Thrown::Pending)?.get()?;
            js::call(env, pass, &[self.owner.get()?, exception])?;
        }
        Ok(())
    }

    /// Makes a host function; the address of its anyfunc.
    pub fn host_function(
        &self,
        ty: &FunctionType,
        callee: Box<dyn Callee>,
        object: Value,
    ) -> Result<usize> {
        let handle = UnitHandle::new(self.owner.env(), object, HOST_BYTES)?;
        let made = self.group.borrow_mut().host_function(ty, callee);
        let (unit, address) = made.map_err(Thrown::Type)?;
        self.add_unit(unit, handle);
        Ok(address)
    }

    /// Which import of its instance a function is, if it is a host function.
    pub fn import_index(&self, address: usize) -> Option<u32> {
        self.group.borrow().import_index(address)
    }
}

pub fn register(exports: &Exports) {
    exports.function("groupNew", |call| {
        let mutator = Arc::new(EnvMutator(Arc::clone(&call.state.shared)));
        let handle = GroupHandle {
            group: RefCell::new(Group::new(mutator)),
            catches: Cell::new(false),
            owner: Reference::new(call.env, call.argument(0), 0)?,
            units: RefCell::default(),
            tables: RefCell::default(),
        };
        js::external(call.env, handle)
    });
    exports.function("instantiate", instantiate);
    exports.function("unitOf", |call| {
        let group = call.native::<GroupHandle>(0)?;
        let unit = group.unit_of(call.address(1)?)?;
        group.unit_object(unit).ok_or_else(no_unit)
    });
    exports.function("sweepUnits", |call| {
        let group = call.native::<GroupHandle>(0)?;
        group.sweep(call.env)
    });
    exports.function("inspect", inspect);
    exports.function("markReferences", |call| {
        let group = call.native::<GroupHandle>(0)?;
        let (marks, length) = js::bytes_of(call.env, call.argument(1))?;
        // SAFETY: the array's bytes, which nobody else uses while this function runs.
        let marks = unsafe { std::slice::from_raw_parts_mut(marks, length) };
        // A module limit: a signature has no more values.
        let pending = call.address(2)?.min(1000);
        // SAFETY: the arena has room for the values of any signature.
        let pending = unsafe { std::slice::from_raw_parts(call.state.arena().cast(), pending) };
        let seen = group.group.borrow_mut().mark_references(pending, marks);
        js::number(call.env, seen as f64)
    });
    exports.function("globalCreate", |call| {
        let group = call.native::<GroupHandle>(0)?;
        let ty = type_of_letter(call.text(1)?.chars().next().unwrap_or(' '))
            .ok_or_else(|| Thrown::Internal("malformed type".to_owned()))?;
        let address = group.group.borrow_mut().global_create(ty);
        js::number(call.env, address as f64)
    });
    exports.function("globalGet", |call| {
        let group = call.native::<GroupHandle>(0)?.group.borrow();
        let value = group.global_get(call.address(1)?).ok_or_else(no_global)?;
        // SAFETY: the arena's first slot is a RawValue.
        unsafe { call.state.arena().cast::<RawValue>().write(value) };
        js::undefined(call.env)
    });
    exports.function("globalSet", |call| {
        let mut group = call.native::<GroupHandle>(0)?.group.borrow_mut();
        // SAFETY: the arena's first slot is a RawValue.
        let value = unsafe { call.state.arena().cast::<RawValue>().read() };
        let set = group.global_set(call.address(1)?, value);
        set.ok_or_else(no_global)?;
        js::undefined(call.env)
    });
    exports.function("tagSignature", |call| {
        let group = call.native::<GroupHandle>(0)?.group.borrow();
        let ty = group.tag(call.address(1)?);
        let ty = ty.ok_or_else(|| Thrown::Internal("no such tag".to_owned()))?;
        js::string(call.env, &signature_text(ty))
    });
    exports.function("tagCreate", |call| {
        let group = call.native::<GroupHandle>(0)?;
        let ty = signature_of(&call.text(1)?)?;
        let id = group.group.borrow_mut().tag_create(ty);
        js::number(call.env, id as f64)
    });
    exports.function("exceptionCreate", |call| {
        let group = call.native::<GroupHandle>(0)?;
        let tag = call.address(1)?;
        let mut group = group.group.borrow_mut();
        let count = group.tag(tag).map_or(0, |ty| ty.params().len());
        // SAFETY: the arena has room for the parameters of any tag (a module limit).
        let payload = unsafe { std::slice::from_raw_parts(call.state.arena().cast(), count) };
        let serial = group.exception_create(tag, payload);
        let serial = serial.ok_or_else(|| Thrown::Internal("no such tag".to_owned()))?;
        js::number(call.env, serial as f64)
    });
    exports.function("isTrap", |call| {
        js::boolean(call.env, pending::is_trap(call.env, call.argument(0))?)
    });
    exports.function("exceptionPin", |call| {
        let group = call.native::<GroupHandle>(0)?;
        let (serial, pinned) = (call.number(1)? as Serial, call.flag(2)?);
        group.group.borrow_mut().exception_pin(serial, pinned);
        js::undefined(call.env)
    });
    exports.function("exceptionIsLive", |call| {
        let group = call.native::<GroupHandle>(0)?;
        let serial = call.number(1)? as Serial;
        let found = group.group.borrow_mut().exception_in_flight(serial);
        js::boolean(call.env, found.is_some())
    });
    exports.function("exceptionLimit", |call| {
        let group = call.native::<GroupHandle>(0)?;
        let limit = group.group.borrow_mut().exception_limit();
        js::number(call.env, limit as f64)
    });
    exports.function("liveExceptions", |call| {
        let group = call.native::<GroupHandle>(0)?;
        let live = group.group.borrow_mut().live_exceptions();
        js::array(call.env, live, |serial| js::number(call.env, serial as f64))
    });
}

fn no_unit() -> Thrown {
    Thrown::Internal("nothing of this group".to_owned())
}

fn no_global() -> Thrown {
    Thrown::Internal("no such global, or not of this value".to_owned())
}

fn instantiate(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let module = &call.native::<ModuleHandle>(0)?.0;
    let group = call.native::<GroupHandle>(1)?;
    let values = js::elements(env, call.argument(2))?;
    let mut imports = Vec::with_capacity(values.len());
    for (value, import) in values.into_iter().zip(module.declaration.imports()) {
        imports.push(match import.ty {
            ExternType::Function(ty) => {
                if js::kind(env, value)? == napi::sys::ValueType::napi_number {
                    Import::Anyfunc(js::number_of(env, value)? as usize)
                } else {
                    let (params, results) = (ty.params().len(), ty.results().len());
                    let adapter = Adapter::new(env, call.state, group, value, params, results)?;
                    Import::Function(Box::new(adapter))
                }
            }
            ExternType::Memory(_) => {
                Import::Memory(Arc::clone(&js::native_of::<MemoryHandle>(env, value)?.0))
            }
            ExternType::Table(_) => Import::Table(js::number_of(env, value)? as usize),
            ExternType::Global(_) => Import::Global(js::number_of(env, value)? as usize),
            ExternType::Tag(_) => Import::Tag(js::number_of(env, value)? as usize),
        });
    }
    let memories = js::elements(env, call.argument(3))?
        .into_iter()
        .map(|value| Ok(Arc::clone(&js::native_of::<MemoryHandle>(env, value)?.0)))
        .collect::<Result<Vec<_>>>()?;
    // V8 has the numbers in its message since 12.
    let detailed = call.number(4)? >= 12.0;
    let handle = UnitHandle::new(env, call.argument(5), INSTANCE_BYTES)?;
    let made = |unit| group.add_unit(unit, handle);
    let instantiated = group
        .group
        .borrow_mut()
        .instantiate(module, imports, memories, made);
    // Also where a segment trapped: the instance stays.
    group.catches.set(group.group.borrow().catches());
    let instantiated = instantiated.map_err(|error| match error {
        InstantiateError::Link(error) => Thrown::Link(error),
        InstantiateError::Size(text) => Thrown::Range(text),
        InstantiateError::Segment(segment) if detailed => Thrown::Runtime(segment.to_string()),
        InstantiateError::Segment(_) => Thrown::Runtime("data segment is out of bounds".to_owned()),
        // No code ran: an element segment. As V8's, its error is that of no trap.
        InstantiateError::Trap(trap) => match classify(&trap, || None) {
            Outcome::Trap(words) => Thrown::Runtime(words.to_owned()),
            _ => Thrown::Range(thrown::STACK_IS_FULL.to_owned()),
        },
    })?;
    call.state.crossings.instances.add();
    let result = js::object(env)?;
    let exports = js::array(env, instantiated.exports, |export| {
        let (ExportValue::Function(number)
        | ExportValue::Table(number)
        | ExportValue::Memory(number)
        | ExportValue::Global(number)
        | ExportValue::Tag(number)) = export;
        js::number(env, number as f64)
    })?;
    js::set(env, result, "exports", exports)?;
    for (name, address) in [
        ("from", instantiated.slots.start),
        ("to", instantiated.slots.end),
        ("start", instantiated.start.unwrap_or(0)),
    ] {
        js::set(env, result, name, js::number(env, address as f64)?)?;
    }
    Ok(result)
}

fn inspect(call: &Call<'_>) -> Result<Value> {
    let group = call.native::<GroupHandle>(0)?;
    let (instances, slots, optimized) = group.group.borrow().inspect();
    let object = js::object(call.env)?;
    for (name, count) in [
        ("instances", instances),
        ("slots", slots),
        ("optimizedSlots", optimized),
    ] {
        js::set(call.env, object, name, js::number(call.env, count as f64)?)?;
    }
    Ok(object)
}
