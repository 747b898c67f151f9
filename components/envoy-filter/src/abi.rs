//! The ABI of proxy-wasm 0.2.1: the functions of the host, safe to call and without panics.
//!
//! <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>
//!
//! The SDK is not used: its dispatcher drops the answer to a call whose context is gone, and panics on an unexpected call
//! of the host. A panic is a trap, after which Envoy answers 503 to every request.

#![allow(unsafe_code, reason = "the boundary to the host")]
#![allow(clippy::too_many_arguments, reason = "the ABI has them")]

mod context;
mod imports;
pub(crate) mod pairs;

use std::alloc::{Layout, alloc};
use std::ptr::null_mut;
use std::time::Duration;

pub(crate) use self::context::{Root, Stream};
use self::imports::*;

/// The status of a call that the host refused or that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(i32);

impl Status {
    pub(crate) const NOT_FOUND: Self = Self(1);
    pub(crate) const BAD_ARGUMENT: Self = Self(2);
    pub(crate) const CAS_MISMATCH: Self = Self(8);

    fn check(status: i32) -> Result<(), Self> {
        if status == 0 { Ok(()) } else { Err(Self(status)) }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {} of the proxy", self.0)
    }
}

/// The way of a stream after its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Action {
    Continue = 0,
    Pause = 1,
}

/// A metric of the host.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(crate) enum MetricKind {
    Counter = 0,
    Gauge = 1,
}

/// A clock of the host.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(crate) enum Clock {
    /// The time since the Unix epoch.
    Real = 0,
    /// A clock that is never set, the same for all VMs.
    Monotonic = 1,
}

pub(crate) fn log(level: i32, text: &str) {
    // A failure to log must not end the filter.
    let _ = unsafe { proxy_log(level, text.as_ptr(), text.len()) };
}

/// The value that the VMs share under a key, and its version.
pub(crate) fn shared(key: &str) -> Result<(Vec<u8>, u32), Status> {
    let mut version = 0;
    let value = given(|data, size| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version)
    })?;
    Ok((value, version))
}

/// Shares a value if the value there has this version, or if there was never one. With version 0, in any case.
pub(crate) fn share(key: &str, value: &[u8], version: u32) -> Result<(), Status> {
    Status::check(unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version)
    })
}

/// Takes the oldest message of a queue.
pub(crate) fn dequeue(queue: u32) -> Result<Vec<u8>, Status> {
    given(|data, size| unsafe { proxy_dequeue_shared_queue(queue, data, size) })
}

pub(crate) fn enqueue(queue: u32, message: &[u8]) -> Result<(), Status> {
    Status::check(unsafe { proxy_enqueue_shared_queue(queue, message.as_ptr(), message.len()) })
}

/// Defines a metric; its number.
pub(crate) fn define_metric(kind: MetricKind, name: &str) -> Result<u32, Status> {
    let mut metric = 0;
    Status::check(unsafe { proxy_define_metric(kind as i32, name.as_ptr(), name.len(), &raw mut metric) })?;
    Ok(metric)
}

pub(crate) fn add_to_metric(metric: u32, count: i64) -> Result<(), Status> {
    Status::check(unsafe { proxy_increment_metric(metric, count) })
}

pub(crate) fn set_metric(metric: u32, value: u64) -> Result<(), Status> {
    Status::check(unsafe { proxy_record_metric(metric, value) })
}

/// Fills a slice with bytes of a cryptographic source. False if the host has none.
pub(crate) fn random(bytes: &mut [u8]) -> bool {
    unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) == 0 }
}

pub(crate) fn time(clock: Clock) -> Result<Duration, Status> {
    let mut nanoseconds = 0;
    Status::check(unsafe { clock_time_get(clock as i32, 1, &raw mut nanoseconds) })?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// The lines `NAME=value` of the environment, each with a zero byte after it; empty if the host does not give them.
///
/// The standard library is not used: its C library ends the process where this fails.
pub(crate) fn environment() -> Vec<u8> {
    let (mut count, mut size) = (0, 0);
    let sizes = Status::check(unsafe { environ_sizes_get(&raw mut count, &raw mut size) });
    if sizes.is_err() || count > MAX_ENVIRONMENT || size > MAX_ENVIRONMENT {
        return Vec::new();
    }
    let (mut pointers, mut lines) = (vec![null_mut::<u8>(); count], vec![0; size]);
    let status = unsafe { environ_get(pointers.as_mut_ptr(), lines.as_mut_ptr()) };
    if status == 0 { lines } else { Vec::new() }
}

/// Memory for a value that the host gives; null if there is none.
pub(crate) fn allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        // An allocation of zero bytes is undefined behaviour.
        Ok(layout) if size > 0 => unsafe { alloc(layout) },
        _ => null_mut(),
    }
}

/// The value that a call of the host gives, in memory of [`allocate`].
fn given(call: impl FnOnce(*mut *mut u8, *mut usize) -> i32) -> Result<Vec<u8>, Status> {
    let (mut data, mut size) = (null_mut::<u8>(), 0);
    Status::check(call(&raw mut data, &raw mut size))?;
    if data.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    // Allocated above with this size, and owned by the filter now.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// The most variables, and the most bytes.
const MAX_ENVIRONMENT: usize = 1 << 20;
