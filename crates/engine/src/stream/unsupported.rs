//! Which proposal a refused module uses.

use wasmer_compiler::wasmparser::{
    Chunk, FuncValidatorAllocations, Parser, Result, ValidPayload, Validator, WasmFeatures,
};

use crate::error::CompileError;
use crate::module::wasm_features;

/// Tells an invalid module from one that merely uses a proposal that is not accepted: names the
/// proposals without which the item at the error's offset is refused. `bytes` may be incomplete.
pub fn explain(error: CompileError, bytes: &[u8]) -> CompileError {
    let CompileError::Invalid { offset, .. } = error else {
        return error;
    };
    let accepts = |features| accepts(bytes, offset, features).is_ok();
    if !accepts(WasmFeatures::all()) {
        return error;
    }
    let mut needed = WasmFeatures::all();
    for feature in WasmFeatures::all().difference(wasm_features()).iter() {
        let fewer = needed.difference(feature);
        if accepts(fewer) {
            needed = fewer;
        }
    }
    let names: Vec<_> = unaccepted(needed).collect();
    if names.is_empty() {
        return error;
    }
    CompileError::Unsupported {
        feature: names.join(", "),
        offset: Some(offset),
    }
}

/// The proposals that are not accepted, by the names that [`explain`] gives them; those of the component model left out.
pub fn unsupported() -> impl Iterator<Item = String> {
    let is_core = |name: &String| !name.starts_with("cm") && name != "component-model";
    unaccepted(WasmFeatures::all()).filter(is_core)
}

fn unaccepted(features: WasmFeatures) -> impl Iterator<Item = String> {
    let names = features.difference(wasm_features()).iter_names();
    names.map(|(name, _)| name.to_lowercase().replace('_', "-"))
}

/// Whether the module is valid as far as `offset`, functions before the one there left out.
fn accepts(bytes: &[u8], offset: u64, features: WasmFeatures) -> Result<()> {
    let mut parser = Parser::new(0);
    parser.set_features(features);
    let mut validator = Validator::new_with_features(features);
    let mut parsed = 0;
    while parsed as u64 <= offset && parsed < bytes.len() {
        let Chunk::Parsed { consumed, payload } = parser.parse(&bytes[parsed..], false)? else {
            break;
        };
        parsed += consumed;
        if let ValidPayload::Func(function, body) = validator.payload(&payload)?
            && body.range().contains(&offset)
        {
            let mut validator = function.into_validator(FuncValidatorAllocations::default());
            validator.validate(&body)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (module (func return_call 0))
    const TAIL_CALL: &[u8] = &[
        0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 6, 1, 4, 0, 0x12, 0,
        0x0b,
    ];

    fn explained(bytes: &[u8], offset: u64) -> CompileError {
        let error = CompileError::Invalid {
            message: "refused".to_owned(),
            offset,
        };
        explain(error, bytes)
    }

    #[test]
    fn names_the_proposal() {
        let CompileError::Unsupported { feature, offset } = explained(TAIL_CALL, 23) else {
            panic!("a proposal is what is missing");
        };
        assert_eq!((feature.as_str(), offset), ("tail-call", Some(23)));
    }

    #[test]
    fn leaves_an_invalid_module_alone() {
        let mut bytes = TAIL_CALL.to_vec();
        // i32.add on an empty stack.
        bytes[23] = 0x6a;
        assert!(matches!(
            explained(&bytes, 23),
            CompileError::Invalid { .. }
        ));
    }
}
