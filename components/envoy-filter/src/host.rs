//! The host of the core, made of proxy-wasm.

use std::cell::Cell;
use std::time::Duration;

use token_broker::{
    Body, ExposeSecret as _, Host, Limits, Links, ReadError, Record, Secret, SendError, SendErrorKind,
    milliseconds,
};

use crate::abi::{self, Root, Status};
use crate::calls::{CallOutcome, Calls, local_reply};
use crate::clusters::Clusters;
use crate::log;
use crate::random::RandomBits;
use crate::runtime::clock::{monotonic_now, now};
use crate::runtime::timers::Timers;

/// The proxy as the core's host.
pub(crate) struct Proxy {
    root: Root,
    clusters: Clusters,
    random: RandomBits,
    pub(crate) timers: Timers,
    calls: Calls,
    /// True once the proxy has a period for ticks.
    ticks: Cell<bool>,
}

impl Host for Proxy {
    fn now(&self) -> Duration {
        now()
    }

    async fn send(
        &self,
        request: http::Request<Body>,
        limits: Limits,
    ) -> Result<http::Response<Body>, SendError> {
        let Some(cluster) = self.clusters.for_url(request.uri()) else {
            return Err(failed(SendErrorKind::Forbidden, "no cluster of the configuration leads there"));
        };
        self.exchange(cluster, &request, limits.total, limits.body).await
    }

    async fn sleep(&self, duration: Duration) {
        self.timers.sleep(duration).await;
    }

    fn random(&self) -> u64 {
        self.random.draw()
    }

    async fn read(&self, path: &str, max_bytes: usize, links: Links) -> Result<Secret, ReadError> {
        let Some(cluster) = self.clusters.for_file(path).filter(|_| links == Links::Follow) else {
            return Err(ReadError::NotFound);
        };
        let request = http::Request::builder()
            .uri("http://token/")
            .body(Body::from(Vec::new()))
            .map_err(|_| ReadError::Other("no such request".to_owned()))?;
        let answer = self.exchange(cluster, &request, READ_LIMIT, max_bytes).await;
        let response = answer.map_err(|error| match error.kind {
            SendErrorKind::TooLarge => ReadError::TooLarge,
            _ => ReadError::Other(format!("no answer from the cluster {cluster}: {}", error.detail)),
        })?;
        match response.status().as_u16() {
            200 => {}
            404 => return Err(ReadError::NotFound),
            other => return Err(ReadError::Other(format!("the cluster {cluster} answered {other}"))),
        }
        match std::str::from_utf8(response.body().expose_secret()) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(ReadError::Other("it is not UTF-8".to_owned())),
        }
    }

    fn log(&self, record: &Record<'_>) {
        log::write(record.level, &record.to_json(self.now()));
    }
}

impl Proxy {
    pub(crate) fn new(root: Root, clusters: Clusters, random: RandomBits) -> Self {
        let (timers, calls, ticks) = (Timers::default(), Calls::default(), Cell::default());
        Self { root, clusters, random, timers, calls, ticks }
    }

    /// Sets the time of the monotonic clock at which the proxy calls the plugin; none: it does not.
    pub(crate) fn tick(&self, at: Option<Duration>) -> Result<(), Status> {
        let period = at.map_or(0, |at| {
            let left = at.saturating_sub(monotonic_now()).as_nanos().div_ceil(1_000_000);
            u32::try_from(left).unwrap_or(u32::MAX).max(1)
        });
        if (period, self.ticks.get()) != (0, false) {
            self.root.tick_every(period)?;
            self.ticks.set(period > 0);
        }
        Ok(())
    }

    pub(crate) fn answered(&self, number: u32, headers: usize, body_size: usize) {
        self.calls.answered(self.root, number, headers, body_size);
    }

    async fn exchange(
        &self,
        cluster: &str,
        request: &http::Request<Body>,
        limit: Duration,
        max_body: usize,
    ) -> Result<http::Response<Body>, SendError> {
        let began = monotonic_now();
        let timeout = u32::try_from(milliseconds(limit)).unwrap_or(u32::MAX);
        let answer = self.calls.call(self.root, cluster, request, timeout, max_body).await;
        match answer.map_err(|status| unsent(status, cluster))? {
            CallOutcome::Response(response) => match local_reply(&response) {
                Some(error) => Err(with_hint(error, request.uri(), cluster)),
                None => Ok(response),
            },
            CallOutcome::TooLarge => Err(failed(SendErrorKind::TooLarge, "the body goes on")),
            CallOutcome::Reset if monotonic_now().saturating_sub(began).saturating_add(EARLY) >= limit => {
                Err(failed(SendErrorKind::TimedOut, "no complete answer in time"))
            }
            CallOutcome::Reset => Err(failed(SendErrorKind::Truncated, "the answer was reset")),
            CallOutcome::Unreadable => Err(failed(SendErrorKind::Broken, "not an HTTP answer")),
        }
    }
}

/// Adds the statistic that counts bad certificates: Envoy does not say why a connection could not be made.
fn with_hint(error: SendError, uri: &http::Uri, cluster: &str) -> SendError {
    match error.kind {
        SendErrorKind::NotConnected if uri.scheme_str() == Some("https") => {
            let hint = format!(
                "cluster.{cluster}.ssl.fail_verify_error of the proxy's statistics counts bad certificates"
            );
            SendError { detail: format!("{}; {hint}", error.detail), ..error }
        }
        _ => error,
    }
}

fn unsent(status: Status, cluster: &str) -> SendError {
    match status {
        Status::BAD_ARGUMENT => {
            failed(SendErrorKind::Forbidden, &format!("the proxy has no cluster {cluster}"))
        }
        other => {
            failed(SendErrorKind::NotConnected, &format!("the cluster {cluster} takes no call: {other}"))
        }
    }
}

fn failed(kind: SendErrorKind, detail: &str) -> SendError {
    SendError { kind, detail: detail.to_owned() }
}

/// The variables of the environment with UTF-8 values.
pub(crate) fn environment() -> Vec<(String, String)> {
    let lines = abi::environment();
    let texts = lines.split(|byte| *byte == 0).filter_map(|line| std::str::from_utf8(line).ok());
    let pairs = texts.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The longest time by which a timeout may end early by this clock.
const EARLY: Duration = Duration::from_millis(50);

/// The time for reading a file. This proxy answers with it.
const READ_LIMIT: Duration = Duration::from_secs(5);
