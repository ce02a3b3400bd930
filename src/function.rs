//! Calls in both directions: the hot paths.
//!
//! Arguments and results pass through the arena, a buffer that both sides write, so that a call
//! costs one Node-API crossing and no conversions.

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use napi::sys;
use wasm_compile_cache_engine::module::{signature_text, type_of_letter};
use wasm_compile_cache_engine::panics;
use wasm_compile_cache_engine::runtime::{self, Callee, Outcome, Raised, UnitId};
use wasmer_types::RawValue;
use wasmer_vm::{Trap, VMCallerCheckedAnyfunc};

use super::calls::{Call, Exports};
use super::env::{EnvState, FAILED};
use super::errors;
use super::group::GroupHandle;
use super::js::{self, Env, Reference, Result, Value};
use super::thrown::Thrown;

const _: () = assert!(
    size_of::<RawValue>() == 16,
    "the arena's slots are RawValues"
);

const _: () = assert!(
    FAILED >= 1000 * size_of::<RawValue>(),
    "a module limit: at most 1,000 parameters and 1,000 results"
);

/// What an exported function's `call` knows.
pub struct FunctionEntry {
    anyfunc: NonNull<VMCallerCheckedAnyfunc>,
    state: *const EnvState,
    group: *const GroupHandle,
    unit: UnitId,
    loose: Cell<bool>,
}

impl FunctionEntry {
    /// The function's unit.
    pub fn unit(&self) -> UnitId {
        self.unit
    }

    /// The unit is there for as long as JavaScript has its object; what calls it says so.
    pub fn loosen(&self) {
        self.loose.set(true);
    }
}

/// An imported function: an adapter closure that reads and writes the arena.
pub struct Adapter {
    env: Env,
    state: *const EnvState,
    /// Whose code calls it; owns the adapter.
    group: *const GroupHandle,
    /// Weak: the adapter is kept by its group's JavaScript object, so that a cycle through the
    /// program's function stays visible to the collector.
    function: Reference,
    /// The function's handle and the activation it was made in.
    handle: Cell<(u64, Value)>,
    params: usize,
    results: usize,
}

impl Adapter {
    pub fn new(
        env: Env,
        state: *const EnvState,
        group: *const GroupHandle,
        function: Value,
        params: usize,
        results: usize,
    ) -> Result<Self> {
        Ok(Self {
            env,
            state,
            group,
            function: Reference::new(env, function, 0)?,
            handle: Cell::new((0, ptr::null_mut())),
            params,
            results,
        })
    }
}

impl Callee for Adapter {
    unsafe fn call(&self, values: *mut RawValue) -> std::result::Result<(), Raised> {
        // SAFETY: JavaScript runs on this thread, so the environment is alive.
        let state = unsafe { &*self.state };
        let arena = state.arena().cast::<RawValue>();
        // SAFETY: at most 1,000 parameters (a module limit), which the arena holds.
        unsafe { ptr::copy_nonoverlapping(values, arena, self.params) };
        let _outside = state.leave_for_host();
        state.crossings.imports.add();
        // SAFETY: one of its functions is running.
        let group = unsafe { &*self.group };
        let entered = if group.catches() {
            self.enter_guarded(state, group)
        } else {
            self.enter(state).map_err(|_| Raised::Pending)
        };
        entered.inspect_err(|_| state.crossings.exceptions.add())?;
        // SAFETY: as above, for the results.
        unsafe { ptr::copy_nonoverlapping(arena, values, self.results) };
        Ok(())
    }
}

impl Adapter {
    fn enter(&self, state: &EnvState) -> Result<()> {
        let function = self.function(state)?;
        // SAFETY: live values; no arguments, and no result is wanted. The receiver is ignored by
        // an arrow function.
        js::check(unsafe {
            sys::napi_call_function(
                self.env,
                function,
                function,
                0,
                ptr::null(),
                ptr::null_mut(),
            )
        })
    }

    /// The same where the group's handlers have to see what is thrown.
    fn enter_guarded(
        &self,
        state: &EnvState,
        group: &GroupHandle,
    ) -> std::result::Result<(), Raised> {
        let called = self
            .function(state)
            .and_then(|function| group.call_import(self.env, state, function));
        match called {
            Ok(None) => Ok(()),
            Ok(Some(exception)) => Err(exception.raise()),
            Err(_) => Err(Raised::Pending),
        }
    }

    #[inline]
    fn function(&self, state: &EnvState) -> Result<Value> {
        let epoch = state.open_activation()?;
        let (made_in, mut function) = self.handle.get();
        if made_in != epoch {
            function = self.function.get()?;
            self.handle.set((epoch, function));
        }
        Ok(function)
    }
}

pub fn register(exports: &Exports) {
    exports.function("functionCreate", create);
    exports.function("functionSignature", signature);
    exports.function("functionKind", kind);
    exports.function("functionImport", import);
    exports.function("hostFunctionCreate", create_host);
}

