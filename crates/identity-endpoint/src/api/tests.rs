//! The requests that are read and refused, and the replies of each protocol.

use std::time::Duration;

use http::Request;
use proptest::prelude::*;
use serde_json::{Value, json};
use token_broker::{Failure, VARIABLES, fingerprint};

use super::*;
use crate::Granted;

const SECRET: &str = "s3ntinel-of-the-endpoint";
const VAULT: &str = "https://vault.azure.net";
const NOW: Duration = Duration::from_secs(1_760_000_000);

fn api(pairs: &[(&str, &str)]) -> IdentityApi {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    IdentityApi::new(&Settings::from_pairs(pairs)).unwrap()
}

fn open_api() -> IdentityApi {
    api(&[(ENDPOINT_SECRET, SECRET)])
}

fn get(target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// A valid request of IMDS's protocol, with more parameters at its end.
fn imds(more: &str) -> Parts {
    let target = format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={VAULT}{more}");
    get(&target, &[("metadata", "true")])
}

fn app_service(more: &str) -> Parts {
    let target = format!("/msi/token?api-version=2019-08-01&resource={VAULT}{more}");
    get(&target, &[("x-identity-header", SECRET)])
}

fn read(request: &Parts) -> Result<Question, (u16, Value)> {
    open_api().read(request).map_err(|reply| seen(&reply))
}

fn seen(reply: &Reply) -> (u16, Value) {
    (reply.status().as_u16(), serde_json::from_slice(reply.body().expose_secret()).unwrap())
}

/// The status, and the text in the place where the protocol has it.
#[track_caller]
fn refusal(request: &Parts) -> (u16, String) {
    let (status, body) = read(request).unwrap_err();
    let text = body["error_description"].as_str().or_else(|| body["message"].as_str()).unwrap();
    (status, text.to_owned())
}

fn failure() -> Failure {
    let mut failure = without_code();
    failure.code = Some("invalid_resource".into());
    failure
}

fn without_code() -> Failure {
    let mut failure = Failure::new("imds", "got 400").with_remedy("check the audience");
    failure.correlation_id = Some("c-1".into());
    failure
}

#[test]
fn a_question_is_read_at_both_paths_with_or_without_a_slash_at_the_end() {
    for (target, header, protocol) in [
        ("/metadata/identity/oauth2/token", ("Metadata", "True"), Protocol::Imds),
        ("/metadata/identity/oauth2/token/", ("Metadata", "true"), Protocol::Imds),
        ("//metadata/identity/oauth2/token", ("Metadata", "true"), Protocol::Imds),
        ("/msi/token", ("X-IDENTITY-HEADER", SECRET), Protocol::AppService),
        ("/msi/token/", ("X-IDENTITY-HEADER", SECRET), Protocol::AppService),
    ] {
        let target = format!("{target}?api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net");
        let question = read(&get(&target, &[header])).unwrap();
        assert_eq!((question.protocol(), question.audience()), (protocol, VAULT), "{target}");
        assert_eq!((question.identity(), question.request().scopes.len()), (&Identity::Default, 1));
    }
}

#[test]
fn a_resource_is_an_audience_in_each_of_its_forms() {
    for (resource, audience) in [
        (VAULT, VAULT),
        ("https://vault.azure.net/", "https://vault.azure.net/"),
        ("https%3A%2F%2Fvault.azure.net%2F.default", VAULT),
        ("api://AzureADTokenExchange", "api://AzureADTokenExchange"),
        ("2ff814a6-3304-4ab8-85cb-cd0e6f879c1d", "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"),
    ] {
        let target = format!("/metadata/identity/oauth2/token?resource={resource}&api-version=2018-02-01");
        assert_eq!(read(&get(&target, &[("metadata", "true")])).unwrap().audience(), audience);
    }
}

#[test]
fn an_identity_is_read_by_each_of_its_names_in_both_protocols() {
    let resource_id = "/subscriptions/s/resourceGroups/gr%C3%B6%C3%9Fe/providers/p";
    for (parameter, identity) in [
        ("client_id=11112222-bbbb", Identity::client_id("11112222-bbbb")),
        ("object_id=aaa", Identity::object_id("aaa")),
        ("principal_id=aaa", Identity::object_id("aaa")),
        (
            &format!("msi_res_id={resource_id}"),
            Identity::resource_id("/subscriptions/s/resourceGroups/größe/providers/p"),
        ),
        ("mi_res_id=%2Fsubscriptions%2Fs", Identity::resource_id("/subscriptions/s")),
        ("resource_id=/subscriptions/s", Identity::resource_id("/subscriptions/s")),
        ("bypass_cache=true&unknown=%zz", Ok(Identity::Default)),
    ] {
        for request in [imds(&format!("&{parameter}")), app_service(&format!("&{parameter}"))] {
            assert_eq!(Ok(read(&request).unwrap().identity()), identity.as_ref(), "{parameter}");
        }
    }
}

#[test]
fn parameters_that_are_twice_there_or_malformed_or_contradict_each_other_are_refused() {
    for (more, says) in [
        ("&resource=https://x", "twice"),
        ("&api-version=2018-02-01", "twice"),
        ("&client_id=a&client_id=a", "once"),
        ("&client_id=a&msi_res_id=/s", "one of"),
        ("&mi_res_id=/s&msi_res_id=/s", "one of"),
        ("&client_id=", "client id of the identity is empty"),
        ("&object_id=a%0Ab", "U+000A"),
        ("&client_id=a+b", "U+0020"),
        ("&client_id=%ff", "percent-encoded"),
        ("&client_id=%2", "percent-encoded"),
        ("&client_id=%zz", "percent-encoded"),
        (&format!("&client_id={}", "a".repeat(1025)), "1025 bytes"),
        (&format!("&x={}", "a".repeat(crate::query::MAX_QUERY)), "longer than"),
    ] {
        for request in [imds(more), app_service(more)] {
            let (status, text) = refusal(&request);
            assert_eq!(status, 400, "{text}");
            assert!(text.contains(says), "{says} is not in {text}");
        }
    }
}

#[test]
fn what_a_request_must_have_is_said_of_one_that_has_it_not() {
    let metadata = ("metadata", "true");
    let path = IdentityApi::IMDS_PATH;
    let full = format!("{path}?api-version=2018-02-01&resource={VAULT}");
    for (target, headers, says) in [
        (path.to_owned(), vec![], "Required metadata header"),
        (full.clone(), vec![], "Required metadata header"),
        (full.clone(), vec![("metadata", "yes")], "Required metadata header"),
        (full.clone(), vec![metadata, metadata], "Required metadata header"),
        (full, vec![metadata, ("x-forwarded-for", "10.0.0.1")], "X-Forwarded-For"),
        (path.to_owned(), vec![metadata], "api-version is missing"),
        (format!("{path}?api-version=2018-02-01"), vec![metadata], "resource is missing"),
        (format!("{path}?api-version=2018-02-01&resource="), vec![metadata], "scope is empty"),
        (format!("{path}?api-version=2018-02-01&resource=a%20b"), vec![metadata], "U+0020"),
        (format!("{path}?api-version=2017-12-01&resource={VAULT}"), vec![metadata], "2018-02-01 or a later"),
        (format!("{path}?api-version=latest&resource={VAULT}"), vec![metadata], "2018-02-01 or a later"),
        (format!("{path}?api-version=2019-1x-01&resource={VAULT}"), vec![metadata], "2018-02-01 or a later"),
    ] {
        let (status, text) = refusal(&get(&target, &headers));
        assert_eq!(status, 400, "{target}: {text}");
        assert!(text.contains(says), "{target}: {says} is not in {text}");
    }
    let old =
        get(&format!("/msi/token?api-version=2017-09-01&resource={VAULT}"), &[("x-identity-header", SECRET)]);
    assert!(refusal(&old).1.contains("2019-08-01 or a later"));
}

#[test]
fn each_refusal_ends_with_one_fix() {
    let (closed, looping) = (api(&[]), api(&[(POD_IDENTITY_HOST, "http://127.0.0.1:8080")]));
    let open = open_api();
    let head = |name: &'static str, value: &str| {
        let mut request = imds("");
        request.headers.insert(name, value.parse().unwrap());
        request
    };
    let mut post = imds("");
    post.method = Method::POST;
    for (api, request) in [
        (&open, get("/", &[])),
        (&open, post),
        (&open, get(IdentityApi::IMDS_PATH, &[])),
        (&open, get(IdentityApi::IMDS_PATH, &[("metadata", "true")])),
        (&open, get(&format!("{}?api-version=x", IdentityApi::IMDS_PATH), &[("metadata", "true")])),
        (&open, get(&format!("{}?api-version=2018-02-01", IdentityApi::IMDS_PATH), &[("metadata", "true")])),
        (&open, head("x-forwarded-for", "10.0.0.1")),
        (&open, head("host", "rebound.example")),
        (&open, head("host", "")),
        (&open, head("host", "a\tb")),
        (&open, get(IdentityApi::APP_SERVICE_PATH, &[])),
        (&closed, app_service("")),
        (&looping, head("host", "127.0.0.1:8080")),
        (&open, imds("&resource=a")),
        (&open, imds("&client_id=a&object_id=b")),
        (&open, imds("&client_id=%")),
        (&open, imds("&client_id=")),
        (&open, imds(&format!("&x={}", "a".repeat(crate::query::MAX_QUERY)))),
    ] {
        let (_, body) = seen(&api.read(&request).unwrap_err());
        assert_eq!(body.to_string().matches("; fix: ").count(), 1, "{body}");
    }
    let short = Settings::from_pairs([(ENDPOINT_SECRET.to_owned(), "short".to_owned())]);
    let error = IdentityApi::new(&short).unwrap_err().to_string();
    assert_eq!(error.matches("; fix: ").count(), 1, "{error}");
}

