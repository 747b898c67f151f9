//! A request, read whole.

use http::{
    HeaderMap, Method,
    header::{CONTENT_TYPE, HOST, TRANSFER_ENCODING},
    request::Parts,
};
use http_body_util::{BodyExt, Limited};
use hyper::{Request, body::Incoming};

use crate::{
    identity::{IdKind, Selector},
    listener::Listener,
};

#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) listener: Listener,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    /// The body's fields, if it is labelled as a form
    pub(crate) form: Option<Vec<(String, String)>>,
    pub(crate) headers: HeaderMap,
    /// The request's own idea of where it went, for the URLs in answers
    pub(crate) origin: String,
    pub(crate) body: Vec<u8>,
    /// The body came in chunks, without a `Content-Length`
    pub(crate) in_chunks: bool,
    /// A fault asks for the token of some other identity
    pub(crate) wrong_identity: bool,
}

pub(crate) struct SeveralSelectors;

impl Call {
    /// None if the body cannot be read, or is larger than any that the mock has a use for
    pub(crate) async fn read(request: Request<Incoming>, listener: Listener) -> Option<Self> {
        let (Parts { method, uri, headers, .. }, body) = request.into_parts();
        let body = Limited::new(body, BODY_LIMIT).collect().await.ok()?.to_bytes();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        Some(Self {
            listener,
            method,
            path: uri.path().to_owned(),
            query: pairs(uri.query().unwrap_or_default().as_bytes()),
            form: is_form(&headers).then(|| pairs(&body)),
            origin: format!("{}://{host}", listener.scheme()),
            in_chunks: headers.contains_key(TRANSFER_ENCODING),
            headers,
            body: body.to_vec(),
            wrong_identity: false,
        })
    }

    /// The first value of a query parameter, which may be empty
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The same, unless it is empty
    pub(crate) fn required(&self, name: &str) -> Option<&str> {
        self.parameter(name).filter(|value| !value.is_empty())
    }

    /// The first value of a field of the form, which may be empty
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let form = self.form.as_ref()?;
        form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The identity that the query selects, by the names that an endpoint has for each kind of id
    ///
    /// A parameter of another name is ignored, as Azure does.
    pub(crate) fn selector(
        &self,
        names: &[(&str, IdKind)],
    ) -> Result<Option<Selector<'_>>, SeveralSelectors> {
        let mut selectors =
            names.iter().filter_map(|(name, kind)| Some(Selector { kind: *kind, id: self.parameter(name)? }));
        let first = selectors.next();
        if selectors.next().is_some() { Err(SeveralSelectors) } else { Ok(first) }
    }

    /// A header's value, if it is there and is text
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The token of the header `Authorization: Bearer`, whose scheme has no case (RFC 9110, 11.1)
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// True if the call has a header that no web page can send
    pub(crate) fn has_metadata(&self) -> bool {
        self.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(crate) fn segments(&self) -> Vec<&str> {
        segments(&self.path)
    }
}

/// The segments of a path, without a slash at its end; an empty one between two slashes is a segment, as for Azure
pub(crate) fn segments(path: &str) -> Vec<&str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() { Vec::new() } else { path.split('/').collect() }
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
