//! Workers that crash, and configurations that are replaced while requests come.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use host_test::envoy::{self, Bootstrap, Envoy, Upstream, cluster, http_listener, token_filter};
use host_test::mock::{Endpoint, Mock, MockConfig};
use http::Request;
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
    let response = envoy::send(stage.address(), request.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(response.status, 503);
    assert!(stage.upstream.take_seen().is_empty(), "a worker without its filter lets nothing pass");
    until(async || stage.get_at_once(10).await.iter().all(|response| response.status == 200)).await;
    let reloads = stage.envoy.stats("wasm.token-filter.").await.unwrap();
    assert_eq!(reloads["vm_reload_success"], 1, "{reloads:?}");
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
    let listeners = json!({ "path_config_source": { "path": folder.path().join("lds.json"), "watched_directory": { "path": folder.path() } } });
    let clusters = vec![cluster("app", upstream.address()), cluster("imds", address_of(mock.url()))];
    let more = vec![
        ("node", json!({ "id": "it", "cluster": "it" })),
        ("dynamic_resources", json!({ "lds_config": listeners })),
    ];
    let envoy = Envoy::start(&Bootstrap { clusters, more, ..Bootstrap::default() }, 2).await.unwrap();
    let address = envoy.listener("in").await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move {
            let mut statuses = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                statuses
                    .push(envoy::get(address, "/").await.map(|response| response.status).unwrap_or_default());
            }
            statuses
        })
    };
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
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.store(true, Ordering::Relaxed);
    let statuses = load.await.unwrap();
    assert!(statuses.len() > 100 && statuses.iter().all(|status| *status == 200), "{statuses:?}");
    // The second listener for the vault found the token of the first.
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 3);
    let refused = put_and_reject(&envoy, folder.path()).await;
    assert!(refused.contains("rules[0].scope must be a text"), "{refused}");
    assert_eq!(envoy::get(address, "/").await.unwrap().status, 200);
}

/// A listener that Envoy refuses: the one before it stays. What Envoy says of it.
async fn put_and_reject(envoy: &Envoy, folder: &Path) -> String {
    let bad = json!({ "source": { "imds": { "cluster": "imds" } }, "rules": [{ "scope": 5 }] });
    put(folder, &http_listener("in", &[token_filter("vm", &bad, &[])], "app"));
    until(async || envoy.stats("listener_manager.").await.unwrap()["lds.update_rejected"] == 1).await;
    envoy.log()
}

fn put_listener(folder: &Path, mock: &Mock, scope: &str) {
    let rules = json!({ "rules": [{ "name": "only", "scope": scope }] });
    put(folder, &http_listener("in", &[token_filter("vm", &configuration(mock, rules), &[])], "app"));
}

fn put(folder: &Path, listener: &Value) {
    let mut listener = listener.clone();
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    fs::write(folder.join("new"), json!({ "resources": [listener] }).to_string()).unwrap();
    fs::rename(folder.join("new"), folder.join("lds.json")).unwrap();
}
