//! The core's host on WASI, apart from the functions that differ between its versions.

use std::future::Future;
use std::time::Duration;

use token_broker::{Body, Host, Limits, Links, ReadError, Record, Secret, SendError};

use crate::exchange::within;
use crate::{file, http, log, wasi};

/// A host made of WASI's clocks, HTTP client, random numbers and files.
pub(crate) struct Wasi;

impl Host for Wasi {
    fn now(&self) -> Duration {
        wasi::now()
    }

    fn send(
        &self,
        request: ::http::Request<Body>,
        limits: Limits,
    ) -> impl Future<Output = Result<::http::Response<Body>, SendError>> {
        within(limits, http::exchange(request, limits))
    }

    async fn sleep(&self, duration: Duration) {
        wasi::sleep(duration).await;
    }

    fn random(&self) -> u64 {
        wasi::random()
    }

    async fn read(&self, path: &str, max_bytes: usize, links: Links) -> Result<Secret, ReadError> {
        file::read(path, max_bytes, links)
    }

    fn log(&self, record: &Record<'_>) {
        log::write(&record.to_json(self.now()));
    }
}
