//! The filter for Envoy between clients and sources whose every move a test makes.

use std::collections::BTreeSet;
use std::time::Duration;

use host_test::conformance::{Passage, Passed, Since, Subject};
use serde_json::{Value, json};

use crate::artefact;

#[test]
fn a_request_that_finds_the_waiting_room_full_is_refused_though_it_began_a_fetch() {
    let mut passage = full(json!({}));
    assert_eq!(passage.calls(), 1);
    passage.request(CLIENT, &to("b.example", &[OWN])).unwrap();
    assert_eq!(passage.calls(), 2, "its fetch has begun");
    let Passed::Answered(503, Some(seconds), problem) = passage.passed(CLIENT).unwrap() else {
        panic!("{:?}", passage.passed(CLIENT))
    };
    assert_eq!((&*seconds, &problem["kind"]), ("1", &json!("throttled")));
    assert!(problem["detail"].as_str().unwrap().contains("too many requests wait"), "{problem}");
    // One after it joins the fetch, and finds no room either.
    passage.request(CLIENT + 1, &to("b.example", &[])).unwrap();
    assert!(matches!(passage.passed(CLIENT + 1), Ok(Passed::Answered(503, ..))));
    passage.answer(200, &[], &token("a")).unwrap();
    passage.answer(200, &[], &token("b")).unwrap();
    for waiting in [FIRST, FIRST + ROOM - 1] {
        assert_eq!(passage.passed(waiting).unwrap(), goes_on("a"));
    }
    passage.request(CLIENT + 2, &to("b.example", &[OWN])).unwrap();
    assert_eq!(passage.passed(CLIENT + 2).unwrap(), goes_on("b"));
    assert_eq!(passage.calls(), 2);
}

#[test]
fn a_request_that_finds_the_waiting_room_full_goes_on_without_its_clients_header_where_it_may_go_on() {
    let mut passage = full(json!({ "on_failure": "forward" }));
    passage.request(CLIENT, &to("b.example", &[OWN])).unwrap();
    assert_eq!(passage.passed(CLIENT).unwrap(), Passed::GoesOn(None));
    assert_eq!((passage.calls(), passage.metric("forwarded_without_token")), (2, 1));
}

