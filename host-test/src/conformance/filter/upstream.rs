//! The result of a call, as Envoy reports it: the answer of the peer, an answer of the proxy, or a reset.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::time::timeout_at;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::super::files::Files;
use super::super::script::Script;
use super::proxy::{Answer, Call};

pub(super) enum CallResult {
    Response(Answer),
    /// The answer broke off.
    Reset,
}

/// Answer a call by the script of the case.
pub(super) async fn call(script: &Script, files: &Files, call: Call) -> CallResult {
    let limit = Duration::from_millis(call.timeout_ms.into());
    let deadline = tokio::time::Instant::now() + limit;
    let Some(head) = head(&call) else { return local_answer(503, "no such request") };
    let Some(reply) = script.reply(files, &head, &call.body) else {
        return local_answer(503, "upstream connect error: the case does not expect it");
    };
    let connect_timeout = (head.uri.host() == Some(IMDS)).then_some(CONNECT_LIMIT);
    let options = RequestOptions { connect_timeout, ..RequestOptions::default() };
    match timeout_at(deadline, reply.play(options)).await {
        Err(_) => local_answer(504, "upstream request timeout"),
        Ok(Ok(response)) => match timeout_at(deadline, buffered(response)).await {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(_) => CallResult::Reset,
        },
        Ok(Err(Error::ConnectionReadTimeout)) => local_answer(504, "upstream request timeout"),
        Ok(Err(Error::ConnectionTimeout)) => failed("connection timeout"),
        Ok(Err(Error::ConnectionTerminated)) => failed("connection termination"),
        Ok(Err(_)) => failed("remote connection failure"),
    }
}

/// Answer a call with the content of a file below the root, as a listener of the proxy does.
pub(super) fn file(root: &Path, path: &Path) -> CallResult {
    let real = root.join(path).canonicalize();
    let below = real.ok().filter(|real| root.canonicalize().is_ok_and(|root| real.starts_with(root)));
    match below.map_or_else(|| Err(ErrorKind::NotFound.into()), std::fs::read) {
        Ok(body) => peer_answer(200, Vec::new(), body),
        Err(error) if error.kind() == ErrorKind::NotFound => peer_answer(404, Vec::new(), Vec::new()),
        Err(_) => peer_answer(500, Vec::new(), Vec::new()),
    }
}

fn head(call: &Call) -> Option<http::request::Parts> {
    let text = |name: &str| {
        let found = call.headers.iter().find(|(other, _)| other == name.as_bytes());
        found.and_then(|(_, value)| std::str::from_utf8(value).ok()).unwrap_or_default()
    };
    let url = format!("{}://{}{}", text(":scheme"), text(":authority"), text(":path"));
    let mut request = http::Request::builder().method(text(":method")).uri(url);
    for (name, value) in call.headers.iter().filter(|(name, _)| !name.starts_with(b":")) {
        request = request.header(name.as_slice(), value.as_slice());
    }
    Some(request.body(()).ok()?.into_parts().0)
}

async fn buffered(response: http::Response<WasiBody>) -> Option<CallResult> {
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        bytes.extend(frame.ok()?.into_data().ok()?);
        if bytes.len() > BUFFER {
            break;
        }
    }
    let headers = head.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str().into(), value.as_bytes().to_vec())).collect();
    Some(peer_answer(head.status.as_u16(), headers, bytes))
}

/// An answer of the peer.
pub(super) fn peer_answer(status: u16, mut headers: Vec<(Vec<u8>, Vec<u8>)>, body: Vec<u8>) -> CallResult {
    headers.push((b":status".to_vec(), status.to_string().into_bytes()));
    headers.push((b"x-envoy-upstream-service-time".to_vec(), b"1".to_vec()));
    CallResult::Response(Answer { headers, body })
}

fn failed(why: &str) -> CallResult {
    local_answer(
        503,
        &format!("upstream connect error or disconnect/reset before headers. reset reason: {why}"),
    )
}

/// An answer of the proxy itself.
fn local_answer(status: u16, words: &str) -> CallResult {
    let headers = vec![
        (b":status".to_vec(), status.to_string().into_bytes()),
        (b"content-type".to_vec(), b"text/plain".to_vec()),
    ];
    CallResult::Response(Answer { headers, body: words.as_bytes().to_vec() })
}

/// The `connect_timeout` of the cluster for IMDS. Those of other clusters are longer than any wait.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const IMDS: &str = "169.254.169.254";
/// More than the filter reads, in bytes.
const BUFFER: usize = 1 << 20;
