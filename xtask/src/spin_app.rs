//! Builds and composes `examples/spin-app` as Spin does, by its manifest.
//!
//! Spin writes the WIT of a component's dependencies beside its sources, runs its build command, and satisfies each import
//! that is a dependency's key by the export of the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use wit_component::WitPrinter;
use wit_parser::Resolve;

use crate::artefact::{self, Check};
use crate::{guest, process, repo, say};

/// `spin.toml`, as far as it is about building
#[derive(Deserialize)]
struct Manifest {
    component: BTreeMap<String, Component>,
}

#[derive(Deserialize)]
struct Component {
    source: PathBuf,
    dependencies: BTreeMap<String, Dependency>,
    build: Build,
}

#[derive(Deserialize)]
struct Dependency {
    path: PathBuf,
    inherit_configuration: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Build {
    command: String,
    workdir: PathBuf,
}

/// Build the components of the manifest, and leave each in `target/components/`, composed with its dependencies
pub(crate) fn build() -> Result<()> {
    for (name, component) in manifest()?.component {
        component.write_wit()?;
        let folder = folder().join(&component.build.workdir);
        process::run(guest::shell(&component.build.command).current_dir(folder))?;
        let composed = component.compose().with_context(|| format!("{name} of spin.toml"))?;
        let file = format!("spin-{name}.wasm");
        say::detail(&format!("{file:<24}{:>8}", say::size(composed.len())));
        process::write_if_changed(&repo::target("components").join(file), &composed)?;
    }
    Ok(())
}

/// Checks that the dependencies of the manifest exist, and that they inherit what they import
pub(crate) fn checks() -> Vec<Check> {
    let check = |what, outcome| Check { name: format!("spin.toml {what}"), outcome };
    vec![
        check("names imports of its components", each(Component::names_imports)),
        check("lets dependencies inherit what they import", each(Component::lends_what_is_imported)),
    ]
}

fn each(check: impl Fn(&Component) -> Result<()>) -> Result<()> {
    manifest()?.component.iter().try_for_each(|(name, component)| check(component).context(name.clone()))
}

fn manifest() -> Result<Manifest> {
    let file = folder().join("spin.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    toml::from_str(&text).with_context(|| format!("{} has an unexpected form", file.display()))
}

impl Component {
    /// The world `root` that `spin_sdk::dependencies!` makes bindings of
    fn write_wit(&self) -> Result<()> {
        let ours = self.dependencies.keys().filter(|key| key.starts_with("token-broker:"));
        let imports: String = ours.map(|key| format!("    import {key};\n")).collect();
        let mut resolve = Resolve::default();
        let (contract, _) = resolve.push_dir(repo::path("wit")).context("wit/ cannot be read")?;
        let world = format!("package root:component;\n\nworld root {{\n{imports}}}\n");
        let root = resolve
            .push_str("root.wit", &world)
            .context("spin.toml names an interface that is not in wit/")?;
        let mut printer = WitPrinter::default();
        printer.print(&resolve, root, &[contract])?;
        let file = folder().join(&self.build.workdir).join("spin-dependencies.wit");
        process::write_if_changed(&file, printer.output.to_string().as_bytes())
    }

    fn compose(&self) -> Result<Vec<u8>> {
        let plugs = self.dependencies.iter().map(|(key, it)| Ok((key.clone(), read(&it.path)?)));
        artefact::wire(&read(&self.source)?, &plugs.collect::<Result<Vec<_>>>()?)
    }

    /// Spin compares names letter by letter, versions included.
    fn names_imports(&self) -> Result<()> {
        let imported = artefact::imports(&read(&self.source)?)?;
        for (key, dependency) in &self.dependencies {
            ensure!(imported.contains(key), "the component does not import {key}");
            let exported = artefact::exports(&read(&dependency.path)?)?;
            ensure!(exported.contains(key), "{} does not export {key}", dependency.path.display());
        }
        Ok(())
    }

    fn lends_what_is_imported(&self) -> Result<()> {
        for (key, dependency) in &self.dependencies {
            let imported = artefact::imports(&read(&dependency.path)?)?;
            let lent = |interface: &str| imported.iter().any(|import| import.starts_with(interface));
            let needed: BTreeSet<String> = LENT
                .iter()
                .filter(|(_, interface)| lent(interface))
                .map(|(key, _)| (*key).to_owned())
                .collect();
            ensure!(
                needed == dependency.inherit_configuration,
                "{key} needs {needed:?} and inherits {:?}",
                dependency.inherit_configuration
            );
        }
        Ok(())
    }
}

/// The keys of configuration that a dependency may inherit, and the interface that needs each
const LENT: [(&str, &str); 4] = [
    ("allowed_outbound_hosts", "wasi:http/client@"),
    ("environment", "wasi:cli/environment@"),
    ("key_value_stores", "spin:key-value/"),
    ("variables", "spin:variables/"),
];

fn read(file: &Path) -> Result<Vec<u8>> {
    let file = folder().join(file);
    fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
}

fn folder() -> PathBuf {
    repo::path("examples/spin-app")
}
