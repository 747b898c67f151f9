//! One HTTP exchange over `wasi:http/client`, for the components of the examples: bounded in time and in size.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use wasip3::http::client;
use wasip3::http::types::{Duration, ErrorCode, RequestOptions};
use wasip3::http_compat::{RequestOptionsExtension, http_from_wasi_response, http_into_wasi_request};

/// Send a request and read its whole answer. A redirect is an answer like any other
///
/// # Errors
///
/// Why there is no answer, in one line that names the host.
pub async fn send(mut request: Request<Bytes>) -> Result<Response<Bytes>, String> {
    let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    request.extensions_mut().insert(timeouts());
    let failed = |error: ErrorCode| format!("{host} cannot be asked: {}", words(&error));
    let request = http_into_wasi_request(request.map(Full::new)).map_err(failed)?;
    let response = client::send(request).await.map_err(failed)?;
    let (head, body) = http_from_wasi_response(response).map_err(failed)?.into_parts();
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
        Err(error) => {
            Err(format!("{host}: the answer of more than {MAX_BODY} bytes, or broken off: {error}"))
        }
    }
}

fn timeouts() -> RequestOptionsExtension {
    let options = RequestOptions::new();
    // A host that does not know one of these has its own.
    let _ = options.set_connect_timeout(Some(TIMEOUT_NS));
    let _ = options.set_first_byte_timeout(Some(TIMEOUT_NS));
    let _ = options.set_between_bytes_timeout(Some(TIMEOUT_NS));
    RequestOptionsExtension(options)
}

fn words(error: &ErrorCode) -> String {
    match error {
        ErrorCode::ConnectionRefused => "it refuses the connection".into(),
        ErrorCode::DnsError(_) => "there is no such host".into(),
        ErrorCode::ConnectionTimeout | ErrorCode::HttpResponseTimeout => "it does not answer".into(),
        ErrorCode::HttpRequestDenied => "this host does not let the component go there".into(),
        ErrorCode::TlsCertificateError => "its certificate is not trusted".into(),
        other => format!("{other:?}"),
    }
}

const TIMEOUT_NS: Duration = 10_000_000_000;
const MAX_BODY: usize = 4 * 1024 * 1024;
