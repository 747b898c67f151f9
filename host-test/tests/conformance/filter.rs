//! The filter for Envoy in a harness: a test sends each request and answers each call.

use std::collections::BTreeSet;
use std::time::Duration;

use host_test::conformance::{FailsFrom, FilterHarness, RequestState, Subject};
use serde_json::{Value, json};

use crate::subject;

#[tokio::test(start_paused = true)]
async fn a_request_that_finds_the_waiting_room_full_is_refused_though_it_began_a_fetch() {
    let mut harness = full(json!({}));
    assert_eq!(harness.calls(), 1);
    harness.request(CLIENT, &to("b.example", &[OWN])).unwrap();
    assert_eq!(harness.calls(), 2, "its fetch has begun");
    let RequestState::Answered(503, Some(seconds), problem) = harness.state(CLIENT).unwrap() else {
        panic!("{:?}", harness.state(CLIENT))
    };
    assert_eq!((&*seconds, &problem["kind"]), ("1", &json!("throttled")));
    assert!(problem["detail"].as_str().unwrap().contains("too many requests wait"), "{problem}");
    // One after it joins the fetch, and finds no room either.
    harness.request(CLIENT + 1, &to("b.example", &[])).unwrap();
    assert!(matches!(harness.state(CLIENT + 1), Ok(RequestState::Answered(503, ..))));
    harness.answer(200, &[], &token("a")).unwrap();
    harness.answer(200, &[], &token("b")).unwrap();
    for waiting in [FIRST, FIRST + ROOM - 1] {
        assert_eq!(harness.state(waiting).unwrap(), goes_on("a"));
    }
    harness.request(CLIENT + 2, &to("b.example", &[OWN])).unwrap();
    assert_eq!(harness.state(CLIENT + 2).unwrap(), goes_on("b"));
    assert_eq!(harness.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_finds_the_waiting_room_full_goes_on_without_its_clients_header_where_it_may_go_on() {
    let mut harness = full(json!({ "on_failure": "forward" }));
    harness.request(CLIENT, &to("b.example", &[OWN])).unwrap();
    assert_eq!(harness.state(CLIENT).unwrap(), RequestState::Continued(None));
    assert_eq!((harness.calls(), harness.metric("forwarded_without_token")), (2, 1));
}

#[test]
fn where_a_request_may_go_on_without_a_token_its_clients_own_header_does_not() {
    let mut harness = begin(&filter(), json!({ "on_failure": "forward" }));
    harness.request(FIRST, &to("a.example", &[OWN])).unwrap();
    assert_eq!(harness.state(FIRST).unwrap(), RequestState::Paused);
    let none = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
    harness.answer(400, &[], none).unwrap();
    harness.request(CLIENT, &to("a.example", &[OWN])).unwrap();
    for stream in [FIRST, CLIENT] {
        assert_eq!(harness.state(stream).unwrap(), RequestState::Continued(None), "{stream}");
    }
    assert_eq!((harness.calls(), harness.metric("forwarded_without_token")), (1, 2));
}

#[test]
fn a_method_whose_answer_may_show_the_token_gets_none() {
    for (on_failure, existing) in [("refuse", "replace"), ("forward", "replace"), ("refuse", "keep")] {
        let choices = json!({ "on_failure": on_failure, "existing_header": existing });
        let mut harness = begin(&filter(), choices);
        for (nth, method) in (CLIENT..).zip(UNSAFE.into_iter().chain(UNSAFE)) {
            if nth == CLIENT + UNSAFE.len() as u32 {
                assert_eq!(harness.calls(), 0, "nothing was fetched for them");
                harness.request(FIRST, &to("a.example", &[])).unwrap();
                harness.answer(200, &[], &token("a")).unwrap();
                assert_eq!(harness.state(FIRST).unwrap(), goes_on("a"));
            }
            let headers = [(":method", method), (":authority", "a.example"), (":path", "/"), OWN];
            harness.request(nth, &headers).unwrap();
            match (harness.state(nth).unwrap(), on_failure, existing) {
                (RequestState::Continued(Some(own)), _, "keep") if own == OWN.1 => {}
                (RequestState::Continued(None), "forward", _) => {}
                (RequestState::Answered(403, None, problem), "refuse", _) => {
                    assert_eq!(problem["type"], "urn:token-broker:denied", "{problem}");
                }
                (other, ..) => panic!("{method:?}: {other:?}"),
            }
        }
        assert_eq!(harness.calls(), 1);
        harness.request(2000, &[(":method", "PROPFIND"), (":authority", "a.example")]).unwrap();
        assert_eq!(harness.state(2000).unwrap(), goes_on("a"));
    }
}

#[test]
fn a_fetch_goes_on_when_the_request_that_began_it_is_gone_and_serves_the_others() {
    let mut harness = begin(&filter(), json!({}));
    harness.request(FIRST, &to("a.example", &[])).unwrap();
    harness.request(FIRST + 1, &to("a.example", &[])).unwrap();
    harness.hang_up(FIRST);
    harness.request(FIRST + 2, &to("a.example", &[])).unwrap();
    assert_eq!((harness.calls(), harness.metric("waiting")), (1, 3));
    harness.answer(200, &[], &token("a")).unwrap();
    assert_eq!(harness.state(FIRST + 1).unwrap(), goes_on("a"));
    assert_eq!(harness.state(FIRST + 2).unwrap(), goes_on("a"));
    // Only what goes on is a hit.
    assert_eq!((harness.metric("hits"), harness.metric("waiting")), (2, 0));
}

#[test]
fn a_fetch_that_nobody_waits_for_any_more_is_kept_however_many_have_left() {
    let mut harness = begin(&filter(), json!({}));
    for stream in FIRST..FIRST + 1000 {
        harness.request(stream, &to("a.example", &[])).unwrap();
        harness.hang_up(stream);
    }
    assert_eq!(harness.calls(), 1);
    harness.answer(200, &[], &token("a")).unwrap();
    harness.request(CLIENT, &to("a.example", &[])).unwrap();
    assert_eq!(harness.state(CLIENT).unwrap(), goes_on("a"));
    assert_eq!((harness.calls(), harness.metric("hits"), harness.metric("refused")), (1, 1, 0));
}

#[test]
fn a_client_is_told_to_come_back_exactly_where_that_helps() {
    for (status, headers, body, kind, seconds) in [
        (400, &[][..], r#"{"error":"invalid_request"}"#, "rejected", None),
        (429, &[("retry-after", "77")], "{}", "throttled", Some("77")),
        (200, &[], "<html>", "unavailable", None),
    ] {
        let mut harness = begin(&filter(), json!({ "budget_ms": 1000 }));
        harness.request(FIRST, &to("a.example", &[])).unwrap();
        harness.answer(status, headers, body).unwrap();
        let RequestState::Answered(503, retry_after, problem) = harness.state(FIRST).unwrap() else {
            panic!("{:?}", harness.state(FIRST))
        };
        assert_eq!((&problem["kind"], retry_after.as_deref()), (&json!(kind), seconds), "{problem}");
        assert_eq!(problem["type"], format!("urn:token-broker:{kind}"));
    }
    let mut harness = begin(&filter(), json!({ "unmatched": "refuse" }));
    harness.request(FIRST, &to("other.example", &[])).unwrap();
    assert!(matches!(harness.state(FIRST), Ok(RequestState::Answered(403, None, _))));
}

/// The proxy's random bits are zeros here; once they fail, the filter's own never repeat.
#[test]
fn values_are_sealed_with_nonces_that_differ_though_the_proxy_gives_random_bits_no_more() {
    let filter = filter().with_failing("random_get", 52, FailsFrom::Configured).unwrap();
    let mut harness = begin(&filter, json!({}));
    let mut nonces = BTreeSet::new();
    let mut sealed = 0;
    let mut note = |harness: &FilterHarness, values: usize| {
        let now: Vec<_> = harness.sealed().into_iter().filter(|value| !value.is_empty()).collect();
        assert_eq!(now.len(), values);
        sealed += values;
        nonces.extend(now.iter().map(|value| value[1..13].to_vec()));
    };
    harness.request(FIRST, &to("a.example", &[])).unwrap();
    note(&harness, 1);
    harness.request(FIRST + 1, &to("b.example", &[])).unwrap();
    harness.answer(200, &[], &token("a")).unwrap();
    // The token of one rule, and the lease of the other.
    note(&harness, 2);
    harness.answer(200, &[], &token("b")).unwrap();
    assert_eq!(harness.state(FIRST + 1).unwrap(), goes_on("b"));
    let tokens = harness.sealed();
    nonces.extend(tokens.iter().filter(|value| !value.is_empty()).map(|value| value[1..13].to_vec()));
    assert_eq!(nonces.len(), 4, "two leases and two tokens");
    assert!(!nonces.contains(&vec![0; 12]));
}

/// Whatever a function of the proxy answers once the plugin runs: a request ends, and not with its client's header.
#[tokio::test(start_paused = true)]
async fn a_proxy_that_fails_costs_an_answer_and_nothing_worse() {
    let filter = filter();
    let mut failed = 0;
    for function in filter.functions().into_iter().filter(|name| name != "proc_exit") {
        // Not found is an answer, if it is of a header that a request has or has not.
        let is_looked_up = function == "proxy_get_header_map_value";
        let statuses = [1, 2, 7, 8, 10, 12, 99].into_iter();
        for status in statuses.filter(|status| (*status, is_looked_up) != (1, true)) {
            let filter = filter.with_failing(&function, status, FailsFrom::Configured).unwrap();
            for on_failure in ["refuse", "forward"] {
                let what = format!("{function} answers {status}, {on_failure}");
                let mut harness = begin(&filter, json!({ "on_failure": on_failure }));
                let send = |harness: &mut FilterHarness, stream, host| {
                    let sent = harness.request(stream, &to(host, &[OWN]));
                    sent.unwrap_or_else(|error| panic!("{what}: {error:#}"));
                };
                send(&mut harness, FIRST, "a.example");
                if harness.calls() > 0 {
                    harness.answer(200, &[], &token("a")).unwrap();
                }
                send(&mut harness, FIRST + 1, "a.example");
                send(&mut harness, FIRST + 2, "b.example");
                let calls = harness.calls();
                if calls > 1 {
                    harness.answer(400, &[], r#"{"error":"invalid_request"}"#).unwrap();
                }
                tokio::time::advance(DEADLINE).await;
                harness.tick().unwrap();
                for stream in FIRST..FIRST + 3 {
                    match harness.state(stream).unwrap() {
                        RequestState::Continued(Some(header)) => assert_eq!(header, "Bearer a", "{what}"),
                        RequestState::Continued(None) => assert_eq!(on_failure, "forward", "{what}"),
                        RequestState::Answered(..) => failed += 1,
                        // Nothing can be done for a request in a proxy that lets nobody act on it or answer it.
                        RequestState::Paused => {
                            assert!(ANSWERING.contains(&&*function), "{what}: {stream} waits")
                        }
                    }
                }
            }
        }
    }
    assert!(failed > 100, "{failed}");
}

/// A full waiting room, and a rule whose token nobody has asked for.
fn full(choices: Value) -> FilterHarness {
    let mut harness = begin(&filter(), choices);
    for stream in FIRST..FIRST + ROOM {
        harness.request(stream, &to("a.example", &[])).unwrap();
    }
    assert_eq!(harness.metric("waiting"), u64::from(ROOM));
    harness
}

fn begin(filter: &Subject, choices: Value) -> FilterHarness {
    let rule = |name: &str| json!({ "name": name, "authority": format!("{name}.example"), "scope": name });
    let source = json!({ "imds": { "cluster": "imds" } });
    let mut configuration = json!({ "source": source, "rules": [rule("a"), rule("b")] });
    configuration.as_object_mut().unwrap().extend(choices.as_object().unwrap().clone());
    FilterHarness::begin(filter, &configuration).unwrap()
}

fn filter() -> Subject {
    subject("token-filter.wasm")
}

fn to<'a>(host: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[(":method", "GET"), (":path", "/"), (":authority", host)], more].concat()
}

fn token(token: &str) -> String {
    format!(
        r#"{{"access_token":"{token}","expires_on":"4102444800","expires_in":"86400","token_type":"Bearer"}}"#
    )
}

fn goes_on(token: &str) -> RequestState {
    RequestState::Continued(Some(format!("Bearer {token}")))
}

/// What a client claims itself.
const OWN: (&str, &str) = ("authorization", "Basic own");
const UNSAFE: [&str; 9] =
    ["TRACE", "TRACK", "DEBUG", "CONNECT", "trace", "Track", "TRACE ", "", "GET / HTTP/1.1\r\n"];
const ANSWERING: [&str; 2] = ["proxy_set_effective_context", "proxy_send_local_response"];
/// The filter's default.
const DEADLINE: Duration = Duration::from_secs(10);
/// So many requests wait at once, and no more.
const ROOM: u32 = 100_000;
const FIRST: u32 = 10;
const CLIENT: u32 = FIRST + ROOM;
