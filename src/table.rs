//! Tables of a link group.
//!
//! Elements are read and written by functions that each table has of its own, so that an access is one Node-API call
//! without arguments: the element is the arena's first value, its index the second.

use std::ffi::c_void;
use std::ptr;

use napi::sys;
use wasm_compile_cache_engine::module::{letter, type_of_letter};
use wasmer_types::{RawValue, TableType};

use super::calls::{self, Call, Exports};
use super::env::EnvState;
use super::group::GroupHandle;
use super::js::{self, Env, Result, Value};
use super::thrown::Thrown;

pub fn register(exports: &Exports) {
    exports.function("tableCreate", create);
    exports.function("tableSize", |call| {
        let group = call.native::<GroupHandle>(0)?.group.borrow();
        let table = group.table(call.address(1)?).ok_or_else(no_table)?;
        js::number(call.env, f64::from(table.size()))
    });
    exports.function("tableType", table_type);
    exports.function("tableGrow", |call| {
        let group = call.native::<GroupHandle>(0)?;
        let (id, delta) = (call.address(1)?, call.number(2)? as u32);
        // SAFETY: the arena's first value.
        let value = unsafe { call.state.arena().cast::<RawValue>().read() };
        // SAFETY: every bit pattern is a number.
        let raw = unsafe { value.externref };
        let previous = group.group.borrow_mut().table_grow(id, delta, raw);
        js::number(call.env, previous.map_or(-1.0, f64::from))
    });
    exports.function("tableReader", |call| accessor(call, "get", get));
    exports.function("tableWriter", |call| accessor(call, "set", set));
}

fn no_table() -> Thrown {
    Thrown::Internal("no such table in this group".to_owned())
}

fn create(call: &Call<'_>) -> Result<Value> {
    let group = call.native::<GroupHandle>(0)?;
    let element = type_of_letter(call.text(1)?.chars().next().unwrap_or(' '))
        .ok_or_else(|| Thrown::Internal("malformed type".to_owned()))?;
    let maximum = call.number(3)?;
    let maximum = (maximum >= 0.0).then_some(maximum as u32);
    let ty = TableType::new(element, call.number(2)? as u32, maximum);
    let id = group.group.borrow_mut().table_create(&ty);
    js::number(call.env, id.map_err(Thrown::Range)? as f64)
}

fn table_type(call: &Call<'_>) -> Result<Value> {
    let env = call.env;
    let group = call.native::<GroupHandle>(0)?.group.borrow();
    let table = group.table(call.address(1)?).ok_or_else(no_table)?;
    let object = js::object(env)?;
    let element = letter(table.ty().ty).to_string();
    js::set(env, object, "element", js::string(env, &element)?)?;
    let size = f64::from(table.size());
    js::set(env, object, "initial", js::number(env, size)?)?;
    if let Some(maximum) = group.table_maximum(call.address(1)?) {
        js::set(env, object, "maximum", js::number(env, f64::from(maximum))?)?;
    }
    Ok(object)
}

/// What a table's functions know.
pub struct TableEntry {
    state: *const EnvState,
    group: *const GroupHandle,
    id: usize,
}

fn accessor(call: &Call<'_>, name: &str, callback: js::Callback) -> Result<Value> {
    let group = call.native::<GroupHandle>(0)?;
    let entry = Box::new(TableEntry {
        state: call.state,
        group,
        id: call.address(1)?,
    });
    let data = ptr::from_ref(&*entry).cast_mut().cast::<c_void>();
    let function = js::raw_function(call.env, name, callback, data)?;
    group.keep_table(entry);
    Ok(function)
}

/// Reads an element.
unsafe extern "C" fn get(env: Env, info: sys::napi_callback_info) -> Value {
    access(env, info, |group, id, index, element| {
        if let Some(raw) = group.group.borrow().table_get(id, index) {
            *element = RawValue::default();
            element.externref = raw;
        }
        Ok(())
    })
}

/// Writes an element.
unsafe extern "C" fn set(env: Env, info: sys::napi_callback_info) -> Value {
    access(env, info, |group, id, index, element| {
        // SAFETY: every bit pattern is a number.
        let raw = unsafe { element.externref };
        let written = group.group.borrow_mut().table_set(id, index, raw);
        written.ok_or_else(|| Thrown::Internal("no element of this table".to_owned()))
    })
}

/// Puts the table's length in the place of the index; nothing else happens where that is out of bounds.
fn access(
    env: Env,
    info: sys::napi_callback_info,
    body: impl FnOnce(&GroupHandle, usize, u32, &mut RawValue) -> Result<()>,
) -> Value {
    let data = js::callback_data(env, info);
    // SAFETY: `accessor` passed an entry that lives as long as its group, which the caller's argument keeps alive.
    let entry = unsafe { &*data.cast::<TableEntry>() };
    // SAFETY: JavaScript runs, so the environment is alive.
    let state = unsafe { &*entry.state };
    // SAFETY: as above, for the group.
    let group = unsafe { &*entry.group };
    calls::guard(env, state, || {
        // SAFETY: the arena's first two values, which nobody else refers to.
        let [element, place] = unsafe { &mut *state.arena().cast::<[RawValue; 2]>() };
        // SAFETY: every bit pattern is a number.
        let index = unsafe { place.u32 };
        let table = group
            .group
            .borrow()
            .table(entry.id)
            .map(wasmer_vm::VMTable::size);
        let size = table.ok_or_else(no_table)?;
        place.u32 = size;
        if index < size {
            body(group, entry.id, index, element)?;
        }
        Ok(ptr::null_mut())
    })
}
