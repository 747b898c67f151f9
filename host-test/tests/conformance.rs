//! Plays all cases to the built artefacts, and checks that the player notices each kind of difference.
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test reads files")]

#[path = "conformance/filter.rs"]
mod filter;
#[path = "conformance/recorded.rs"]
mod recorded;
#[path = "conformance/source.rs"]
mod source;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use host_test::conformance::{Case, FailsFrom, Subject, Summary, find, run, run_all, sources};
use host_test::hosts::artefact;
use serde_json::{Value, json};

#[test]
fn the_component_does_what_every_case_says() {
    let files = find(&cases(), "").unwrap();
    let sum = run_all(&COMPONENT, &files);
    print(&sum);
    assert!(sum.failed.is_empty(), "\n{sum}");
    assert_eq!(sum.passed, files.len());
    assert!(sum.passed > 0, "there are no cases below {}", cases().display());
}

#[test]
fn the_component_for_wasi_0_2_does_so_on_a_host_that_has_nothing_newer() {
    let files = find(&cases(), "").unwrap();
    let sum = run_all(&subject("token-broker-sync.wasm"), &files);
    print(&sum);
    assert!(sum.failed.is_empty(), "\n{sum}");
    let concurrent = files.iter().filter(|file| file.read().unwrap().is_concurrent()).count();
    let left_out: Vec<_> = sum.left_out.into_iter().collect();
    assert_eq!(left_out, [("calls at the same time", concurrent)]);
    assert_eq!(sum.passed, files.len() - concurrent);
}

#[test]
fn the_components_read_each_recorded_answer_as_expected() {
    for subject in [&*COMPONENT, &subject("token-broker-sync.wasm")] {
        let (played, problems) = recorded::play(subject);
        assert!(problems.is_empty(), "{} of {played}: {problems:#?}", problems.len());
        assert!(played > 50, "{played}");
    }
}

/// Writes past the capture of the test harness, so that `cargo xtask test` counts every case.
fn print(sum: &Summary) {
    std::io::stdout().write_all(format!("\n{sum}\n").as_bytes()).unwrap();
}

#[test]
fn the_filter_does_what_every_case_says_that_can_be_played_to_it() {
    let files = find(&cases(), "").unwrap();
    let sum = run_all(&subject("token-filter.wasm"), &files);
    print(&sum);
    assert!(sum.failed.is_empty(), "\n{sum}");
    let left_out: usize = sum.left_out.values().sum();
    assert_eq!(sum.passed + left_out, files.len());
    assert!(sum.passed > left_out, "{sum}");
}

#[test]
fn the_filter_does_not_trap_whatever_its_proxy_answers_instead_of_doing_what_it_should() {
    let filter = subject("token-filter.wasm");
    let names = ["imds/I01", "workload/W01", "retry/T03", "cache/C01"];
    let some = names.into_iter().flat_map(|name| find(&cases(), name).unwrap());
    let some: Vec<Case> = some.map(|file| file.read().unwrap()).collect();
    assert!(some.len() >= 4);
    let functions = filter.functions().into_iter().filter(|name| name != "proc_exit");
    let mut played = 0;
    for function in functions {
        // A false success; not found, bad argument, empty, mismatch, internal failure, unimplemented, unknown statuses.
        for status in [0, 1, 2, 7, 8, 10, 12, -1, 99] {
            for since in [FailsFrom::Start, FailsFrom::Configured] {
                let fails = filter.with_failing(&function, status, since).unwrap();
                for case in &some {
                    let problem = run(&fails, case).err().map(|error| format!("{error:#}"));
                    let problem = problem.unwrap_or_default();
                    assert!(!problem.contains("wasm backtrace"), "{function} answers {status}: {problem}");
                    played += 1;
                }
            }
        }
    }
    assert!(played > 1000, "{played}");
}

