//! The host of the core, made of WASI 0.3.

use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

use token_broker::{Body, Host, Limits, Links, ReadError, Record, Secret, SendError};
use wasip3::clocks::{monotonic_clock, system_clock};
use wasip3::random::random;

use crate::{file, http};

pub(crate) struct Wasi;

impl Host for Wasi {
    fn now(&self) -> Duration {
        let now = system_clock::now();
        Duration::new(u64::try_from(now.seconds).unwrap_or(0), now.nanoseconds)
    }

    fn send(
        &self,
        request: ::http::Request<Body>,
        limits: Limits,
    ) -> impl Future<Output = Result<::http::Response<Body>, SendError>> {
        http::send(request, limits)
    }

    async fn sleep(&self, duration: Duration) {
        monotonic_clock::wait_for(nanoseconds(duration)).await;
    }

    fn random(&self) -> u64 {
        random::get_random_u64()
    }

    async fn read(&self, path: &str, max_bytes: usize, links: Links) -> Result<Secret, ReadError> {
        file::read(path, max_bytes, links)
    }

    fn log(&self, record: &Record<'_>) {
        // A log that cannot be written must not end the broker.
        let _ = writeln!(std::io::stderr(), "{}", record.to_json(self.now()));
    }
}

/// Never zero: to some hosts a timeout of zero is a reason to trap.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}
