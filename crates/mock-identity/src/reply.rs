//! An answer before it goes on the wire.

use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: String,
    /// Whether the body is sent in chunks, without a length
    pub(crate) in_chunks: bool,
    /// The identity whose token the body carries
    pub(crate) issued_to: Option<String>,
}

impl Reply {
    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).unwrap_or_else(|_| "{}".to_owned());
        Self::new(status, "application/json; charset=utf-8", body)
    }

    pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body.into())
    }

    pub(crate) fn html(status: StatusCode, body: impl Into<String>) -> Self {
        Self::new(status, "text/html; charset=utf-8", body.into())
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: String::new(), in_chunks: false, issued_to: None }
    }

    fn new(status: StatusCode, content_type: &'static str, body: String) -> Self {
        let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
        Self { headers, body, ..Self::empty(status) }
    }

    /// Add a header, or replace the one of that name; a value that no header can carry is left out
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.retain(|(held, _)| *held != name);
            self.headers.push((name, value));
        }
        self
    }

    /// Add a header beside those of the same name; a value that no header can carry is left out
    pub(crate) fn beside(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).map(|value| (name, value)));
        self
    }

    /// Send the body without its length, as services do that do not know it when they begin
    pub(crate) fn in_chunks(self) -> Self {
        Self { in_chunks: true, ..self }
    }

    /// Record the identity whose token the body carries
    pub(crate) fn issued_to(mut self, name: &str) -> Self {
        self.issued_to = Some(name.to_owned());
        self
    }
}
