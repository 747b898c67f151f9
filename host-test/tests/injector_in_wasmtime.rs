//! An application composed with the injector, in wasmtime's own command line.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]

use std::path::Path;

use host_test::hosts;
use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};
use tokio::process::Command;

/// What the application got for a request, as wasmtime prints it, and what was logged.
async fn send(mock: &Mock, environment: &[(&str, String)], base: &str, path: &str) -> (String, String) {
    let component = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components/egress-composed.wasm");
    let authority = base.strip_prefix("http://").unwrap();
    let call = format!(
        r#"send({{method: "GET", scheme: some("http"), authority: some("{authority}"), path: some("{path}"), headers: [], body: %none, trailers: []}})"#
    );
    let mut wasmtime = Command::new(hosts::wasmtime());
    wasmtime.args(["run", "-S", "p3,http,cli", "--invoke", &call]).kill_on_drop(true);
    for (name, value) in mock.env(Endpoint::Imds).iter().chain(environment) {
        wasmtime.arg("--env").arg(format!("{name}={value}"));
    }
    let output = wasmtime.arg(component).output().await.expect("cargo xtask setup brings wasmtime");
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{stderr}");
    assert!(!stdout.contains("eyJ") && !stderr.contains("eyJ"), "a token: {stdout}{stderr}");
    (stdout, stderr)
}

#[tokio::test]
async fn its_requests_get_tokens_and_its_way_to_the_metadata_service_is_barred() {
    let mock = Mock::start(MockConfig::at_two_addresses()).await.unwrap();
    let vault = mock.also_url().unwrap();
    let environment = [
        ("TOKEN_BROKER_INJECT", format!("{vault}=https://vault.azure.net")),
        ("TOKEN_BROKER_LOG", "info".to_owned()),
    ];
    let (answer, log) = send(&mock, &environment, vault, "/secrets/MySecret?api-version=7.4").await;
    assert!(answer.contains("status: 200") && answer.contains("the secret of the mock vault"), "{answer}");
    assert!(log.contains(r#""event":"sent a request with a token""#) && !log.contains("MySecret"), "{log}");
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
    mock.fault(Fault::new(Endpoint::KeyVault, Answer::Chunked));
    let (answer, _) = send(&mock, &environment, vault, "/secrets/MySecret?api-version=7.4").await;
    assert!(answer.contains("the secret of the mock vault"), "an answer in pieces comes whole: {answer}");

    let metadata = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";
    let (answer, log) = send(&mock, &environment, mock.url(), metadata).await;
    assert!(answer.contains("status: 403") && answer.contains("x-token-broker"), "{answer}");
    assert!(log.contains(r#""event":"refused a request""#) && !log.contains("oauth2"), "{log}");
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 2);
}
