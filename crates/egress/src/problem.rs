//! The problem document (RFC 9457): the HTTP response to a request for which there is no token.

use serde::Serialize;
use token_broker::{Error, milliseconds};

/// A response in the place of the service's. Its header [`Problem::HEADER`] tells it from one of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// 403 where policy, a rule or the guard refuses the request, else 503.
    pub status: u16,
    /// The kind of error, as the contract spells it.
    pub kind: &'static str,
    /// The value of `Retry-After` in seconds, where another try can succeed with nothing fixed.
    pub retry_after: Option<u64>,
    /// The body, of type [`Problem::CONTENT_TYPE`].
    pub body: Vec<u8>,
}

impl Problem {
    /// A header of these responses alone. Its value is the kind of error.
    pub const HEADER: &str = "x-token-broker";
    /// The media type of the body.
    pub const CONTENT_TYPE: &str = "application/problem+json";

    /// All headers but those of the framing.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("content-type", Self::CONTENT_TYPE.to_owned()),
            ("cache-control", "no-store".to_owned()),
            (Self::HEADER, self.kind.to_owned()),
        ];
        headers.extend(self.retry_after.map(|seconds| ("retry-after", seconds.to_string())));
        headers
    }
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
            source_status: failure.and_then(|failure| failure.status),
            code: failure.and_then(|failure| failure.code.as_deref()),
            correlation_id: failure.and_then(|failure| failure.correlation_id.as_deref()),
            remedy: error.remedy(),
            retry_after_ms: error.retry_after().map(milliseconds),
        };
        // Texts and numbers cannot fail to serialize.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        Self { status, kind, retry_after: error.retry_after_header(), body }
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
    source_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use token_broker::Failure;

    fn document(error: &Error) -> Value {
        serde_json::from_slice(&Problem::from(error).body).unwrap()
    }

    fn wait(milliseconds: u64) -> Failure {
        Failure::default().with_retry_after(Duration::from_millis(milliseconds))
    }

    #[test]
    fn a_throttled_request_says_when_to_come_back_and_what_to_do() {
        let mut failure = Failure::new("imds", "asked for a token and got 429").with_remedy("wait");
        failure.status = Some(429);
        failure.code = Some("busy".to_owned());
        failure.correlation_id = Some("c-1".to_owned());
        let error = Error::Throttled(failure.with_retry_after(Duration::from_millis(1500)));
        let problem = Problem::from(&error);
        assert_eq!((problem.status, problem.kind), (503, "throttled"));
        let headers = problem.headers();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(
            headers,
            [
                ("content-type", "application/problem+json"),
                ("cache-control", "no-store"),
                ("x-token-broker", "throttled"),
                ("retry-after", "2"),
            ]
        );
        assert_eq!(
            document(&error),
            json!({
                "type": "urn:token-broker:throttled",
                "title": "The token broker has no token for this request",
                "status": 503,
                "detail": error.to_string(),
                "kind": "throttled",
                "source": "imds",
                "source_status": 429,
                "code": "busy",
                "correlation_id": "c-1",
                "remedy": "wait",
                "retry_after_ms": 1500,
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
            Error::Throttled(Failure::default()),
            Error::Transient(Failure::default()),
            Error::Protocol(Failure::default()),
            Error::Other(String::new()),
        ] {
            assert_eq!(Problem::from(&error).status, 503, "{error}");
            assert_eq!(document(&error)["kind"], error.kind());
        }
    }

    #[test]
    fn a_client_is_told_to_come_back_exactly_where_that_helps_and_not_before_the_broker_tries_again() {
        for (error, seconds) in [
            (Error::Throttled(wait(1001)), Some(2)),
            (Error::Throttled(wait(200)), Some(1)),
            (Error::Throttled(wait(u64::MAX)), Some(3600)),
            (Error::Transient(Failure::default()), Some(1)),
            (Error::Transient(wait(77_000)), Some(77)),
            (Error::InvalidRequest(String::new()), None),
            (Error::Misconfigured(String::new()), None),
            (Error::Denied(String::new()), None),
            (Error::Unavailable(vec![wait(5000)]), None),
            (Error::Rejected(wait(5000)), None),
            (Error::Protocol(wait(5000)), None),
            (Error::Other(String::new()), None),
        ] {
            let problem = Problem::from(&error);
            assert_eq!(problem.retry_after, seconds, "{error}");
            let told = problem.headers().into_iter().find(|(name, _)| *name == "retry-after");
            assert_eq!(told.map(|(_, value)| value), seconds.map(|seconds| seconds.to_string()), "{error}");
        }
    }
}
