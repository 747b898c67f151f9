//! Property tests of the parsers: every response has a result, and only a response with a token gives one.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Response, StatusCode};
use proptest::collection::vec;
use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use super::response::RoundTrip;
use super::{RetryClass, Role, SOURCES, Source, SourceCall, SourceError, SourceInfo};
use crate::model::{Body, Identity, Secret, SendError, SendErrorKind, Token};
use crate::policy::AdmittedRequest;
use crate::settings::variables::{
    ASSERTION, ASSERTION_HEADERS, ASSERTION_URL, FEDERATED_TENANT_ID, GITHUB_TOKEN, GITHUB_URL,
    IDENTITY_ENDPOINT, IDENTITY_SERVER_THUMBPRINT, IMDS_ENDPOINT, MSI_ENDPOINT, PIPELINES_CONNECTION,
    PIPELINES_TOKEN, PIPELINES_URL, TENANT_ID,
};
use crate::settings::{SettingNames, Settings};
use crate::tests::{admitted, cases, settings, text};

const NOW: Duration = Duration::from_secs(1_760_000_000);
const ROUND_TRIP: RoundTrip = RoundTrip { sent_at: NOW, received_at: NOW };
const SECRET: &str = "s3ntinel-header";

/// A source of each description, configured by its required variables, and an issuer of each platform.
fn sources() -> Vec<Source> {
    let source = |info: &SourceInfo| {
        let pair = |name: &&str| ((*name).to_owned(), setting(info.name, name).to_owned());
        (info.detect)(&Settings::from_pairs(info.required.iter().map(pair))).unwrap().expect(info.name)
    };
    let is_issuer = |info: &&&SourceInfo| info.role == Role::Issuer;
    let (issuers, others): (Vec<&SourceInfo>, Vec<_>) =
        SOURCES.iter().copied().flatten().partition(is_issuer);
    let issuers = issuers.into_iter().flat_map(|info: &SourceInfo| {
        ISSUERS.map(|variables| (info.detect)(&settings(variables)).unwrap().expect(variables[0].1))
    });
    others.into_iter().map(source).chain(issuers).collect()
}

const ISSUERS: [&[(&str, &str)]; 4] = [
    &[(ASSERTION, "github"), (GITHUB_URL, "https://issuer.example/t?v=1"), (GITHUB_TOKEN, SECRET)],
    &[
        (ASSERTION, "azure-pipelines"),
        (PIPELINES_URL, "https://issuer.example/t"),
        (PIPELINES_TOKEN, SECRET),
        (PIPELINES_CONNECTION, "c"),
    ],
    &[(ASSERTION, "gcp")],
    &[
        (ASSERTION, "url"),
        (ASSERTION_URL, "https://issuer.example/t?key=s3ntinel-header"),
        (ASSERTION_HEADERS, "X-Key: $CI_TOKEN"),
        ("CI_TOKEN", SECRET),
    ],
];

fn setting(source: &str, variable: &str) -> &'static str {
    match (variable, source) {
        (IDENTITY_ENDPOINT, "service-fabric") => "https://10.0.0.4:2377/token",
        (IDENTITY_ENDPOINT, "container-instances") => "http://127.0.0.1:2377/token?api-version=1.0",
        (IDENTITY_ENDPOINT | IMDS_ENDPOINT | MSI_ENDPOINT, _) => "http://127.0.0.1:41741/msi/token",
        (IDENTITY_SERVER_THUMBPRINT, _) => "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        (ASSERTION, _) => "gcp",
        (TENANT_ID | FEDERATED_TENANT_ID, _) => "tenant.example",
        _ => SECRET,
    }
}

/// The results of all sources for a response, for every kind of identity, without and with a credential.
fn read(response: &Response<Body>) -> Vec<Result<Token, SourceError>> {
    (0..count()).flat_map(|source| read_by(source, response)).collect()
}

/// The results of one source.
fn read_by(source: usize, response: &Response<Body>) -> Vec<Result<Token, SourceError>> {
    thread_local! {
        static MADE: (Vec<Source>, [AdmittedRequest; 3]) = (sources(), requests());
    }
    let (secret, names) = (Secret::from(SECRET), SettingNames::default());
    MADE.with(|(sources, requests)| {
        let calls = requests.iter().flat_map(|request| {
            [None, Some(&secret)].map(|credential| SourceCall {
                request,
                credential,
                refused: None,
                names: &names,
            })
        });
        calls.map(|call| sources[source].parse(&call, response, ROUND_TRIP)).collect()
    })
}

