//! What the corrected table says, read by gimli, is what the code does. Both architectures' code is made on either.

use std::collections::BTreeMap;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, EhFrame, LittleEndian, RegisterRule, UnwindContext,
    UnwindSection,
};
use wasm_encoder::{
    BlockType, CodeSection, EntityType, Function, FunctionSection, ImportSection,
    Module as Encoder, TypeSection, ValType,
};
use wasmer_compiler::ModuleEnvironment;
use wasmer_compiler::types::function::RkyvCompilation;
use wasmer_compiler::types::relocation::RelocationTarget;
use wasmer_types::target::{CpuFeature, Triple};

use super::*;

/// An architecture, as its manual and its ABI know it.
struct Machine {
    triple: &'static str,
    /// What the prologue begins with, and where the CFA is once it is over: so far above the frame register.
    prologue: &'static [u8],
    frame_register: u16,
    cfa: i64,
    /// What the prologue pushed: registers by their distance from the frame register.
    pushed: &'static [(u16, i64)],
    /// Locals that are in registers; one more is the VMContext's.
    locals: usize,
    /// The register that the instruction before this end stores, and where: below the frame register.
    store: fn(&[u8]) -> (u16, i64),
}

const MACHINES: [Machine; 2] = [
    Machine {
        triple: "x86_64-unknown-linux-gnu",
        // push rbp; mov rbp, rsp
        prologue: &[0x40, 0x55, 0x48, 0x89, 0xe5],
        frame_register: 6,
        cfa: 16,
        pushed: &[(6, 0), (16, 8)],
        locals: 4,
        // mov [rbp + disp32], register
        store: |code| {
            let &[.., rex, 0x89, modrm, 0x25, a, b, c, d] = code else {
                panic!("no store: {code:x?}");
            };
            assert_eq!((rex & 0xfb, modrm & 0xc7), (0x48, 0x84), "no store");
            let register = (rex & 4) << 1 | (modrm >> 3) & 7;
            // Of the others, the two numberings differ; callees save these.
            assert!(matches!(register, 3 | 12..16), "register {register}");
            (
                u16::from(register),
                i64::from(i32::from_le_bytes([a, b, c, d])),
            )
        },
    },
    Machine {
        triple: "aarch64-unknown-linux-gnu",
        // stp x29, x30, [sp, #-16]!; stp x27, x28, [sp, #-16]!; add x29, sp, #0
        prologue: &[
            0xfd, 0x7b, 0xbf, 0xa9, 0xfb, 0x73, 0xbf, 0xa9, 0xfd, 0x03, 0x00, 0x91,
        ],
        frame_register: 29,
        cfa: 32,
        pushed: &[(27, 0), (28, 8), (29, 16), (30, 24)],
        locals: 8,
        // stur register, [x29, #imm9]
        store: |code| {
            let word = u32::from_le_bytes(*code.last_chunk().expect("a word"));
            assert_eq!(word & 0xffe0_0fe0, 0xf800_03a0, "no store");
            let register = word & 31;
            assert!(matches!(register, 19..29), "register {register}");
            (register as u16, i64::from((word << 11).cast_signed() >> 23))
        },
    },
];

impl Machine {
    fn target(&self) -> Target {
        let triple: Triple = self.triple.parse().expect("a triple");
        Target::new(triple, CpuFeature::SSE2 | CpuFeature::AVX)
    }
}

/// Parameters and other locals of the functions of [`module`]: all numbers of registers, and so many locals that the
/// stack is probed before anything is saved.
const LOCALS: [(u32, u32); 16] = [
    (0, 0),
    (1, 0),
    (0, 2),
    (3, 0),
    (2, 2),
    (5, 0),
    (1, 5),
    (7, 0),
    (4, 4),
    (0, 9),
    (6, 6),
    (20, 0),
    (3, 600),
    (0, 5000),
    (9, 20_000),
    (0, 50_000),
];

/// Functions that call, with values on the operand stack, and branch.
fn module() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    imports.import("e", "f", EntityType::Function(0));
    let mut functions = FunctionSection::new();
    let mut bodies = CodeSection::new();
    for (index, (params, locals)) in (1..).zip(LOCALS) {
        types
            .ty()
            .function(vec![ValType::I64; params as usize], [ValType::I64]);
        functions.function(index);
        let mut body = Function::new([(locals, ValType::I64)]);
        let mut code = body.instructions();
        for value in 0..20 {
            code.i64_const(value);
        }
        code.call(0).block(BlockType::Empty).i32_const(0).br_if(0);
        code.call(0).end();
        for _ in 1..20 {
            code.i64_add();
        }
        code.end();
        bodies.function(&body);
    }
    let mut module = Encoder::new();
    module.section(&types).section(&imports);
    module.section(&functions).section(&bodies);
    module.finish()
}

