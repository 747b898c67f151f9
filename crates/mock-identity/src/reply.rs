//! An answer before it goes on the wire.

use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use uuid::Uuid;

use crate::call::Call;

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
    pub(crate) fn ok(body: impl Serialize) -> Self {
        Self::json(StatusCode::OK, body)
    }

    pub(crate) fn json(status: StatusCode, body: impl Serialize) -> Self {
        let body = serde_json::to_string(&body).unwrap_or_else(|_| "{}".to_owned());
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

    fn new(status: StatusCode, content_type: &str, body: String) -> Self {
        Self { body, ..Self::empty(status) }.with("content-type", content_type)
    }

    /// Add a header, or replace the one of that name; a value that no header can carry is left out
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if HeaderValue::from_str(value).is_ok() {
            self.headers.retain(|(held, _)| held != name);
        }
        self.beside(name, value)
    }

    pub(crate) fn with_all(self, headers: &[(&'static str, &str)]) -> Self {
        headers.iter().fold(self, |reply, (name, value)| reply.with(name, value))
    }

    /// Add an id of the request, and repeat the caller's own
    pub(crate) fn with_request_ids(self, call: &Call) -> Self {
        let reply = self.with("x-ms-request-id", &Uuid::new_v4().to_string());
        reply.repeating("x-ms-client-request-id", call)
    }

    pub(crate) fn repeating(self, name: &'static str, call: &Call) -> Self {
        match call.header(name) {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Add a header beside those of the same name; a value that no header can carry is left out
    pub(crate) fn beside(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value);
        self.headers.extend(value.map(|value| (HeaderName::from_static(name), value)));
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
