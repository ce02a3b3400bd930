//! Closes a module: its imports get the names that JavaScript gives them, everything in it is exported, and no thread waits.

use anyhow::Result;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, ImportSection, Instruction, Module,
    SectionId,
};
use wasmparser::types::Types;
use wasmparser::{ExportSectionReader, FunctionBody, ImportSectionReader, Parser, Validator};

use crate::description::features;

/// `module`, closed. Its last global, the fuel, is exported as `fuel`.
pub(crate) fn close(module: &[u8]) -> Result<Vec<u8>> {
    let types = Validator::new_with_features(features()).validate_all(module)?;
    let mut closed = Module::new();
    let mut reencoder = Close {
        types,
        exported: false,
    };
    reencoder.parse_core_module(&mut closed, Parser::new(0), module)?;
    Ok(closed.finish())
}

struct Close {
    types: Types,
    exported: bool,
}

impl Close {
    fn export_all(&mut self, exports: &mut ExportSection) {
        self.exported = true;
        let types = self.types.as_ref();
        let mut all = |kind, letter, count| {
            for index in 0..count {
                exports.export(&format!("{letter}{index}"), kind, index);
            }
        };
        let fuel = types.global_count() - 1;
        all(ExportKind::Func, 'f', types.function_count());
        all(ExportKind::Table, 't', types.table_count());
        all(ExportKind::Memory, 'm', types.memory_count());
        all(ExportKind::Tag, 'e', types.tag_count());
        all(ExportKind::Global, 'g', fuel);
        exports.export("fuel", ExportKind::Global, fuel);
    }
}

impl Reencode for Close {
    type Error = std::convert::Infallible;

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        for (index, import) in section.into_imports().enumerate() {
            let of: EntityType = self.entity_type(import?.ty)?;
            imports.import("env", &index.to_string(), of);
        }
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        _section: ExportSectionReader<'_>,
    ) -> Result<(), Error> {
        self.export_all(exports);
        Ok(())
    }

    /// For a module that has no exports.
    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), Error> {
        use SectionId::{Code, Data, DataCount, Element, Start};
        let follows = matches!(
            before,
            None | Some(Start | Element | DataCount | Code | Data)
        );
        if follows && !self.exported {
            let mut exports = ExportSection::new();
            self.export_all(&mut exports);
            module.section(&exports);
        }
        Ok(())
    }

    /// A wait gets a timeout of zero, whatever it was.
    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let instruction = utils::parse_instruction(self, &mut operators)?;
            if let Instruction::MemoryAtomicWait32(_) | Instruction::MemoryAtomicWait64(_) =
                instruction
            {
                function
                    .instruction(&Instruction::Drop)
                    .instruction(&Instruction::I64Const(0));
            }
            function.instruction(&instruction);
        }
        code.function(&function);
        Ok(())
    }
}