fn singlepass() -> Box<dyn CompilerConfig> {
    Box::new(wasmer_compiler_singlepass::Singlepass::new())
}

fn cranelift() -> Box<dyn CompilerConfig> {
    Box::new(wasmer_compiler_cranelift::Cranelift::new())
}

fn compile(config: Box<dyn CompilerConfig>, target: &Target, bytes: &[u8]) -> RkyvCompilation {
    let translated = ModuleEnvironment::new().translate(bytes).expect("is valid");
    let info = CompileModuleInfo {
        features: crate::module::wasmer_features(),
        module: Arc::new(translated.module),
        memory_styles: PrimaryMap::new(),
        table_styles: PrimaryMap::new(),
        function_max_stack_usage: PrimaryMap::new(),
    };
    let state = translated.module_translation_state.expect("a state");
    let bodies = translated.function_body_inputs;
    let compiled = config
        .compiler()
        .compile_module(target, &info, &[], &state, bodies, None);
    match compiled.expect("compiles") {
        Compilation::Rkyv { compilation, .. } => compilation,
        Compilation::Elf { .. } => panic!("an image"),
    }
}

fn table(compilation: &RkyvCompilation) -> &[u8] {
    let section = compilation.unwind_info.eh_frame.expect("a table");
    compilation.custom_sections[section].bytes.as_slice()
}

/// Where registers are found, below or above the frame register.
type Registers = BTreeMap<u16, i64>;

/// What the table says, and what the code does, of every function.
fn registers(machine: &Machine, compilation: &RkyvCompilation) -> Vec<(Registers, Registers)> {
    let section = compilation.unwind_info.eh_frame.expect("a table");
    let relocations = &compilation.custom_sections[section].relocations;
    let mut section = EhFrame::new(table(compilation), LittleEndian);
    section.set_address_size(8);
    let bases = BaseAddresses::default();
    let mut entries = section.entries(&bases);
    let mut functions = Vec::new();
    while let Some(entry) = entries.next().expect("an entry") {
        let CieOrFde::Fde(partial) = entry else {
            continue;
        };
        let function = partial
            .parse(EhFrame::cie_from_offset)
            .expect("a function's entry");
        // Where it lies, a relocation tells.
        let index = LocalFunctionIndex::from_u32(functions.len() as u32);
        let relocation = &relocations[index.as_u32() as usize];
        assert_eq!(relocation.reloc_target, RelocationTarget::LocalFunc(index));
        let start = function.initial_address();
        let code = &compilation.functions[index].body.body;
        assert_eq!(function.len(), code.len() as u64);
        assert_eq!(code[..machine.prologue.len()], *machine.prologue);

        let mut said = Registers::new();
        let mut done = Registers::from_iter(machine.pushed.iter().copied());
        let mut context = UnwindContext::new();
        let rows = function.rows(&section, &bases, &mut context);
        let mut rows = rows.expect("rows");
        while let Some(row) = rows.next_row().expect("a row") {
            // Before the frame register is set, registers that are pushed.
            let &CfaRule::RegisterAndOffset { register, offset } = row.cfa() else {
                panic!("an expression");
            };
            if register.0 != machine.frame_register {
                continue;
            }
            assert_eq!(offset, machine.cfa);
            let before = std::mem::take(&mut said);
            for (register, rule) in row.registers() {
                let &RegisterRule::Offset(distance) = rule else {
                    panic!("{rule:?}");
                };
                said.insert(register.0, offset + distance);
            }
            // The row begins behind what it is about.
            let end = (row.start_address() - start) as usize;
            if before.is_empty() {
                assert_eq!(end, machine.prologue.len());
            } else {
                let (register, at) = (machine.store)(&code[..end]);
                done.insert(register, at);
            }
        }
        functions.push((said, done));
    }
    assert_eq!(functions.len(), LOCALS.len());
    functions
}

