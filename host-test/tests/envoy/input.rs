//! What clients send that is not nice.

use bytes::Bytes;
use host_test::envoy;
use http::{HeaderValue, Request};
use serde_json::json;

use crate::stage::{Stage, VAULT, problem};

#[tokio::test]
async fn an_authorization_of_the_client_is_replaced_whole_or_kept_whole() {
    for existing in ["replace", "keep"] {
        let stage = Stage::new(json!({ "existing_header": existing })).await;
        let request = Request::get("/").header("authorization", "Basic one");
        assert_eq!(stage.send(request.header("authorization", "Basic two")).await.status, 200);
        let seen = stage.only_seen();
        if existing == "replace" {
            stage.claims(&seen, VAULT);
        } else {
            // Envoy joins two of a kind.
            assert_eq!(seen.all("authorization").join(","), "Basic one,Basic two");
            assert_eq!(stage.fetches(), 0);
        }
    }
}

#[tokio::test]
async fn two_headers_of_the_name_that_carries_the_token_become_one() {
    let rules = json!([{ "scope": VAULT, "header": { "name": "x-token" } }]);
    let stage = Stage::new(json!({ "rules": rules })).await;
    let request = Request::get("/").header("x-token", "one").header("x-token", "two");
    assert_eq!(stage.send(request).await.status, 200);
    let [token] = &stage.only_seen().all("x-token")[..] else { panic!("not one") };
    assert!(stage.mock.verify(token, VAULT).is_ok());
}

#[tokio::test]
async fn headers_that_are_no_text_or_very_long_do_no_harm() {
    let stage = Stage::new(json!({ "rules": [{ "authority": "*.example", "scope": VAULT }, { "name": "rest", "scope": VAULT }] })).await;
    let raw = |bytes: &[u8]| HeaderValue::from_bytes(bytes).unwrap();
    let long = "x".repeat(58_000);
    for (name, value, status) in [
        ("x-odd", raw(b"\xff\xfe"), 200),
        ("authorization", raw(b"Bearer \xff"), 200),
        ("host", raw(b"\xff.example"), 400),
        ("host", raw(b"a.example:99999999999"), 200),
        ("x-long", raw(long.as_bytes()), 200),
        ("x-long", raw(&long.as_bytes().repeat(2)), 431),
    ] {
        let shown = format!("{name} of {} bytes", value.len());
        assert_eq!(stage.send(Request::get("/").header(name, value)).await.status, status, "{shown}");
        let seen = stage.upstream.take_seen();
        assert_eq!(seen.len(), usize::from(status == 200), "{shown}");
        seen.iter().for_each(|seen| _ = stage.claims(seen, VAULT));
        assert_eq!(stage.get().await.status, 200, "after {shown}");
        stage.claims(&stage.only_seen(), VAULT);
    }
    assert_eq!(stage.envoy.stats("wasm.token-filter.").await.unwrap()["vm_reload"], 0);
}

#[tokio::test]
async fn a_method_whose_answer_may_show_the_token_gets_none() {
    for (on_failure, refused) in [("refuse", true), ("forward", false)] {
        let stage = Stage::new(json!({ "on_failure": on_failure })).await;
        assert_eq!(stage.get().await.status, 200);
        stage.claims(&stage.only_seen(), VAULT);
        let trace = Request::builder().method("TRACE").header("authorization", "Basic own");
        let response = stage.send(trace).await;
        if refused {
            assert_eq!(problem(&response)["kind"], "denied");
            assert!(stage.upstream.take_seen().is_empty());
        } else {
            assert_eq!(response.status, 200);
            assert!(stage.only_seen().all("authorization").is_empty());
        }
        // Envoy itself refuses methods that it does not know, and CONNECT without a route for it.
        for method in ["TRACK", "DEBUG", "trace", "CONNECT"] {
            let request = Request::builder().method(method).body(Bytes::new()).unwrap();
            let response = envoy::send(stage.address, request).await;
            assert!(response.is_err() || response.is_ok_and(|response| response.status >= 400), "{method}");
            assert!(stage.upstream.take_seen().is_empty(), "{method}");
        }
        // Over HTTP/2 it lets them pass.
        for method in ["TRACE", "TRACK", "DEBUG", "trace"] {
            let request = Request::builder().method(method).body(Bytes::new()).unwrap();
            let response = envoy::send_http2(stage.address, request).await.unwrap();
            assert_eq!(response.header("x-token-broker"), if refused { "denied" } else { "" }, "{method}");
            let seen = stage.upstream.take_seen();
            assert!(seen.iter().all(|seen| seen.all("authorization").is_empty()), "{method}");
        }
    }
}
