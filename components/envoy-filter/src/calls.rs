//! HTTP calls through the proxy's clusters.

use std::cell::RefCell;

use futures_channel::oneshot;
use http::{HeaderName, HeaderValue, StatusCode};
use token_broker::{Body, ExposeSecret as _, SendError, SendErrorKind};

use crate::abi::{Root, Status, pairs};

/// The calls that are under way. The proxy ends each within its timeout.
#[derive(Default)]
pub(crate) struct Calls(RefCell<Vec<PendingCall>>);

struct PendingCall {
    number: u32,
    outcome: oneshot::Sender<CallOutcome>,
    max_body: usize,
}

/// The end of a call.
pub(crate) enum CallOutcome {
    /// A response: the peer's, or the proxy's own in its place.
    Response(http::Response<Body>),
    /// The exchange broke after the response had begun.
    Reset,
    /// The body is longer than the limit.
    TooLarge,
    /// The response is not HTTP.
    Unreadable,
}

impl Calls {
    pub(crate) async fn call(
        &self,
        root: Root,
        cluster: &str,
        request: &http::Request<Body>,
        timeout_ms: u32,
        max_body: usize,
    ) -> Result<CallOutcome, Status> {
        let headers = Body::from(serialized(request));
        let number =
            root.call(cluster, headers.expose_secret(), request.body().expose_secret(), timeout_ms)?;
        let (outcome, ended) = oneshot::channel();
        self.0.borrow_mut().push(PendingCall { number, outcome, max_body });
        Ok(ended.await.unwrap_or(CallOutcome::Unreadable))
    }

    /// Ends a call. Its response can be read now and not later; without headers there is none.
    pub(crate) fn answered(&self, root: Root, number: u32, headers: usize, body_size: usize) {
        let Some(PendingCall { outcome, max_body, .. }) = self.take(number) else { return };
        // The task that waits may have been dropped.
        let _ = outcome.send(match (headers, body_size) {
            (0, _) => CallOutcome::Reset,
            (_, size) if size > max_body => CallOutcome::TooLarge,
            (_, size) => response(root, size).map_or(CallOutcome::Unreadable, CallOutcome::Response),
        });
    }

    fn take(&self, number: u32) -> Option<PendingCall> {
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
            // A header with an invalid name or value is left out: the core reads none such.
            response.headers_mut().append(name, value);
        }
    }
    *response.status_mut() = status?;
    Some(response)
}

/// The error behind a response of the proxy itself; none for a response of the peer, which alone has [`FROM_UPSTREAM`].
pub(crate) fn local_reply(response: &http::Response<Body>) -> Option<SendError> {
    if response.headers().contains_key(FROM_UPSTREAM) {
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

const FROM_UPSTREAM: &str = "x-envoy-upstream-service-time";

/// In responses of an Envoy that tells why there is no connection; 1.40 does not.
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
    fn a_response_of_the_proxy_itself_is_told_from_one_of_the_peer() {
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
            assert_eq!(local_reply(&response(status, "server", words)).unwrap().kind, kind, "{words}");
            assert_eq!(local_reply(&response(status, FROM_UPSTREAM, words)), None, "{words}");
        }
        assert_eq!(local_reply(&response(200, "server", "")), None);
    }
}
