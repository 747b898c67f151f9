//! One exchange over `wasi:http/client`.

use futures_util::future::join;
use secrecy::ExposeSecret as _;
use token_broker::{Body, Limits, SendError, SendErrorKind};
use wasip3::http::client;
use wasip3::http::types::{Fields, Response};
use wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult};
use wasip3::{wit_future, wit_stream};

use crate::exchange::{answer, broken_off, failed, headers, options, set_head, unsent};

pub(crate) use wasip3::http::types::{ErrorCode, Method, Request as OutgoingRequest, RequestOptions, Scheme};

/// The outcome of sending a request. It is held until the answer has been read: wasmtime 49 drops the connection with
/// it, and the body then seems to end early.
type Transmission = FutureReader<Result<(), ErrorCode>>;

/// Sends a request and reads its whole answer.
pub(crate) async fn exchange(
    request: http::Request<Body>,
    limits: Limits,
) -> Result<http::Response<Body>, SendError> {
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
) -> Option<(OutgoingRequest, Transmission)> {
    let fields = Fields::from_list(&headers(parts)).ok()?;
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (request, sent) = OutgoingRequest::new(fields, contents, no_trailers, Some(options(limits)));
    set_head(&request, parts)?;
    Some((request, sent))
}

async fn incoming(response: Response, max_bytes: usize) -> Result<http::Response<Body>, SendError> {
    let (status, headers) = (response.get_status_code(), response.get_headers().copy_all());
    answer(status, headers, contents(response, max_bytes).await?)
}

async fn contents(response: Response, max_bytes: usize) -> Result<Vec<u8>, SendError> {
    // Held until the end: dropping it tells the host that the answer has been received.
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

/// The size of one read, in bytes.
const CHUNK: usize = 8 * 1024;
