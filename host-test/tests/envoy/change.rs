//! Workers that crash, and configurations that are replaced while requests come.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use host_test::envoy::{self, Bootstrap, Envoy, Upstream, cluster, http_listener, token_filter};
use http::Request;
use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};
use serde_json::{Value, json};

use crate::bomb;
use crate::stage::{Stage, VAULT, address_of, configuration, until};

#[tokio::test]
async fn a_worker_that_crashes_begins_anew_and_has_its_token_from_the_others() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut filter = token_filter("vm", &configuration(&mock, json!({})), &[]);
    let code = &mut filter["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"];
    let bomb = folder.path().join("bomb.wasm");
    bomb::put(Path::new(code.as_str().unwrap()), &bomb);
    *code = json!(bomb);
    let stage = Stage::of_filters(mock, &[filter], |bootstrap| bootstrap).await;
    assert_eq!(stage.get().await.status, 200);
    stage.upstream.take_seen();
    let mut request = Request::get("/");
    for nth in 0..bomb::HEADERS {
        request = request.header(format!("x-{nth}"), "");
    }
    assert_eq!(stage.send(request).await.status, 503);
    assert!(stage.upstream.take_seen().is_empty(), "a worker without its filter lets nothing pass");
    // The other worker may be the one that answers for a while.
    until(async || {
        let responses = stage.get_at_once(10).await;
        let reloads = stage.envoy.stats("wasm.token-filter.").await.unwrap();
        reloads["vm_reload_success"] == 1 && responses.iter().all(|response| response.status == 200)
    })
    .await;
    for seen in stage.upstream.take_seen() {
        stage.claims(&seen, VAULT);
    }
    assert_eq!(stage.fetches(), 1);
}

#[tokio::test]
async fn a_configuration_is_replaced_without_losing_a_request() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let upstream = Upstream::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    put_listener(folder.path(), &mock, VAULT);
    let envoy = start(folder.path(), &mock, &upstream).await;
    let address = envoy.listener("in").await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let load = tokio::spawn(async move {
        let mut statuses = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            let response = envoy::get(address, "/").await;
            statuses.push(response.map(|response| response.status).unwrap_or_default());
        }
        statuses
    });
    for scope in ["https://storage.azure.com", VAULT, "https://management.azure.com"] {
        upstream.take_seen();
        put_listener(folder.path(), &mock, scope);
        let reaches = async || {
            let seen = upstream.take_seen();
            seen.iter().filter_map(envoy::Seen::token).any(|token| mock.verify(&token, scope).is_ok())
        };
        until(reaches).await;
    }
    // Until the old listeners are gone, too.
    let draining = async || envoy.stats("listener_manager.").await.unwrap()["total_listeners_draining"];
    until(async || draining().await == 0).await;
    stop.store(true, Ordering::Relaxed);
    let statuses = load.await.unwrap();
    assert!(!statuses.is_empty() && statuses.iter().all(|status| *status == 200), "{statuses:?}");
    // The second listener for the vault found the token of the first.
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 3);
    let refused = put_and_reject(&envoy, folder.path()).await;
    assert!(refused.contains("rules[0].scope is not a text"), "{refused}");
    assert_eq!(envoy::get(address, "/").await.unwrap().status, 200);
}

/// Once with another configuration of the filter, and once with the same in a listener that differs.
#[tokio::test]
async fn requests_that_wait_while_their_listener_is_replaced_get_their_token() {
    for scope in ["https://storage.azure.com", VAULT] {
        let mock = Mock::start(MockConfig::default()).await.unwrap();
        let upstream = Upstream::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        put_listener(folder.path(), &mock, VAULT);
        let envoy = start(folder.path(), &mock, &upstream).await;
        let address = envoy.listener("in").await.unwrap();
        // Less than Envoy gives an old listener's connections here.
        mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_millis(900)));
        let waiting = tokio::spawn(join_all((0..10).map(|_| envoy::get(address, "/"))));
        until(async || mock.counters().of(Endpoint::Imds).requests == 1).await;
        let mut listener = listener_of(&mock, scope);
        listener["per_connection_buffer_limit_bytes"] = json!(1 << 20);
        put(folder.path(), &listener);
        // Of two workers, each for the second time.
        let listening = async || envoy.stats("listener_manager.").await.unwrap()["listener_create_success"];
        until(async || listening().await == 4).await;
        let answers = waiting.await.unwrap();
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200)));
        let seen = upstream.take_seen();
        assert_eq!(seen.len(), 10);
        assert!(seen.iter().all(|seen| mock.verify(&seen.token().unwrap(), VAULT).is_ok()));
    }
}

/// Envoy with the listeners of a folder.
async fn start(folder: &Path, mock: &Mock, upstream: &Upstream) -> Envoy {
    let source = json!({ "path": folder.join("lds.json"), "watched_directory": { "path": folder } });
    let more = vec![
        ("node", json!({ "id": "it", "cluster": "it" })),
        ("dynamic_resources", json!({ "lds_config": { "path_config_source": source } })),
    ];
    let clusters = vec![cluster("app", upstream.address()), cluster("imds", address_of(mock.url()))];
    Envoy::start(&Bootstrap { clusters, more, ..Bootstrap::default() }, 2).await.unwrap()
}

/// A listener that Envoy refuses: the one before it stays. What Envoy says of it.
async fn put_and_reject(envoy: &Envoy, folder: &Path) -> String {
    let bad = json!({ "source": { "imds": { "cluster": "imds" } }, "rules": [{ "scope": 5 }] });
    put(folder, &http_listener("in", &[token_filter("vm", &bad, &[])], "app"));
    until(async || envoy.stats("listener_manager.").await.unwrap()["lds.update_rejected"] == 1).await;
    envoy.log()
}

fn put_listener(folder: &Path, mock: &Mock, scope: &str) {
    put(folder, &listener_of(mock, scope));
}

fn listener_of(mock: &Mock, scope: &str) -> Value {
    let rules = json!({ "rules": [{ "name": "only", "scope": scope }] });
    http_listener("in", &[token_filter("vm", &configuration(mock, rules), &[])], "app")
}

fn put(folder: &Path, listener: &Value) {
    let mut listener = listener.clone();
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    fs::write(folder.join("new"), json!({ "resources": [listener] }).to_string()).unwrap();
    fs::rename(folder.join("new"), folder.join("lds.json")).unwrap();
}
