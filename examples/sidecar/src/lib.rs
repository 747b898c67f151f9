//! Passes every request on to the service that `SIDECAR_TO` names, as it is: method, path, headers, body and trailers.
//!
//! It knows nothing of tokens. Composed with `token-injector.wasm` it is a way to a service of Azure's for programs that
//! know nothing of them either.

use http::Uri;
use wasip3::cli::environment::get_environment;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::wit_future;

struct Sidecar;

impl bindings::Guest for Sidecar {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        match service() {
            Ok(service) => client::send(addressed_to(&service, request)?).await,
            Err(why) => Err(ErrorCode::InternalError(Some(why))),
        }
    }
}

/// The same request for another host. The streams of its body and its trailers are handed over.
fn addressed_to(service: &Uri, request: Request) -> Result<Request, ErrorCode> {
    let (method, path) = (request.get_method(), request.get_path_with_query());
    let headers = end_to_end(&request.get_headers())?;
    let (_, read) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, read);
    let (request, _) = Request::new(headers, Some(body), trailers, None);
    request.set_method(&method).map_err(|()| ErrorCode::HttpRequestMethodInvalid)?;
    let scheme = if service.scheme_str() == Some("http") { Scheme::Http } else { Scheme::Https };
    let authority = service.authority().map(|authority| authority.as_str());
    request.set_scheme(Some(&scheme)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    request.set_authority(authority).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    request.set_path_with_query(path.as_deref()).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    Ok(request)
}

/// Without what is between two hosts only (RFC 9110, 7.6.1), and without the name by which this one was called
fn end_to_end(headers: &Fields) -> Result<Fields, ErrorCode> {
    let mut kept = headers.copy_all();
    kept.retain(|(name, _)| !BETWEEN_TWO.iter().any(|it| name.eq_ignore_ascii_case(it)));
    Fields::from_list(&kept).map_err(|_| ErrorCode::HttpProtocolError)
}

#[allow(clippy::disallowed_methods, reason = "the one place of this component that reads the environment")]
fn service() -> Result<Uri, String> {
    let (_, url) = get_environment()
        .into_iter()
        .find(|(name, _)| name == "SIDECAR_TO")
        .ok_or("SIDECAR_TO is not set; it is the address of a service, https://my.vault.azure.net")?;
    let service = url.parse::<Uri>().ok().filter(|uri| uri.authority().is_some() && uri.path() == "/");
    service.ok_or_else(|| format!("SIDECAR_TO is {url:?}; it must be like https://my.vault.azure.net"))
}

const BETWEEN_TWO: [&str; 8] = [
    "connection",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

mod bindings {
    #![allow(unsafe_code, reason = "generated")]

    pub(super) use wasip3::exports::http::handler::Guest;

    use super::Sidecar;

    wasip3::http::service::export!(Sidecar);
}
