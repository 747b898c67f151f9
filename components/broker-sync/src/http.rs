//! One exchange over `wasi:http/outgoing-handler`.

use futures_util::future::join;
use secrecy::ExposeSecret as _;
use token_broker::{Body, Limits, SendError, SendErrorKind};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, OutgoingBody};
use wasip2::io::streams::{InputStream, StreamError};

use crate::exchange::{answer, broken_off, failed, headers, options, set_head, unsent};
use crate::poll::ready;

pub(crate) use wasip2::http::types::{ErrorCode, Method, OutgoingRequest, RequestOptions, Scheme};

/// Sends a request and reads its whole answer.
pub(crate) async fn exchange(
    request: http::Request<Body>,
    limits: Limits,
) -> Result<http::Response<Body>, SendError> {
    let (parts, body) = request.into_parts();
    let body = body.expose_secret();
    let (outgoing, contents) = outgoing(&parts, !body.is_empty())
        .ok_or_else(|| failed(SendErrorKind::Unsendable, "it does not take such a request"))?;
    let incoming = handle(outgoing, Some(options(limits))).map_err(|code| unsent(&code))?;
    let upload = async {
        if let Some(contents) = contents {
            upload(contents, body).await;
        }
    };
    let (response, ()) = join(response(&incoming), upload).await;
    let response = response?;
    let (status, headers) = (response.status(), response.headers().entries());
    answer(status, headers, contents_of(&response, limits.body).await?)
}

/// The request, and its body to write to if it has one.
fn outgoing(parts: &http::request::Parts, has_body: bool) -> Option<(OutgoingRequest, Option<OutgoingBody>)> {
    let request = OutgoingRequest::new(Fields::from_list(&headers(parts)).ok()?);
    set_head(&request, parts)?;
    let contents = if has_body { Some(request.body().ok()?) } else { None };
    Some((request, contents))
}

/// Writes the body. No error is reported: a peer that stops reading says why in its answer.
async fn upload(to: OutgoingBody, body: &[u8]) {
    let Ok(stream) = to.write() else { return };
    let mut rest = body;
    while !rest.is_empty() {
        ready(stream.subscribe()).await;
        let Ok(room) = stream.check_write() else { return };
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
        let Some((now, later)) = rest.split_at_checked(room) else { return };
        let Ok(()) = stream.write(now) else { return };
        rest = later;
    }
    let Ok(()) = stream.flush() else { return };
    ready(stream.subscribe()).await;
    drop(stream);
    let _ = OutgoingBody::finish(to, None);
}

async fn response(incoming: &FutureIncomingResponse) -> Result<IncomingResponse, SendError> {
    ready(incoming.subscribe()).await;
    match incoming.get() {
        Some(Ok(Ok(response))) => Ok(response),
        Some(Ok(Err(code))) => Err(unsent(&code)),
        Some(Err(())) | None => Err(failed(SendErrorKind::Broken, "the host has no answer")),
    }
}

async fn contents_of(response: &IncomingResponse, max_bytes: usize) -> Result<Vec<u8>, SendError> {
    let body = response.consume().map_err(|()| cut_off())?;
    let stream = body.stream().map_err(|()| cut_off())?;
    let contents = read(&stream, max_bytes).await?;
    drop(stream);
    let trailers = IncomingBody::finish(body);
    ready(trailers.subscribe()).await;
    match trailers.get() {
        Some(Ok(Ok(_))) => Ok(contents),
        Some(Ok(Err(code))) => Err(broken_off(&code)),
        Some(Err(())) | None => Err(cut_off()),
    }
}

async fn read(stream: &InputStream, max_bytes: usize) -> Result<Vec<u8>, SendError> {
    let mut contents = Vec::new();
    loop {
        ready(stream.subscribe()).await;
        match stream.read(CHUNK) {
            Ok(chunk) => contents.extend(chunk),
            Err(StreamError::Closed) => return Ok(contents),
            // The host's own error is not read: for jco's, that throws an exception that the contract does not have.
            Err(StreamError::LastOperationFailed(_)) => return Err(cut_off()),
        }
        if contents.len() > max_bytes {
            return Err(failed(SendErrorKind::TooLarge, "the body goes on"));
        }
    }
}

fn cut_off() -> SendError {
    failed(SendErrorKind::Truncated, "the answer is incomplete")
}

/// The size of one read, in bytes.
const CHUNK: u64 = 8 * 1024;
