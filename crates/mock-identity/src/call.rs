//! One request, read whole, as the endpoints see it.

use http::{
    HeaderMap, Method,
    header::{CONTENT_TYPE, HOST, TRANSFER_ENCODING},
    request::Parts,
};
use http_body_util::{BodyExt, Limited};
use hyper::{Request, body::Incoming};

use super::{
    door::Door,
    endpoint::{self, Endpoint},
};

pub(super) struct Call {
    pub(super) endpoint: Endpoint,
    pub(super) door: Door,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    /// The body's fields, if it is labelled as a form
    pub(super) form: Option<Vec<(String, String)>>,
    pub(super) headers: HeaderMap,
    /// The request's own idea of where it went, for the URLs in answers
    pub(super) origin: String,
    pub(super) body: Vec<u8>,
    /// The body came in chunks, without a `Content-Length`
    pub(super) in_chunks: bool,
    /// A fault asks for the token of some other identity
    pub(super) wrong_identity: bool,
}

/// The request's body could not be read or is larger than any that the mock has a use for
pub(super) struct BodyRefused;

impl Call {
    pub(super) async fn read(request: Request<Incoming>, door: Door) -> Result<Self, BodyRefused> {
        let (Parts { method, uri, headers, .. }, body) = request.into_parts();
        let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|_| BodyRefused)?.to_bytes();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        Ok(Self {
            endpoint: Endpoint::of(uri.path(), door),
            door,
            method,
            path: uri.path().to_owned(),
            query: pairs(uri.query().unwrap_or_default().as_bytes()),
            form: is_form(&headers).then(|| pairs(&body)),
            origin: format!("{}://{host}", door.scheme()),
            in_chunks: headers.contains_key(TRANSFER_ENCODING),
            headers,
            body: body.to_vec(),
            wrong_identity: false,
        })
    }

    /// The first value of a query parameter, which may be empty
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a field of the form, which may be empty
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let form = self.form.as_ref()?;
        form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A header's value, if it is there and is text
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn segments(&self) -> Vec<&str> {
        endpoint::segments(&self.path)
    }
}

/// Bytes that are no UTF-8 become replacement characters, which no id and no secret has.
fn pairs(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

fn is_form(headers: &HeaderMap) -> bool {
    let label = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = label.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

const BODY_LIMIT: usize = 64 * 1024;
