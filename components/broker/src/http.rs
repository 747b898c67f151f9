//! One bounded exchange over `wasi:http/client`.

use futures_util::future::join;
use secrecy::ExposeSecret as _;
use token_broker::{Body, Limits, SendError, SendErrorKind};
use wasip3::http::client;
use wasip3::http::types::{Fields, Method, Request, RequestOptions, Response, Scheme};
use wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult};
use wasip3::{wit_future, wit_stream};

use crate::exchange::{answer, broken_off, failed, unsent, within};
use crate::host::nanoseconds;

pub(crate) use wasip3::http::types::ErrorCode;

/// Tells whether a request went out whole. It is held until the answer has been read: wasmtime 49 drops the connection
/// with it, and the body then seems to end after what had come by then.
type Transmission = FutureReader<Result<(), ErrorCode>>;

/// Send a request and read its whole answer.
pub(crate) async fn send(
    request: http::Request<Body>,
    limits: Limits,
) -> Result<http::Response<Body>, SendError> {
    within(limits, exchange(request, limits)).await
}

async fn exchange(request: http::Request<Body>, limits: Limits) -> Result<http::Response<Body>, SendError> {
    let (parts, body) = request.into_parts();
    let (writer, contents) = (!body.expose_secret().is_empty()).then(wit_stream::new).unzip();
    let (outgoing, _sent) = outgoing(&parts, contents, limits)
        .ok_or_else(|| failed(SendErrorKind::Unsendable, "it does not take such a request"))?;
    let upload = async {
        if let Some(mut writer) = writer {
            writer.write_all(body.expose_secret().to_vec()).await;
        }
    };
    let (response, ()) = join(client::send(outgoing), upload).await;
    incoming(response.map_err(|code| unsent(&code))?, limits.body).await
}

fn outgoing(
    parts: &http::request::Parts,
    contents: Option<StreamReader<u8>>,
    limits: Limits,
) -> Option<(Request, Transmission)> {
    let headers: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (request, sent) =
        Request::new(Fields::from_list(&headers).ok()?, contents, no_trailers, Some(options(limits)));
    let method = match &parts.method {
        &http::Method::GET => Method::Get,
        &http::Method::POST => Method::Post,
        other => Method::Other(other.as_str().to_owned()),
    };
    request.set_method(&method).ok()?;
    let scheme = if parts.uri.scheme_str() == Some("http") { Scheme::Http } else { Scheme::Https };
    request.set_scheme(Some(&scheme)).ok()?;
    request.set_authority(parts.uri.authority().map(|authority| authority.as_str())).ok()?;
    request.set_path_with_query(parts.uri.path_and_query().map(|path| path.as_str())).ok()?;
    Some((request, sent))
}

/// What a host does not support of these it may leave out: the timer around the exchange bounds it all the same.
fn options(limits: Limits) -> RequestOptions {
    let options = RequestOptions::new();
    let total = Some(nanoseconds(limits.total));
    let _ = options.set_connect_timeout(Some(nanoseconds(limits.connect)));
    let _ = options.set_first_byte_timeout(total);
    let _ = options.set_between_bytes_timeout(total);
    options
}

async fn incoming(response: Response, max_bytes: usize) -> Result<http::Response<Body>, SendError> {
    let (status, headers) = (response.get_status_code(), response.get_headers().copy_all());
    answer(status, headers, contents(response, max_bytes).await?)
}

async fn contents(response: Response, max_bytes: usize) -> Result<Vec<u8>, SendError> {
    // Held, so that no host takes the answer for received before it is.
    let (_until_received, received) = wit_future::new(|| Ok(()));
    let (mut stream, trailers) = Response::consume_body(response, received);
    let mut body = Vec::new();
    loop {
        let (result, chunk) = stream.read(Vec::with_capacity(CHUNK)).await;
        body.extend(chunk);
        if body.len() > max_bytes {
            return Err(failed(SendErrorKind::TooLarge, "the body goes on"));
        }
        match result {
            StreamResult::Complete(_) => {}
            StreamResult::Dropped | StreamResult::Cancelled => break,
        }
    }
    match trailers.await {
        Ok(_) => Ok(body),
        Err(code) => Err(broken_off(&code)),
    }
}

const CHUNK: usize = 8 * 1024;
