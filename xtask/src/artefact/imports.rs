//! Compares the imports of a component or a module with its list under `components/imports/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use wasmparser::{Parser, Payload};
use wit_parser::decoding::{DecodedWasm, decode};
use wit_parser::{Resolve, WorldId};

use crate::process;

/// The imports of a component, by interface and minor version, or the functions that a module imports
///
/// Patch versions differ between the standard libraries of different compilers.
pub(super) fn of(artefact: &[u8]) -> Result<BTreeSet<String>> {
    if artefact.starts_with(MODULE) {
        return of_module(artefact);
    }
    Ok(names(artefact)?.iter().map(|import| minor(import)).collect())
}

pub(crate) fn names(component: &[u8]) -> Result<BTreeSet<String>> {
    let (resolve, world) = world(component)?;
    Ok(resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key)).collect())
}

pub(crate) fn exported(component: &[u8]) -> Result<BTreeSet<String>> {
    let (resolve, world) = world(component)?;
    Ok(resolve.worlds[world].exports.keys().map(|key| resolve.name_world_key(key)).collect())
}

fn of_module(module: &[u8]) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(imports) = payload.context("not a module")? {
            for import in imports.into_imports() {
                let import = import.context("not a module")?;
                names.insert(format!("{}.{}", import.module, import.name));
            }
        }
    }
    Ok(names)
}

/// The type of a component, as a WIT world
pub(super) fn world(component: &[u8]) -> Result<(Resolve, WorldId)> {
    // A core module would be decoded too, as a component that imports nothing.
    ensure!(component.starts_with(COMPONENT), "not a component");
    match decode(component).context("not a component")? {
        DecodedWasm::Component(resolve, world) => Ok((resolve, world)),
        DecodedWasm::WitPackage(..) => bail!("a WIT package, not a component"),
    }
}

pub(super) fn check(list: &Path, component: &[u8]) -> Result<()> {
    let agreed = fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let agreed: BTreeSet<String> = agreed.lines().map(str::to_owned).collect();
    let found = of(component)?;
    if found == agreed {
        return Ok(());
    }
    let more = found.difference(&agreed).map(|import| format!("  + {import}"));
    let less = agreed.difference(&found).map(|import| format!("  - {import}"));
    let difference = more.chain(less).collect::<Vec<_>>().join("\n");
    bail!("{difference}\nfix: if this is intended, cargo xtask build --bless")
}

pub(super) fn bless(list: &Path, component: &[u8]) -> Result<()> {
    let imports: String = of(component)?.into_iter().map(|import| import + "\n").collect();
    process::write_if_changed(list, imports.as_bytes())
}

fn minor(import: &str) -> String {
    let Some((interface, version)) = import.split_once('@') else { return import.into() };
    let kept: Vec<&str> = version.splitn(3, '.').take(2).collect();
    format!("{interface}@{}", kept.join("."))
}

/// The magic number of wasm, and the version and layer of modules
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// The same of components
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_named_up_to_its_minor_version() {
        assert_eq!(minor("wasi:io/streams@0.2.6"), "wasi:io/streams@0.2");
        assert_eq!(minor("wasi:keyvalue/store@0.2.0-draft2"), "wasi:keyvalue/store@0.2");
        assert_eq!(minor("plain"), "plain");
    }

    #[test]
    fn the_functions_that_a_module_imports_are_named_with_where_they_are() {
        let mut module = wasm_encoder::Module::new();
        let mut types = wasm_encoder::TypeSection::new();
        types.ty().function([], []);
        let mut imports = wasm_encoder::ImportSection::new();
        imports.import("env", "proxy_log", wasm_encoder::EntityType::Function(0));
        module.section(&types).section(&imports);

        assert_eq!(of(&module.finish()).unwrap(), BTreeSet::from(["env.proxy_log".to_owned()]));
    }

    #[test]
    fn what_is_neither_a_component_nor_a_module_is_an_error() {
        assert!(of(b"\0asm\x01\0\0\0\x02\xff").is_err());
        assert!(of(b"<html>").is_err());
        assert!(world(b"\0asm\x01\0\0\0").is_err());
    }
}
