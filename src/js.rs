//! A thin, typed layer over raw Node-API.
//!
//! Every helper takes the environment that called us; handles live until the callback returns.

use std::cell::RefCell;
use std::ffi::{CString, c_void};
use std::ptr;
use std::slice;

use napi::sys;
use wasm_compile_cache_engine::address::AddressMap;
use wasm_compile_cache_engine::panics;

use super::thrown::Thrown;

pub type Env = sys::napi_env;
pub type Value = sys::napi_value;

pub type Result<T> = std::result::Result<T, Thrown>;

/// Turns a status into a result. A failed call leaves its exception pending, or (wrong type of an
/// argument) none: then the caller's own code is at fault.
pub fn check(status: sys::napi_status) -> Result<()> {
    match status {
        sys::Status::napi_ok => Ok(()),
        sys::Status::napi_pending_exception => Err(Thrown::Pending),
        other => Err(Thrown::Internal(format!(
            "Node-API refused a call (status {other})"
        ))),
    }
}

pub type Callback = unsafe extern "C" fn(Env, sys::napi_callback_info) -> Value;

/// What [`raw_function`] was given for the function that is called.
#[inline]
pub fn callback_data(env: Env, info: sys::napi_callback_info) -> *mut c_void {
    let mut data = ptr::null_mut();
    // SAFETY: asks for the data only.
    unsafe {
        sys::napi_get_cb_info(
            env,
            info,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &mut data,
        );
    }
    data
}

/// A function object over a raw callback.
pub fn raw_function(env: Env, name: &str, callback: Callback, data: *mut c_void) -> Result<Value> {
    let mut function = ptr::null_mut();
    // SAFETY: `name` is readable for its length, `function` writable.
    check(unsafe {
        sys::napi_create_function(
            env,
            name.as_ptr().cast(),
            name.len() as isize,
            Some(callback),
            data,
            &mut function,
        )
    })?;
    Ok(function)
}

pub fn undefined(env: Env) -> Result<Value> {
    let mut value = ptr::null_mut();
    // SAFETY: `value` is writable.
    check(unsafe { sys::napi_get_undefined(env, &mut value) })?;
    Ok(value)
}

pub fn null(env: Env) -> Result<Value> {
    let mut value = ptr::null_mut();
    // SAFETY: `value` is writable.
    check(unsafe { sys::napi_get_null(env, &mut value) })?;
    Ok(value)
}

pub fn boolean(env: Env, flag: bool) -> Result<Value> {
    let mut value = ptr::null_mut();
    // SAFETY: `value` is writable.
    check(unsafe { sys::napi_get_boolean(env, flag, &mut value) })?;
    Ok(value)
}

pub fn number(env: Env, number: f64) -> Result<Value> {
    let mut value = ptr::null_mut();
    // SAFETY: `value` is writable.
    check(unsafe { sys::napi_create_double(env, number, &mut value) })?;
    Ok(value)
}

pub fn string(env: Env, text: &str) -> Result<Value> {
    let mut value = ptr::null_mut();
    // SAFETY: `text` is readable for its length.
    check(unsafe {
        sys::napi_create_string_utf8(env, text.as_ptr().cast(), text.len() as isize, &mut value)
    })?;
    Ok(value)
}

pub fn object(env: Env) -> Result<Value> {
    let mut value = ptr::null_mut();
    // SAFETY: `value` is writable.
    check(unsafe { sys::napi_create_object(env, &mut value) })?;
    Ok(value)
}

/// An array of the values that `items` makes.
pub fn array<T>(
    env: Env,
    items: impl IntoIterator<Item = T>,
    mut make: impl FnMut(T) -> Result<Value>,
) -> Result<Value> {
    let mut array = ptr::null_mut();
    // SAFETY: `array` is writable.
    check(unsafe { sys::napi_create_array(env, &mut array) })?;
    for (index, item) in items.into_iter().enumerate() {
        let value = make(item)?;
        // SAFETY: live values.
        check(unsafe { sys::napi_set_element(env, array, index as u32, value) })?;
    }
    Ok(array)
}

/// The elements of an array.
pub fn elements(env: Env, array: Value) -> Result<Vec<Value>> {
    let mut length = 0;
    // SAFETY: a live value; Node-API checks that it is an array.
    check(unsafe { sys::napi_get_array_length(env, array, &mut length) })?;
    (0..length)
        .map(|index| {
            let mut value = ptr::null_mut();
            // SAFETY: a live array.
            check(unsafe { sys::napi_get_element(env, array, index, &mut value) })?;
            Ok(value)
        })
        .collect()
}

pub fn set(env: Env, object: Value, name: &str, value: Value) -> Result<()> {
    let name = CString::new(name).map_err(|_| Thrown::Internal("a NUL".to_owned()))?;
    // SAFETY: live values and a NUL-terminated name.
    check(unsafe { sys::napi_set_named_property(env, object, name.as_ptr(), value) })
}

