//! `examples/python`, by the commands of its README: in wasmtime's command line, against the mock platform.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test runs programs")]

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use host_test::example::{Example, Installed};
use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};

#[tokio::test]
async fn a_component_in_python_gets_a_token() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let said = ends(&mock).await;
    let ends: u64 = said.strip_prefix("ok(").and_then(|it| it.strip_suffix(")\n")).unwrap().parse().unwrap();
    assert!(ends > now(), "{said}");
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
}

#[tokio::test]
async fn a_component_in_python_is_told_why_there_is_no_token_and_what_mends_it() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    mock.fault(Fault::new(Endpoint::Imds, Answer::status(400)));
    let said = ends(&mock).await;
    assert!(said.starts_with("err(\"Unavailable: "), "{said}");
    assert!(said.contains("fix: give this machine an identity: `az vm identity assign"), "{said}");
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What wasmtime prints of the function's result.
async fn ends(mock: &Mock) -> String {
    let output = EXAMPLE.shown().unwrap().envs(mock.env(Endpoint::Imds)).output().await.unwrap();
    let [said, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success() && !said.contains(TOKEN) && !errors.contains(TOKEN), "{errors}");
    said
}

static EXAMPLE: LazyLock<Example> = LazyLock::new(|| {
    let example = Example::copy("python", &[COMPONENTIZE]).unwrap();
    example.build().unwrap();
    example
});

const COMPONENTIZE: Installed = Installed {
    by: "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
    at: ".venv",
    lies: "example-python",
};

/// What every token of the mock begins with.
const TOKEN: &str = "eyJ";
