//! One HTTP exchange over `wasi:http/client`, for the components of the examples: bounded in time and in size.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use wasip3::http::client;
use wasip3::http::types::{Duration, ErrorCode, Fields, HeaderError, Request as Outgoing, RequestOptions};
use wasip3::http_compat::http_from_wasi_response;
use wasip3::wit_bindgen::{FutureReader, spawn_local};
use wasip3::{wit_future, wit_stream};

/// Send a request and read its whole answer. A redirect is an answer like any other
///
/// # Errors
///
/// Why there is no answer, in one line that names the host.
pub async fn send(request: Request<Bytes>) -> Result<Response<Bytes>, String> {
    let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let failed = |error: ErrorCode| format!("{host} cannot be asked: {}", words(&error));
    let (request, _sent) = outgoing(request).map_err(failed)?;
    let response = client::send(request).await.map_err(failed)?;
    let (head, body) = http_from_wasi_response(response).map_err(failed)?.into_parts();
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
        Err(error) => {
            Err(format!("{host}: the answer of more than {MAX_BODY} bytes, or broken off: {error}"))
        }
    }
}

/// Tells whether a request went out whole. It is held until the answer has been read: wasmtime 49 drops the connection
/// with it, and the body then seems to end after what had come by then. `wasip3::http_compat` does not keep it.
type Transmission = FutureReader<Result<(), ErrorCode>>;

fn outgoing(request: Request<Bytes>) -> Result<(Outgoing, Transmission), ErrorCode> {
    let (mut head, body) = request.into_parts();
    // Azure's services want to know the length of a body before it comes.
    if !body.is_empty() {
        head.headers.insert(http::header::CONTENT_LENGTH, body.len().into());
    }
    let headers: Fields = head.headers.try_into().map_err(|error: HeaderError| internal(&error))?;
    let contents = (!body.is_empty()).then(|| {
        let (mut writer, contents) = wit_stream::new();
        // Who does not read to the end says why in the answer.
        spawn_local(async move { drop(writer.write_all(body.into()).await) });
        contents
    });
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (outgoing, sent) = Outgoing::new(headers, contents, no_trailers, Some(timeouts()));
    let unfit = |()| ErrorCode::HttpRequestUriInvalid;
    outgoing.set_method(&head.method.into()).map_err(unfit)?;
    outgoing.set_scheme(head.uri.scheme().map(Into::into).as_ref()).map_err(unfit)?;
    outgoing.set_authority(head.uri.authority().map(|authority| authority.as_str())).map_err(unfit)?;
    outgoing.set_path_with_query(head.uri.path_and_query().map(|path| path.as_str())).map_err(unfit)?;
    Ok((outgoing, sent))
}

fn internal(error: &HeaderError) -> ErrorCode {
    ErrorCode::InternalError(Some(format!("a header: {error:?}")))
}

fn timeouts() -> RequestOptions {
    let options = RequestOptions::new();
    // A host that does not know one of these has its own.
    let _ = options.set_connect_timeout(Some(TIMEOUT_NS));
    let _ = options.set_first_byte_timeout(Some(TIMEOUT_NS));
    let _ = options.set_between_bytes_timeout(Some(TIMEOUT_NS));
    options
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