pub fn get(env: Env, object: Value, name: &str) -> Result<Value> {
    let name = CString::new(name).map_err(|_| Thrown::Internal("a NUL".to_owned()))?;
    let mut value = ptr::null_mut();
    // SAFETY: live values and a NUL-terminated name.
    check(unsafe { sys::napi_get_named_property(env, object, name.as_ptr(), &mut value) })?;
    Ok(value)
}

pub fn kind(env: Env, value: Value) -> Result<sys::napi_valuetype> {
    let mut kind = 0;
    // SAFETY: a live value.
    check(unsafe { sys::napi_typeof(env, value, &mut kind) })?;
    Ok(kind)
}

pub fn number_of(env: Env, value: Value) -> Result<f64> {
    let mut number = 0.0;
    // SAFETY: a live value; Node-API checks its type.
    check(unsafe { sys::napi_get_value_double(env, value, &mut number) })?;
    Ok(number)
}

pub fn flag_of(env: Env, value: Value) -> Result<bool> {
    let mut flag = false;
    // SAFETY: a live value; Node-API checks its type.
    check(unsafe { sys::napi_get_value_bool(env, value, &mut flag) })?;
    Ok(flag)
}

/// The same of what may be missing.
pub fn has_flag(env: Env, value: Value) -> Result<bool> {
    Ok(kind(env, value)? != sys::ValueType::napi_undefined && flag_of(env, value)?)
}

/// The text of a string; none where it has a lone surrogate, for which UTF-8 has no form.
///
/// Invariant: strings that differ have texts that differ. (Node-API's own conversion makes U+FFFD of every lone
/// surrogate.)
pub fn well_formed(env: Env, value: Value) -> Result<Option<String>> {
    let mut length = 0;
    // SAFETY: asks for the length only.
    check(unsafe {
        sys::napi_get_value_string_utf16(env, value, ptr::null_mut(), 0, &mut length)
    })?;
    let mut units = vec![0_u16; length + 1];
    // SAFETY: `units` has room for the text and its NUL.
    check(unsafe {
        sys::napi_get_value_string_utf16(env, value, units.as_mut_ptr(), units.len(), &mut length)
    })?;
    Ok(String::from_utf16(&units[..length]).ok())
}

/// The text of a string that has to have one.
pub fn text_of(env: Env, value: Value) -> Result<String> {
    well_formed(env, value)?
        .ok_or_else(|| Thrown::Type("a string has a lone surrogate in it".to_owned()))
}

/// The bytes of a `Uint8Array`, valid until JavaScript runs again.
pub fn bytes_of(env: Env, value: Value) -> Result<(*mut u8, usize)> {
    let mut length = 0;
    let mut data = ptr::null_mut();
    // SAFETY: a live value; Node-API checks that it is a typed array.
    check(unsafe {
        sys::napi_get_typedarray_info(
            env,
            value,
            ptr::null_mut(),
            &mut length,
            &mut data,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    })?;
    Ok((data.cast(), length))
}

/// A copy of the bytes of a `Uint8Array`.
pub fn copy_of(env: Env, value: Value) -> Result<Vec<u8>> {
    let (data, length) = bytes_of(env, value)?;
    if length == 0 {
        return Ok(Vec::new());
    }
    let mut bytes = Vec::with_capacity(length);
    // SAFETY: Node-API gave a readable range. The copy is raw because another thread may write a
    // shared buffer meanwhile.
    unsafe { ptr::copy_nonoverlapping(data, bytes.as_mut_ptr(), length) };
    // SAFETY: these bytes were just written.
    unsafe { bytes.set_len(length) };
    Ok(bytes)
}

/// A new `ArrayBuffer` with these bytes. Copied: hosts like Electron forbid external buffers.
pub fn array_buffer(env: Env, bytes: &[u8]) -> Result<Value> {
    let mut data = ptr::null_mut();
    let mut buffer = ptr::null_mut();
    // SAFETY: both are writable.
    check(unsafe { sys::napi_create_arraybuffer(env, bytes.len(), &mut data, &mut buffer) })?;
    if !bytes.is_empty() {
        // SAFETY: the new buffer has exactly this many bytes.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), data.cast(), bytes.len()) };
    }
    Ok(buffer)
}

/// A new `ArrayBuffer` of `length` bytes that `fill` writes; `None` if it says that it could not. No copy, and no memory
/// that is not of V8: hosts like Electron forbid external buffers.
pub fn filled_array_buffer(
    env: Env,
    length: usize,
    fill: impl FnOnce(&mut [u8]) -> bool,
) -> Result<Option<Value>> {
    let mut data = ptr::null_mut();
    let mut buffer = ptr::null_mut();
    // SAFETY: both are writable.
    check(unsafe { sys::napi_create_arraybuffer(env, length, &mut data, &mut buffer) })?;
    let bytes: &mut [u8] = if length == 0 {
        &mut []
    } else {
        // SAFETY: the new buffer has exactly this many bytes, which are zeroes, and nothing else knows it yet.
        unsafe { slice::from_raw_parts_mut(data.cast(), length) }
    };
    Ok(fill(bytes).then_some(buffer))
}

/// A type that JavaScript holds as an external.
pub trait Native: 'static {
    /// Tells the types apart.
    const TAG: u64;
}

