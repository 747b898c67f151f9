//! `examples/node` and `examples/js`, by the commands of their READMEs, against the mock platform.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test runs programs")]

use std::process::Output;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host_test::example::{Example, Installed};
use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};

// A Node program.

#[tokio::test]
async fn a_node_program_gets_a_token() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let output = node(&mock).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("Bearer token until 20") && said.ends_with("Z\n"), "{said}");
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
}

#[tokio::test]
async fn a_node_program_is_told_why_there_is_no_token_and_what_mends_it() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    mock.fault(Fault::new(Endpoint::Imds, Answer::status(400)));
    let output = node(&mock).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("tag: 'unavailable'") && said.contains("az vm identity assign"), "{said}");
}

/// What jco's shim makes of them is its own affair; the broker must not wait for ever, nor trap.
#[tokio::test]
async fn a_node_program_outlives_what_an_endpoint_can_do() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    for (answer, tag) in [
        (Answer::Truncated, "transient"),
        (Answer::Empty, "transient"),
        (Answer::Oversize, "protocol"),
        (Answer::SlowDrip, "transient"),
        (Answer::Reset, "transient"),
    ] {
        mock.fault(Fault::new(Endpoint::Imds, answer.clone()).forever());
        let output = node(&mock).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("tag: '{tag}'")), "{answer:?}: {said}");
        mock.reset();
    }
}

#[tokio::test]
async fn to_a_node_program_an_endpoint_that_thinks_is_not_absent() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_millis(1200)));
    let output = node(&mock).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
}

// A component in JavaScript, in wasmtime.

#[tokio::test]
async fn a_component_in_javascript_gets_a_token() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let said = ends(&mock).await;
    let ends: u64 = said.strip_prefix("ok(").and_then(|it| it.strip_suffix(")\n")).unwrap().parse().unwrap();
    assert!(ends > now(), "{said}");
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
}

#[tokio::test]
async fn a_component_in_javascript_is_told_why_there_is_no_token_and_what_mends_it() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    mock.fault(Fault::new(Endpoint::Imds, Answer::status(400)));
    let said = ends(&mock).await;
    assert!(said.starts_with("err(\"unavailable: "), "{said}");
    assert!(said.contains("fix: give this machine an identity: `az vm identity assign"), "{said}");
}

async fn node(mock: &Mock) -> Output {
    let mut program = NODE.shown().unwrap();
    // Enough for two tries of an endpoint that never comes to an end.
    program
        .envs(mock.env(Endpoint::Imds))
        .env("TOKEN_BROKER_TIMEOUT_MS", "1500")
        .env("TOKEN_BROKER_BUDGET_MS", "3000");
    let output = program.output().await.unwrap();
    assert!(!shows_a_token(&output));
    output
}

fn shows_a_token(output: &Output) -> bool {
    [&output.stdout, &output.stderr].into_iter().any(|text| String::from_utf8_lossy(text).contains(TOKEN))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What wasmtime prints of the function's result.
async fn ends(mock: &Mock) -> String {
    let output = JS.shown().unwrap().envs(mock.env(Endpoint::Imds)).output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !shows_a_token(&output), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

static NODE: LazyLock<Example> = LazyLock::new(|| built("node", "example-node/node_modules"));
static JS: LazyLock<Example> = LazyLock::new(|| built("js", "example-js/node_modules"));

fn built(name: &str, lies: &'static str) -> Example {
    let example = Example::copy(name, &[Installed { by: "npm ci", at: "node_modules", lies }]).unwrap();
    example.build().unwrap();
    example
}

/// What every token of the mock begins with.
const TOKEN: &str = "eyJ";