#[test]
fn a_corrected_table_says_where_the_code_saves_registers() {
    for machine in MACHINES {
        let corrected = Config {
            compiler: singlepass(),
            // It is Singlepass' code that is looked at.
            instead: Box::new(Broken(|_, _| panic!("a table is unknown"))),
            is_replaced: Arc::default(),
        };
        let compilation = compile(Box::new(corrected), &machine.target(), &module());
        let functions = registers(&machine, &compilation);
        for ((params, locals), (said, done)) in LOCALS.into_iter().zip(functions) {
            assert_eq!(
                said, done,
                "{params} and {locals} locals, {}",
                machine.triple
            );
            let saved = done.values().filter(|at| **at < 0).count();
            let in_registers = machine.locals.min((params + locals) as usize);
            assert_eq!(saved, 1 + in_registers, "{params} and {locals} locals");
        }
    }
}

#[test]
fn singlepass_still_needs_its_table_corrected() {
    for machine in MACHINES {
        let compilation = compile(singlepass(), &machine.target(), &module());
        let functions = registers(&machine, &compilation);
        let right = functions.iter().any(|(said, done)| said == done);
        assert!(
            !right,
            "wasmer-compiler-singlepass' own unwind table for {} is right now. Drop crates/engine/src/tier/singlepass.rs, and give \
             the engine in tier/engine.rs Singlepass as it is",
            machine.triple
        );
    }
}

/// Singlepass with another table.
#[derive(Clone, Copy, Debug)]
struct Broken(fn(&mut RkyvCompilation, &mut Vec<u8>));

impl CompilerConfig for Broken {
    fn compiler(self: Box<Self>) -> Box<dyn Compiler> {
        self
    }

    fn push_middleware(&mut self, _: Arc<dyn ModuleMiddleware>) {}
}

impl Compiler for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    fn deterministic_id(&self) -> String {
        String::new()
    }

    fn get_middlewares(&self) -> &[Arc<dyn ModuleMiddleware>] {
        &[]
    }

    fn compile_module(
        &self,
        target: &Target,
        module: &CompileModuleInfo,
        blob: &[u8],
        translation: &ModuleTranslationState,
        bodies: PrimaryMap<LocalFunctionIndex, FunctionBodyData<'_>>,
        progress: Option<&CompilationProgressCallback>,
    ) -> Result<Compilation, CompileError> {
        let compiled = singlepass().compiler().compile_module(
            target,
            module,
            blob,
            translation,
            bodies,
            progress,
        );
        let mut compilation = compiled?;
        let Compilation::Rkyv {
            compilation: parts, ..
        } = &mut compilation
        else {
            panic!("an image");
        };
        let mut bytes = table(parts).to_vec();
        (self.0)(parts, &mut bytes);
        if let Some(section) = parts.unwind_info.eh_frame {
            parts.custom_sections[section].bytes = SectionBody::new_with_vec(bytes);
        }
        Ok(compilation)
    }
}

#[test]
fn what_has_another_table_is_compiled_by_cranelift() {
    let target = MACHINES[0].target();
    let wanted = compile(cranelift(), &target, &module());
    let breaks: [fn(&mut RkyvCompilation, &mut Vec<u8>); 4] = [
        // No table.
        |parts, _| parts.unwind_info.eh_frame = None,
        // One that is right.
        |_, bytes| {
            let _ = X86_64.correct(bytes);
        },
        // One that ends early.
        |_, bytes| bytes.truncate(100),
        // One of all functions but the last.
        |_, bytes| {
            let mut at = 0;
            for _ in 0..LOCALS.len() {
                at +=
                    4 + u32::from_le_bytes(*bytes[at..].first_chunk().expect("a length")) as usize;
            }
            bytes.truncate(at);
            bytes.extend([0; 8]);
        },
    ];
    for broken in breaks {
        let is_replaced = Arc::default();
        let corrected = Config {
            compiler: Box::new(Broken(broken)),
            instead: cranelift(),
            is_replaced: Arc::clone(&is_replaced),
        };
        let compilation = compile(Box::new(corrected), &target, &module());
        assert!(compilation == wanted, "not Cranelift's");
        assert!(is_replaced.load(Ordering::Relaxed));
    }
    assert_eq!(
        Format::of(&Target::new(
            "riscv64gc-unknown-linux-gnu".parse().expect("a triple"),
            CpuFeature::set()
        ))
        .map(|format| format.record),
        None
    );
}