thread_local! {
    /// The values that JavaScript of this thread holds as externals: address and tag. An address that is not among them
    /// is not followed, because other addons have externals, too.
    static EXTERNALS: RefCell<AddressMap<u64>> = RefCell::default();
}

/// Hands a value over to JavaScript; it is dropped when it was collected.
pub fn external<T: Native>(env: Env, value: T) -> Result<Value> {
    unsafe extern "C" fn finalize<T: Native>(_: Env, data: *mut c_void, _: *mut c_void) {
        forget_external(data);
        // SAFETY: `data` came from `Box::into_raw` below, and Node-API finalises once.
        let boxed = unsafe { Box::from_raw(data.cast::<T>()) };
        // A panic in a destructor must not cross into Node.
        let _ = panics::catch("a finalizer", || drop(boxed));
    }
    let data = Box::into_raw(Box::new(value));
    EXTERNALS.with_borrow_mut(|known| known.insert(data as usize, T::TAG));
    let mut external = ptr::null_mut();
    // SAFETY: the finaliser fits the data.
    let status = unsafe {
        sys::napi_create_external(
            env,
            data.cast(),
            Some(finalize::<T>),
            ptr::null_mut(),
            &mut external,
        )
    };
    if let Err(thrown) = check(status) {
        forget_external(data.cast());
        // SAFETY: Node-API did not take it.
        drop(unsafe { Box::from_raw(data) });
        return Err(thrown);
    }
    Ok(external)
}

/// The value behind an external of ours.
pub fn native_of<'value, T: Native>(env: Env, value: Value) -> Result<&'value T> {
    let mut data = ptr::null_mut();
    // SAFETY: a live value; Node-API checks that it is an external.
    check(unsafe { sys::napi_get_value_external(env, value, &mut data) })?;
    let tag = EXTERNALS.with_borrow(|known| known.get(&(data as usize)).copied());
    if tag != Some(T::TAG) {
        return Err(Thrown::Internal("an external of another type".to_owned()));
    }
    // SAFETY: a `T` that is alive, as its tag is known; the caller's argument keeps it so.
    Ok(unsafe { &*data.cast::<T>() })
}

fn forget_external(data: *mut c_void) {
    // Nothing is left to forget where the thread is ending.
    let _ = EXTERNALS.try_with(|known| known.borrow_mut().remove(&(data as usize)));
}

/// Tells the collector of memory that goes when what it can see goes.
pub fn adjust_external_memory(env: Env, change: i64) {
    let mut adjusted = 0;
    // SAFETY: `adjusted` is writable.
    unsafe { sys::napi_adjust_external_memory(env, change, &mut adjusted) };
}

/// A reference to a JavaScript value; must be dropped on its thread.
pub struct Reference {
    env: Env,
    raw: sys::napi_ref,
}

impl Reference {
    /// `count` 1 keeps the value alive, 0 does not.
    pub fn new(env: Env, value: Value, count: u32) -> Result<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: a live value.
        check(unsafe { sys::napi_create_reference(env, value, count, &mut raw) })?;
        Ok(Self { env, raw })
    }

    /// The value's environment.
    pub fn env(&self) -> Env {
        self.env
    }

    /// The value; fails if it was collected.
    pub fn get(&self) -> Result<Value> {
        dereference(self.env, self)
    }
}

pub fn dereference(env: Env, reference: &Reference) -> Result<Value> {
    let mut value = ptr::null_mut();
    // SAFETY: the reference is alive.
    check(unsafe { sys::napi_get_reference_value(env, reference.raw, &mut value) })?;
    if value.is_null() {
        return Err(Thrown::Internal("the value was collected".to_owned()));
    }
    Ok(value)
}

impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY: made in `new`, deleted once, on its thread.
        unsafe { sys::napi_delete_reference(self.env, self.raw) };
    }
}

/// Calls a function with `this` undefined.
pub fn call(env: Env, function: Value, arguments: &[Value]) -> Result<Value> {
    let this = undefined(env)?;
    let mut result = ptr::null_mut();
    // SAFETY: live values.
    check(unsafe {
        sys::napi_call_function(
            env,
            this,
            function,
            arguments.len(),
            arguments.as_ptr(),
            &mut result,
        )
    })?;
    Ok(result)
}

/// Handles made inside are released when it is dropped.
pub struct Scope {
    env: Env,
    raw: sys::napi_handle_scope,
}

impl Scope {
    pub fn open(env: Env) -> Result<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` is writable.
        check(unsafe { sys::napi_open_handle_scope(env, &mut raw) })?;
        Ok(Self { env, raw })
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // SAFETY: opened in `open`, closed once; scopes nest like the values that hold them.
        unsafe { sys::napi_close_handle_scope(self.env, self.raw) };
    }
}
