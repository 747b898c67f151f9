//! Composes components, and checks that all imports of ours are satisfied.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions};

use super::imports;

/// The socket with its imports satisfied by exports of the plugs, each of which must satisfy one
pub(crate) fn plug(socket: &[u8], plugs: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let left_open: Vec<_> = plugs.iter().map(|plug| imports::of(plug)).collect::<Result<_>>()?;
    let socket = package(&mut graph, "socket", socket)?;
    let plugs = plugs
        .iter()
        .enumerate()
        .map(|(nth, plug)| package(&mut graph, &format!("plug{nth}"), plug))
        .collect::<Result<_>>()?;
    wac_graph::plug(&mut graph, plugs, socket).context("the plugs satisfy no import")?;
    let composed = graph.encode(EncodeOptions::default()).context("the composition cannot be encoded")?;
    verify(&composed, &left_open.into_iter().flatten().collect())?;
    Ok(composed)
}

/// The socket with each of these imports satisfied by the export of exactly the same name of its plug
pub(crate) fn wire(socket: &[u8], plugs: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let socket = package(&mut graph, "socket", socket)?;
    let wired = graph.instantiate(socket);
    for (nth, (interface, plug)) in plugs.iter().enumerate() {
        let plug = package(&mut graph, &format!("plug{nth}"), plug)?;
        let plug = graph.instantiate(plug);
        let export = graph.alias_instance_export(plug, interface)?;
        graph.set_instantiation_argument(wired, interface, export)?;
    }
    let exports: Vec<String> = graph.types()[graph[socket].ty()].exports.keys().cloned().collect();
    for name in exports {
        let export = graph.alias_instance_export(wired, &name)?;
        graph.export(export, name)?;
    }
    graph.encode(EncodeOptions::default()).context("the composition cannot be encoded")
}

fn package(graph: &mut CompositionGraph, name: &str, bytes: &[u8]) -> Result<wac_graph::PackageId> {
    let package = Package::from_bytes(name, None, bytes, graph.types_mut())
        .with_context(|| format!("the {name} is not a component"))?;
    graph.register_package(package).with_context(|| format!("the {name} cannot be composed"))
}

/// wac passes over an export whose type differs from the import's: then the import is left. `open`: the imports of the plugs,
/// which the host satisfies.
fn verify(composed: &[u8], open: &BTreeSet<String>) -> Result<()> {
    let of_ours = imports::of(composed)?.into_iter().filter(|import| import.starts_with(OURS));
    let missing: Vec<String> = of_ours.filter(|import| !open.contains(import)).collect();
    ensure!(missing.is_empty(), "no plug satisfies these imports: {}", missing.join(", "));
    Ok(())
}

const OURS: &str = "token-broker:";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artefact::fixture::component;

    #[test]
    fn a_plug_that_fits_leaves_nothing_of_ours_to_import() {
        let composed = plug(&consumer(), &[broker("f: func(n: u8);")]).unwrap();

        assert_eq!(imports::of(&composed).unwrap().len(), 0);
    }

    #[test]
    fn a_plug_of_another_type_is_an_error() {
        let error = plug(&consumer(), &[broker("f: func(n: u16);")]).unwrap_err();

        assert!(format!("{error:#}").contains("no matching imports"), "{error:#}");
    }

    #[test]
    fn a_plug_that_fits_in_part_is_an_error_that_names_the_rest() {
        let other =
            component("package token-broker:t@1.0.0; interface g { f: func(n: u8); } world it { export g; }");
        let socket = component(
            "package token-broker:t@1.0.0; interface g { f: func(n: u8); } interface h { f: func(); }
             world it { import g; import h; }",
        );

        let error = plug(&socket, &[other]).unwrap_err();

        assert!(error.to_string().contains("token-broker:t/h@1.0"), "{error:#}");
    }

    #[test]
    fn what_a_plug_leaves_open_is_still_imported() {
        let plug = component(
            "package token-broker:t@1.0.0; interface g { f: func(n: u8); } interface store { s: func(); }
             world it { import store; export g; }",
        );

        let composed = super::plug(&consumer(), &[plug]).unwrap();

        assert_eq!(Vec::from_iter(imports::of(&composed).unwrap()), ["token-broker:t/store@1.0"]);
    }

    fn consumer() -> Vec<u8> {
        component(
            "package token-broker:t@1.0.0; interface g { f: func(n: u8); } world it { import g; export r: func(); }",
        )
    }

    fn broker(function: &str) -> Vec<u8> {
        component(&format!(
            "package token-broker:t@1.0.0; interface g {{ {function} }} world it {{ export g; }}"
        ))
    }
}
