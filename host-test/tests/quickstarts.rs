//! The pages of the documentation and the READMEs of the examples, by their commands as they are written.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test runs programs")]

#[path = "quickstarts/failures.rs"]
mod failures;

use std::time::Duration;

use anyhow::Result;
use host_test::console::{Page, Stage};

/// A test for each page: its name, the page, and what its reader has
macro_rules! pages {
    ($($name:ident: $page:literal, $stage:expr;)*) => {
        $(#[test]
        fn $name() {
            try_out(&[$page], $stage);
        })*
    };
}

pages! {
    readme: "README.md", Stage::with(&["token-broker.wasm", "key-vault.wasm"]);
    command_line: "docs/command-line.md", Stage::with(&["key-vault.wasm"]);
    mock_identity: "crates/mock-identity/README.md", python(Stage::with(&[]), "venv");
    injection: "docs/injection.md", Stage::with(&["sidecar.wasm", "token-injector.wasm"]);
    envoy: "docs/envoy.md", Stage::in_clone();

    quickstart_wasmtime: "docs/quickstart/wasmtime.md", Stage::with(&["token-broker.wasm"]);
    quickstart_wasmcloud: "docs/quickstart/wasmcloud.md", Stage::with(&["token-broker.wasm"]);
    quickstart_envoy: "docs/quickstart/envoy.md", Stage::with(&["token-filter.wasm"]);
    quickstart_node: "docs/quickstart/node.md", packages(Stage::with(&["token-broker-sync.wasm"]), "example-node");
    quickstart_sdk: "docs/quickstart/sdk.md", python(packages(Stage::with(&[]), "node"), "venv");
    quickstart_spin: "docs/quickstart/spin.md", stand_in(Stage::in_example("spin-app"), "spin", SPIN);

    example_key_vault: "examples/key-vault/README.md", Stage::in_example("key-vault");
    example_storage: "examples/storage/README.md", packages(Stage::in_example("storage"), "azurite");
    example_sql: "examples/sql/README.md", Stage::in_example("sql");
    example_sidecar: "examples/sidecar/README.md", Stage::in_example("sidecar");
    example_wasmcloud: "examples/wasmcloud/README.md", Stage::in_example("wasmcloud");
    example_wasmtime_app: "examples/wasmtime-app/README.md", Stage::in_example("wasmtime-app");
    example_node: "examples/node/README.md", packages(Stage::in_example("node"), "example-node");
    example_js: "examples/js/README.md", packages(Stage::in_example("js"), "example-js");
    example_python: "examples/python/README.md", python(Stage::in_example("python"), "example-python");
    example_envoy: "examples/envoy/README.md", Stage::in_clone();
}

/// In the folder of the quickstart for wasmtime, as it says. The program is the one of the page, and was compiled with the
/// tests: wasmtime takes minutes.
#[test]
fn quickstart_rust() {
    let read = |file| std::fs::read_to_string(format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let program = read("crates/host/examples/quickstart.rs");
    let page = read("docs/quickstart/rust.md");
    assert!(page.contains(&format!("```rust\n{program}```\n")), "the page has another program");
    let stage = stand_in(Stage::with(&["token-broker.wasm"]), "cargo", CARGO);
    try_out(&["docs/quickstart/wasmtime.md", "docs/quickstart/rust.md"], stage);
}

/// Type what the pages say, in one shell.
fn try_out(pages: &[&str], stage: Result<Stage>) {
    let done = stage.and_then(|stage| {
        let mut shell = stage.shell()?;
        pages.iter().try_for_each(|page| Page::read(page)?.run(&mut shell))
    });
    done.unwrap_or_else(|error| panic!("{error:#}"));
}

fn stand_in(stage: Result<Stage>, program: &str, script: &str) -> Result<Stage> {
    stage?.stand_in(program, script)
}

/// A stand-in for npm: it links the packages that `cargo xtask setup` has installed into a folder of `target/`.
fn packages(stage: Result<Stage>, folder: &str) -> Result<Stage> {
    stand_in(stage, "npm", &format!("ln -s $TARGET/{folder}/node_modules node_modules"))
}

/// The same for pip: the environment is not empty.
fn python(stage: Result<Stage>, folder: &str) -> Result<Stage> {
    stand_in(stage, "python3", &format!("ln -s $TARGET/{folder} $3"))
}

/// `spin build` is what `cargo xtask build` did with this manifest, and `spin up` a host of these tests.
const SPIN: &str = r#"if [ "$1" = build ]; then exec echo Finished building all Spin components; fi
exec "$TARGET/release/spin" "$@""#;
const CARGO: &str = r#"if [ "$1" = run ]; then exec "$TARGET/release/examples/quickstart"; fi
PATH=${PATH#*:} exec cargo "$@""#;

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
        let hangs = expected.is_some_and(|told| told.contains("did not end"));
        let bound = if hangs { Duration::from_secs(2) } else { Duration::from_secs(60) };
        let mut shell = stage.shell_with_bound(bound).unwrap();
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