#[test]
fn every_case_says_what_it_shows() {
    for file in find(&cases(), "").unwrap() {
        let about = file.read().unwrap().about.unwrap_or_default();
        assert!(!about.is_empty(), "{} does not say what it shows", file.name);
    }
}

#[test]
fn every_row_of_the_inventory_has_a_case() {
    let names: Vec<_> = find(&cases(), "").unwrap().into_iter().map(|file| file.name).collect();
    for (area, ids) in ROWS {
        for id in ids.split_whitespace() {
            let row = format!("{area}/{id}");
            let mut rests = names.iter().filter_map(|name| name.strip_prefix(&row));
            let is_there = rests.any(|rest| rest.chars().all(|c| c.is_ascii_lowercase()));
            assert!(is_there, "no case for {row}");
        }
    }
}

/// Writes the totals past the capture of the test harness.
#[test]
fn every_row_of_the_inventory_is_counted_as_a_case_or_listed_with_its_reason() {
    let text = std::fs::read_to_string(cases().join("README.md")).unwrap();
    let sections: Vec<Section> = text.lines().filter_map(Section::parse).collect();
    assert_eq!(sections.len(), 13);
    for section in &sections {
        assert_eq!(section.cases, section.rows_of_ours(), "cases of {}", section.name);
        assert_eq!(section.left_out, section.reasons, "rows of {} with a reason", section.name);
    }
    let sum = |of: fn(&Section) -> usize| sections.iter().map(of).sum::<usize>();
    let (cases, left_out) = (sum(|section| section.cases), sum(|section| section.left_out));
    let totals = format!("| all | {} | {cases} | {left_out} | |", cases + left_out);
    assert!(text.contains(&totals), "{totals}");
    let all = cases + left_out;
    let line =
        format!("{all} rows of the inventory: {cases} are cases, {left_out} are not, each with its reason\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// A line of the README's table, `| 8.1 detection | 14 | 13 | 1 | D09: why |`. An empty cell means 0.
struct Section {
    name: String,
    cases: usize,
    left_out: usize,
    /// The number of rows that are named with a reason
    reasons: usize,
    /// The first letters of the names of its rows
    letters: &'static str,
}

impl Section {
    fn parse(line: &str) -> Option<Self> {
        let mut cells = line.strip_prefix("| 8.")?.split('|').map(str::trim);
        let name = cells.next()?.to_owned();
        let number: usize = name.split(' ').next()?.parse().ok()?;
        let [rows, cases, left_out] =
            [cells.next()?, cells.next()?, cells.next()?].map(|cell| cell.parse().unwrap_or(0));
        assert_eq!(rows, cases + left_out, "{name}");
        let letters = *LETTERS.get(number - 1)?;
        let reasons = cells.next()?.split([' ', ':', ';']).filter(|word| is_row(word, letters)).count();
        Some(Self { name, cases, left_out, reasons, letters })
    }

    fn rows_of_ours(&self) -> usize {
        ROWS.iter().flat_map(|(_, ids)| ids.split_whitespace()).filter(|id| is_row(id, self.letters)).count()
    }
}

fn is_row(word: &str, letters: &str) -> bool {
    word.len() == 3 && word.starts_with(|c| letters.contains(c)) && word[1..].parse::<u8>().is_ok()
}

#[test]
fn every_source_is_described_and_so_has_every_bad_answer() {
    let description = |area: PathBuf| std::fs::read_to_string(area.join("source.json")).ok();
    let areas = std::fs::read_dir(cases()).unwrap().map(|area| area.unwrap().path());
    let descriptions =
        areas.filter_map(description).map(|text| serde_json::from_str::<Value>(&text).unwrap());
    let described: Vec<_> = descriptions.map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    // Callers never get the tokens of an assertion's issuer: the cases of `issuer` give bad answers to its requests.
    for source in sources(&COMPONENT).unwrap().into_iter().filter(|source| source != "assertion-issuer") {
        assert!(described.contains(&source), "no <area>/source.json describes the source {source}");
    }
}

#[test]
fn every_source_with_a_file_has_a_case_for_every_bad_file() {
    let names: Vec<_> = find(&cases(), "").unwrap().into_iter().map(|file| file.name).collect();
    for case in SOURCES_WITH_FILES.iter().flat_map(|area| BAD_FILES.map(|kind| format!("{area}/{kind}"))) {
        assert!(names.contains(&case), "no case {case}");
    }
}

#[test]
fn every_request_goes_where_the_configuration_says() {
    for file in find(&cases(), "").unwrap() {
        let case = file.read().unwrap();
        let is_named =
            |host: &str| DEFAULT_HOSTS.contains(&host) || case.variables().any(|value| value.contains(host));
        for url in case.urls() {
            // An entry without a URL would let a secret go anywhere.
            let url: http::Uri = url.expect(&file.name).parse().unwrap();
            let host = url.host().unwrap();
            // Two variables make `westeurope.login.microsoft.com`, or IMDS names the region.
            let is_region = |text| is_named(text) || case.variables().any(|value| value == "TryAutoDetect");
            let regional =
                host.split_once('.').is_some_and(|(region, host)| is_region(region) && is_named(host));
            assert!(is_named(host) || regional, "{}: {url}", file.name);
        }
    }
}

#[test]
fn a_case_that_is_met_passes() {
    assert_eq!(problem(&good()), None);
}

#[test]
fn an_entry_that_no_request_uses_fails_a_case() {
    let mut case = good();
    let entry = case["steps"][0]["http"][0].clone();
    case["steps"][0]["http"].as_array_mut().unwrap().push(entry);
    assert_fails(&case, &["step 1", "no request used http entry 2", IMDS]);
}

#[test]
fn a_request_that_no_entry_expects_fails_a_case() {
    let mut case = good();
    case["steps"][0]["http"] = json!([]);
    assert_fails(&case, &["unexpected request: GET http://169.254.169.254/", "no http entry is left"]);
}

#[test]
fn each_difference_of_a_request_fails_a_case_by_its_name() {
    for (field, value, words) in [
        ("method", json!("POST"), "its method must be POST and is GET"),
        ("url", json!("http://127.0.0.1/other"), "its URL must be http://127.0.0.1/other"),
        ("url", json!(format!("{IMDS}?resource=x")), "its query parameter resource must be \"x\""),
        (
            "query",
            json!({ "api-version": "2019-08-01" }),
            "its query parameter api-version must be \"2019-08-01\"",
        ),
        ("query", json!({ "client_id": "x" }), "its query parameter client_id is missing"),
        ("query-absent", json!(["resource"]), "it must not have the query parameter resource"),
        ("headers", json!({ "Metadata": "false" }), "its header Metadata must be \"false\""),
        ("headers", json!({ "x-identity-header": "s" }), "its header x-identity-header is missing"),
        ("headers-absent", json!(["Metadata"]), "it must not have the header Metadata"),
        ("form", json!({ "grant_type": "x" }), "its form field grant_type is missing"),
        ("after-ms", json!([1, 5]), "it must come 1 to 5 ms after the step began"),
    ] {
        let mut case = good();
        case["steps"][0]["http"][0]["expect"] = json!({ field: value });
        assert_fails(&case, &["unexpected request", "http entry 1 does not fit", words]);
    }
}

#[test]
fn each_difference_of_an_answer_fails_a_case_by_its_name() {
    for (then, words) in [
        (json!({ "token": "another" }), "the token is another one"),
        (json!({ "expires-on": 1 }), "expires-on must be 1 and is 1760003600"),
        (json!({ "refresh-on": null }), "refresh-on must be None and is Some(1760003300)"),
        (json!({ "error": "rejected" }), "there must be an error and is a token"),
    ] {
        let mut case = good();
        case["steps"][0]["then"] = then;
        assert_fails(&case, &["step 1", words]);
    }
}

#[test]
fn each_difference_of_an_error_fails_a_case_by_its_name() {
    for (then, words) in [
        (json!({ "token": "x" }), "there must be a token and is Error::Rejected"),
        (json!({ "error": "denied" }), "error must be Denied and is Rejected"),
        (json!({ "status": 401 }), "status must be Some(401) and is Some(400)"),
        (json!({ "code": "x" }), "code must be Some(\"x\") and is Some(\"invalid_scope\")"),
        (json!({ "message-contains": ["x y z"] }), "the message must hold \"x y z\""),
        (json!({ "remedy-contains": ["x y z"] }), "the remedy must hold \"x y z\""),
        (json!({ "message-lacks": ["got 400"] }), "the message must not hold \"got 400\""),
        (json!({ "remedy-lacks": ["az vm"] }), "the remedy must not hold \"az vm\""),
        (json!({ "correlation-id": "x" }), "correlation-id must be Some(\"x\") and is Some("),
        (json!({ "retry-after-ms": 1 }), "retry-after-ms must be Some(1) and is None"),
    ] {
        let mut case = good();
        case["steps"][0]["http"][0]["reply"] = json!({ "status": 400, "body": { "error": "invalid_scope" } });
        case["steps"][0]["then"] = then;
        assert_fails(&case, &["step 1", words, "got 400 invalid_scope"]);
    }
}

#[test]
fn a_peek_and_a_counter_that_differ_fail_a_case() {
    for (step, words) in [
        (json!({ "peek": SCOPE, "then": null }), "there must be no token and is one"),
        (json!({ "peek": "https://other.example", "then": {} }), "there must be a token and is none"),
        (json!({ "stats": { "fetches": 2 } }), "Fetches must be 2 and is 1"),
        (json!({ "stats": { "failures": { "rejected": 1 } } }), "rejected must be 1 and is 0"),
    ] {
        let mut case = good();
        case["steps"].as_array_mut().unwrap().push(step);
        assert_fails(&case, &["step 2", words]);
    }
}

#[test]
fn a_verdict_that_differs_fails_a_case() {
    for (source, words) in [
        ("imds", "the verdict on imds must be Some(Failed) and is Some(Used)"),
        ("imd", "the verdict on imd must be Some(Failed) and is None"),
    ] {
        let mut case = good();
        case["steps"][0]["explain"] = json!({ source: "failed" });
        assert_fails(&case, &["step 1", words]);
    }
}

#[test]
fn bytes_are_sent_as_they_are() {
    let body = |bytes: &[u8]| json!({ "raw": { "base64": BASE64_STANDARD.encode(bytes) } });
    let mut case = good();
    case["steps"][0]["http"][0]["reply"] = body(br#"{"access_token":"sentinel-good","expires_in":"3600"}"#);
    assert_eq!(problem(&case), None);
    case["steps"][0]["http"][0]["reply"] =
        body(b"{\"access_token\":\"sentinel-good\xff\",\"expires_in\":\"3600\"}");
    assert_fails(&case, &["there must be a token and is Error::Protocol", "is not a token response in JSON"]);
}

#[test]
fn each_fault_of_a_connection_is_told_apart() {
    for (fault, words) in [
        ("refused", "got no connection: connection refused"),
        ("black-hole", "got no connection: no connection in time"),
        ("untrusted", "did not trust its certificate"),
    ] {
        let mut case = good();
        case["steps"][0]["http"][0]["reply"] = json!({ "fault": fault });
        assert_fails(&case, &["there must be a token and is", words]);
    }
}

#[test]
fn of_two_headers_of_one_name_both_are_sent() {
    let mut case = good();
    let mut busy = case["steps"][0]["http"][0].clone();
    let mut then = busy.clone();
    busy["reply"] = json!({ "status": 429, "headers": { "retry-after": ["3", "7"] } });
    then["expect"]["after-ms"] = json!([7000, 7000]);
    case["steps"][0]["http"] = json!([busy, then]);
    // The larger one counts, wherever it stands.
    assert_eq!(problem(&case), None);
    case["steps"][0]["http"][0]["reply"]["headers"] = json!({ "retry-after": ["7", "3"] });
    assert_eq!(problem(&case), None);
    case["steps"][0]["http"][0]["reply"]["headers"] = json!({ "retry-after": ["3", "soon"] });
    assert_fails(&case, &["it must come 7000 to 7000 ms after the step began"]);
}

#[test]
fn files_change_while_a_call_is_under_way() {
    let mut case = arc();
    assert_eq!(problem(&case), None);
    case["steps"][0]["http"][0]["set-files"] = json!({ KEY: "sentinel-key-2" });
    assert_fails(&case, &["its header authorization must be \"Basic sentinel-key\""]);
}

#[test]
fn a_link_is_one_to_the_component() {
    let mut case = arc();
    case["files"] = json!({ KEY: { "link": "real.key" }, format!("{KEYS}/real.key"): "sentinel-key" });
    assert_fails(&case, &["it is a symbolic link"]);
}

#[test]
fn a_secret_among_bytes_fails_a_case() {
    let leak = |file: &[u8], words: &str| {
        let mut case = good();
        case["files"] = json!({ "/unused": { "base64": BASE64_STANDARD.encode(file) } });
        case["steps"][0]["http"][0]["reply"] =
            json!({ "status": 400, "body": { "error": "no", "error_description": words } });
        case["steps"][0]["then"] = json!({ "error": "rejected" });
        problem(&case)
    };
    assert!(leak(b"\xffsentinel-leak\xff", "no sentinel-leak").unwrap().contains("the secret sentin..."));
    assert_eq!(leak(b"\xffsentinel-leak\xff", "no"), None);
}

#[test]
fn a_secret_in_an_error_fails_a_case() {
    let mut case = good();
    // The service repeats, in its own words, what the case says is a token: the broker cannot know.
    case["steps"][0]["http"][0]["reply"] = json!({ "status": 400, "body": { "error_description": "no sentinel-leak", "id_token": "sentinel-leak" } });
    case["steps"][0]["then"] = json!({ "error": "rejected" });
    assert_fails(&case, &["the secret sentin... is in an error, a log line"]);
}

#[test]
fn a_secret_in_the_log_alone_fails_a_case() {
    let mut case = good();
    // At this level the audience is logged. Without an ask that fails, the log is the only place.
    case["env"] = json!({ "TOKEN_BROKER_LOG": "debug", "UNUSED_SECRET": "https://management.azure.com" });
    assert_fails(&case, &["the secret https:... is in an error, a log line"]);
}

#[test]
fn a_secret_in_the_explain_report_alone_fails_a_case() {
    let mut case = good();
    case["env"] = json!({ "UNUSED_SECRET": "/metadata/identity/oauth2/token" });
    assert_fails(&case, &["the secret /metad... is in an error, a log line, an explain report"]);
}

#[test]
fn a_field_that_is_unknown_or_wrong_is_named_with_its_place_and_its_file() {
    for (text, words) in [
        (r#"{"step": []}"#, "unknown field `step`"),
        (r#"{"steps": [{"aks": {}}]}"#, "steps[0].aks: unknown field `aks`"),
        (
            r#"{"steps": [{}, {"http": [{"expect": {"querry": {}}}]}]}"#,
            "steps[1].http[0].expect.querry: unknown field",
        ),
        (r#"{"steps": [{"ask": {"identity": {"clientid": "x"}}}]}"#, "steps[0].ask.identity"),
        (r#"{"steps": [{"stats": {"fetch": 1}}]}"#, "unknown variant `fetch`"),
        (r#"{"steps": [{"http": [{"reply": {"fault": "slow"}}]}]}"#, "unknown variant `slow`"),
        (
            r#"{"steps": [{"http": [{"reply": {"status": 9}}]}]}"#,
            "step 1, http entry 1: the reply cannot be sent",
        ),
        (r#"{"steps": [{"ask": {}, "peek": "x"}]}"#, "step 1 has an ask and a peek"),
        (r#"{"steps": [{"then": {}}]}"#, "step 1 has a `then` and neither"),
        (
            r#"{"steps": [{"ask": {}, "then": {"token": "t", "error": "other"}}]}"#,
            "both a token and an error",
        ),
        (r#"{"files": {"/a": {"length": 3}}}"#, "files./a"),
        (r#"{"files": {"/a": {"base64": "!"}}}"#, "files./a"),
        (r#"{"files": {"/a": {"size": 3, "link": "b"}}}"#, "files./a"),
        (r#"{"steps": [{"explain": {"imds": "good"}}]}"#, "steps[0].explain.imds: unknown variant `good`"),
        (r#"{"steps": [{"http": [{"reply": {"headers": {"a": {}}}}]}]}"#, "steps[0].http[0].reply.headers.a"),
        (r#"{"steps": [{"http": [{"reply": {"body": {}, "raw": ""}}]}]}"#, "a body and a raw one"),
        (r#"{"id": "even"}"#, "its id is even, and the name of its file is odd"),
        (r#"{"source": "imds"}"#, "no imds/source.json describes its source"),
        (r#"{"steps": [{"ask": 7}]}"#, "steps[0].ask: invalid type: integer `7`, expected a scope or an ask"),
        (r#"{"steps": [{"http": [{"request": "challenge"}]}]}"#, "http entry 1 is a request of no source"),
        (r#"{"steps": [{"http": [{"reply": {"token": "x"}}]}]}"#, "http entry 1 has a token"),
        ("{", "EOF"),
        ("{} {}", "trailing characters"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("odd.json"), text).unwrap();
        let files = find(directory.path(), "").unwrap();
        let error = format!("{:#}", files[0].read().unwrap_err());
        assert!(error.contains("odd.json") && error.contains(words), "{text}: {error}");
    }
}

#[test]
fn a_case_with_every_field_left_out_is_a_case() {
    for text in
        ["{}", r#"{"steps": [{}]}"#, r#"{"steps": [{"stats": {}}, {"advance-ms": 5}, {"restart": true}]}"#]
    {
        run(&COMPONENT, &Case::parse(text).unwrap()).unwrap();
    }
}

#[test]
fn cases_are_found_below_a_directory_by_a_part_of_their_path() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["b/two.json", "a/one.json", "a/deep/three.json", "top.json", "a/notes.txt"] {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "{}").unwrap();
    }
    let names = |filter| -> Vec<_> {
        find(directory.path(), filter).unwrap().into_iter().map(|file| file.name).collect()
    };
    assert_eq!(names(""), ["a/deep/three", "a/one", "b/two", "top"]);
    assert_eq!(names("a/"), ["a/deep/three", "a/one"]);
    assert!(find(&directory.path().join("none"), "").is_err());
}

/// A case that passes: one call, one request, one token.
fn good() -> Value {
    json!({
        "id": "good",
        "now": 1_760_000_000,
        "steps": [{
            "ask": { "scopes": [SCOPE] },
            "http": [{
                "expect": { "method": "GET", "url": IMDS },
                "reply": { "status": 200, "body": { "access_token": "sentinel-good", "expires_in": "3600" } }
            }],
            "then": { "token": "sentinel-good" }
        }]
    })
}

/// Another case that passes: a challenge, and the key that it names.
fn arc() -> Value {
    let challenge = json!({ "status": 401, "headers": { "www-authenticate": format!("Basic realm={KEY}") } });
    let token = good()["steps"][0]["http"][0]["reply"].clone();
    json!({
        "env": { "IDENTITY_ENDPOINT": "http://127.0.0.1:40342/x", "IMDS_ENDPOINT": "http://127.0.0.1:40342" },
        "files": { KEY: "sentinel-key" },
        "steps": [{
            "ask": { "scopes": [SCOPE] },
            "http": [
                { "expect": { "headers-absent": ["authorization"] }, "reply": challenge },
                { "expect": { "headers": { "authorization": "Basic sentinel-key" } }, "reply": token }
            ],
            "then": { "token": "sentinel-good" }
        }]
    })
}

fn problem(case: &Value) -> Option<String> {
    let case = Case::parse(&case.to_string()).unwrap();
    run(&COMPONENT, &case).err().map(|error| format!("{error:#}"))
}

fn assert_fails(case: &Value, words: &[&str]) {
    let problem = problem(case).expect("the case must fail");
    for words in words {
        assert!(problem.contains(words), "{words:?} is not in: {problem}");
    }
}

fn cases() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/conformance"))
}

static COMPONENT: LazyLock<Subject> = LazyLock::new(|| match std::env::var_os("TOKEN_BROKER_COMPONENT") {
    Some(file) => Subject::load(Path::new(&file)).unwrap(),
    None => subject("token-broker.wasm"),
});

fn subject(name: &str) -> Subject {
    Subject::load(&artefact(name).unwrap()).unwrap()
}

const SCOPE: &str = "https://management.azure.com/.default";
const IMDS: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

const KEYS: &str = "/var/opt/azcmagent/tokens";
const KEY: &str = "/var/opt/azcmagent/tokens/a.key";

/// The hosts that need no variable.
const DEFAULT_HOSTS: [&str; 4] =
    ["169.254.169.254", "127.0.0.1", "login.microsoftonline.com", "login.microsoft.com"];

/// Sources that read a file. One that is empty, huge or a directory is in `W04`, `R08` and `unusable`.
const SOURCES_WITH_FILES: [&str; 3] = ["workload", "arc", "certificate"];
const BAD_FILES: [&str; 3] = ["file-not-utf-8", "file-link", "file-replaced"];

/// The first letters of the names of rows, by section.
const LETTERS: [&str; 13] = ["D", "I", "A", "M", "S", "R", "W", "T", "P", "C", "BK", "E", "X"];

/// The rows of the inventory of library behaviour that are cases.
const ROWS: [(&str, &str); 17] = [
    ("detect", "D01 D02 D03 D04 D05 D06 D07 D08 D12 D15 D16 D17 D18"),
    ("imds", "I01 I02 I03 I05 I06 I07 I08 I10 I12 I13 I14 I16 I17 I18 I19 I20 I21 I23 I24 I25"),
    ("imds", "I26 I27 I28 I29 I32 I33 I36 I37 I38"),
    ("app-service", "A01 A02 A03 A05 A06 A08 A10 A12 A13"),
    ("machine-learning", "M01 M03 M04 M05 M09"),
    ("cloud-shell", "M06"),
    ("service-fabric", "S01 S02 S03 S05 S06 S08 S09 S10 S12"),
    ("arc", "R01 R02 R03 R05 R07 R08 R10 R11 R14 R15 R16 R17 R20 R21"),
    ("workload", "W01 W03 W04 W06 W07 W08 W09 W10 W11 W13 W14"),
    ("chain", "P01 P02 P03 P05 P06 P07 P08 P10 P11 P13 P14 P15 P16 P17"),
    ("entra", "E01 E03 E04 E08 E10 E12 E13 E14 E15 E16 E17 E18 E19"),
    ("client-secret", "E05"),
    ("certificate", "E07"),
    ("retry", "T01 T02 T03 T06 T07 T08 T09 T10 T11 T14 T15 T16 T17 T18 T20"),
    ("cache", "C01 C02 C03 C04 C06 C07 C08 C09 C11 C14 C15 C16 C18 C19 C20 C21 C22 C23 C25"),
    ("cache", "C26 C27 C28 C29 C30 C31"),
    ("security", "X01 X03 X05 X07 X08 X09 X10"),
];
