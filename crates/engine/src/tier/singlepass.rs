//! Singlepass, with its unwind table put right.
//!
//! An exception that passes a frame gives its caller the registers that the frame's function saved, as the unwind
//! table says where. Singlepass 7.4.2 writes how far below the frame pointer; the format counts from the CFA, which
//! lies above the frame record. With such a table the handler's function goes on with return addresses for its
//! values. (Traps restore no registers, and frames are found by rules that are right.)
//!
//! So the engine gets a compiler that corrects the table between Singlepass and the registration.
//!
//! Invariant: a table is either known to the byte, except for places in the code and the registers that are saved, or
//! not used: then Cranelift compiles the donor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmer_compiler::types::function::Compilation;
use wasmer_compiler::types::module::CompileModuleInfo;
use wasmer_compiler::types::section::SectionBody;
use wasmer_compiler::{
    Compiler, CompilerConfig, FunctionBodyData, ModuleMiddleware, ModuleTranslationState,
};
use wasmer_types::entity::PrimaryMap;
use wasmer_types::target::{Architecture, Target};
use wasmer_types::{CompilationProgressCallback, CompileError, LocalFunctionIndex};

/// What [`Corrected`] is made of.
pub(super) struct Config {
    /// Singlepass.
    pub(super) compiler: Box<dyn CompilerConfig>,
    /// For what has an unknown table.
    pub(super) instead: Box<dyn CompilerConfig>,
    /// Is set where that compiled, whose convention is another one.
    pub(super) is_replaced: Arc<AtomicBool>,
}

impl CompilerConfig for Config {
    fn compiler(self: Box<Self>) -> Box<dyn Compiler> {
        Box::new(Corrected {
            compiler: self.compiler.compiler(),
            instead: self.instead.compiler(),
            is_replaced: self.is_replaced,
        })
    }

    fn push_middleware(&mut self, middleware: Arc<dyn ModuleMiddleware>) {
        self.compiler.push_middleware(Arc::clone(&middleware));
        self.instead.push_middleware(middleware);
    }
}

/// See the module head.
#[derive(Debug)]
struct Corrected {
    compiler: Box<dyn Compiler>,
    instead: Box<dyn Compiler>,
    is_replaced: Arc<AtomicBool>,
}

impl Compiler for Corrected {
    fn name(&self) -> &str {
        self.compiler.name()
    }

    fn deterministic_id(&self) -> String {
        self.compiler.deterministic_id()
    }

    fn get_middlewares(&self) -> &[Arc<dyn ModuleMiddleware>] {
        self.compiler.get_middlewares()
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
        let again = bodies.values().map(|body| FunctionBodyData { ..*body });
        let again = again.collect();
        let mut compilation =
            self.compiler
                .compile_module(target, module, blob, translation, bodies, progress)?;
        if correct(target, &mut compilation).is_some() {
            return Ok(compilation);
        }
        self.is_replaced.store(true, Ordering::Relaxed);
        self.instead
            .compile_module(target, module, blob, translation, again, progress)
    }
}

/// `None`, and nothing is changed, unless there is a table of all functions and every byte of it is known.
fn correct(target: &Target, compilation: &mut Compilation) -> Option<()> {
    let format = Format::of(target)?;
    let Compilation::Rkyv { compilation, .. } = compilation else {
        return None;
    };
    let section = compilation.unwind_info.eh_frame?;
    let section = compilation.custom_sections.get_mut(section)?;
    let mut table = section.bytes.as_slice().to_vec();
    if format.correct(&mut table)? != compilation.functions.len() {
        return None;
    }
    section.bytes = SectionBody::new_with_vec(table);
    Some(())
}

/// What Singlepass writes on an architecture.
struct Format {
    /// The common entry behind its identifier: version, augmentation, factors (1 for places, -8 for distances), the
    /// return address' register, and the rules at a function's first byte.
    common: &'static [u8],
    /// What a function's entry says, in operations of two bytes, until its frame register is set.
    prologue: &'static [[u8; 2]],
    /// Words from where the frame register points up to the CFA.
    record: u8,
}

