//! Why there is no token, as an HTTP answer in the place of the service's: RFC 9457.

use serde::Serialize;

use crate::error::Error;
use crate::host::milliseconds;

/// An answer that an application can tell from one of the service's own: by its header, whose value is the kind of error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// 403 where policy or the guard refuses the request, else 503.
    pub status: u16,
    /// The kind of error, as the contract spells it: the value of [`Problem::HEADER`].
    pub kind: &'static str,
    /// In how many seconds to come back, if that is known: the value of `Retry-After`.
    pub retry_after: Option<u64>,
    /// The body, of type [`Problem::CONTENT_TYPE`].
    pub body: Vec<u8>,
}

impl Problem {
    /// The header that only these answers have.
    pub const HEADER: &str = "x-token-broker";
    /// What the body is.
    pub const CONTENT_TYPE: &str = "application/problem+json";
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let (status, title) = match error {
            Error::Denied(_) => (403, "The token broker refuses this request"),
            _ => (503, "The token broker has no token for this request"),
        };
        let kind = error.kind();
        let failure = error.failures().last();
        let document = Document {
            r#type: format!("urn:token-broker:{kind}"),
            title,
            status,
            detail: error.to_string(),
            kind,
            source: failure.map(|failure| failure.source.as_ref()),
            code: failure.and_then(|failure| failure.code.as_deref()),
            correlation_id: failure.and_then(|failure| failure.correlation_id.as_deref()),
            remedy: error.remedy(),
        };
        // Texts and numbers cannot fail to serialize.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let retry_after = error.retry_after().map(|wait| milliseconds(wait).div_ceil(1000));
        Self { status, kind, retry_after, body }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::error::Failure;

    fn document(error: &Error) -> Value {
        serde_json::from_slice(&Problem::from(error).body).unwrap()
    }

    #[test]
    fn a_throttled_request_says_when_to_come_back_and_what_to_do() {
        let error = Error::Throttled(Failure {
            source: "imds".into(),
            status: Some(429),
            code: Some("busy".to_owned()),
            message: "asked for a token and got 429".to_owned(),
            correlation_id: Some("c-1".to_owned()),
            remedy: Some("wait".to_owned()),
            retry_after: Some(Duration::from_millis(1500)),
        });
        let problem = Problem::from(&error);
        assert_eq!((problem.status, problem.kind, problem.retry_after), (503, "throttled", Some(2)));
        assert_eq!(
            document(&error),
            json!({
                "type": "urn:token-broker:throttled",
                "title": "The token broker has no token for this request",
                "status": 503,
                "detail": error.to_string(),
                "kind": "throttled",
                "source": "imds",
                "code": "busy",
                "correlation_id": "c-1",
                "remedy": "wait",
            })
        );
    }

    #[test]
    fn what_policy_refuses_is_forbidden_and_all_else_is_unavailable() {
        assert_eq!(document(&Error::Denied("no".to_owned()))["detail"], "denied: no");
        assert_eq!(Problem::from(&Error::Denied(String::new())).status, 403);
        for error in [
            Error::InvalidRequest(String::new()),
            Error::Misconfigured(String::new()),
            Error::Unavailable(vec![]),
            Error::Rejected(Failure::default()),
            Error::Transient(Failure::default()),
            Error::Protocol(Failure::default()),
            Error::Other(String::new()),
        ] {
            let problem = Problem::from(&error);
            assert_eq!((problem.status, problem.retry_after), (503, None), "{error}");
            assert_eq!(document(&error)["kind"], error.kind());
        }
    }
}