fn create(call: &Call<'_>) -> Result<Value> {
    let group = call.native::<GroupHandle>(0)?;
    let address = call.address(1)?;
    group.function(address)?;
    let anyfunc = NonNull::new(address as *mut VMCallerCheckedAnyfunc)
        .ok_or_else(|| Thrown::Internal("a null function".to_owned()))?;
    let entry = Box::new(FunctionEntry {
        anyfunc,
        state: call.state,
        group,
        unit: group.unit_of(address)?,
        loose: Cell::new(call.flag(2)?),
    });
    let data = ptr::from_ref(&*entry).cast_mut().cast::<c_void>();
    let function = js::raw_function(call.env, "call", invoke, data)?;
    group.keep(entry)?;
    Ok(function)
}

fn signature(call: &Call<'_>) -> Result<Value> {
    let group = call.native::<GroupHandle>(0)?;
    let meta = group.function(call.address(1)?)?;
    js::string(call.env, &signature_text(&meta.ty))
}

/// More than a module has functions.
const INDICES: u32 = 1 << 21;

/// The number of a function's signature, times [`INDICES`], and its index.
fn kind(call: &Call<'_>) -> Result<Value> {
    let group = call.native::<GroupHandle>(0)?;
    let meta = group.function(call.address(1)?)?;
    let mut signatures = call.state.signatures.borrow_mut();
    let next = signatures.len();
    let number = *signatures.entry(meta.ty).or_insert(next);
    let number = number as f64 * f64::from(INDICES);
    js::number(call.env, number + f64::from(meta.index))
}

fn import(call: &Call<'_>) -> Result<Value> {
    let group = call.native::<GroupHandle>(0)?;
    let index = group.import_index(call.address(1)?);
    js::number(call.env, index.map_or(-1.0, f64::from))
}

fn create_host(call: &Call<'_>) -> Result<Value> {
    let group = call.native::<GroupHandle>(0)?;
    let ty = signature_of(&call.text(1)?)?;
    let adapter = Adapter::new(
        call.env,
        call.state,
        group,
        call.argument(2),
        ty.params().len(),
        ty.results().len(),
    )?;
    let address = group.host_function(&ty, Box::new(adapter), call.argument(3))?;
    call.state.crossings.functions.add();
    js::number(call.env, address as f64)
}

/// The type that a signature's text stands for.
pub fn signature_of(text: &str) -> Result<wasmer_types::FunctionType> {
    let malformed = || Thrown::Internal(format!("malformed signature '{text}'"));
    let (params, results) = text.split_once(':').ok_or_else(malformed)?;
    let types = |letters: &str| {
        letters
            .chars()
            .map(type_of_letter)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(malformed)
    };
    Ok(wasmer_types::FunctionType::new(
        types(params)?,
        types(results)?,
    ))
}

/// An exported function is called.
unsafe extern "C" fn invoke(env: Env, info: sys::napi_callback_info) -> Value {
    let data = js::callback_data(env, info);
    // SAFETY: `create` passed an entry that lives as long as its group, which the JavaScript
    // wrapper of this function keeps alive.
    let entry = unsafe { &*data.cast::<FunctionEntry>() };
    // SAFETY: JavaScript runs, so the environment is alive.
    let state = unsafe { &*entry.state };
    let outcome = catch_unwind(AssertUnwindSafe(|| run(entry, state)));
    state.say_failed(!matches!(outcome, Ok(Ok(()))));
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(thrown)) => errors::throw(env, state, thrown),
        // wasmer panics where it gets no memory for another stack.
        Err(_) => {
            // Its event says why.
            let _ = panics::caught("a call");
            // SAFETY: the wrapper that was called keeps its group alive.
            let group = unsafe { &*entry.group };
            errors::throw(env, state, group.fault(env, state, None, false));
        }
    }
    ptr::null_mut()
}

fn run(entry: &FunctionEntry, state: &EnvState) -> Result<()> {
    if entry.loose.get() {
        // SAFETY: the wrapper that was called keeps its group alive.
        unsafe { &*entry.group }.hold(state.env, state, entry.unit)?;
        entry.loose.set(false);
    }
    state.crossings.calls.add();
    let activation = state.begin_activation();
    // The arena itself is the value array: the call trampolines read all arguments before they
    // enter the function and write the results after it returned, so that nested calls may use it.
    // SAFETY: the group keeps the anyfunc alive; the arena has room for any signature.
    let outcome = unsafe { runtime::call(entry.anyfunc, state.arena().cast(), state.thread) };
    drop(activation);
    outcome.map_err(|trap| fail(entry, state, &trap))
}

/// What a call that failed throws. Not in its caller's frame, of which there are as many as calls in turns.
#[cold]
#[inline(never)]
fn fail(entry: &FunctionEntry, state: &EnvState, trap: &Trap) -> Thrown {
    state.crossings.exceptions.add();
    let outcome = runtime::classify(trap, || state.thread.failed_site());
    // SAFETY: the wrapper that was called keeps its group alive.
    let group = unsafe { &*entry.group };
    match outcome {
        Outcome::Exception(exception) => group.throw(state.env, state, &exception),
        Outcome::Interrupted => Thrown::Pending,
        Outcome::Raised => group.pass(state.env, state),
        Outcome::StackOverflow => group.fault(state.env, state, None, true),
        Outcome::Trap(words) => group.fault(state.env, state, Some(words), true),
        Outcome::NotCompiled(words) => group.fault(state.env, state, Some(&words), true),
    }
}