const DEF_CFA: u8 = 0x0c;
const DEF_CFA_REGISTER: u8 = 0x0d;
const DEF_CFA_OFFSET: u8 = 0x0e;
/// With the register in the lower six bits.
const OFFSET: u8 = 0x80;

/// `push rbp; mov rbp, rsp`. The return address is column 16.
const X86_64: Format = Format {
    common: &[1, 0, 1, 0x78, 16, DEF_CFA, RSP, 8, OFFSET | 16, 1],
    prologue: &[
        [DEF_CFA_OFFSET, 16],
        [OFFSET | RBP, 2],
        [DEF_CFA_REGISTER, RBP],
    ],
    record: 2,
};

const RBP: u8 = 6;
const RSP: u8 = 7;

/// `stp x29, x30, [sp, #-16]!; stp x27, x28, [sp, #-16]!; mov x29, sp`.
const AARCH64: Format = Format {
    common: &[1, 0, 1, 0x78, 30, DEF_CFA, SP, 0],
    prologue: &[
        [DEF_CFA_OFFSET, 16],
        [OFFSET | 30, 1],
        [OFFSET | 29, 2],
        [DEF_CFA_OFFSET, 32],
        [OFFSET | 28, 3],
        [OFFSET | 27, 4],
        [DEF_CFA_REGISTER, 29],
    ],
    record: 4,
};

const SP: u8 = 31;

/// Numbers below are one byte in LEB128.
const LEB128_BYTE: u8 = 0x80;

impl Format {
    fn of(target: &Target) -> Option<&'static Self> {
        match target.triple().architecture {
            Architecture::X86_64 => Some(&X86_64),
            Architecture::Aarch64(_) => Some(&AARCH64),
            _ => None,
        }
    }

    /// How many functions the table is of; `None` if it is not what Singlepass writes.
    fn correct(&self, table: &mut [u8]) -> Option<usize> {
        let mut functions = 0;
        let mut rest = &mut *table;
        // Functions refer to the common entry, which is the first, by the distance from where they do so.
        let mut reference = size_of::<u32>() as u32;
        let mut is_common = true;
        loop {
            let (length, behind) = rest.split_first_chunk_mut()?;
            let length = u32::from_le_bytes(*length);
            if length == 0 {
                // Singlepass ends it twice.
                return (*behind == [0; 4]).then_some(functions);
            }
            let (entry, behind) = behind.split_at_mut_checked(length as usize)?;
            let (identifier, entry) = entry.split_first_chunk_mut()?;
            let identifier = u32::from_le_bytes(*identifier);
            if std::mem::take(&mut is_common) {
                let padding = entry.strip_prefix(self.common)?;
                (identifier == 0 && is_zero(padding)).then_some(())?;
            } else {
                (identifier == reference).then_some(())?;
                self.correct_function(entry)?;
                functions += 1;
            }
            reference = reference.checked_add(length)?.checked_add(4)?;
            rest = behind;
        }
    }

    fn correct_function(&self, entry: &mut [u8]) -> Option<()> {
        // Its address, which is relocated, and its length.
        let (_, mut rest) = entry.split_first_chunk_mut::<16>()?;
        let mut prologue = self.prologue.iter();
        let mut saved = 0;
        while let Some((operation, behind)) = rest.split_first_mut() {
            // The code goes on: by the lower six bits, or by one, two or four bytes.
            let place = match operation {
                0x40..0x80 => Some(0),
                2 => Some(1),
                3 => Some(2),
                4 => Some(4),
                _ => None,
            };
            if let Some(length) = place {
                rest = behind.get_mut(length..)?;
                continue;
            }
            if *operation == 0 {
                return (prologue.len() == 0 && is_zero(behind)).then_some(());
            }
            let (operand, behind) = behind.split_first_mut()?;
            if let Some(known) = prologue.next() {
                (*known == [*operation, *operand]).then_some(())?;
            } else {
                // One register after the other, from the frame pointer down.
                saved += 1;
                (*operation & 0xc0 == OFFSET && *operand == saved).then_some(())?;
                *operand += self.record;
                (*operand < LEB128_BYTE).then_some(())?;
            }
            rest = behind;
        }
        (prologue.len() == 0).then_some(())
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
#[path = "singlepass_tests.rs"]
mod tests;
