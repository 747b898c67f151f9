//! The pages of the documentation and the READMEs of the examples, by their commands as they are written.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test runs programs")]

use std::time::Duration;

use host_test::console::{Page, Stage};

#[test]
fn the_quickstart_for_wasmtime() {
    try_out("docs/quickstart/wasmtime.md", Stage::with(&["token-broker.wasm"]));
}

/// `spin build` is what `cargo xtask build` did with this manifest, and `spin up` a host of these tests.
#[test]
fn the_quickstart_for_spin() {
    let stage = Stage::in_example("spin-app").and_then(|stage| stage.stand_in("spin", SPIN));
    try_out("docs/quickstart/spin.md", stage);
}

/// In the folder of the quickstart for wasmtime, as it says. The program is the one of the page, and was compiled with the
/// tests: wasmtime takes minutes.
#[test]
fn the_quickstart_for_rust() {
    let page = std::fs::read_to_string(format!("{REPOSITORY}/docs/quickstart/rust.md")).unwrap();
    let program =
        std::fs::read_to_string(format!("{REPOSITORY}/crates/host/examples/quickstart.rs")).unwrap();
    assert!(
        page.contains(&format!("```rust\n{program}```\n")),
        "crates/host/examples/quickstart.rs is another"
    );
    let stage = Stage::with(&["token-broker.wasm"]).unwrap().stand_in("cargo", CARGO).unwrap();
    let mut shell = stage.shell().unwrap();
    for page in ["docs/quickstart/wasmtime.md", "docs/quickstart/rust.md"] {
        let done = Page::read(page).and_then(|page| page.run(&mut shell));
        done.unwrap_or_else(|error| panic!("{error:#}"));
    }
}

#[test]
fn the_quickstart_for_wasmcloud() {
    try_out("docs/quickstart/wasmcloud.md", Stage::with(&["token-broker.wasm"]));
}

#[test]
fn the_quickstart_for_envoy() {
    try_out("docs/quickstart/envoy.md", Stage::with(&["token-filter.wasm"]));
}

#[test]
fn the_quickstart_for_node() {
    let stage = Stage::with(&["token-broker-sync.wasm"]).and_then(|stage| stage.stand_in("npm", JCO));
    try_out("docs/quickstart/node.md", stage);
}

#[test]
fn the_quickstart_for_azure_sdks() {
    let stage =
        Stage::with(&[]).and_then(|stage| stage.stand_in("npm", NODE_SDK)?.stand_in("python3", PYTHON_SDK));
    try_out("docs/quickstart/sdk.md", stage);
}

fn try_out(page: &str, stage: anyhow::Result<Stage>) {
    let done = stage.and_then(|stage| Page::read(page)?.run(&mut stage.shell()?));
    done.unwrap_or_else(|error| panic!("{error:#}"));
}

// Packages that `cargo xtask setup` has installed, in the place of those that a page installs.

const JCO: &str = "ln -s $TARGET/example-node/node_modules node_modules";
const NODE_SDK: &str = "ln -s $TARGET/node/node_modules node_modules";
const CARGO: &str = r#"if [ "$1" = run ]; then exec "$TARGET/release/examples/quickstart"; fi
PATH=${PATH#*:} exec cargo "$@""#;
const SPIN: &str = r#"if [ "$1" = build ]; then exit; fi
exec "$TARGET/release/spin" "$@""#;
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const PYTHON_SDK: &str = "ln -s $TARGET/venv $3";

// The runner itself.

#[test]
fn a_page_whose_output_is_another_a_command_that_is_not_there_and_one_that_hangs_are_noticed() {
    let stage = Stage::with(&[]).unwrap();
    for (page, expected) in [
        ("$ echo one\none\n$ sleep 60 &\n$ false\n$ echo $?\n1\n", None),
        ("$ export A=1\n$ cd /\n$ echo $A $PWD\n1 /\n", None),
        ("$ (sleep 0.2; echo later) &\nlater\n", None),
        ("$ cat\n$ echo next\nnext\n", None),
        ("$ echo one\ntwo\n", Some("page.md:3: `echo one`\nprinted:\none\n\nthe page shows:\ntwo")),
        ("$ no-such-command\n", Some("failed with 127")),
        ("$ false\n", Some("failed with 1")),
        ("$ sleep 60\n", Some("`sleep 60` did not end")),
        ("$ echo never &\nanother\n", Some("printed:\nnever")),
        ("$ exit 3\n", Some("did not end")),
        ("$ echo eyJhbGciOiJSUzI1NiJ9.e30.\n[..]\n", Some("printed a token")),
    ] {
        let page = Page::parse("page.md", &format!("# Page\n```console\n{page}```\n"));
        let mut shell = stage.shell_with_bound(Duration::from_secs(2)).unwrap();
        let result = page.and_then(|page| page.run(&mut shell)).map_err(|error| error.to_string());
        match expected {
            None => assert_eq!(result, Ok(())),
            Some(expected) => {
                assert!(result.clone().is_err_and(|told| told.contains(expected)), "{result:?}")
            }
        }
    }
}

#[test]
fn a_page_without_a_command_is_an_error() {
    assert!(Page::parse("page.md", "# Page\n```sh\n$ ls\n```\n").is_err());
}
