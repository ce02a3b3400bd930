//! An i32 whose register has a dirty upper half, passed and returned across the tiers.

use std::borrow::Cow;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use region::{Allocation, Protection};
use wasm_compile_cache_engine::runtime::{
    ExportValue, Group, MemoryHost, MemoryState, Waited, see_memories,
};
use wasm_compile_cache_engine::tier::Tier;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, ElementSection, Elements, ExportKind,
    ExportSection, Function, FunctionSection, InstructionSink, MemArg, MemorySection, MemoryType,
    Module as Encoder, RefType, TableSection, TableType, TypeSection, ValType,
};
use wasmer_types::RawValue;

use super::host::{Gate, TestThread, body, body_of, code, compile, invoke};

const PAGE: usize = 64 * 1024;

/// Address space that code without bounds checks can reach, and some more.
const RESERVED: usize = 8 << 30;

/// A memory that cannot grow.
struct Fixed;

impl MemoryHost for Fixed {
    fn grow(&self, _delta: u32) -> Option<u32> {
        None
    }

    fn length(&self) -> Option<usize> {
        Some(PAGE)
    }

    fn wait(&self, _address: u32, _expected: Waited, _timeout: Option<Duration>) -> Option<u32> {
        None
    }

    fn notify(&self, _address: u32, _count: u32) -> u32 {
        0
    }
}

fn reserve() -> (Allocation, Arc<MemoryState>) {
    let mut reserved = region::alloc(RESERVED, Protection::NONE).expect("address space");
    let base = reserved.as_mut_ptr::<u8>();
    // SAFETY: the first page of what was just reserved; nothing else knows it.
    unsafe { region::protect(base, PAGE, Protection::READ_WRITE) }.expect("a page");
    let base = NonNull::new(base).expect("an address");
    // Who catches faults here is not Node.
    see_memories(&mut [base.as_ptr() as usize, base.as_ptr() as usize + RESERVED]);
    let state = MemoryState::new(base, PAGE, false, Some(1), Box::new(Fixed));
    (reserved, state.expect("is guarded"))
}

/// Uses the i32 that the second argument puts on the stack, and leaves an i64.
type Emit = fn(&mut InstructionSink<'_>, &dyn Fn(&mut InstructionSink<'_>));

/// What a use gives for a number below 4.
type Expected = fn(u64) -> u64;

/// The uses of an i32 that would go wrong with 64 bits of it.
const USES: [(Emit, Expected); 11] = [
    (
        |code, value| {
            value(code);
            code.i64_extend_i32_u();
        },
        |n| n,
    ),
    (
        |code, value| {
            value(code);
            code.i64_load8_u(at(0));
        },
        |n| 10 * n,
    ),
    (
        |code, value| {
            code.i32_const(0).i64_const(0).i64_store(at(32));
            value(code);
            code.i32_const(1).i32_store8(at(32));
            code.i32_const(0).i64_load(at(32));
        },
        |n| 1 << (8 * n),
    ),
    (
        |code, value| {
            value(code);
            code.i32_eqz().i64_extend_i32_u();
        },
        |n| u64::from(n == 0),
    ),
    (
        |code, value| {
            value(code);
            code.i32_const(2).i32_lt_u().i64_extend_i32_u();
        },
        |n| u64::from(n < 2),
    ),
    (
        |code, value| {
            value(code);
            code.i32_const(2).i32_div_u().i64_extend_i32_u();
        },
        |n| n / 2,
    ),
    (
        |code, value| {
            value(code);
            code.i32_const(1).i32_shr_u().i64_extend_i32_u();
        },
        |n| n / 2,
    ),
    (
        |code, value| {
            for _ in 0..3 {
                code.block(BlockType::Empty);
            }
            value(code);
            code.br_table([0, 1], 2);
            for number in [100, 200] {
                code.end().i64_const(number).return_();
            }
            code.end().i64_const(300);
        },
        |n| 100 * (n.min(2) + 1),
    ),
    (
        |code, value| {
            value(code);
            code.if_(BlockType::Result(ValType::I64)).i64_const(7);
            code.else_().i64_const(8).end();
        },
        |n| if n == 0 { 8 } else { 7 },
    ),
    (
        |code, value| {
            value(code);
            code.table_get(0).ref_is_null().i64_extend_i32_u();
        },
        |_| 0,
    ),
    (
        |code, value| {
            value(code);
            code.f64_convert_i32_u().i64_trunc_f64_u();
        },
        |n| n,
    ),
];

