//! The examples, started as their README says, and the dashboard.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use host_test::envoy::{self, Response};
use http::Request;
use mock_identity::{Answer, Endpoint, Fault};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::stage::{Stage, VAULT, until};

#[tokio::test]
async fn each_example_reaches_the_vault_of_the_mock_without_a_token_of_the_client() {
    let _ports = PORTS.lock().await;
    for (example, host) in [
        ("imds", "any.example"),
        ("workload-identity", "any.example"),
        ("egress", "my-vault.vault.azure.net"),
    ] {
        let _running = Running::start(example).await;
        let secret = get(10_080, "/secrets/MySecret?api-version=7.4", host).await;
        assert_eq!(secret.status, 200, "{example}: {}", secret.text());
        let secret: Value = serde_json::from_slice(&secret.body).unwrap();
        assert_eq!(secret["value"], "the secret of the mock vault", "{example}");
        let metrics = get(10_901, "/stats/prometheus", "admin").await.text();
        let metric = r#"token_broker_token_expires_at_seconds{rule="vault"}"#;
        assert!(metrics.contains(metric), "{example}: {metrics}");
    }
}

#[tokio::test]
async fn the_egress_gateway_has_a_token_for_each_of_its_services_and_knows_no_other() {
    let _ports = PORTS.lock().await;
    let _running = Running::start("egress").await;
    // The mock is no blob storage, and asks for no token: what matters is that it was asked for one.
    get(10_080, "/container/blob", "my-account.blob.core.windows.net").await;
    get(10_080, "/secrets/MySecret?api-version=7.4", "my-vault.vault.azure.net").await;
    let other = get(10_080, "/", "other.example").await;
    assert_eq!((other.status, other.header("x-token-broker")), (403, "denied"));
    let requests = get(10_181, "/admin/requests", "admin").await.text();
    let requests: Value = serde_json::from_str(&requests).unwrap();
    let issued: Vec<_> =
        requests.as_array().unwrap().iter().filter_map(|request| request["issued_to"].as_str()).collect();
    assert_eq!(issued, ["reports", "orders"]);
}

#[tokio::test]
async fn every_metric_of_the_dashboard_is_one_that_envoy_shows() {
    let rules = json!([
        { "name": "good", "authority": "good.example", "scope": VAULT },
        { "name": "bad", "authority": "bad.example", "scope": "https://storage.azure.com" },
    ]);
    let stage = Stage::new(json!({ "rules": rules })).await;
    assert_eq!(stage.get_for("good.example").await.status, 200);
    stage.mock.fault(Fault::new(Endpoint::Imds, Answer::status(403)));
    assert_eq!(stage.get_for("bad.example").await.status, 503);
    let shown = stage.envoy.admin("/stats/prometheus").await.unwrap();
    let dashboard = fs::read_to_string(folder().join("dashboard.json")).unwrap();
    let words = dashboard.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics: Vec<_> = words.filter(|word| word.starts_with("token_broker_")).collect();
    assert!(metrics.len() > 10, "{metrics:?}");
    for metric in metrics {
        assert!(shown.contains(&format!("\n{metric}{{")), "{metric} is not in {shown}");
    }
    assert!(shown.contains(r#"token_broker_failures{kind="rejected"} 1"#), "{shown}");
    assert!(shown.contains(r#"token_broker_token_expires_at_seconds{rule="good"}"#), "{shown}");
}

async fn get(port: u16, path: &str, host: &str) -> Response {
    let request = Request::get(path).header("host", host).body(Bytes::new()).unwrap();
    envoy::send(([127, 0, 0, 1], port).into(), request).await.unwrap()
}

/// An example and its mock, until dropped
struct Running(Child);

impl Running {
    async fn start(example: &str) -> Self {
        let mut run = Command::new(folder().join("run.sh"));
        let running = Self(run.arg(example).stdin(Stdio::null()).spawn().unwrap());
        until(async || {
            envoy::get(([127, 0, 0, 1], 10_901).into(), "/ready").await.is_ok_and(|ready| ready.status == 200)
        })
        .await;
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Interrupted as by a user, it ends what it has started.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/envoy")
}

/// The examples have the same ports.
static PORTS: Mutex<()> = Mutex::const_new(());