#[test]
fn app_service_is_for_those_who_show_the_secret() {
    let target = format!("/msi/token?api-version=2019-08-01&resource={VAULT}");
    for headers in [
        vec![],
        vec![("x-identity-header", "")],
        vec![("x-identity-header", "s3ntinel-of-the-endpoinT")],
        vec![("x-identity-header", "s3ntinel-of-the-endpoin")],
        vec![("x-identity-header", SECRET), ("x-identity-header", SECRET)],
        vec![("secret", SECRET), ("metadata", "true")],
    ] {
        let (status, text) = refusal(&get(&target, &headers));
        assert_eq!(status, 401, "{headers:?}");
        assert!(text.contains("TOKEN_BROKER_ENDPOINT_SECRET") && !text.contains("s3ntinel"), "{text}");
    }
}

#[test]
fn without_a_secret_app_service_says_how_it_is_enabled_and_imds_is_open() {
    let closed = api(&[]);
    let (status, body) = seen(&closed.read(&app_service("")).unwrap_err());
    assert_eq!((status, body["statusCode"].as_u64()), (403, Some(403)));
    for part in ["TOKEN_BROKER_ENDPOINT_SECRET", "AZURE_POD_IDENTITY_AUTHORITY_HOST"] {
        assert!(body["message"].as_str().unwrap().contains(part), "{body}");
    }
    assert!(closed.read(&imds("")).is_ok());
    assert!(!closed.has_secret() && open_api().has_secret());
}