fn at(offset: u64) -> MemArg {
    MemArg {
        offset,
        align: 0,
        memory_index: 0,
    }
}

/// Function 0 turns an i64 into an i32; then, for every use, come three functions: it, one that
/// calls it with such an i32, and one that uses what function 0 returned.
fn module() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I64], [ValType::I32]);
    types.ty().function([ValType::I32], [ValType::I64]);
    types.ty().function([ValType::I64], [ValType::I64]);
    let mut functions = FunctionSection::new();
    let mut bodies = CodeSection::new();
    let mut add = |ty: u32, emit: &dyn Fn(&mut InstructionSink<'_>)| {
        let mut body = Function::new([]);
        let mut code = body.instructions();
        emit(&mut code);
        code.end();
        functions.function(ty);
        bodies.function(&body);
        functions.len() - 1
    };
    add(0, &|code| {
        code.local_get(0).i32_wrap_i64();
    });
    for (emit, _) in USES {
        let own = add(1, &|code| {
            emit(code, &|code| {
                code.local_get(0);
            });
        });
        add(2, &|code| {
            code.local_get(0).i32_wrap_i64();
            code.i32_const(own as i32).call_indirect(0, 1);
        });
        add(2, &|code| {
            emit(code, &|code| {
                code.local_get(0).i32_const(0).call_indirect(0, 0);
            });
        });
    }
    let count = functions.len();
    let all: Vec<u32> = (0..count).collect();
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        shared: false,
        minimum: u64::from(count),
        maximum: None,
    });
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: Some(1),
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    for index in &all {
        exports.export(&index.to_string(), ExportKind::Func, *index);
    }
    let zero = ConstExpr::i32_const(0);
    let mut elements = ElementSection::new();
    elements.active(None, &zero, Elements::Functions(Cow::Borrowed(&all)));
    let mut data = DataSection::new();
    data.active(0, &zero, [0, 10, 20, 30]);
    let mut module = Encoder::new();
    module.section(&types).section(&functions).section(&tables);
    module.section(&memories).section(&exports);
    module.section(&elements).section(&bodies).section(&data);
    module.finish()
}

/// Runs every use, in every mixture of tiers.
pub fn run() {
    let gate = Gate::close();
    let module = compile(&module(), "", true).module;
    let baseline = code(&module, Tier::Baseline);
    let mut group = Group::new(Arc::new(TestThread::default()));
    let (_reserved, memory) = reserve();
    let made = group
        .instantiate(&module, Vec::new(), vec![memory], |_| {})
        .expect("instantiates");
    let anyfuncs: Vec<usize> = made
        .exports
        .iter()
        .map(|export| match export {
            ExportValue::Function(anyfunc) => *anyfunc,
            other => panic!("unexpected export: {other:?}"),
        })
        .collect();
    drop(gate);
    module.wait_optimized().expect("is optimized");
    let optimized = code(&module, Tier::Optimized);

    for mixture in 0..4_u8 {
        let code = |bit: u8| {
            if mixture & bit == 0 {
                &baseline
            } else {
                &optimized
            }
        };
        for (local, anyfunc) in anyfuncs.iter().enumerate() {
            let called = local % 3 <= 1;
            let new = body_of(code(if called { 1 } else { 2 }), local);
            body(*anyfunc).store(new, Ordering::Release);
        }
        for (number, (_, expected)) in USES.iter().enumerate() {
            for form in [2, 3] {
                for n in 0..4_u64 {
                    let mut values = [RawValue::default()];
                    values[0].u64 = 0xdead_beef_0000_0000 | n;
                    let anyfunc = anyfuncs[3 * number + form];
                    let outcome = invoke(anyfunc, &mut values).map_err(|trap| trap.to_string());
                    // SAFETY: every bit pattern is a valid u64.
                    let actual = outcome.map(|()| unsafe { values[0].u64 });
                    let what = format!("use {number}, form {form} of {n}, mixture {mixture}");
                    assert_eq!(actual, Ok(expected(n)), "{what}");
                }
            }
        }
    }
}
