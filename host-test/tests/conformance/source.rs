//! The descriptions of sources, and the table of bad answers: what they make, and the faults of them that are named.

use host_test::conformance::{Case, NamedCase, find, run, run_all};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{COMPONENT, IMDS, SCOPE};

#[test]
fn a_row_of_the_table_is_a_case_of_every_source_under_its_own_name() {
    let directory = directory(&[("bad-answers", table()), ("imds/source", imds()), ("pod/source", pod())]);
    assert_eq!(names(&directory, ""), ["imds/bad", "pod/bad"]);
    assert_eq!(names(&directory, "pod/b"), ["pod/bad"]);
    let sum = run_all(&COMPONENT, &find(directory.path(), "").unwrap());
    assert_eq!((sum.passed, sum.failed.len()), (2, 0), "{sum}");
}

#[test]
fn a_case_of_the_table_that_fails_is_named_with_its_step() {
    let mut table = table();
    table["bad"]["steps"][0]["then"]["status"] = json!(201);
    let directory = directory(&[("bad-answers", table), ("imds/source", imds())]);
    let sum = run_all(&COMPONENT, &find(directory.path(), "").unwrap());
    let text = sum.to_string();
    assert!(text.contains("FAILED imds/bad: step 1: status must be Some(201) and is Some(200)"), "{text}");
}

#[test]
fn a_case_leaves_out_what_its_source_is_described_with() {
    let case = json!({
        "source": "imds",
        "steps": [{
            "ask": { "scopes": [SCOPE], "identity": { "client-id": "some-id" } },
            "http": [{
                "expect": { "query": { "client_id": "some-id" } },
                "reply": { "token": "sentinel-good", "body": { "expires_on": "1760003600" } }
            }],
            "then": { "token": "sentinel-good", "expires-on": 1_760_003_600 }
        }]
    });
    let directory = directory(&[("imds/source", imds()), ("imds/short", case)]);
    let case = only(&directory).read().unwrap();
    let written_out = json!({
        "steps": [{
            "ask": { "scopes": [SCOPE], "identity": { "client-id": "some-id" } },
            "http": [{
                "expect": {
                    "method": "GET", "url": IMDS,
                    "query": { "resource": "https://management.azure.com", "client_id": "some-id" }
                },
                "reply": { "body": {
                    "expires_on": "1760003600", "resource": "https://management.azure.com", "access_token": "sentinel-good"
                } }
            }],
            "then": { "token": "sentinel-good", "expires-on": 1_760_003_600 }
        }]
    });
    assert_eq!(case, Case::parse(&written_out.to_string()).unwrap());
    run(&COMPONENT, &case).unwrap();
}

#[test]
fn an_assertion_comes_before_the_first_request_and_a_challenge_before_each() {
    let mut source = imds();
    source["assertion"] = json!({ "expect": { "url": "http://a/" }, "reply": { "token": "unused" } });
    source["challenge"] = json!({ "reply": { "status": 401, "headers": { "a": "b" } } });
    source["assertion"]["reply"] = json!({ "body": { "access_token": "a" } });
    let token = json!({ "expect": { "after-ms": [5, 5] }, "reply": { "status": 500 } });
    let challenge = json!({ "request": "challenge", "reply": { "headers": { "c": "d" } } });
    let case = json!({ "source": "imds", "steps": [
        { "ask": SCOPE, "http": [token, token] },
        { "stats": { "fetches": 1 } },
        { "restart": true },
        { "ask": SCOPE, "http": [challenge] },
        { "stats": { "fetches": 1 } }
    ] });
    let directory = directory(&[("imds/source", source), ("imds/short", case)]);
    let request = |after: Value| {
        let mut request = imds()["request"].clone();
        request["url"] = json!(IMDS);
        request["query"]["resource"] = json!("https://management.azure.com");
        request["after-ms"] = after;
        json!({ "expect": request, "reply": { "status": 500 } })
    };
    let time = json!([5, 5]);
    let challenged = |after: &Value, headers: Value| json!({ "expect": { "url": IMDS, "after-ms": after }, "reply": { "status": 401, "headers": headers } });
    let written_out = json!({ "steps": [
        { "ask": SCOPE, "http": [
            { "expect": { "url": "http://a/", "after-ms": time }, "reply": { "body": { "access_token": "a" } } },
            challenged(&time, json!({ "a": "b" })), request(time.clone()),
            challenged(&time, json!({ "a": "b" })), request(time.clone())
        ] },
        { "stats": { "fetches": 2 } },
        { "restart": true },
        { "ask": SCOPE, "http": [challenged(&Value::Null, json!({ "a": "b", "c": "d" }))] },
        { "stats": { "fetches": 1 } }
    ] });
    assert_eq!(only(&directory).read().unwrap(), Case::parse(&written_out.to_string()).unwrap());
}

