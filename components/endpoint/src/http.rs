//! Requests and responses of `wasi:http`.

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method as Verb, Uri};
use secrecy::ExposeSecret as _;
use token_broker_identity_endpoint::Reply;
use wasip3::http::types::{Fields, Method, Request, Response};
use wasip3::{wit_future, wit_stream};

/// Everything of a request but its body, which nobody needs; none if it is no request.
pub(crate) fn parts(request: &Request) -> Option<Parts> {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = verb(request.get_method())?;
    parts.uri = uri(request)?;
    for (name, value) in request.get_headers().copy_all() {
        parts.headers.append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
    }
    Some(parts)
}

/// What is not GET is refused, whatever it is.
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

/// None if the host does not take it.
pub(crate) fn response(reply: Reply) -> Option<Response> {
    let (parts, body) = reply.into_parts();
    let length = body.expose_secret().len().to_string();
    let headers =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    let headers: Vec<_> = headers.chain([("content-length".to_owned(), length.into_bytes())]).collect();
    let (mut writer, contents) = wit_stream::new();
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::from_list(&headers).ok()?, Some(contents), no_trailers);
    response.set_status_code(parts.status.as_u16()).ok()?;
    wit_bindgen::spawn_local(async move {
        writer.write_all(body.expose_secret().to_vec()).await;
    });
    Some(response)
}
