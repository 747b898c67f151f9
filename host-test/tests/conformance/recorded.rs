//! Recorded answers as cases: what `tests/recorded/expected.json` says of each holds for the built component, too.

use std::path::PathBuf;

use host_test::conformance::{Case, Subject, run};
use serde_json::{Map, Value, json};

/// The problems of all recorded answers, and how many were played.
pub(crate) fn play(subject: &Subject) -> (usize, Vec<String>) {
    let expected = read("expected");
    let answers = expected["answers"].as_object().unwrap();
    let problems = answers.iter().filter_map(|(name, answer)| {
        let case = case(name, answer, &expected["deployments"][answer["deployment"].as_str().unwrap()]);
        let case = Case::parse(&case.to_string()).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        run(subject, &case).err().map(|error| format!("{name}: {error:#}"))
    });
    let problems = problems.collect();
    (answers.len(), problems)
}

/// An entry of `expected.json` in the form of a case.
fn case(name: &str, answer: &Value, deployment: &Value) -> Value {
    let file = read(name);
    let mut ask = json!({ "scopes": ["https://vault.azure.net/.default"] });
    for more in [&deployment["ask"], &answer["ask"]] {
        ask.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    }
    let mut then = answer["then"].clone();
    if then["token"] == "as-sent" {
        let body: Value = serde_json::from_str(file["response"]["body"].as_str().unwrap()).unwrap();
        then["token"] = body["access_token"].clone();
    }
    let before = deployment["before"].as_array().into_iter().flatten();
    let before = before.map(|name| reply(&read(name.as_str().unwrap()), &Value::Null));
    let times = usize::try_from(answer["times"].as_u64().unwrap_or(1)).unwrap();
    let http: Vec<_> = before
        .chain(std::iter::repeat_n(reply(&file, answer), times))
        .map(|reply| json!({ "reply": reply }))
        .collect();
    let clock = [&answer["now"], &deployment["now"]].into_iter().find(|now| now.is_u64());
    json!({
        "id": name,
        "now": clock.cloned().unwrap_or_else(|| json!(1_760_000_000)),
        "env": deployment["env"],
        "files": deployment["files"].as_object().cloned().unwrap_or_default(),
        "steps": [{ "ask": ask, "http": http, "then": then }],
    })
}

fn reply(file: &Value, answer: &Value) -> Value {
    let (response, wrap) = (&file["response"], &answer["wrap"]);
    let statuses = [&answer["read-as"], &wrap["status"], &response["status"]];
    let status = statuses.into_iter().find(|status| status.is_u64()).unwrap();
    let body = match wrap["words"].as_str() {
        None => response["body"].clone(),
        Some(key) => {
            let error = wrap["error"].as_str().map(|error| ("error".to_owned(), json!(error)));
            let words = (key.to_owned(), file["words"].clone());
            json!(Value::Object(error.into_iter().chain([words]).collect()).to_string())
        }
    };
    json!({ "status": status, "headers": headers(response), "raw": body })
}

/// By name, each with all its values. Lengths and framing are those of the original.
fn headers(response: &Value) -> Map<String, Value> {
    let mut headers = Map::new();
    for pair in response["headers"].as_array().into_iter().flatten() {
        let name = pair[0].as_str().unwrap().to_ascii_lowercase();
        if !["content-length", "transfer-encoding", "connection"].contains(&&*name) {
            let values = headers.entry(name).or_insert_with(|| json!([]));
            values.as_array_mut().unwrap().push(pair[1].clone());
        }
    }
    headers
}

fn read(name: &str) -> Value {
    let file =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/recorded")).join(format!("{name}.json"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).unwrap()
}
