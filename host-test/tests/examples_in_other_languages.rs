//! `examples/node`, `examples/js` and `examples/python`, by the commands of their READMEs, against the mock platform.

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
async fn a_node_program_is_told_why_there_is_no_token_and_the_remedy() {
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

// Components, in wasmtime's command line.

#[tokio::test]
async fn components_in_javascript_and_python_get_a_token() {
    for example in [&JS, &PYTHON] {
        let mock = Mock::start(MockConfig::default()).await.unwrap();
        let said = result(example, &mock).await;
        let ends = said.strip_prefix("ok(").and_then(|it| it.strip_suffix(")\n")).unwrap();
        assert!(ends.parse::<u64>().unwrap() > now(), "{said}");
        assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
    }
}

#[tokio::test]
async fn components_in_javascript_and_python_are_told_why_there_is_no_token_and_the_remedy() {
    for (example, kind) in [(&JS, "unavailable"), (&PYTHON, "Unavailable")] {
        let mock = Mock::start(MockConfig::default()).await.unwrap();
        mock.fault(Fault::new(Endpoint::Imds, Answer::status(400)));
        let said = result(example, &mock).await;
        assert!(said.starts_with(&format!("err(\"{kind}: ")), "{said}");
        assert!(said.contains("fix: give this machine an identity: `az vm identity assign"), "{said}");
    }
}

async fn node(mock: &Mock) -> Output {
    let mut program = NODE.shown().unwrap();
    // Enough for two tries of an endpoint that never comes to an end.
    program.env("TOKEN_BROKER_TIMEOUT_MS", "1500").env("TOKEN_BROKER_BUDGET_MS", "3000");
    program.envs(mock.env(Endpoint::Imds));
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

/// The output of wasmtime: the result of the component's function.
async fn result(example: &Example, mock: &Mock) -> String {
    let output = example.shown().unwrap().envs(mock.env(Endpoint::Imds)).output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !shows_a_token(&output), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

static NODE: LazyLock<Example> = LazyLock::new(|| built("node", npm("example-node/node_modules")));
static JS: LazyLock<Example> = LazyLock::new(|| built("js", npm("example-js/node_modules")));
static PYTHON: LazyLock<Example> = LazyLock::new(|| built("python", COMPONENTIZE));

const COMPONENTIZE: Installed = Installed {
    by: "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
    at: ".venv",
    lies: "example-python",
};

const fn npm(lies: &'static str) -> Installed {
    Installed { by: "npm ci", at: "node_modules", lies }
}

fn built(name: &str, installed: Installed) -> Example {
    let example = Example::copy(name, &[installed]).unwrap();
    example.build().unwrap();
    example
}

/// What every token of the mock begins with.
const TOKEN: &str = "eyJ";
