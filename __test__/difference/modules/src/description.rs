//! The types of a module's imports and exports, in a custom section: JavaScript's API does not tell them.

use anyhow::Result;
use serde_json::{Value, json};
use wasm_encoder::{CustomSection, Encode, Section};
use wasmparser::types::{CoreTypeId, EntityType, TypesRef};
use wasmparser::{FuncType, Parser, Payload, Validator, WasmFeatures};

/// What our engine accepts (`wasm_features` in `crates/engine/src/module/features.rs`).
pub(crate) fn features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::THREADS
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::LEGACY_EXCEPTIONS
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::MULTI_MEMORY
}

/// `module` with the section.
pub fn describe(module: &[u8]) -> Result<Vec<u8>> {
    let types = Validator::new_with_features(features()).validate_all(module)?;
    let types = types.as_ref();
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let of = types.entity_type_from_import(&import);
                    imports.push(entity(types, import.name, of.expect("the module is valid")));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let of = types.entity_type_from_export(&export);
                    exports.push(entity(types, export.name, of.expect("the module is valid")));
                }
            }
            _ => {}
        }
    }
    let data = json!({ "imports": imports, "exports": exports }).to_string();
    let section = CustomSection {
        name: "description".into(),
        data: data.as_bytes().into(),
    };
    let mut described = module.to_vec();
    described.push(section.id());
    section.encode(&mut described);
    Ok(described)
}

fn entity(types: TypesRef<'_>, name: &str, entity: EntityType) -> Value {
    let function = |id: CoreTypeId| types[id].unwrap_func();
    match entity {
        EntityType::Func(id) | EntityType::FuncExact(id) => json!({
            "name": name,
            "kind": "function",
            "params": params(function(id)),
            "results": function(id).results().iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        EntityType::Tag(id) => {
            json!({ "name": name, "kind": "tag", "params": params(function(id)) })
        }
        EntityType::Global(global) => json!({
            "name": name,
            "kind": "global",
            "type": global.content_type.to_string(),
            "mutable": global.mutable,
        }),
        EntityType::Memory(memory) => json!({
            "name": name,
            "kind": "memory",
            "initial": memory.initial,
            "maximum": memory.maximum,
            "shared": memory.shared,
        }),
        EntityType::Table(table) => json!({
            "name": name,
            "kind": "table",
            "type": table.element_type.to_string(),
            "initial": table.initial,
            "maximum": table.maximum,
        }),
    }
}

fn params(function: &FuncType) -> Vec<String> {
    function.params().iter().map(ToString::to_string).collect()
}
