//! The errors of identity endpoints, and of other services that answer instead of them.
//!
//! Known forms, with keys in any case and with or without underscores:
//! - OAuth's and IMDS's `{"error": "...", "error_description": "..."}`;
//! - App Service's `{"statusCode": 400, "message": "...", "correlationId": "..."}`, `{"Message": "..."}` and
//!   `{"ErrorCode": "...", "Message": null, "ExceptionMessage": ""}`;
//! - Azure DevOps' `{"$id": "1", "message": "TF400813: ..."}`, `{"count": 151, "value": "..."}` and
//!   `{"count": 1, "value": {"Message": "..."}}`;
//! - GitHub Actions' `{"source": "...", "statusCode": 403, "errorMessage": "..."}`;
//! - `{"error": {"code": "...", "message": "..."}}` of Cloud Shell, Service Fabric and container groups;
//! - plain text, as Azure Machine Learning and proxies in front of IMDS send it.

use http::header::{AsHeaderName, CONTENT_TYPE, HeaderMap, HeaderName, SERVER};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};

use crate::model::Body;
use crate::wire::redacted;

/// The error of a service, unredacted. Only the result of [`ServiceError::redacted`] may be logged.
#[derive(Default)]
pub(crate) struct ServiceError {
    code: Option<String>,
    /// OAuth's `suberror`.
    suberror: Option<String>,
    message: Option<String>,
    correlation_id: Option<String>,
    timestamp: Option<String>,
    /// The claims that the user must satisfy, as JSON, in answers to an on-behalf-of request.
    claims: Option<String>,
    /// A token that the error contains.
    token: Option<String>,
    form: Form,
}

/// The form of a body, which hints at the server that sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    #[default]
    Empty,
    Json,
    PlainText,
    /// HTML or XML, which no identity endpoint sends: a gateway, a proxy, or the metadata service of another cloud.
    Markup,
    /// Another form.
    Unknown,
}

/// An error without secrets.
pub(crate) struct RedactedError {
    pub(crate) code: Option<String>,
    /// The end of a sentence that begins with `got 400`.
    pub(crate) text: String,
    pub(crate) correlation_id: Option<String>,
}

