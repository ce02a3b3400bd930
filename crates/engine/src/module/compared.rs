//! Words that a `cmpxchg` compares, where Cranelift compares more of them than there is.
//!
//! Cranelift 0.135 compares all 64 bits of the register that has the expected value of a 32-bit `cmpxchg` on ARM64, in its loop
//! for CPUs without LSE. The upper half is whatever the value was made of: all an i64's bits, where it was an i64.

use wasm_encoder::{Encode, Instruction};
use wasmer_compiler::wasmparser::Operator;
use wasmer_types::Type;

use super::temporaries::Temporaries;

/// Whether an operator with words of 32 bits takes the expected one as an i64; `None` for all other operators.
fn word(operator: &Operator<'_>) -> Option<bool> {
    match operator {
        Operator::I32AtomicRmwCmpxchg { .. } => Some(false),
        Operator::I64AtomicRmw32CmpxchgU { .. } => Some(true),
        _ => None,
    }
}

/// Whether [`extension`] has something for it.
pub(super) fn is_extended(operator: &Operator<'_>) -> bool {
    cfg!(target_arch = "aarch64") && word(operator).is_some()
}

/// What goes before an operator whose expected value is to be extended.
pub(super) fn extension(operator: &Operator<'_>, temporaries: &mut Temporaries) -> Option<Vec<u8>> {
    word(operator)
        .filter(|_| is_extended(operator))
        .map(|wide| extend(wide, temporaries))
}

/// The expected value, by an instruction that clears the upper half of its register, and that no optimization takes away:
/// `x | clz(x) >> 6`. The replacement value is kept in a local meanwhile.
fn extend(wide: bool, temporaries: &mut Temporaries) -> Vec<u8> {
    let value = if wide { Type::I64 } else { Type::I32 };
    let taken = temporaries.take(&[value, Type::I32]);
    let (replacement, expected) = (taken[0], taken[1]);
    let mut bytes = Vec::new();
    Instruction::LocalSet(replacement).encode(&mut bytes);
    if wide {
        Instruction::I32WrapI64.encode(&mut bytes);
    }
    for instruction in [
        Instruction::LocalTee(expected),
        Instruction::LocalGet(expected),
        Instruction::I32Clz,
        Instruction::I32Const(6),
        Instruction::I32ShrU,
        Instruction::I32Or,
    ] {
        instruction.encode(&mut bytes);
    }
    if wide {
        Instruction::I64ExtendI32U.encode(&mut bytes);
    }
    Instruction::LocalGet(replacement).encode(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        CodeSection, Function, FunctionSection, MemArg, MemorySection, MemoryType, Module,
        TypeSection, ValType,
    };
    use wasmer_compiler::wasmparser::Validator;

    use super::*;

    #[test]
    fn what_goes_before_leaves_the_operands_as_they_were() {
        for (wide, value) in [(false, ValType::I32), (true, ValType::I64)] {
            let mut temporaries = Temporaries::new(3);
            let extension = extend(wide, &mut temporaries);
            let memarg = MemArg {
                offset: 0,
                align: 2,
                memory_index: 0,
            };
            let operator = if wide {
                Instruction::I64AtomicRmw32CmpxchgU(memarg)
            } else {
                Instruction::I32AtomicRmwCmpxchg(memarg)
            };
            let mut body = Function::new([(1, value), (1, ValType::I32)]);
            for parameter in 0..3 {
                body.instruction(&Instruction::LocalGet(parameter));
            }
            body.raw(extension);
            body.instruction(&operator).instruction(&Instruction::End);
            let (mut types, mut functions) = (TypeSection::new(), FunctionSection::new());
            types.ty().function([ValType::I32, value, value], [value]);
            functions.function(0);
            let (mut memories, mut code) = (MemorySection::new(), CodeSection::new());
            memories.memory(MemoryType {
                minimum: 1,
                maximum: Some(1),
                memory64: false,
                shared: true,
                page_size_log2: None,
            });
            code.function(&body);
            let mut module = Module::new();
            module
                .section(&types)
                .section(&functions)
                .section(&memories)
                .section(&code);
            let features = super::super::wasm_features();
            let validated = Validator::new_with_features(features).validate_all(&module.finish());
            validated.expect("the operator has its operands");
        }
    }
}
