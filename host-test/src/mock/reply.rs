//! An answer before it goes on the wire.

use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: String,
    /// The identity whose token the body carries
    pub(super) issued_to: Option<String>,
}

impl Reply {
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).unwrap_or_else(|_| "{}".to_owned());
        Self::new(status, "application/json; charset=utf-8", body)
    }

    pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body.into())
    }

    pub(super) fn html(status: StatusCode, body: impl Into<String>) -> Self {
        Self::new(status, "text/html; charset=utf-8", body.into())
    }

    fn new(status: StatusCode, content_type: &'static str, body: String) -> Self {
        let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
        Self { status, headers, body, issued_to: None }
    }

    /// Add a header, or replace the one of that name; a value that no header can carry is left out
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.retain(|(held, _)| *held != name);
            self.headers.push((name, value));
        }
        self
    }

    /// Say whose token the body carries
    pub(super) fn issued_to(mut self, name: &str) -> Self {
        self.issued_to = Some(name.to_owned());
        self
    }
}