#[test]
fn where_a_request_may_go_on_without_a_token_its_clients_own_header_does_not() {
    let mut passage = begin(&filter(), json!({ "on_failure": "forward" }));
    passage.request(FIRST, &to("a.example", &[OWN])).unwrap();
    assert_eq!(passage.passed(FIRST).unwrap(), Passed::Waits);
    passage
        .answer(400, &[], r#"{"error":"invalid_request","error_description":"Identity not found"}"#)
        .unwrap();
    passage.request(CLIENT, &to("a.example", &[OWN])).unwrap();
    for stream in [FIRST, CLIENT] {
        assert_eq!(passage.passed(stream).unwrap(), Passed::GoesOn(None), "{stream}");
    }
    assert_eq!((passage.calls(), passage.metric("forwarded_without_token")), (1, 2));
}

#[test]
fn a_method_whose_answer_may_show_the_token_gets_none() {
    for (on_failure, existing) in [("refuse", "replace"), ("forward", "replace"), ("refuse", "keep")] {
        let choices = json!({ "on_failure": on_failure, "existing_header": existing });
        let mut passage = begin(&filter(), choices);
        for (nth, method) in (CLIENT..).zip(UNSAFE.into_iter().chain(UNSAFE)) {
            if nth == CLIENT + UNSAFE.len() as u32 {
                assert_eq!(passage.calls(), 0, "nothing was fetched for them");
                passage.request(FIRST, &to("a.example", &[])).unwrap();
                passage.answer(200, &[], &token("a")).unwrap();
                assert_eq!(passage.passed(FIRST).unwrap(), goes_on("a"));
            }
            let headers = [(":method", method), (":authority", "a.example"), (":path", "/"), OWN];
            passage.request(nth, &headers).unwrap();
            match (passage.passed(nth).unwrap(), on_failure, existing) {
                (Passed::GoesOn(own), _, "keep") => assert_eq!(own.as_deref(), Some(OWN.1), "{method:?}"),
                (Passed::GoesOn(None), "forward", _) => {}
                (Passed::Answered(403, None, problem), "refuse", _) => {
                    assert_eq!(problem["type"], "urn:token-broker:denied", "{problem}");
                }
                (other, ..) => panic!("{method:?}: {other:?}"),
            }
        }
        assert_eq!(passage.calls(), 1);
        passage.request(2000, &[(":method", "PROPFIND"), (":authority", "a.example")]).unwrap();
        assert_eq!(passage.passed(2000).unwrap(), goes_on("a"));
    }
}

#[test]
fn a_fetch_goes_on_when_the_request_that_began_it_is_gone_and_serves_the_others() {
    let mut passage = begin(&filter(), json!({}));
    passage.request(FIRST, &to("a.example", &[])).unwrap();
    passage.request(FIRST + 1, &to("a.example", &[])).unwrap();
    passage.hang_up(FIRST);
    passage.request(FIRST + 2, &to("a.example", &[])).unwrap();
    assert_eq!((passage.calls(), passage.metric("waiting")), (1, 3));
    passage.answer(200, &[], &token("a")).unwrap();
    assert_eq!(passage.passed(FIRST + 1).unwrap(), goes_on("a"));
    assert_eq!(passage.passed(FIRST + 2).unwrap(), goes_on("a"));
    // Only what goes on is a hit.
    assert_eq!((passage.metric("hits"), passage.metric("waiting")), (2, 0));
}

#[test]
fn a_fetch_that_nobody_waits_for_any_more_is_kept_however_many_have_left() {
    let mut passage = begin(&filter(), json!({}));
    for stream in FIRST..FIRST + 1000 {
        passage.request(stream, &to("a.example", &[])).unwrap();
        passage.hang_up(stream);
    }
    assert_eq!(passage.calls(), 1);
    passage.answer(200, &[], &token("a")).unwrap();
    passage.request(CLIENT, &to("a.example", &[])).unwrap();
    assert_eq!(passage.passed(CLIENT).unwrap(), goes_on("a"));
    assert_eq!((passage.calls(), passage.metric("hits"), passage.metric("refused")), (1, 1, 0));
}

#[test]
fn a_client_is_told_to_come_back_exactly_where_that_helps() {
    for (status, headers, body, kind, seconds) in [
        (400, &[][..], r#"{"error":"invalid_request"}"#, "rejected", None),
        (429, &[("retry-after", "77")], "{}", "throttled", Some("77")),
        (200, &[], "<html>", "unavailable", None),
    ] {
        let mut passage = begin(&filter(), json!({ "budget_ms": 1000 }));
        passage.request(FIRST, &to("a.example", &[])).unwrap();
        passage.answer(status, headers, body).unwrap();
        let Passed::Answered(503, retry_after, problem) = passage.passed(FIRST).unwrap() else {
            panic!("{:?}", passage.passed(FIRST))
        };
        assert_eq!((&problem["kind"], retry_after.as_deref()), (&json!(kind), seconds), "{problem}");
        assert_eq!(problem["type"], format!("urn:token-broker:{kind}"));
    }
    let mut passage = begin(&filter(), json!({ "unmatched": "refuse" }));
    passage.request(FIRST, &to("other.example", &[])).unwrap();
    assert!(matches!(passage.passed(FIRST), Ok(Passed::Answered(403, None, _))));
}

/// The proxy's random bits are zeros here; once they fail, the filter's own never repeat.
#[test]
fn values_are_sealed_with_nonces_that_differ_though_the_proxy_gives_random_bits_no_more() {
    let filter = filter().where_fails("random_get", 52, Since::Configured).unwrap();
    let mut passage = begin(&filter, json!({}));
    let mut nonces = BTreeSet::new();
    let mut sealed = 0;
    let mut note = |passage: &Passage, values: usize| {
        let now: Vec<_> = passage.sealed().into_iter().filter(|value| !value.is_empty()).collect();
        assert_eq!(now.len(), values);
        sealed += values;
        nonces.extend(now.iter().map(|value| value[1..13].to_vec()));
    };
    passage.request(FIRST, &to("a.example", &[])).unwrap();
    note(&passage, 1);
    passage.request(FIRST + 1, &to("b.example", &[])).unwrap();
    passage.answer(200, &[], &token("a")).unwrap();
    // The token of one rule, and the lease of the other.
    note(&passage, 2);
    passage.answer(200, &[], &token("b")).unwrap();
    assert_eq!(passage.passed(FIRST + 1).unwrap(), goes_on("b"));
    let tokens = passage.sealed();
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
        for status in
            [1, 2, 7, 8, 10, 12, 99].into_iter().filter(|status| (*status, is_looked_up) != (1, true))
        {
            let filter = filter.where_fails(&function, status, Since::Configured).unwrap();
            for on_failure in ["refuse", "forward"] {
                let what = format!("{function} answers {status}, {on_failure}");
                let mut passage = begin(&filter, json!({ "on_failure": on_failure }));
                let send = |passage: &mut Passage, stream, host| {
                    passage
                        .request(stream, &to(host, &[OWN]))
                        .unwrap_or_else(|error| panic!("{what}: {error:#}"));
                };
                send(&mut passage, FIRST, "a.example");
                if passage.calls() > 0 {
                    passage.answer(200, &[], &token("a")).unwrap();
                }
                send(&mut passage, FIRST + 1, "a.example");
                send(&mut passage, FIRST + 2, "b.example");
                let calls = passage.calls();
                if calls > 1 {
                    passage.answer(400, &[], r#"{"error":"invalid_request"}"#).unwrap();
                }
                tokio::time::advance(DEADLINE).await;
                passage.tick().unwrap();
                for stream in FIRST..FIRST + 3 {
                    match passage.passed(stream).unwrap() {
                        Passed::GoesOn(Some(header)) => assert_eq!(header, "Bearer a", "{what}"),
                        Passed::GoesOn(None) => assert_eq!(on_failure, "forward", "{what}"),
                        Passed::Answered(..) => failed += 1,
                        // Nothing can be done for a request in a proxy that lets nobody act on it or answer it.
                        Passed::Waits => assert!(ANSWERING.contains(&&*function), "{what}: {stream} waits"),
                    }
                }
            }
        }
    }
    assert!(failed > 100, "{failed}");
}

/// A full waiting room, and a rule whose token nobody has asked for.
fn full(choices: Value) -> Passage {
    let mut passage = begin(&filter(), choices);
    for stream in FIRST..FIRST + ROOM {
        passage.request(stream, &to("a.example", &[])).unwrap();
    }
    assert_eq!(passage.metric("waiting"), u64::from(ROOM));
    passage
}

fn begin(filter: &Subject, choices: Value) -> Passage {
    let rule = |name: &str| json!({ "name": name, "authority": format!("{name}.example"), "scope": name });
    let mut configuration = json!({
        "source": { "imds": { "cluster": "imds" } },
        "rules": [rule("a"), rule("b")],
    });
    configuration.as_object_mut().unwrap().extend(choices.as_object().unwrap().clone());
    Passage::begin(filter, &configuration).unwrap()
}

fn filter() -> Subject {
    Subject::load(&artefact("token-filter.wasm")).unwrap()
}

fn to<'a>(host: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[(":method", "GET"), (":path", "/"), (":authority", host)], more].concat()
}

fn token(token: &str) -> String {
    let end = "4102444800";
    json!({ "access_token": token, "expires_on": end, "expires_in": "86400", "token_type": "Bearer" })
        .to_string()
}

fn goes_on(token: &str) -> Passed {
    Passed::GoesOn(Some(format!("Bearer {token}")))
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