#[test]
fn a_secret_is_long_and_can_be_a_header() {
    for value in
        ["short", "fifteen-letters", "has a space in it", "sm\u{f6}rrebr\u{f6}d-sm\u{f6}rrebr\u{f6}d"]
    {
        let settings = Settings::from_pairs([(ENDPOINT_SECRET.to_owned(), value.to_owned())]);
        let error = IdentityApi::new(&settings).unwrap_err().to_string();
        assert!(error.starts_with("misconfigured") && error.contains(ENDPOINT_SECRET), "{error}");
        assert!(!error.contains(value), "{error}");
    }
    assert!(!format!("{:?}", open_api()).contains("s3ntinel"));
}

#[test]
fn only_get_is_answered_and_only_where_tokens_are() {
    for method in ["POST", "HEAD", "OPTIONS", "PUT"] {
        let mut request = imds("");
        request.method = method.parse().unwrap();
        let reply = open_api().read(&request).unwrap_err();
        assert_eq!(
            (reply.status().as_u16(), &reply.headers()["allow"]),
            (405, &HeaderValue::from_static("GET"))
        );
    }
    for path in
        ["/", "/metadata/instance", "/msi", "/MSI/token", "/metadata//identity/oauth2/token", "/msi/token//"]
    {
        let (status, body) = seen(&open_api().read(&get(path, &[("metadata", "true")])).unwrap_err());
        assert_eq!((status, &body["error"]), (404, &"not_found".into()), "{path}");
    }
}