/// The number of [`sources`].
fn count() -> usize {
    SOURCES.iter().copied().flatten().count() - 1 + ISSUERS.len()
}

fn requests() -> [AdmittedRequest; 3] {
    [Identity::Default, Identity::client_id("aaa").unwrap(), Identity::resource_id("/s/r").unwrap()]
        .map(request)
}

const STATUSES: [u16; 20] =
    [101, 200, 202, 204, 301, 304, 400, 401, 403, 404, 405, 408, 410, 418, 429, 500, 502, 503, 504, 599];

/// Whether a result without a token has a remedy, or a text with a fix.
fn has_remedy(answer: &Result<Token, SourceError>) -> bool {
    match answer {
        Ok(_) | Err(SourceError::Retry(_, RetryClass::KeyFile(_))) => true,
        Err(
            SourceError::Absent(failure)
            | SourceError::Declined(failure)
            | SourceError::Blocked(failure)
            | SourceError::Retry(failure, _),
        ) => failure.remedy.as_ref().is_some_and(|remedy| !remedy.is_empty()),
        Err(SourceError::Failed(error)) => error.to_string().contains("; fix: "),
    }
}

#[test]
fn every_status_and_every_fault_of_a_connection_comes_with_a_remedy() {
    let bodies =
        ["", "{}", "words", "<html></html>", "{\"error\":\"c\"}", "{\"Message\":\"AADSTS1: x\"}", "\u{1}"];
    for status in STATUSES {
        for body in bodies {
            for answer in read(&response(status, &[], body.as_bytes().to_vec())) {
                assert!(has_remedy(&answer), "{status} {body}: {answer:?}");
            }
        }
    }
    let request = request(Identity::Default);
    let names = SettingNames::default();
    let call = SourceCall { request: &request, credential: None, refused: None, names: &names };
    for kind in [
        SendErrorKind::NotConnected,
        SendErrorKind::Forbidden,
        SendErrorKind::Unsendable,
        SendErrorKind::Unconfigured,
        SendErrorKind::TimedOut,
        SendErrorKind::Untrusted,
        SendErrorKind::Broken,
        SendErrorKind::Truncated,
        SendErrorKind::TooLarge,
    ] {
        let error = SendError { kind, detail: "as scripted".to_owned() };
        for (source, is_present) in sources().iter().flat_map(|source| [(source, false), (source, true)]) {
            let answer = Err(source.send_failed(&call, &error, is_present));
            assert!(has_remedy(&answer), "{kind:?}: {answer:?}");
        }
    }
}

#[test]
fn a_gateways_page_is_not_taken_for_the_services_words() {
    let page =
        [(http::header::CONTENT_TYPE, b"text/html".to_vec()), (http::header::SERVER, b"nginx".to_vec())];
    for answer in read(&response(502, &page, b"<html>Bad Gateway sentinel</html>".to_vec())) {
        let Err(SourceError::Retry(failure, _)) = answer else { panic!("{answer:?}") };
        assert!(
            failure.message.ends_with("a page of HTML or XML of 33 bytes of the server nginx"),
            "{failure}"
        );
        assert!(failure.remedy.unwrap().contains("a gateway, a proxy or another server sends such a page"));
    }
}

fn request(identity: Identity) -> AdmittedRequest {
    admitted("https://vault.azure.net/.default", &identity)
}

fn response(status: u16, headers: &[(HeaderName, Vec<u8>)], body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn headers() -> impl Strategy<Value = Vec<(HeaderName, Vec<u8>)>> {
    let name = prop_oneof![
        Just(http::header::CONTENT_TYPE),
        Just(http::header::RETRY_AFTER),
        Just(http::header::DATE),
        Just(HeaderName::from_static("x-ms-request-id")),
    ];
    let value = prop_oneof![
        vec(any::<u8>(), 0..40),
        Just(b"application/json".to_vec()),
        text("[0-9]{1,25}").prop_map(String::into_bytes),
        text("(Mon|Sun), [0-9]{2} (Nov|Jan) [0-9]{1,5} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")
            .prop_map(String::into_bytes),
    ];
    vec((name, value), 0..5)
}

/// Values of every type for a field, most of them invalid.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("JSON has no such number", |n| n.is_finite()).prop_map(|n| format!("{n:?}")),
        text("[1-9][0-9]{9}"),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        text("\"[0-9/:. +APMTZ-]{0,30}\""),
        text("\"eyJ[A-Za-z0-9_.-]{0,60}\""),
        text("\"e30[.][A-Za-z0-9_-]{1,20}[.][A-Za-z0-9_-]{1,20}\""),
        Just("{\"code\":\"c\",\"message\":\"m\"}".to_owned()),
        Just("[[[[]]]]".to_owned()),
    ]
}

