//! Calls through the host's clusters, and what comes back.

use std::cell::RefCell;

use futures_channel::oneshot;
use http::{HeaderName, HeaderValue, StatusCode};
use token_broker::{Body, ExposeSecret as _, SendError, SendErrorKind};

use crate::abi::{Root, Status};
use crate::pairs;

/// Calls whose answer has not come. The host answers each within its timeout.
#[derive(Default)]
pub(crate) struct Calls(RefCell<Vec<Awaited>>);

struct Awaited {
    number: u32,
    answer: oneshot::Sender<Answer>,
    max_body: usize,
}

/// What the host told of a call.
pub(crate) enum Answer {
    /// A response: the peer's, or the host's own in its place.
    Response(http::Response<Body>),
    /// The exchange broke after the response had begun.
    Reset,
    /// The body is longer than was asked for.
    TooLarge,
    /// The host's words for it are none.
    Unreadable,
}

impl Calls {
    /// Send a request and wait for its answer.
    ///
    /// # Errors
    /// That of the host if it does not send.
    pub(crate) async fn call(
        &self,
        root: Root,
        cluster: &str,
        request: &http::Request<Body>,
        timeout_ms: u32,
        max_body: usize,
    ) -> Result<Answer, Status> {
        let headers = Body::from(serialized(request));
        let number =
            root.call(cluster, headers.expose_secret(), request.body().expose_secret(), timeout_ms)?;
        let (answer, answered) = oneshot::channel();
        self.0.borrow_mut().push(Awaited { number, answer, max_body });
        Ok(answered.await.unwrap_or(Answer::Unreadable))
    }

    /// The host has an answer, which can be read now and not later. No headers: there is none.
    pub(crate) fn answered(&self, root: Root, number: u32, headers: usize, body_size: usize) {
        let Some(Awaited { answer, max_body, .. }) = self.take(number) else { return };
        // Whoever asked may be gone.
        let _ = answer.send(match (headers, body_size) {
            (0, _) => Answer::Reset,
            (_, size) if size > max_body => Answer::TooLarge,
            (_, size) => response(root, size).map_or(Answer::Unreadable, Answer::Response),
        });
    }

    fn take(&self, number: u32) -> Option<Awaited> {
        let mut calls = self.0.borrow_mut();
        let place = calls.iter().position(|call| call.number == number)?;
        Some(calls.swap_remove(place))
    }
}

fn serialized(request: &http::Request<Body>) -> Vec<u8> {
    let uri = request.uri();
    let mut all: Vec<(&[u8], &[u8])> = vec![
        (b":method", request.method().as_str().as_bytes()),
        (b":scheme", uri.scheme_str().unwrap_or_default().as_bytes()),
        (b":authority", uri.authority().map_or("", |authority| authority.as_str()).as_bytes()),
        (b":path", uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes()),
    ];
    all.extend(request.headers().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())));
    pairs::encode(&all)
}

fn response(root: Root, body_size: usize) -> Option<http::Response<Body>> {
    let bytes = root.response_headers().ok()?;
    let body = match body_size {
        0 => Vec::new(),
        size => root.response_body(size).ok()?,
    };
    let mut response = http::Response::new(Body::from(body));
    let mut status = None;
    for (name, value) in pairs::decode(&bytes)? {
        if name == b":status" {
            status = StatusCode::from_bytes(value).ok();
        } else if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            // What is not a header to us cannot be one that we look for.
            response.headers_mut().append(name, value);
        }
    }
    *response.status_mut() = status?;
    Some(response)
}

/// What the proxy answers in the place of a peer, and what is known of the peer then.
///
/// Only an answer that came through carries [`CAME_THROUGH`].
pub(crate) fn own_answer(response: &http::Response<Body>) -> Option<SendError> {
    if response.headers().contains_key(CAME_THROUGH) {
        return None;
    }
    let words = String::from_utf8_lossy(response.body().expose_secret());
    let says = |text: &&str| words.contains(*text);
    let kind = match response.status() {
        StatusCode::GATEWAY_TIMEOUT => SendErrorKind::TimedOut,
        StatusCode::SERVICE_UNAVAILABLE if words.contains(UNTRUSTED) => SendErrorKind::Untrusted,
        StatusCode::SERVICE_UNAVAILABLE if UNCONNECTED.iter().any(says) => SendErrorKind::NotConnected,
        StatusCode::SERVICE_UNAVAILABLE => SendErrorKind::Broken,
        _ => return None,
    };
    Some(SendError { kind, detail: words.into_owned() })
}

const CAME_THROUGH: &str = "x-envoy-upstream-service-time";

/// Of Envoys that tell why there is no connection; 1.40 does not.
const UNTRUSTED: &str = "CERTIFICATE_VERIFY_FAILED";
const UNCONNECTED: [&str; 6] = [
    "no healthy upstream",
    "delayed connect error",
    "remote connection failure",
    "local connection failure",
    "connection timeout",
    "overflow",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, header: &str, body: &str) -> http::Response<Body> {
        let response = http::Response::builder().status(status).header(header, "1");
        response.body(Body::from(body.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn what_the_proxy_answers_itself_is_told_from_the_peers_answer() {
        for (status, words, kind) in [
            (504, "upstream request timeout", SendErrorKind::TimedOut),
            (503, "no healthy upstream", SendErrorKind::NotConnected),
            (503, "reset reason: remote connection failure", SendErrorKind::NotConnected),
            (503, "reset reason: connection timeout", SendErrorKind::NotConnected),
            (503, "reset reason: connection termination", SendErrorKind::Broken),
            (
                503,
                "remote connection failure, TLS_error: CERTIFICATE_VERIFY_FAILED",
                SendErrorKind::Untrusted,
            ),
        ] {
            assert_eq!(own_answer(&response(status, "server", words)).unwrap().kind, kind, "{words}");
            assert_eq!(own_answer(&response(status, CAME_THROUGH, words)), None, "{words}");
        }
        assert_eq!(own_answer(&response(200, "server", "")), None);
    }
}
