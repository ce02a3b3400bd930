//! A module for each seed.

use anyhow::Result;
use arbitrary::{Arbitrary, Unstructured};
use wasm_smith::{Config, Module};
use wasmparser::{ElementItems, Parser, Payload, RefType, TypeRef, ValType};

use crate::closed::close;
use crate::description::describe;
use crate::tries::tries;

/// Of a call: entries of functions, turns of loops, and bytes and elements that are copied or filled. So deep are calls at
/// most, which every engine's stack has to have room for.
pub(crate) const FUEL: u32 = 200;

/// How large modules are.
#[derive(Clone, Copy)]
pub enum Profile {
    /// Some functions.
    Small,
    /// Some hundred.
    Large,
    /// Some, with exceptions in their older form.
    Tries,
}

/// What WebAssembly 2.0 with threads does not have.
#[derive(Clone, Copy, Default)]
pub struct Features {
    pub exceptions: bool,
    pub extended_const: bool,
    pub multi_memory: bool,
}

/// The module of a seed, described.
pub fn generate(seed: u64, profile: Profile, features: Features) -> Result<Vec<u8>> {
    let mut random = blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof();
    let mut data = vec![
        0;
        match profile {
            Profile::Small => 1_000,
            Profile::Tries => 8_000,
            Profile::Large => 150_000,
        }
    ];
    loop {
        random.fill(&mut data);
        let mut unstructured = Unstructured::new(&data);
        if matches!(profile, Profile::Tries) {
            return describe(&close(&tries(&mut unstructured)?)?);
        }
        let config = config(&mut unstructured, profile, features)?;
        // There may be no type that a tag could have, say.
        let Ok(mut module) = Module::new(config, &mut unstructured) else {
            continue;
        };
        module.ensure_termination(FUEL)?;
        let module = module.to_bytes();
        if runs(&module)? {
            return describe(&close(&module)?);
        }
    }
}

/// Which proposals a module uses and which instructions it has is left to chance.
fn config(
    unstructured: &mut Unstructured<'_>,
    profile: Profile,
    features: Features,
) -> Result<Config> {
    let chosen = Config::arbitrary(unstructured)?;
    let (functions, instructions) = match profile {
        Profile::Small | Profile::Tries => (2..=6, 10..=60),
        Profile::Large => (300..=600, 100..=100),
    };
    let min_funcs = unstructured.int_in_range(functions.clone())?;
    // Few, or so many that donors do not declare all functions among them.
    let imports = if unstructured.ratio(1, 3)? {
        20..=50
    } else {
        0..=8
    };
    let max_imports = imports.end() + 2;
    let large = matches!(profile, Profile::Large);
    Ok(Config {
        // Of what takes long to compile nothing should be lost to a segment that does not fit.
        disallow_traps: chosen.disallow_traps || large,
        allow_start_export: !large,
        exceptions_enabled: chosen.exceptions_enabled && features.exceptions,
        extended_const_enabled: chosen.extended_const_enabled && features.extended_const,
        max_memories: if features.multi_memory { 3 } else { 1 },
        // What our engine does not have.
        tail_call_enabled: false,
        gc_enabled: false,
        compact_imports_enabled: false,
        memory64_enabled: false,
        // What the specification leaves to the engine: the bits of a NaN, relaxed instructions, and whether there is
        // memory for what grows.
        canonicalize_nans: true,
        relaxed_simd_enabled: false,
        memory_max_size_required: true,
        max_memory32_bytes: 2 * 65_536,
        table_max_size_required: true,
        max_table_elements: 100,
        min_funcs,
        max_funcs: *functions.end(),
        max_instructions: unstructured.int_in_range(instructions)?,
        min_types: 5,
        max_types: 20,
        min_imports: unstructured.int_in_range(imports)?,
        max_imports,
        min_tags: 2,
        max_tags: 5,
        max_globals: 10,
        max_tables: 3,
        max_elements: 20,
        max_element_segments: 10,
        max_data_segments: 10,
        max_type_size: u32::MAX,
        ..chosen
    })
}

/// Whether both engines can run it: JavaScript cannot make an exnref, nor a vector other than zero; our engine has exnref
/// neither in tables nor in element segments, and its compiler fails where a global of exnref is copied.
fn runs(module: &[u8]) -> Result<bool> {
    let opaque = |of: ValType| of == ValType::V128 || of == ValType::EXNREF;
    let holds = |of: RefType| of == RefType::FUNCREF || of == RefType::EXTERNREF;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    match import?.ty {
                        TypeRef::Global(global) if opaque(global.content_type) => return Ok(false),
                        TypeRef::Table(table) if !holds(table.element_type) => {
                            return Ok(false);
                        }
                        _ => {}
                    }
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    if !holds(table?.ty.element_type) {
                        return Ok(false);
                    }
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    if global?.ty.content_type == ValType::EXNREF {
                        return Ok(false);
                    }
                }
            }
            Payload::ElementSection(section) => {
                for element in section {
                    if let ElementItems::Expressions(of, _) = element?.items
                        && !holds(of)
                    {
                        return Ok(false);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(true)
}