impl ServiceError {
    pub(crate) fn read(response: &http::Response<Body>) -> Self {
        let bytes = response.body().expose_secret();
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let error = match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Self::of_fields(&fields),
            Ok(Value::String(words)) => Self { message: Some(words), form: Form::Json, ..Self::default() },
            Ok(_) => Self { form: Form::Json, ..Self::default() },
            Err(_) => Self::of_text(bytes, response.headers()),
        };
        let in_words = error.message.as_deref().and_then(|words| between(words, "Correlation ID:"));
        let correlation_id =
            error.correlation_id.clone().or_else(|| header_id(response.headers())).or(in_words);
        let message = error.message.filter(|words| !may_hold_token(words));
        Self { correlation_id, message, ..error }
    }

    fn of_fields(fields: &Map<String, Value>) -> Self {
        let outer = |key: &str| field(fields, key).and_then(text);
        let nested = ["error", "value"].into_iter().find_map(|key| field(fields, key)?.as_object());
        let inner = |key: &str| nested.and_then(|nested| field(nested, key)).and_then(text);
        Self {
            code: ["error", "errorcode", "code"].into_iter().find_map(outer).or_else(|| inner("code")),
            suberror: outer("suberror"),
            message: ["errordescription", "message", "errormessage", "exceptionmessage"]
                .into_iter()
                .find_map(outer)
                .or_else(|| inner("message"))
                // Azure DevOps; elsewhere a field of this name may contain a token, which has no spaces.
                .or_else(|| outer("value").filter(|words| words.contains(' '))),
            correlation_id: outer("correlationid").or_else(|| inner("correlationid")),
            timestamp: outer("timestamp").filter(|text| is_timestamp(text)),
            claims: outer("claims"),
            token: outer("accesstoken"),
            form: Form::Json,
        }
    }

    fn of_text(bytes: &[u8], headers: &HeaderMap) -> Self {
        let text = std::str::from_utf8(bytes).ok().map(str::trim);
        let label = header(headers, CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
        let is_markup = label.contains("html") || label.contains("xml");
        let form = match text {
            Some("") => Form::Empty,
            _ if is_markup => Form::Markup,
            Some(text) if text.starts_with('<') => Form::Markup,
            Some(text) if is_plain(text) => Form::PlainText,
            Some(_) | None => Form::Unknown,
        };
        let message = text.filter(|_| form == Form::PlainText).map(str::to_owned);
        Self { message, form, ..Self::default() }
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// The service's own code, unredacted.
    pub(crate) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Whether the code or the message contains a text, which is given in lower case.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        let contains = |field: &Option<String>| {
            field.as_ref().is_some_and(|field| field.to_ascii_lowercase().contains(text))
        };
        contains(&self.code) || contains(&self.message)
    }

    /// The numbers of `AADSTS700016: ...` in the message, in order.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        let after = self.message.as_deref().unwrap_or_default().split("AADSTS").skip(1);
        after.filter_map(|rest| {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest.get(..digits)?.parse().ok()
        })
    }

    /// The error on one line, redacted and truncated. `number` is the most specific one of the message.
    pub(crate) fn redacted(
        &self,
        response: &http::Response<Body>,
        number: Option<u32>,
        secrets: &[Option<&str>; 3],
    ) -> RedactedError {
        let [own, credential, user] = *secrets;
        let secrets = [own, credential, user, self.token.as_deref()];
        let shown = |text: &str| redacted(text, &secrets);
        let code = self.code.as_deref().map(shown);
        let mut text = code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
        if let Some(suberror) = &self.suberror {
            text.push_str(&format!(" ({})", shown(suberror)));
        }
        match self.message.as_deref().map(without_ids) {
            Some("") => {}
            Some(words) => text.push_str(&format!(": {}", shown(words))),
            None if code.is_none() => text.push_str(&self.describe_body(response, &secrets)),
            None => {}
        }
        if let Some(claims) = &self.claims {
            text.push_str(&format!(" (claims {})", shown(claims)));
        }
        if let Some(time) = &self.timestamp {
            text.push_str(&format!(" (at {time})"));
        }
        if let Some(id) = header(response.headers(), FRONT_DOOR_ID) {
            text.push_str(&format!(" ({FRONT_DOOR_ID} {})", shown(id)));
        }
        let code = number.map(|number| format!("AADSTS{number}")).or(code);
        RedactedError { code, text, correlation_id: self.correlation_id.as_deref().map(shown) }
    }

    /// A description of a body without a known error, without any of its content.
    fn describe_body(&self, response: &http::Response<Body>, secrets: &[Option<&str>]) -> String {
        let length = response.body().expose_secret().len();
        let named = |name: HeaderName| header(response.headers(), name).map(|value| redacted(value, secrets));
        let body = match (self.form, named(CONTENT_TYPE)) {
            (Form::Empty, _) => return " with an empty body".to_owned(),
            (Form::Markup, _) => format!("a page of HTML or XML of {length} bytes"),
            (_, Some(label)) => format!("a body of {length} bytes of type {label} without a known error"),
            (_, None) => format!("a body of {length} bytes without a content type or a known error"),
        };
        let server = named(SERVER).filter(|server| !server.is_empty());
        let server = server.map(|server| format!(" of the server {server}")).unwrap_or_default();
        format!(" with {body}{server}")
    }
}

/// The value of a key that is spelled in any case, with or without underscores.
fn field<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let is_it = |name: &str| {
        name.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase()).eq(key.bytes())
    };
    fields.iter().find(|(name, _)| is_it(name)).map(|(_, value)| value)
}

/// A text that is not blank, or the first text of a list.
fn text(value: &Value) -> Option<String> {
    let value = value.as_array().and_then(|list| list.first()).unwrap_or(value);
    value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
}

