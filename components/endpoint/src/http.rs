//! Requests and responses of `wasi:http`.

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method as Verb, Uri};
use secrecy::ExposeSecret as _;
use token_broker_identity_endpoint::Reply;
use wasip3::http::types::{Method, Request, Response};

/// The head of a request: its body is not read. None if the head is invalid.
pub(crate) fn parts(request: &Request) -> Option<Parts> {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = verb(request.get_method())?;
    parts.uri = uri(request)?;
    for (name, value) in request.get_headers().copy_all() {
        parts.headers.append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
    }
    Some(parts)
}

/// GET, or another method: which one makes no difference, since only GET is answered.
fn verb(method: Method) -> Option<Verb> {
    match method {
        Method::Get => Some(Verb::GET),
        Method::Other(name) => Verb::from_bytes(name.as_bytes()).ok(),
        _ => Some(Verb::POST),
    }
}

fn uri(request: &Request) -> Option<Uri> {
    let path = request.get_path_with_query().unwrap_or_else(|| "/".to_owned());
    match request.get_authority() {
        None => path.parse().ok(),
        Some(authority) => {
            Uri::builder().scheme("http").authority(authority).path_and_query(path).build().ok()
        }
    }
}

/// A reply as a response of WASI; none if the host does not take it.
pub(crate) fn response(reply: Reply) -> Option<Response> {
    let (parts, body) = reply.into_parts();
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    crate::response::response(parts.status.as_u16(), headers.collect(), body.expose_secret().to_vec())
}