fn object(names: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let field =
        (proptest::sample::select(names), value()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
    vec(field, 0..8).prop_map(|fields| format!("{{{}}}", fields.join(",")).into_bytes())
}

const WITHOUT_TOKEN: &[&str] = &[
    "expires_on",
    "expires_in",
    "refresh_in",
    "token_type",
    "resource",
    "error",
    "error_description",
    "message",
    "correlationId",
    "statusCode",
    "Access_Token",
    "access_token ",
];

const WITH_TOKEN: &[&str] = &[
    "access_token",
    "value",
    "oidcToken",
    "expires_on",
    "expires_in",
    "token_type",
    "error",
    "error_description",
];

proptest! {
    #![proptest_config(cases(4096))]

    #[test]
    fn arbitrary_bytes_are_never_a_token(
        source in 0..count(),
        status in 100u16..1000,
        headers in headers(),
        body in vec(any::<u8>(), 0..2000),
    ) {
        for answer in read_by(source, &response(status, &headers, body)) {
            prop_assert!(answer.is_err() && has_remedy(&answer), "{answer:?}");
        }
    }

    #[test]
    fn json_without_an_access_token_is_never_a_token(
        source in 0..count(),
        status in prop_oneof![Just(200u16), Just(202), 100u16..1000],
        headers in headers(),
        body in object(WITHOUT_TOKEN),
    ) {
        for answer in read_by(source, &response(status, &headers, body)) {
            prop_assert!(answer.is_err(), "{answer:?}");
        }
    }

    #[test]
    fn a_token_that_is_read_can_be_presented_and_has_not_ended(
        source in 0..count(),
        headers in headers(),
        body in object(WITH_TOKEN),
    ) {
        for token in read_by(source, &response(200, &headers, body)).into_iter().flatten() {
            let text = token.secret().expose_secret();
            prop_assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(token.expires_on() > NOW.as_secs());
            let margin = if token.token_type() == "JWT" { 30 } else { 300 };
            prop_assert!(token.refresh_on().is_none_or(|moment| moment <= token.expires_on() - margin));
        }
    }

    #[test]
    fn no_answer_repeats_a_secret_and_every_message_is_bounded(
        source in 0..count(),
        status in 400u16..600,
        headers in headers(),
        before in text(".{0,20}"),
        after in text(".{0,700}"),
        form in 0..3_usize,
    ) {
        let words = format!("{before}{SECRET}{after}");
        let json = serde_json::json!({ "error": "e", "error_description": words, "correlation_id": words });
        let nested = serde_json::json!({ "Error": { "Code": "c", "Message": words } });
        let body = vec![json.to_string(), nested.to_string(), words].swap_remove(form);
        let answers = read_by(source, &response(status, &headers, body.into_bytes()));
        // With a credential, every source has a secret that it sent.
        let answers: Vec<_> = answers.iter().skip(1).step_by(2).collect();
        let shown = format!("{answers:?}");
        prop_assert!(!shown.contains(SECRET), "{shown}");
        prop_assert!(shown.len() < 48_000, "{}", shown.len());
    }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn retry_after(source in 0..count(), value in prop_oneof![
        vec(any::<u8>(), 0..40),
        text("[0-9]{1,25}").prop_map(String::into_bytes),
        text("[0-9]{1,6}(\\.[0-9]{0,4})?").prop_map(String::into_bytes),
        text("(Mon|Thu), [0-9]{2} (Oct|Jan) [0-9]{1,5} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT").prop_map(String::into_bytes),
    ]) {
        let response = response(429, &[(http::header::RETRY_AFTER, value.clone())], b"{}".to_vec());
        for answer in read_by(source, &response) {
            let wait = match answer {
                Err(SourceError::Retry(failure, _)) => failure.retry_after,
                answer => return Err(TestCaseError::fail(format!("{answer:?}"))),
            };
            prop_assert!(wait.is_none_or(|wait| wait <= Duration::from_secs(3600)), "{:?}", wait);
            let text = std::str::from_utf8(&value).unwrap_or("none");
            // RFC 9110, 10.2.3: digits alone, where Rust reads `+1`, too.
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            if let Ok(seconds @ 1..=3600) = text.parse::<u64>()
                && is_number
            {
                prop_assert_eq!(wait.map(|wait| wait.as_secs()), Some(seconds));
            }
            if text.bytes().all(|byte| !byte.is_ascii_digit()) {
                prop_assert_eq!(wait, None);
            }
        }
    }
}