/// Whether a text is neither invalid JSON, which may contain a token, nor binary.
fn is_plain(text: &str) -> bool {
    !text.starts_with(['{', '[', '"'])
        && text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
}

/// Whether a text contains an `access_token` with a value: a peer may quote the answer of another service.
fn may_hold_token(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.split("access_token").skip(1).any(|rest| rest.starts_with(['"', '\'', '\\', '=', ':']))
}

/// Removes the ids and the time at the end of Entra's messages, which are reported separately.
fn without_ids(words: &str) -> &str {
    words.split_once("Trace ID:").map_or(words, |(before, _)| before).trim_end()
}

fn between(words: &str, label: &str) -> Option<String> {
    let (_, rest) = words.split_once(label)?;
    let id = rest.split_whitespace().next()?;
    id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-').then(|| id.to_owned())
}

fn is_timestamp(text: &str) -> bool {
    text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_digit() || b"-:. TZ+".contains(&byte))
}

fn header_id(headers: &HeaderMap) -> Option<String> {
    let ids = CORRELATION_HEADERS.iter().filter_map(|name| header(headers, *name));
    ids.map(str::to_owned).find(|id| !id.is_empty())
}

/// The value of a header, if it is ASCII text.
pub(crate) fn header(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The UTF-8 byte order mark.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

const CORRELATION_HEADERS: [&str; 6] = [
    "x-ms-request-id",
    "x-correlation-id",
    "x-ms-correlation-request-id",
    "x-ms-client-request-id",
    "client-request-id",
    "x-vss-e2eid",
];
/// A second id, which the support of Azure DevOps asks for.
const FRONT_DOOR_ID: &str = "x-msedge-ref";

#[cfg(test)]
mod tests {
    use super::*;

    fn response(label: &str, body: &str) -> http::Response<Body> {
        http::Response::builder()
            .header(CONTENT_TYPE, label)
            .body(Body::from(body.as_bytes().to_vec()))
            .unwrap()
    }

    fn redacted(label: &str, body: &str) -> RedactedError {
        let response = response(label, body);
        let error = ServiceError::read(&response);
        let number = error.numbers().next();
        error.redacted(&response, number, &[Some("hunter2"), None, None])
    }

    #[test]
    fn keys_are_read_in_any_case_and_with_or_without_underscores() {
        for body in [
            r#"{"error":"c","error_description":"w","correlation_id":"i"}"#,
            r#"{"Error":"c","ErrorDescription":"w","CorrelationId":"i"}"#,
            r#"{"code":"c","MESSAGE":"w","correlationID":"i"}"#,
            r#"{"StatusCode":400,"ErrorCode":"c","Message":null,"ExceptionMessage":"w","CorrelationId":"i"}"#,
            r#"{"error":{"correlationId":"i","code":"c","message":"w","details":[]}}"#,
            r#"{"ERROR":{"CorrelationID":"i","Code":"c","Message":"w"}}"#,
        ] {
            let redacted = redacted("application/json", body);
            let got = (redacted.code.as_deref(), &*redacted.text, redacted.correlation_id.as_deref());
            assert_eq!(got, (Some("c"), " c: w", Some("i")), "{body}");
        }
    }

    #[test]
    fn plain_text_is_the_services_words_and_markup_and_broken_json_are_not() {
        assert_eq!(redacted("text/plain", "pod list\nis empty\n").text, ": pod list is empty");
        assert_eq!(redacted("application/json", "\"OK\"").text, ": OK");
        for (label, body) in [
            ("text/html", "no angle brackets, hunter2"),
            ("text/plain", "<html>secret words</html>"),
            ("text/plain", "{\"access_token\": \"secret words"),
            ("text/plain", "[\"secret words"),
            ("text/plain", "\"secret words"),
            ("text/plain", "secret\u{1}words"),
            ("application/json", "[\"secret words\"]"),
            ("application/json", "{\"secret\":\"words\"}"),
        ] {
            let text = redacted(label, body).text;
            assert!(text.contains(&format!("{} bytes", body.len())) && !text.contains("secret"), "{text}");
        }
        assert_eq!(redacted("text/plain", " \n").text, " with an empty body");
    }

    #[test]
    fn secrets_and_tokens_are_masked_wherever_they_stand() {
        for body in [
            "you sent hunter2 and eyJhbGciOiJub25lIn0.eyJhIjoxfQ.c2ln",
            r#"{"error":"hunter2","error_description":"hunter2","correlation_id":"hunter2","suberror":"hunter2","claims":"hunter2"}"#,
            r#"{"error_description":"opaque","access_token":"opaque"}"#,
            "\u{feff}{\"error_description\":\"hunter2\",\"access_token\":\"opaque\"}",
        ] {
            let RedactedError { code, text, correlation_id } = redacted("text/plain", body);
            let all = format!("{code:?} {text} {correlation_id:?}");
            assert!(all.contains("****"), "{all}");
            for secret in ["hunter2", "eyJ", "opaque"] {
                assert!(!all.contains(secret), "{all}");
            }
        }
    }

    #[test]
    fn words_that_quote_a_token_are_not_shown_and_those_that_speak_of_one_are() {
        for body in [
            "Error: {\"access_token\":\"opaque\"}",
            "relayed {\\\"access_token\\\":\\\"opaque\\\"}",
            "location: /#access_token=opaque",
            r#"{"message":"inner answer: {\"Access_Token\": \"opaque\"}"}"#,
            "\u{feff}{\"access_token\":\"opaque",
        ] {
            let text = redacted("text/plain", body).text;
            assert!(text.contains(&format!("{} bytes", body.len())) && !text.contains("opaque"), "{text}");
        }
        let speaks = "the access_token of the caller is missing";
        assert_eq!(redacted("text/plain", speaks).text, format!(": {speaks}"));
    }

    #[test]
    fn a_message_of_ids_only_is_omitted() {
        let body = r#"{"error":"c","error_description":"Trace ID: a Correlation ID: b"}"#;
        assert_eq!(redacted("application/json", body).text, " c");
    }

    #[test]
    fn entras_ids_are_reported_once_and_only_a_valid_timestamp() {
        let words = "AADSTS700016: no app.\\r\\nTrace ID: a1\\r\\nCorrelation ID: a2\\r\\nTimestamp: now";
        let body = |timestamp: &str| {
            format!(
                r#"{{"error":"unauthorized_client","error_description":"{words}","timestamp":"{timestamp}"}}"#
            )
        };
        let named = redacted("application/json", &body("2026-01-02 03:04:05Z"));
        assert_eq!(named.text, " unauthorized_client: AADSTS700016: no app. (at 2026-01-02 03:04:05Z)");
        assert_eq!(named.code.as_deref(), Some("AADSTS700016"));
        assert_eq!(named.correlation_id.as_deref(), Some("a2"));
        assert!(!redacted("application/json", &body("<script>")).text.contains("script"));
    }

    #[test]
    fn every_number_of_the_words_is_found() {
        let numbers = |words: &str| {
            let error = ServiceError { message: Some(words.to_owned()), ..ServiceError::default() };
            error.numbers().collect::<Vec<_>>()
        };
        assert_eq!(numbers("AADSTS70002: no good. AADSTS70008: revoked."), [70002, 70008]);
        assert_eq!(numbers("adal: AADSTS700016: x"), [700_016]);
        for none in ["", "AADSTS: x", "AADSTS99999999999: x", "aadsts1"] {
            assert_eq!(numbers(none), [0; 0], "{none}");
        }
    }

    #[test]
    fn the_server_of_a_page_is_reported() {
        let mut page = response("text/html", "<h1>502 Bad Gateway</h1>");
        page.headers_mut().insert(SERVER, "nginx".parse().unwrap());
        let redacted = ServiceError::read(&page).redacted(&page, None, &[None, None, None]);
        assert_eq!(redacted.text, " with a page of HTML or XML of 24 bytes of the server nginx");
    }
}
