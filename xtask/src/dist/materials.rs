//! The bill of materials of a file, as an SPDX 2.3 document: <https://spdx.github.io/spdx-spec/v2.3/>.
//!
//! cargo-sbom and cargo-cyclonedx describe one package each, the first for all targets at once, and neither the file's
//! digest. An artefact is composed of several packages; a program has one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Release, metadata::LICENCES};
use crate::{process, repo};

/// The crates in a file, and the compiler whose standard library is in it
pub(super) struct Materials {
    crates: BTreeSet<Crate>,
    compiler: String,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    licence: String,
    /// SHA-256 of the package in the registry; a crate of this repository has none
    checksum: Option<String>,
}

impl Materials {
    /// The crates that are linked into packages for a target, without build tools
    pub(super) fn of<'a>(packages: impl IntoIterator<Item = &'a str>, target: &str) -> Result<Self> {
        let checksums = checksums()?;
        let mut crates = BTreeSet::new();
        for package in packages {
            let tree = process::output(
                process::cargo().args(["tree", "-p", package, "--target", target]).args(LINKED),
            )?;
            let lines = tree.lines().filter(|line| !line.is_empty());
            let found: Result<Vec<_>> = lines.map(|line| Crate::parse(line, &checksums)).collect();
            crates.extend(found?);
        }
        let compiler = process::output(Command::new("rustc").arg("--version"))?;
        Ok(Self { crates, compiler: compiler.trim().to_owned() })
    }

    /// The document for a file with this SHA-256; its purpose is a word of SPDX
    pub(super) fn bill(&self, release: &Release, file: &str, purpose: &str, digest: &str) -> Result<Vec<u8>> {
        let Release { version, created, .. } = release;
        let artefact = json!({
            "SPDXID": "SPDXRef-artefact",
            "name": file,
            "packageFileName": file,
            "versionInfo": version,
            "primaryPackagePurpose": purpose,
            "checksums": [{ "algorithm": "SHA256", "checksumValue": digest }],
            "licenseDeclared": LICENCES,
            "downloadLocation": release.source,
            "filesAnalyzed": false,
        });
        let parts = self.crates.iter().map(Crate::package).chain([self.standard_library()]);
        let packages: Vec<Value> = std::iter::once(artefact).chain(parts).collect();
        let made_of =
            packages.iter().skip(1).map(|part| relation("SPDXRef-artefact", "DEPENDS_ON", &part["SPDXID"]));
        let about = relation("SPDXRef-DOCUMENT", "DESCRIBES", &packages[0]["SPDXID"]);
        let document = json!({
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": format!("{file} {version}"),
            "documentNamespace": format!("https://spdx.org/spdxdocs/{file}-{version}-{digest}"),
            "creationInfo": { "created": created, "creators": [format!("Tool: cargo-xtask-dist-{version}")] },
            "relationships": std::iter::once(about).chain(made_of).collect::<Vec<_>>(),
            "packages": packages,
        });
        Ok(serde_json::to_vec_pretty(&document)?)
    }

    fn standard_library(&self) -> Value {
        json!({
            "SPDXID": "SPDXRef-std",
            "name": "Rust standard library",
            "versionInfo": self.compiler,
            "licenseDeclared": "MIT OR Apache-2.0",
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
        })
    }
}

impl Crate {
    /// A line of `cargo tree` as [`LINKED`] makes it: `name vVERSION`, perhaps a path, and behind a tab the licence
    fn parse(line: &str, checksums: &BTreeMap<(String, String), String>) -> Result<Self> {
        let wrong = || format!("cargo tree said {line}");
        let (package, licence) = line.split_once('\t').with_context(wrong)?;
        let mut words = package.split(' ');
        let (name, version) = words.next().zip(words.next()).with_context(wrong)?;
        let version = version.strip_prefix('v').with_context(wrong)?.to_owned();
        let checksum = checksums.get(&(name.to_owned(), version.clone())).cloned();
        // Cargo's old way to write a choice is no SPDX expression.
        let licence = licence.trim_end_matches("(*)").trim().replace('/', " OR ");
        Ok(Self { name: name.to_owned(), version, licence, checksum })
    }

    fn package(&self) -> Value {
        let Self { name, version, licence, .. } = self;
        let mut package = json!({
            "SPDXID": format!("SPDXRef-crate-{name}-{version}").replace(['_', '+'], "."),
            "name": name,
            "versionInfo": version,
            "licenseDeclared": if licence.is_empty() { "NOASSERTION" } else { licence },
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
        });
        if let Some(checksum) = &self.checksum {
            let locator = format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"));
            package["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": checksum }]);
            package["externalRefs"] = json!([{
                "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator,
            }]);
        }
        package
    }
}

fn relation(from: &str, kind: &str, to: &Value) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// The digests of `Cargo.lock`, by name and version
fn checksums() -> Result<BTreeMap<(String, String), String>> {
    let lock = fs::read_to_string(repo::path("Cargo.lock")).context("cannot read Cargo.lock")?;
    let lock: Lock = toml::from_str(&lock).context("Cargo.lock has an unexpected form")?;
    let of_registries = lock.package.into_iter().filter_map(|it| Some(((it.name, it.version), it.checksum?)));
    Ok(of_registries.collect())
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

const LINKED: [&str; 7] =
    ["--locked", "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}\t{l}"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::SOURCE;

    #[test]
    fn a_line_of_the_tree_is_a_crate_with_an_spdx_licence_and_its_digest() {
        let checksums = BTreeMap::from([(("http".to_owned(), "1.5.0".to_owned()), "abc".to_owned())]);

        let of_registry = Crate::parse("http v1.5.0\tMIT/Apache-2.0 (*)", &checksums).unwrap();
        let ours = Crate::parse("broker v0.1.0 (/somewhere/broker)\tApache-2.0 OR MIT", &checksums).unwrap();

        assert_eq!(of_registry.licence, "MIT OR Apache-2.0");
        assert_eq!(of_registry.checksum.as_deref(), Some("abc"));
        assert_eq!((ours.name.as_str(), ours.version.as_str(), ours.checksum), ("broker", "0.1.0", None));
        assert!(Crate::parse("what is this", &checksums).is_err());
    }

    #[test]
    fn a_bill_names_the_file_by_its_digest_and_everything_in_it() {
        let checksums = checksums().unwrap();
        let materials = Materials {
            crates: BTreeSet::from([Crate::parse("wasip3 v0.9.0+wasi-0.3.0\tMIT", &checksums).unwrap()]),
            compiler: "rustc 1.95.0".to_owned(),
        };
        let release =
            Release { version: "1.2.3", revision: String::new(), created: "T".to_owned(), source: SOURCE };

        let bill: Value =
            serde_json::from_slice(&materials.bill(&release, "it.wasm", "LIBRARY", "0123").unwrap()).unwrap();

        assert_eq!(bill["packages"][0]["checksums"][0]["checksumValue"], "0123");
        assert_eq!(bill["packages"][1]["SPDXID"], "SPDXRef-crate-wasip3-0.9.0.wasi-0.3.0");
        let locator = &bill["packages"][1]["externalRefs"][0]["referenceLocator"];
        assert_eq!(locator, "pkg:cargo/wasip3@0.9.0%2Bwasi-0.3.0");
        assert_eq!(bill["relationships"].as_array().unwrap().len(), 3);
    }
}
