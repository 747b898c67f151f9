//! The requests of a step: each is compared with the expected ones and answered in memory.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::Instant;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::case::{Exchange, Reply};
use super::expect::Received;
use super::files::Files;
use crate::wasi::{Io, Sent, answered};

/// The expected requests of the current step, and the problems so far.
#[derive(Default)]
pub(crate) struct Script(Mutex<StepScript>);

#[derive(Default)]
struct StepScript {
    began: Option<Instant>,
    entries: Vec<Entry>,
    problems: Vec<String>,
}

struct Entry {
    exchange: Exchange,
    used: bool,
}

impl Script {
    /// Begin a step.
    pub(crate) fn begin(&self, exchanges: &[Exchange]) {
        let entries =
            exchanges.iter().map(|exchange| Entry { exchange: exchange.clone(), used: false }).collect();
        *self.step() = StepScript { began: Some(Instant::now()), entries, problems: Vec::new() };
    }

    /// End the step, and return the problems of its requests.
    pub(crate) fn end(&self) -> Vec<String> {
        let StepScript { entries, mut problems, .. } = std::mem::take(&mut *self.step());
        for (nth, Entry { exchange, .. }) in (1..).zip(&entries).filter(|(_, entry)| !entry.used) {
            let url = exchange.expect.url.as_deref().unwrap_or("any URL");
            problems.push(format!("no request used http entry {nth} ({url})"));
        }
        problems
    }

    /// The answer to a request, if it is expected. Files change before it.
    pub(crate) fn reply(&self, files: &Files, head: &http::request::Parts, body: &[u8]) -> Option<Reply> {
        self.step().problems.extend(misframed(head, body));
        let entry = self.entry(&Received::new(head, body, self.since_step_began()))?;
        if let Some(Err(error)) = entry.set_files.map(|set| files.set(&set)) {
            self.step().problems.push(format!("{error:#}"));
        }
        Some(entry.reply)
    }

    /// The first entry that a request fits. Without one, the problem is noted.
    fn entry(&self, request: &Received) -> Option<Exchange> {
        let mut step = self.step();
        let mut misfit = None;
        for (nth, entry) in (1..).zip(&mut step.entries).filter(|(_, entry)| !entry.used) {
            let differences = request.differences(&entry.exchange.expect);
            if differences.is_empty() {
                entry.used = true;
                return Some(entry.exchange.clone());
            }
            misfit
                .get_or_insert_with(|| format!("http entry {nth} does not fit: {}", differences.join("; ")));
        }
        let why = misfit.unwrap_or_else(|| "no http entry is left for it".to_owned());
        step.problems.push(format!("unexpected request: {request}; {why}"));
        None
    }

    fn since_step_began(&self) -> u64 {
        let elapsed = self.step().began.map(|began| began.elapsed()).unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    fn step(&self) -> MutexGuard<'_, StepScript> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The problem with the headers that frame a body. Entra answers 404 to a request without a `Content-Length`, and many
/// servers refuse a POST without one (RFC 9110, 8.6).
fn misframed(head: &http::request::Parts, body: &[u8]) -> Option<String> {
    let of = |name| head.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let lengths: Vec<_> = of(CONTENT_LENGTH).collect();
    let right = (!body.is_empty() || head.method == Method::POST).then(|| body.len().to_string());
    let is_framed = lengths.iter().eq(right.iter()) && of(TRANSFER_ENCODING).next().is_none();
    (!is_framed).then(|| {
        let (method, uri, size) = (&head.method, &head.uri, body.len());
        format!("{method} {uri} has a body of {size} bytes, and content-length {lengths:?}")
    })
}

/// The component's outgoing HTTP, answered by the script.
pub(crate) struct Hooks {
    pub(crate) script: Arc<Script>,
    pub(crate) files: Arc<Files>,
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _answered: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (script, files) = (Arc::clone(&self.script), Arc::clone(&self.files));
        Box::new(play(script, files, request, options.unwrap_or_default()))
    }
}

async fn play(
    script: Arc<Script>,
    files: Arc<Files>,
    request: http::Request<WasiBody>,
    options: RequestOptions,
) -> Sent {
    let (head, body) = request.into_parts();
    let body = collect(body).await?;
    // A denied request is not retried.
    let reply = script.reply(&files, &head, &body).ok_or(Error::HttpRequestDenied)?;
    answered(reply.play(options).await?)
}

async fn collect(body: WasiBody) -> Result<Bytes, Error> {
    let body = Limited::new(body, MAX_REQUEST_BODY).collect().await;
    Ok(body.map_err(|_| Error::HttpRequestBodySize(None))?.to_bytes())
}

const MAX_REQUEST_BODY: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn is_framed(method: Method, headers: &[(&str, &str)], body: &[u8]) -> bool {
        let request = http::Request::builder().method(method).uri("http://h/");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        misframed(&request.body(()).unwrap().into_parts().0, body).is_none()
    }

    #[test]
    fn a_body_comes_with_its_length_and_in_no_chunks() {
        assert!(is_framed(Method::POST, &[("content-length", "3")], b"a=b"));
        for headers in [
            &[][..],
            &[("transfer-encoding", "chunked")],
            &[("content-length", "2")],
            &[("content-length", "3"), ("content-length", "3")],
            &[("content-length", "3"), ("transfer-encoding", "chunked")],
        ] {
            assert!(!is_framed(Method::POST, headers, b"a=b"), "{headers:?}");
        }
    }

    #[test]
    fn without_a_body_a_post_says_so_and_a_get_has_no_length() {
        let none = [("content-length", "0")];
        assert!(is_framed(Method::GET, &[], b"") && is_framed(Method::POST, &none, b""));
        assert!(!is_framed(Method::GET, &none, b"") && !is_framed(Method::POST, &[], b""));
    }
}
