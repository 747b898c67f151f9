//! One GET over `wasi:http/client`.

use std::iter;

use wasip3::http::types::{ErrorCode, Fields, Request, RequestOptions, Response, Scheme};
use wasip3::http::{client, types};
use wasip3::{wit_bindgen::StreamResult, wit_future};

use crate::settings::Vault;

/// What came back
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The values of all its `WWW-Authenticate` headers
    pub(crate) challenges: Vec<Vec<u8>>,
    pub(crate) body: Vec<u8>,
}

/// What the vault says to a request, which has an `Authorization` header if one is given
pub(crate) async fn get(vault: &Vault, path: &str, authorization: Option<&str>) -> Result<Answer, String> {
    let request = request(vault, path, authorization)
        .ok_or_else(|| format!("this host takes no request for {}{path}", vault.authority))?;
    let response = client::send(request).await.map_err(|error| failed(vault, &error))?;
    let status = response.get_status_code();
    let challenges = response.get_headers().get("www-authenticate");
    let body = body(response).await.map_err(|why| format!("GET {}{path}: {why}", vault.authority))?;
    Ok(Answer { status, challenges, body })
}

fn request(vault: &Vault, path: &str, authorization: Option<&str>) -> Option<Request> {
    let accept = ("accept".into(), "application/json".into());
    let authorization = authorization.map(|value| ("authorization".into(), value.into()));
    let headers: Vec<_> = iter::once(accept).chain(authorization).collect();
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) =
        Request::new(Fields::from_list(&headers).ok()?, None, no_trailers, Some(timeouts()?));
    request.set_scheme(Some(&scheme(vault))).ok()?;
    request.set_authority(Some(vault.authority.as_str())).ok()?;
    request.set_path_with_query(Some(path)).ok()?;
    Some(request)
}

fn timeouts() -> Option<RequestOptions> {
    let options = RequestOptions::new();
    options.set_connect_timeout(Some(TIMEOUT_NS)).ok()?;
    options.set_first_byte_timeout(Some(TIMEOUT_NS)).ok()?;
    options.set_between_bytes_timeout(Some(TIMEOUT_NS)).ok()?;
    Some(options)
}

fn scheme(vault: &Vault) -> Scheme {
    match vault.scheme == http::uri::Scheme::HTTP {
        true => Scheme::Http,
        false => Scheme::Https,
    }
}

async fn body(response: Response) -> Result<Vec<u8>, String> {
    let (_, done) = wit_future::new(|| Ok(()));
    let (mut stream, trailers) = Response::consume_body(response, done);
    let mut body = Vec::new();
    loop {
        let (result, chunk) = stream.read(Vec::with_capacity(CHUNK)).await;
        body.extend(chunk);
        match result {
            _ if body.len() > MAX_BODY => return Err(format!("more than {MAX_BODY} bytes came back")),
            StreamResult::Complete(_) => {}
            StreamResult::Dropped | StreamResult::Cancelled => break,
        }
    }
    trailers.await.map_err(|error| format!("the answer broke off: {error:?}"))?;
    Ok(body)
}

fn failed(vault: &Vault, error: &ErrorCode) -> String {
    let why = match error {
        ErrorCode::ConnectionRefused => "it refuses the connection",
        ErrorCode::DnsError(_) => "there is no such host",
        ErrorCode::ConnectionTimeout | ErrorCode::HttpResponseTimeout => "it does not answer",
        ErrorCode::HttpRequestDenied => "this host does not let the component go there",
        other => return format!("{} cannot be asked: {other:?}", vault.authority),
    };
    format!("{} cannot be asked: {why}; to mend it: check KEY_VAULT_URL", vault.authority)
}

const TIMEOUT_NS: types::Duration = 10_000_000_000;
const CHUNK: usize = 4 * 1024;
/// A secret is at most 25 kB.
const MAX_BODY: usize = 128 * 1024;