#[test]
fn a_fault_of_the_table_or_of_a_description_is_named_with_its_place() {
    let override_of = |row: &str, fields: Value| {
        let mut source = imds();
        source["overrides"] = json!({ row: fields });
        source
    };
    let without = |row: &str, mut source: Value| {
        source["without"] = json!({ row: "for a reason" });
        source
    };
    let mut unknown = imds();
    unknown["endpiont"] = json!(IMDS);
    let mut odd_row = table();
    odd_row["bad"]["steps"][0]["thn"] = json!({});
    let mut odd_reply = table();
    odd_reply["bad"]["steps"][0]["http"][0]["request"] = json!("challenge");
    let mut odd_status = table();
    odd_status["bad"]["steps"][0]["http"][0]["reply"] = json!({ "status": 9 });
    let then = json!({ "then": table()["bad"]["steps"][0]["then"] });
    for (row, fields, words) in [
        ("bad", json!({ "step": {} }), "imds/source.json: overrides.bad.step: unknown field"),
        ("good", json!({ "about": "x" }), "imds/source.json: no bad answer is named good"),
        ("bad", json!({}), "imds/source.json: bad: the override changes nothing"),
        ("bad", json!({ "steps": { "1": then } }), "bad: the override of step 1 changes nothing"),
        ("bad", json!({ "steps": { "3": {} } }), "imds/source.json: bad: it has no step 3"),
        ("bad", json!({ "steps": { "0": {} } }), "imds/source.json: bad: it has no step 0"),
    ] {
        assert_is_fault(table(), override_of(row, fields), words);
    }
    for (table, source, words) in [
        (table(), unknown, "imds/source.json: endpiont: unknown field `endpiont`"),
        (odd_row, imds(), "bad-answers.json: bad.steps[0].thn: unknown field `thn`"),
        (table(), without("good", imds()), "imds/source.json: no bad answer is named good"),
        (
            table(),
            without("bad", override_of("bad", json!({ "about": "x" }))),
            "imds/source.json: bad is left out, so that its override changes nothing",
        ),
        (odd_reply, imds(), "imds/source.json: bad: its source has no such request"),
        (odd_status, imds(), "imds/bad of bad-answers.json: step 1, http entry 1: the reply cannot be sent"),
    ] {
        assert_is_fault(table, source, words);
    }
}

#[track_caller]
fn assert_is_fault(table: Value, source: Value, words: &str) {
    let directory = directory(&[("bad-answers", table), ("imds/source", source)]);
    let error = find(directory.path(), "").and_then(|cases| cases[0].read()).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains(words), "{words:?} is not in: {error}");
}

#[test]
fn a_name_is_a_row_of_the_table_or_a_file() {
    let directory = directory(&[("bad-answers", table()), ("imds/source", imds()), ("imds/bad", json!({}))]);
    let error = find(directory.path(), "").unwrap_err().to_string();
    assert!(error.contains("imds/bad is a file and a row of the table"), "{error}");
}

fn table() -> Value {
    json!({
        "bad": {
            "about": "HTML in the place of JSON",
            "steps": [
                {
                    "ask": SCOPE,
                    "http": [{ "reply": { "status": 200, "headers": { "content-type": "application/json" }, "raw": "<html>" } }],
                    "then": { "error": "protocol", "message-contains": ["{source}"], "status": 200 },
                    "explain": { "{source}": "failed" }
                },
                { "stats": { "fetches": 1 } }
            ]
        }
    })
}

fn imds() -> Value {
    json!({
        "name": "imds",
        "endpoint": IMDS,
        "request": { "method": "GET", "query": { "resource": "{resource}" } },
        "token": { "expires_on": "1760086400", "resource": "{resource}" }
    })
}

/// IMDS where a variable says, which differs in that one answer.
fn pod() -> Value {
    let mut source = imds();
    source["env"] = json!({ "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:2579" });
    source["endpoint"] = json!("http://127.0.0.1:2579/metadata/identity/oauth2/token");
    source["overrides"] =
        json!({ "bad": { "steps": { "2": { "stats": { "failures": { "protocol": 1 } } } } } });
    source
}

fn directory(files: &[(&str, Value)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, json) in files {
        let path = directory.path().join(name).with_extension("json");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, json.to_string()).unwrap();
    }
    directory
}

fn names(directory: &TempDir, filter: &str) -> Vec<String> {
    find(directory.path(), filter).unwrap().into_iter().map(|case| case.name).collect()
}

fn only(directory: &TempDir) -> NamedCase {
    let [case] = find(directory.path(), "").unwrap().try_into().unwrap();
    case
}