/// The status of a refused request with this `Host` header.
fn asked(host: &[u8]) -> Result<(), u16> {
    let mut request = imds("");
    request.headers.insert(HOST, HeaderValue::from_bytes(host).unwrap());
    read(&request).map_err(|(status, _)| status).map(drop)
}

#[test]
fn an_address_and_a_name_without_a_dot_are_answered() {
    for host in [
        "127.0.0.1:8080",
        "169.254.169.254",
        "10.0.0.4",
        "[::1]:80",
        "[0:0:0:0:0:0:0:1]:8080",
        "[::ffff:127.0.0.1]",
        "localhost",
        "LOCALHOST:4141",
        "broker",
        "my_broker-1:65535",
    ] {
        assert_eq!(asked(host.as_bytes()), Ok(()), "{host}");
    }
}

#[test]
fn a_name_that_somebody_can_own_is_refused_since_a_web_page_may_be_behind_it() {
    for host in [
        "rebound.example:8080",
        "127.0.0.1.evil.example",
        "127.0.0.1.evil:80",
        "a.b",
        "x.localhost",
        // A dot at the end, and numbers that not every reader takes for an address.
        "localhost.",
        "broker.:80",
        "127.0.0.1.",
        "127.1",
        "0x7f.0.0.1",
        "0177.0.0.1:80",
        "2130706433",
    ] {
        assert_eq!(asked(host.as_bytes()), Err(403), "{host}");
    }
    let absolute = |host: &str, header: &[(&str, &str)]| {
        let target = format!("http://{host}/msi/token?api-version=2019-08-01&resource={VAULT}");
        let headers = [&[("x-identity-header", SECRET)], header].concat();
        read(&get(&target, &headers)).map_err(|(status, _)| status).map(drop)
    };
    assert_eq!(absolute("localhost", &[]), Ok(()));
    assert_eq!(absolute("rebound.example", &[]), Err(403));
    assert_eq!(absolute("[::1].evil.example", &[]), Err(400));
    assert_eq!(absolute("localhost", &[("host", "rebound.example")]), Err(403), "each of the two counts");
    assert_eq!(absolute("rebound.example", &[("host", "localhost")]), Err(403));
}

#[test]
fn a_host_header_that_is_neither_an_address_nor_a_name_is_refused() {
    for host in [
        "",
        ":80",
        "[::1].evil.example",
        "[::1].evil.example:80",
        "[::1]evil",
        "[::1",
        "::1",
        "[]",
        "[1.2.3.4]",
        "[fe80::1%25eth0]",
        "[v1.a]",
        "evil.example[::1]",
        "localhost@evil.example",
        "evil.example@localhost",
        "@localhost",
        "a b",
        " ",
        "localhost,evil.example",
        "http://localhost",
        "localhost/",
        "localhost/.evil.example",
        "localhost?x",
        "localhost#x",
        "localhost\\evil.example",
        "localhost:",
        "localhost:80:80",
        "localhost:+80",
        "localhost:0x50",
        "localhost:65536",
        "localhost:80.evil.example",
        "evil..example",
        ".localhost",
        "localhost..",
        "256.0.0.1",
        "1.2.3.4.5",
        "%6cocalhost",
        "*",
    ] {
        assert_eq!(asked(host.as_bytes()), Err(400), "{host}");
    }
    for host in [&b"loc\xe4lhost"[..], b"localhost\t", b"\xe2\x93\x9b", &b"a".repeat(64)] {
        assert_eq!(asked(host), Err(400), "{host:?}");
    }
    let mut twice = imds("");
    twice.headers.append(HOST, "localhost".parse().unwrap());
    twice.headers.append(HOST, "127.0.0.1".parse().unwrap());
    assert_eq!(read(&twice).unwrap_err().0, 400);
    assert_eq!(open_api().check_origin(&twice).unwrap_err().status(), 400);
    assert!(open_api().check_origin(&imds("")).is_ok());
}

