//! The host of the core, made of WASI 0.2, and a store that is none.

use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

use token_broker::{Body, Host, Limits, Links, ReadError, Record, Secret, SendError, Store, StoreError};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::random::random;

use crate::poll::ready;
use crate::{file, http};

pub(crate) struct Wasi;

impl Host for Wasi {
    fn now(&self) -> Duration {
        let now = wall_clock::now();
        Duration::new(now.seconds, now.nanoseconds)
    }

    fn send(
        &self,
        request: ::http::Request<Body>,
        limits: Limits,
    ) -> impl Future<Output = Result<::http::Response<Body>, SendError>> {
        http::send(request, limits)
    }

    async fn sleep(&self, duration: Duration) {
        ready(monotonic_clock::subscribe_duration(nanoseconds(duration))).await;
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

/// The world of WASI 0.2 lends no store. Without `TOKEN_BROKER_STORE_KEY` the broker never calls this one, and with it
/// the answer says plainly that there is none.
pub(crate) struct NoStore;

impl Store for NoStore {
    async fn get(&self, _key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Err(no_store())
    }

    async fn set(&self, _key: &str, _value: Vec<u8>, _ttl: Duration) -> Result<(), StoreError> {
        Err(no_store())
    }

    async fn add(&self, _key: &str, _value: Vec<u8>, _ttl: Duration) -> Result<bool, StoreError> {
        Err(no_store())
    }

    async fn delete(&self, _key: &str, _value: &[u8]) -> Result<(), StoreError> {
        Err(no_store())
    }
}

fn no_store() -> StoreError {
    StoreError::Unavailable("this host has no store".to_owned())
}
