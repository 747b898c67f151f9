//! Checks that each line of Rust in the README occurs in the documentation of a crate, which is compiled.

use std::collections::BTreeSet;
use std::fs;

use crate::repo;

#[test]
fn each_line_of_rust_in_the_readme_is_one_of_an_example_that_is_compiled() {
    let readme = read("README.md");
    let crates = COMPILED.map(read);
    let compiled: BTreeSet<&str> = crates.iter().flat_map(|text| documented(text)).collect();
    let stray: Vec<&str> = rust(&readme).filter(|line| !compiled.contains(line)).collect();
    assert!(stray.is_empty(), "in none of {COMPILED:?}: {stray:?}");
    assert!(rust(&readme).count() > COMPILED.len());
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

const COMPILED: [&str; 2] = ["crates/client/src/lib.rs", "crates/host/src/lib.rs"];