#[test]
fn a_broker_that_would_ask_itself_is_noticed_by_where_it_asks() {
    for (variable, url, host, is_loop) in [
        (POD_IDENTITY_HOST, "http://127.0.0.1:8080", "127.0.0.1:8080", true),
        (IDENTITY_ENDPOINT, "http://Localhost:8080/msi/token", "localhost:8080", true),
        (MSI_ENDPOINT, "http://127.0.0.1/msi/token", "127.0.0.1:80", true),
        (POD_IDENTITY_HOST, "http://127.0.0.1:8080", "localhost:8080", true),
        (POD_IDENTITY_HOST, "http://broker:8080", "Broker:8080", true),
        (POD_IDENTITY_HOST, "http://169.254.169.254", "127.0.0.1", false),
        (POD_IDENTITY_HOST, "http://127.0.0.1:8081", "127.0.0.1:8080", false),
        (IDENTITY_ENDPOINT, "https://127.0.0.1/msi/token", "127.0.0.1", false),
    ] {
        let mut request = imds("");
        request.headers.insert(HOST, host.parse().unwrap());
        let answer = api(&[(variable, url)]).read(&request).map_err(|reply| seen(&reply));
        assert_eq!(answer.is_err(), is_loop, "{url}");
        if let Err((status, body)) = answer {
            assert_eq!(status, 403);
            assert!(body["error_description"].as_str().unwrap().contains(variable), "{body}");
        }
    }
}

#[test]
fn a_token_is_spelled_as_the_protocol_spells_it() {
    let granted = Granted { token: "eyJ-sentinel", token_type: "Bearer", expires_on: 1_760_003_600 };
    let reply = read(&imds("")).unwrap().answer(Ok(granted), NOW);
    assert_eq!(reply.headers()["content-type"], "application/json; charset=utf-8");
    assert_eq!(reply.headers()["cache-control"], "no-store");
    let of_imds = json!({ "access_token": "eyJ-sentinel", "expires_on": "1760003600", "expires_in": "3600",
        "ext_expires_in": "3600", "refresh_token": "", "resource": VAULT, "token_type": "Bearer" });
    assert_eq!(seen(&reply), (200, of_imds));
    let of_app_service = json!({ "access_token": "eyJ-sentinel", "expires_on": "1760003600", "resource": VAULT,
        "token_type": "Bearer" });
    assert_eq!(seen(&read(&app_service("")).unwrap().answer(Ok(granted), NOW)), (200, of_app_service));
    assert!(!format!("{reply:?}").contains("sentinel"));
    let late = seen(&read(&imds("")).unwrap().answer(Ok(granted), Duration::MAX));
    assert_eq!(late.1["expires_in"], "0");
}

#[test]
fn each_error_has_the_status_that_makes_clients_do_what_is_right() {
    let text = "what and why".to_owned();
    for (error, status, code) in [
        (Error::InvalidRequest(text.clone()), 400, "invalid_request"),
        (Error::Misconfigured(text.clone()), 403, "access_denied"),
        (Error::Denied(text.clone()), 403, "access_denied"),
        (Error::Unavailable(vec![failure()]), 400, "invalid_resource"),
        (Error::Rejected(failure()), 400, "invalid_resource"),
        (Error::Throttled(without_code()), 429, "too_many_requests"),
        (Error::Transient(without_code()), 503, "temporarily_unavailable"),
        (Error::Protocol(without_code()), 403, "access_denied"),
        (Error::Other(text), 403, "access_denied"),
    ] {
        let (imds, app_service) = (read(&imds("")).unwrap(), read(&app_service("")).unwrap());
        let body = json!({ "error": code, "error_description": error.to_string() });
        assert_eq!(seen(&imds.answer(Err(&error), NOW)), (status, body), "{error}");
        let (seen_status, body) = seen(&app_service.answer(Err(&error), NOW));
        assert_eq!((seen_status, &body["statusCode"]), (status, &status.into()), "{error}");
        assert_eq!(body["message"], error.to_string());
        let correlation_id = if error.failures().is_empty() { Value::Null } else { "c-1".into() };
        assert_eq!(body["correlationId"], correlation_id, "{error}");
    }
}

