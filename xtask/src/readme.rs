//! Checks of the texts at the root of the repository against the code.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::{process, repo};

#[test]
fn each_line_of_rust_in_the_readme_is_one_of_an_example_that_is_compiled() {
    let readme = read("README.md");
    let crates = COMPILED.map(read);
    let compiled: BTreeSet<&str> = crates.iter().flat_map(|text| documented(text)).collect();
    let stray: Vec<&str> = rust(&readme).filter(|line| !compiled.contains(line)).collect();
    assert!(stray.is_empty(), "in none of {COMPILED:?}: {stray:?}");
    assert!(rust(&readme).count() > 0);
}

#[test]
fn each_file_that_contributing_names_exists() {
    let text = read("CONTRIBUTING.md");
    let quoted = text.split('`').skip(1).step_by(2);
    let paths: Vec<&str> = quoted.filter(|it| FOLDERS.iter().any(|folder| it.starts_with(folder))).collect();
    let missing: Vec<_> =
        paths.iter().filter(|path| !path.contains('<') && !repo::path(path).exists()).collect();
    assert!(missing.is_empty() && paths.len() > 20, "{missing:?}");
}

#[test]
fn each_text_names_the_owner_of_the_repository_that_cargo_toml_names() {
    let owner = env!("CARGO_PKG_REPOSITORY").rsplit('/').nth(1).unwrap();
    let mut git = Command::new("git");
    git.args(["grep", "-hoE", "(github.com|ghcr.io)/[A-Za-z0-9_-]+/token-broker"]);
    let found = process::output(git.current_dir(repo::path(""))).unwrap();
    let others: Vec<&str> = found.lines().filter(|url| url.split('/').nth(1) != Some(owner)).collect();
    assert!(others.is_empty() && found.lines().count() > 1, "not of {owner}: {others:?}");
}

/// The lines of a text's blocks of Rust, without what is said at their end
fn rust(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("rust\n"));
    blocks.flat_map(str::lines).map(|line| line.split(" // ").next().unwrap_or(line).trim())
}

/// The lines of the documentation of a crate
fn documented(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim)
}

#[test]
fn each_line_of_rust_in_a_readme_of_a_crate_is_one_of_its_documentation() {
    for name in ["client", "egress", "host", "identity-endpoint"] {
        let (readme, documentation) =
            (read(&format!("crates/{name}/README.md")), read(&format!("crates/{name}/src/lib.rs")));
        let compiled: BTreeSet<&str> = documented(&documentation).collect();
        let stray: Vec<&str> = rust(&readme).filter(|line| !compiled.contains(line)).collect();
        assert!(stray.is_empty() && rust(&readme).count() > 0, "{name}: {stray:?}");
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(repo::path(file)).unwrap()
}

const FOLDERS: [&str; 6] = ["src/", "crates/", "components/", "host-test/", "tests/", "xtask/"];
const COMPILED: [&str; 2] = ["crates/client/src/lib.rs", "crates/host/src/lib.rs"];
