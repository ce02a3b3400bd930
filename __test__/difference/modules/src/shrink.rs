//! Smaller modules that still fail. `wasm-shrink` does the work where it can: it knows no exnref, and takes one thing at a time.

use std::cell::RefCell;
use std::collections::HashSet;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use anyhow::Result;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, Function, Instruction, Module};
use wasm_shrink::WasmShrink;
use wasmparser::{CodeSectionReader, CustomSectionReader, Parser, Payload};

/// Attempts in a row that come to nothing: so many, and it is small enough.
const ATTEMPTS: u32 = 300;

/// How often `wasm-shrink` begins anew where it panics, as it does at an exported tag.
const PANICS: u64 = 50;

/// `module`, made smaller for as long as it `fails`.
pub fn shrink(module: &[u8], mut fails: impl FnMut(&[u8]) -> Result<bool>) -> Result<Vec<u8>> {
    let mut smallest = empty_functions(module, &mut fails)?;
    for seed in 0..PANICS {
        let found = Rc::new(RefCell::new(smallest.clone()));
        let keep = Rc::clone(&found);
        let shrink = WasmShrink::default()
            .attempts(ATTEMPTS)
            .seed(seed)
            .on_new_smallest(Some(Box::new(move |module| {
                keep.replace(module.to_vec());
                Ok(())
            })));
        let run = catch_unwind(AssertUnwindSafe(|| shrink.run(smallest, &mut fails)));
        if let Ok(ended) = run {
            return Ok(ended?.output);
        }
        smallest = found.take();
    }
    Ok(smallest)
}

/// Empties the functions that need not do anything: many at once, then fewer.
fn empty_functions(
    module: &[u8],
    fails: &mut impl FnMut(&[u8]) -> Result<bool>,
) -> Result<Vec<u8>> {
    let count = functions(module)?;
    let mut empty = HashSet::new();
    let mut size = count.next_power_of_two();
    while size > 0 {
        for start in (0..count).step_by(size as usize) {
            let mut more = empty.clone();
            more.extend(start..count.min(start + size));
            if more.len() > empty.len() && fails(&emptied(module, &more)?)? {
                empty = more;
            }
        }
        size /= 2;
    }
    emptied(module, &empty)
}

fn functions(module: &[u8]) -> Result<u32> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CodeSectionStart { count, .. } = payload? {
            return Ok(count);
        }
    }
    Ok(0)
}

fn emptied(module: &[u8], empty: &HashSet<u32>) -> Result<Vec<u8>> {
    let mut smaller = Module::new();
    Empty(empty).parse_core_module(&mut smaller, Parser::new(0), module)?;
    Ok(smaller.finish())
}

struct Empty<'a>(&'a HashSet<u32>);

impl Reencode for Empty<'_> {
    type Error = Infallible;

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        for (index, body) in section.into_iter().enumerate() {
            if self.0.contains(&(index as u32)) {
                let mut function = Function::new([]);
                function.instruction(&Instruction::Unreachable);
                function.instruction(&Instruction::End);
                code.function(&function);
            } else {
                self.parse_function_body(code, body?)?;
            }
        }
        Ok(())
    }

    /// The description is made anew.
    fn parse_custom_section(
        &mut self,
        _module: &mut Module,
        _section: CustomSectionReader<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }
}
