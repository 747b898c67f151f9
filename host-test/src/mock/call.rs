//! One request, read whole, as the endpoints see it.

use http::{HeaderMap, Method, header::HOST, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::{Request, body::Incoming};

use super::endpoint::Endpoint;

pub(super) struct Call {
    pub(super) endpoint: Endpoint,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    /// The request's own idea of where it went, for the URLs in answers
    pub(super) origin: String,
    pub(super) body: Vec<u8>,
    /// A fault asks for the token of some other identity
    pub(super) wrong_identity: bool,
}

/// The request's body could not be read or is larger than any that the mock has a use for
pub(super) struct BodyRefused;

impl Call {
    pub(super) async fn read(request: Request<Incoming>, scheme: &str) -> Result<Self, BodyRefused> {
        let (Parts { method, uri, headers, .. }, body) = request.into_parts();
        let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|_| BodyRefused)?;
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        Ok(Self {
            endpoint: Endpoint::of(uri.path()),
            method,
            path: uri.path().to_owned(),
            query: form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
            origin: format!("{scheme}://{host}"),
            headers,
            body: body.to_bytes().to_vec(),
            wrong_identity: false,
        })
    }

    /// The first value of a query parameter, which may be empty
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A header's value, if it is there and is text
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The path's segments, without the empty ones that slashes at the ends make
    pub(super) fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|segment| !segment.is_empty()).collect()
    }
}

const BODY_LIMIT: usize = 64 * 1024;
