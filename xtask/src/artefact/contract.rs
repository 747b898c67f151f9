//! Compares the exports of a broker with the WIT package in `wit/`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, ensure};
use wit_component::WitPrinter;
use wit_parser::{InterfaceId, Resolve, WorldId, WorldItem};

use super::imports;
use crate::repo;

/// Interfaces by name, as sets of printed items: their order does not matter
type Interfaces = BTreeMap<String, BTreeSet<String>>;

/// Compare every exported interface with that of the same name in a world of `wit/`
pub(super) fn check(component: &[u8], agreed_world: &str) -> Result<()> {
    let (resolve, world) = imports::world(component)?;
    differ(&agreed(agreed_world)?, &exports(&resolve, world)?)
}

fn agreed(world: &str) -> Result<Interfaces> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(repo::path("wit")).context("wit/ cannot be read")?;
    let world = resolve.select_world(&[package], Some(world)).context("wit/ has no such world")?;
    exports(&resolve, world)
}

fn exports(resolve: &Resolve, world: WorldId) -> Result<Interfaces> {
    let exports = resolve.worlds[world].exports.iter();
    let interfaces = exports.filter_map(|(key, item)| match item {
        WorldItem::Interface { id, .. } => Some((resolve.name_world_key(key), *id)),
        WorldItem::Function(_) | WorldItem::Type { .. } => None,
    });
    interfaces.map(|(name, id)| Ok((name, items(resolve, id)?))).collect()
}

/// Each function and each type of an interface on a line of its own, without documentation
fn items(resolve: &Resolve, interface: InterfaceId) -> Result<BTreeSet<String>> {
    let mut printer = WitPrinter::default();
    printer.emit_docs(false);
    printer
        .print_interface(resolve, interface)
        .map_err(|error| anyhow!("an interface cannot be printed: {error}"))?;
    Ok(join_items(&printer.output.to_string()))
}

fn differ(agreed: &Interfaces, found: &Interfaces) -> Result<()> {
    let names: BTreeSet<&String> = agreed.keys().chain(found.keys()).collect();
    let nothing = BTreeSet::new();
    let differences: Vec<String> = names
        .into_iter()
        .flat_map(|name| {
            let agreed = agreed.get(name).unwrap_or(&nothing);
            let found = found.get(name).unwrap_or(&nothing);
            let less = agreed.difference(found).map(move |item| format!("  {name}: only in wit/: {item}"));
            let more = found.difference(agreed).map(move |item| format!("  {name}: only exported: {item}"));
            less.chain(more)
        })
        .collect();
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

/// The printed text, cut after each `;` and `}` that is in no braces
fn join_items(printed: &str) -> BTreeSet<String> {
    let mut items = BTreeSet::new();
    let mut item = String::new();
    let mut depth = 0;
    for line in printed.lines().map(str::trim) {
        depth += line.matches('{').count();
        depth -= line.matches('}').count();
        item = format!("{item} {line}");
        if depth == 0 {
            items.extend(Some(item.trim().to_owned()).filter(|item| !item.is_empty()));
            item.clear();
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artefact::fixture;

    #[test]
    fn a_record_is_one_item_and_so_is_each_function() {
        let items = join_items("record a {\n  b: u8,\n}\n\nf: func();\ng: func();\n");

        assert_eq!(items.len(), 3, "{items:?}");
        assert!(items.contains("record a { b: u8, }"), "{items:?}");
    }

    #[test]
    fn a_component_that_exports_another_contract_is_told_item_by_item() {
        let found = |item: &str| {
            let wit = format!("package a:b@1.0.0; interface c {{ {item} }} world it {{ export c; }}");
            let (resolve, world) = imports::world(&fixture::component(&wit)).unwrap();
            exports(&resolve, world).unwrap()
        };
        let agreed = found("record r { x: u8, y: u8 } f: func(r: r);");

        let reordered = differ(&agreed, &found("record r { y: u8, x: u8 } f: func(r: r);"));
        let same = differ(&agreed, &found("f: func(r: r); record r { x: u8, y: u8 }"));

        let error = reordered.unwrap_err().to_string();
        assert!(error.contains("a:b/c@1.0.0: only in wit/: record r { x: u8, y: u8, }"), "{error}");
        assert!(error.contains("a:b/c@1.0.0: only exported: record r { y: u8, x: u8, }"), "{error}");
        assert!(same.is_ok(), "{same:?}");
    }

    #[test]
    fn the_checked_in_package_has_the_three_interfaces_of_each_broker() {
        for world in ["broker", "broker-sync"] {
            let agreed = agreed(world).unwrap();

            let names: Vec<&str> = agreed.keys().map(String::as_str).collect();
            assert_eq!(names.len(), 3, "{names:?}");
            assert!(agreed.values().all(|items| !items.is_empty()));
        }
    }
}
