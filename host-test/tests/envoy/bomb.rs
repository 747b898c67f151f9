//! The filter with a defect, to see what becomes of a worker in which it traps.

use std::fs;
use std::path::Path;

use wasm_encoder::{CodeSection, ExportKind, ExportSection, Function, FunctionSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// So many headers set it off.
pub(crate) const HEADERS: usize = 50;

/// Write to a file what traps at a request of [`HEADERS`] headers, and is the filter else.
pub(crate) fn put(filter: &Path, bomb: &Path) {
    let original = fs::read(filter).unwrap();
    fs::write(bomb, rigged(&original)).unwrap();
}

/// The export that the host calls leads to a function that looks first.
fn rigged(original: &[u8]) -> Vec<u8> {
    let (mut module, mut imported, mut types, mut target) = (Module::new(), 0, Vec::new(), 0);
    for payload in Parser::new(0).parse_all(original) {
        let payload = payload.unwrap();
        if let Payload::ExportSection(exports) = &payload {
            let export = exports.clone().into_iter().map(Result::unwrap).find(|export| export.name == RIGGED);
            target = export.unwrap().index;
        }
    }
    for payload in Parser::new(0).parse_all(original) {
        let payload = payload.unwrap();
        match &payload {
            Payload::ImportSection(imports) => {
                let imports = imports.clone().into_imports().map(Result::unwrap);
                imported = imports.filter(|import| matches!(import.ty, TypeRef::Func(_))).count();
            }
            Payload::FunctionSection(functions) => {
                types = functions.clone().into_iter().map(Result::unwrap).collect();
                types.push(types[target as usize - imported]);
                let mut section = FunctionSection::new();
                types.iter().for_each(|of| _ = section.function(*of));
                module.section(&section);
                continue;
            }
            Payload::ExportSection(exports) => {
                module.section(&rerouted(exports.clone(), (imported + types.len() - 1) as u32));
                continue;
            }
            Payload::CodeSectionStart { range, .. } => {
                module.section(&with_check(&original[range.start as usize..range.end as usize], target));
                continue;
            }
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            module.section(&RawSection { id, data: &original[range.start as usize..range.end as usize] });
        }
    }
    module.finish()
}

fn rerouted(exports: wasmparser::ExportSectionReader<'_>, to: u32) -> ExportSection {
    let mut section = ExportSection::new();
    for export in exports.into_iter().map(Result::unwrap) {
        let (kind, index) = match export.kind {
            ExternalKind::Func if export.name == RIGGED => (ExportKind::Func, to),
            ExternalKind::Func => (ExportKind::Func, export.index),
            ExternalKind::Memory => (ExportKind::Memory, export.index),
            ExternalKind::Table => (ExportKind::Table, export.index),
            _ => (ExportKind::Global, export.index),
        };
        section.export(export.name, kind, index);
    }
    section
}

fn with_check(code: &[u8], target: u32) -> CodeSection {
    let mut section = CodeSection::new();
    let reader = wasmparser::CodeSectionReader::new(wasmparser::BinaryReader::new(code, 0)).unwrap();
    for body in reader.into_iter().map(Result::unwrap) {
        section.raw(body.as_bytes());
    }
    let mut check = Function::new([]);
    let mut does = check.instructions();
    does.local_get(1)
        .i32_const(HEADERS as i32)
        .i32_ge_u()
        .if_(wasm_encoder::BlockType::Empty)
        .unreachable()
        .end();
    does.local_get(0).local_get(1).local_get(2).call(target).end();
    section.function(&check);
    section
}

const RIGGED: &str = "proxy_on_request_headers";
