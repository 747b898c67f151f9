//! The host of the core, made of WASI 0.3.

use std::fs::{File, symlink_metadata};
use std::future::Future;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use token_broker::{Body, Host, Limits, Links, ReadError, Record, Secret, SendError};
use wasip3::clocks::{monotonic_clock, system_clock};
use wasip3::random::random;

use crate::http;

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
        read(path, max_bytes, links)
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

#[allow(clippy::disallowed_methods, reason = "this is the effect behind Host::read")]
fn read(path: &str, max_bytes: usize, links: Links) -> Result<Secret, ReadError> {
    // A link put there after this look would still have to lead to what the host shows.
    if links == Links::Refuse && symlink_metadata(path).map_err(unreadable)?.is_symlink() {
        return Err(ReadError::Other("it is a symbolic link".to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    let one_more = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    file.take(one_more).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() > max_bytes { Err(ReadError::TooLarge) } else { Ok(text.into()) }
}

fn unreadable(error: std::io::Error) -> ReadError {
    match error.kind() {
        ErrorKind::NotFound => ReadError::NotFound,
        _ => ReadError::Other(error.to_string()),
    }
}
