//! What wasmer does wrong, and something of ours does right in its place. A test here fails when wasmer does it right
//! itself: what it names can go then.

use wasm_encoder::{
    CodeSection, DataCountSection, DataSection, ExportKind, ExportSection, Function,
    FunctionSection, MemorySection, MemoryType, Module as Encoder, TypeSection,
};
use wasmer::{Instance, Module, Store, imports};

/// A memory of 4 GiB, and operators whose range ends with it or a byte before.
fn operators() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 65536,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    for (last, address) in [("end", -4), ("almost", -5)] {
        for operator in ["fill", "copy", "init"] {
            exports.export(
                &format!("{operator} {last}"),
                ExportKind::Func,
                functions.len(),
            );
            functions.function(0);
            let mut body = Function::new([]);
            let mut instructions = body.instructions();
            instructions.i32_const(address).i32_const(0).i32_const(4);
            match operator {
                "fill" => instructions.memory_fill(0),
                "copy" => instructions.memory_copy(0, 0),
                _ => instructions.memory_init(0, 0),
            };
            instructions.end();
            code.function(&body);
        }
    }
    let mut data = DataSection::new();
    data.passive(*b"abcd");
    let mut module = Encoder::new();
    module
        .section(&types)
        .section(&functions)
        .section(&memories);
    module
        .section(&exports)
        .section(&DataCountSection { count: 1 });
    module.section(&code).section(&data);
    module.finish()
}

/// `range` in `runtime/libcall.rs`, as far as it is about this; growth that wasmer is not told of stays ours to see.
#[test]
fn no_bulk_operator_of_wasmer_reaches_the_end_of_a_memory_of_4_gib() {
    let mut store = Store::default();
    let module = Module::new(&store, operators()).expect("a module");
    let instance = Instance::new(&mut store, &module, &imports! {}).expect("an instance");
    for operator in ["fill", "copy", "init"] {
        let mut run = |last: &str| {
            let function = instance.exports.get_function(&format!("{operator} {last}"));
            function.expect("an export").call(&mut store, &[]).is_ok()
        };
        assert!(run("almost"), "{operator}");
        assert!(!run("end"), "{operator}: wasmer has been mended");
    }
}