/// A table of one function, and the places of what may be any number: address, length, how far the code goes on.
type Written = (
    &'static Format,
    &'static [u8],
    &'static [std::ops::Range<usize>],
);

#[rustfmt::skip]
const WRITTEN: [Written; 2] = [
    (
        &X86_64,
        &[
            20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x90, 1, 0, 0, 0, 0, 0, 0,
            44, 0, 0, 0, 28, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 99, 1, 0, 0, 0, 0, 0, 0,
            0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x04, 1, 2, 3, 4, 0x8c, 1, 0x03, 7, 8, 0x83, 2, 0x02, 9, 0x8f, 3,
            0, 0, 0, 0, 0, 0, 0, 0,
        ],
        &[32..49, 53..54, 57..61, 64..66, 69..70],
    ),
    (
        &AARCH64,
        &[
            12, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0x78, 30, 0x0c, 31, 0,
            52, 0, 0, 0, 20, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 99, 1, 0, 0, 0, 0, 0, 0,
            0x44, 0x0e, 16, 0x9e, 1, 0x9d, 2, 0x44, 0x0e, 32, 0x9c, 3, 0x9b, 4, 0x44, 0x0d, 29,
            0x48, 0x93, 1, 0x44, 0x94, 2, 0x44, 0x9c, 3, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0,
        ],
        &[24..41, 47..48, 54..55, 57..58, 60..61, 63..64],
    ),
];

/// The operands that give distances below the frame register.
const DISTANCES: [[usize; 3]; 2] = [[62, 67, 71], [59, 62, 65]];

#[test]
fn distances_from_the_frame_register_become_distances_from_the_cfa() {
    for ((format, written, _), distances) in WRITTEN.into_iter().zip(DISTANCES) {
        let mut expected = written.to_vec();
        for (at, distance) in distances.into_iter().zip(1..) {
            assert_eq!(expected[at], distance);
            expected[at] += format.record;
        }
        let mut corrected = written.to_vec();
        assert_eq!(format.correct(&mut corrected), Some(1));
        assert_eq!(corrected, expected);
    }
}

#[test]
fn a_table_with_any_other_byte_is_unknown() {
    for ((format, written, free), distances) in WRITTEN.into_iter().zip(DISTANCES) {
        for end in 0..written.len() {
            let known = format.correct(&mut written[..end].to_vec());
            assert_eq!(known, None, "{end} bytes");
        }
        for at in 0..written.len() {
            if free.iter().any(|free| free.contains(&at)) {
                continue;
            }
            // Which register it is, the operation before a distance tells. There, and behind the last, the code may go on
            // instead.
            let register = distances.contains(&(at + 1));
            let free = register || at > distances[2];
            for other in 0..=u8::MAX {
                if free && matches!(other, 2..=4 | 0x40..0x80) {
                    continue;
                }
                let same = other == written[at] || register && other & 0xc0 == OFFSET;
                let mut table = written.to_vec();
                table[at] = other;
                let known = format.correct(&mut table).is_some();
                assert_eq!(known, same, "byte {at} is {other:#x}");
            }
        }
    }
}

/// A module with an import of so many parameters, the first of which is a float, and a function that is empty.
fn importing(parameters: usize) -> Vec<u8> {
    let mut all = vec![ValType::I64; parameters];
    all[0] = ValType::F64;
    let mut types = TypeSection::new();
    types.ty().function(all, []);
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    imports.import("e", "f", EntityType::Function(0));
    let mut functions = FunctionSection::new();
    functions.function(1);
    let mut bodies = CodeSection::new();
    let mut body = Function::new([]);
    body.instructions().end();
    bodies.function(&body);
    let mut module = Encoder::new();
    module.section(&types).section(&imports);
    module.section(&functions).section(&bodies);
    module.finish()
}

/// Why callers of such imports are Cranelift's on ARM64 (`CONVERTIBLE_PARAMETERS` in `module/skeleton.rs`). Once this fails, they
/// need not be.
#[test]
fn on_arm64_an_import_that_converts_more_than_seven_parameters_ends_the_compile() {
    let [x86_64, arm64] = MACHINES.map(|machine| machine.target());
    let compiles = |target: &Target, parameters| {
        let bytes = importing(parameters);
        std::panic::catch_unwind(|| compile(singlepass(), target, &bytes)).is_ok()
    };
    assert!(compiles(&x86_64, 8));
    assert!(compiles(&arm64, 7));
    assert!(!compiles(&arm64, 8));
}
