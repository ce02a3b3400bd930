//! Modules and what they declare.

use std::sync::Arc;

use wasm_compile_cache_engine::module::{Extern, ExternType, letter, signature_text};
use wasm_compile_cache_engine::tier::{self, Module, Tier};

use super::calls::{Call, Exports};
use super::js::{self, Env, Native, Result, Value};
use super::thrown::Thrown;

/// What JavaScript holds for a module.
pub struct ModuleHandle(pub Arc<Module>);

impl Drop for ModuleHandle {
    fn drop(&mut self) {
        tier::release(Arc::clone(&self.0));
    }
}

impl Native for ModuleHandle {
    const TAG: u64 = u64::from_be_bytes(*b"wcc:mod ");
}

pub fn register(exports: &Exports) {
    exports.function("moduleImports", |call| {
        let module = &call.native::<ModuleHandle>(0)?.0;
        let imports = module.declaration.imports();
        js::array(call.env, imports, |import| describe(call.env, &import))
    });
    exports.function("moduleExports", |call| {
        let module = &call.native::<ModuleHandle>(0)?.0;
        exported(call.env, module.declaration.exports())
    });
    exports.function("moduleDefinedMemories", |call| {
        let module = &call.native::<ModuleHandle>(0)?.0;
        let memories = module.declaration.defined_memories();
        js::array(call.env, memories, |ty| {
            extern_type(call.env, &ExternType::Memory(ty))
        })
    });
    exports.function("moduleCustomSections", custom_sections);
    exports.function("moduleTier", |call| {
        let module = &call.native::<ModuleHandle>(0)?.0;
        let tier = match module.tier() {
            Tier::Baseline => "baseline",
            Tier::Optimized => "optimized",
        };
        js::string(call.env, tier)
    });
    exports.function("moduleOptimized", optimized);
    exports.function("moduleBytes", |call| {
        let module = &call.native::<ModuleHandle>(0)?.0;
        match module.wire.get() {
            Some(bytes) => js::array_buffer(call.env, bytes),
            None => js::null(call.env),
        }
    });
    exports.function("moduleToken", |call| {
        let module = &call.native::<ModuleHandle>(0)?.0;
        js::string(call.env, &hex::encode(tier::token(module)))
    });
    exports.function("moduleByToken", |call| {
        let mut token = tier::Token::default();
        let found = hex::decode_to_slice(call.text(0)?, &mut token)
            .ok()
            .and_then(|()| tier::by_token(&token));
        let Some(module) = found else {
            return js::null(call.env);
        };
        module.listeners.add(&call.state.events);
        js::external(call.env, ModuleHandle(module))
    });
}

fn custom_sections(call: &Call<'_>) -> Result<Value> {
    let module = &call.native::<ModuleHandle>(0)?.0;
    // The names of sections are UTF-8: no section has a name with a lone surrogate.
    let Some(name) = js::well_formed(call.env, call.argument(1))? else {
        return js::array(call.env, [], Ok);
    };
    let sections = module.declaration.custom_sections(&name);
    let sections =
        sections.map_err(|error| Thrown::Type(format!("the cache entry is gone: {error}")))?;
    js::array(call.env, sections, |section| {
        js::array_buffer(call.env, section)
    })
}

fn optimized(call: &Call<'_>) -> Result<Value> {
    let module = Arc::clone(&call.native::<ModuleHandle>(0)?.0);
    let waiting = super::waiting::Waiting::new(call, 1)?;
    module.when_optimized(Box::new(move |outcome| {
        waiting.settle(move |env, _| match outcome {
            Ok(()) => Ok(vec![js::null(env)?]),
            Err(reason) => Ok(vec![js::string(env, &reason)?]),
        });
    }));
    js::undefined(call.env)
}

/// Exports, of which there may be a hundred thousand: their names, a letter for the kind of each, and the types of those that are
/// no functions.
fn exported<'a>(env: Env, exports: impl Iterator<Item = Extern<'a>>) -> Result<Value> {
    let mut kinds = String::new();
    let mut types = Vec::new();
    let names = js::array(env, exports, |export| {
        kinds.push(kind(&export.ty).0);
        if !matches!(export.ty, ExternType::Function(_)) {
            types.push(extern_type(env, &export.ty)?);
        }
        js::string(env, export.name)
    })?;
    let object = js::object(env)?;
    js::set(env, object, "names", names)?;
    js::set(env, object, "kinds", js::string(env, &kinds)?)?;
    js::set(env, object, "types", js::array(env, types, Ok)?)?;
    Ok(object)
}

/// The letter of a kind (`lib/api/module.js`), and its name (JS API, "string value of the extern type").
fn kind(ty: &ExternType<'_>) -> (char, &'static str) {
    match ty {
        ExternType::Function(_) => ('f', "function"),
        ExternType::Table(_) => ('t', "table"),
        ExternType::Memory(_) => ('m', "memory"),
        ExternType::Global(_) => ('g', "global"),
        ExternType::Tag(_) => ('e', "tag"),
    }
}

fn describe(env: Env, item: &Extern<'_>) -> Result<Value> {
    let object = js::object(env)?;
    js::set(env, object, "module", js::string(env, item.module)?)?;
    js::set(env, object, "name", js::string(env, item.name)?)?;
    js::set(env, object, "kind", js::string(env, kind(&item.ty).1)?)?;
    js::set(env, object, "type", extern_type(env, &item.ty)?)?;
    Ok(object)
}

fn extern_type(env: Env, ty: &ExternType<'_>) -> Result<Value> {
    let limits = |initial: u32, maximum: Option<u32>| -> Result<Value> {
        let object = js::object(env)?;
        js::set(env, object, "initial", js::number(env, f64::from(initial))?)?;
        if let Some(maximum) = maximum {
            js::set(env, object, "maximum", js::number(env, f64::from(maximum))?)?;
        }
        Ok(object)
    };
    match ty {
        ExternType::Function(ty) | ExternType::Tag(ty) => js::string(env, &signature_text(ty)),
        ExternType::Memory(ty) => {
            let object = limits(ty.minimum.0, ty.maximum.map(|pages| pages.0))?;
            js::set(env, object, "shared", js::boolean(env, ty.shared)?)?;
            Ok(object)
        }
        ExternType::Table(ty) => {
            let object = limits(ty.minimum, ty.maximum)?;
            let element = letter(ty.ty).to_string();
            js::set(env, object, "element", js::string(env, &element)?)?;
            Ok(object)
        }
        ExternType::Global(ty) => {
            let object = js::object(env)?;
            let value = letter(ty.ty).to_string();
            js::set(env, object, "value", js::string(env, &value)?)?;
            let mutable = ty.mutability.is_mutable();
            js::set(env, object, "mutable", js::boolean(env, mutable)?)?;
            Ok(object)
        }
    }
}