#[test]
fn what_passes_by_itself_says_when_to_come_back_and_nothing_else_does() {
    let retry_after = |error: fn(Failure) -> Error, ms| {
        let failure = failure().with_retry_after(Duration::from_millis(ms));
        let reply = read(&imds("")).unwrap().answer(Err(&error(failure)), NOW);
        reply.headers().get("retry-after").map(|seconds| seconds.to_str().unwrap().to_owned())
    };
    assert_eq!(retry_after(Error::Throttled, 1500).as_deref(), Some("2"));
    assert_eq!(retry_after(Error::Throttled, 0).as_deref(), Some("1"));
    assert_eq!(retry_after(Error::Transient, 2500).as_deref(), Some("3"));
    assert_eq!(
        retry_after(Error::Transient, 0).as_deref(),
        Some("1"),
        "as long as the failure is remembered"
    );
    for error in [Error::Rejected, Error::Protocol, |failure| Error::Unavailable(vec![failure])] {
        assert_eq!(retry_after(error, 1500), None);
    }
}

#[test]
fn an_endpoint_that_cannot_be_configured_says_so_in_both_forms() {
    let error = Error::Misconfigured("the variable".to_owned());
    for (request, text) in [(imds(""), "error_description"), (app_service(""), "message")] {
        let (status, body) = seen(&IdentityApi::refused(&request, &error));
        assert_eq!((status, &body[text]), (403, &"misconfigured: the variable".into()));
    }
}

#[test]
fn an_audit_line_says_who_got_what_and_not_the_token() {
    let question = read(&imds("&client_id=aaa")).unwrap();
    let granted = Granted { token: "eyJ-sentinel", token_type: "Bearer", expires_on: 1_760_003_600 };
    let line: Value = serde_json::from_str(&question.audit_line(Ok(granted), "uid 1000", NOW)).unwrap();
    let who = "the identity with client id aaa";
    assert_eq!(
        line,
        json!({ "time": 1_760_000_000_000_u64, "level": "info", "event": "gave out a token", "client": "uid 1000",
            "protocol": "imds", "audience": VAULT, "identity": who, "token_sha256": fingerprint("eyJ-sentinel"),
            "expires_on": "1760003600" })
    );
    let line = question.audit_line(Err(&Error::Denied("not for you".to_owned())), "uid 1000", NOW);
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["kind"], &line["error"]), (&"denied".into(), &"denied: not for you".into()));
    assert_eq!((&line["event"], &line["identity"]), (&"gave out no token".into(), &who.into()));
}

#[test]
fn the_secret_is_a_documented_variable() {
    let variable = VARIABLES.iter().find(|variable| variable.name == ENDPOINT_SECRET).unwrap();
    assert!(variable.secret && variable.about.contains(&format!("{MIN_SECRET} to {MAX_SECRET}")));
}

proptest! {
    /// Whatever comes, an answer goes, and nothing of a query that was refused is in it.
    #[test]
    fn any_request_is_read_or_refused(path in "/[a-z/%.]{0,30}", query in "[ -~]{0,300}", header in "[ -~]{0,40}") {
        for target in [&path, IdentityApi::IMDS_PATH, IdentityApi::APP_SERVICE_PATH] {
            let Ok(uri) = format!("{target}?sentinel{query}").parse::<Uri>() else { continue };
            let mut request = imds("");
            request.uri = uri;
            for name in ["host", "metadata", "x-identity-header"] {
                request.headers.insert(name, header.parse().unwrap());
            }
            if let Err(reply) = open_api().read(&request) {
                let body = String::from_utf8(reply.body().expose_secret().to_vec()).unwrap();
                prop_assert!(!body.contains("sentinel"), "{body}");
                prop_assert!(reply.status().is_client_error());
            }
        }
    }
}
