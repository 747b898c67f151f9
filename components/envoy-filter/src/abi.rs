//! The ABI of proxy-wasm 0.2.1: what the host offers, as functions that are safe to call and never panic.
//!
//! <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>
//!
//! Not the SDK's: its dispatcher drops the answer to a call whose context is gone, and panics on what it did not expect
//! of a host. A panic is a trap, after which Envoy answers 503 to everything.

#![allow(unsafe_code, reason = "the boundary to the host")]
#![allow(clippy::too_many_arguments, reason = "the ABI has them")]

use std::alloc::{Layout, alloc};
use std::ptr::{null, null_mut};

/// What a host says to a call that it did not do.
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

/// What to do with a stream whose headers came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Action {
    Continue = 0,
    Pause = 1,
}

/// Headers, by whose they are.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(crate) enum Headers {
    OfRequest = 0,
    OfCallResponse = 6,
}

/// Bytes that the host holds.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(crate) enum Buffer {
    CallResponseBody = 4,
    PluginConfiguration = 7,
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
    /// Since the Unix epoch.
    Real = 0,
    /// That nobody sets, the same for all VMs.
    Monotonic = 1,
}

pub(crate) fn log(level: i32, text: &str) {
    // A log that cannot be written must not end the filter.
    let _ = unsafe { proxy_log(level, text.as_ptr(), text.len()) };
}

/// Act in the name of a context from now on, until the host calls in again.
pub(crate) fn act_as(context: u32) -> Result<(), Status> {
    Status::check(unsafe { proxy_set_effective_context(context) })
}

/// Call the root context after so many milliseconds, and again after as many; zero: no more.
pub(crate) fn tick_every(milliseconds: u32) -> Result<(), Status> {
    Status::check(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
}

pub(crate) fn buffer(buffer: Buffer, max_bytes: usize) -> Result<Vec<u8>, Status> {
    given(|data, size| unsafe { proxy_get_buffer_bytes(buffer as i32, 0, max_bytes, data, size) })
}

/// The value of a header; of several of that name, the host's choice.
pub(crate) fn header(of: Headers, name: &str) -> Result<Vec<u8>, Status> {
    given(|data, size| unsafe {
        proxy_get_header_map_value(of as i32, name.as_ptr(), name.len(), data, size)
    })
}

/// All headers, serialized.
pub(crate) fn headers(of: Headers) -> Result<Vec<u8>, Status> {
    given(|data, size| unsafe { proxy_get_header_map_pairs(of as i32, data, size) })
}

pub(crate) fn replace_request_header(name: &str, value: &[u8]) -> Result<(), Status> {
    let of = Headers::OfRequest as i32;
    Status::check(unsafe {
        proxy_replace_header_map_value(of, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

pub(crate) fn remove_request_header(name: &str) -> Result<(), Status> {
    let of = Headers::OfRequest as i32;
    Status::check(unsafe { proxy_remove_header_map_value(of, name.as_ptr(), name.len()) })
}

pub(crate) fn add_request_header(name: &str, value: &[u8]) -> Result<(), Status> {
    let of = Headers::OfRequest as i32;
    Status::check(unsafe {
        proxy_add_header_map_value(of, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// A property of the stream; its path has a zero byte between its parts.
pub(crate) fn property(path: &str) -> Result<Vec<u8>, Status> {
    given(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Let a request go on that was paused.
pub(crate) fn resume_request() -> Result<(), Status> {
    Status::check(unsafe { proxy_continue_stream(REQUEST) })
}

/// Answer a request in the place of whom it was for. `details` is for the host's access log.
pub(crate) fn respond(status: u16, details: &str, headers: &[u8], body: &str) -> Result<(), Status> {
    Status::check(unsafe {
        proxy_send_local_response(
            status.into(),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    })
}

/// Send a request through a cluster. The answer comes under the number that is returned.
pub(crate) fn call(cluster: &str, headers: &[u8], body: &[u8], timeout_ms: u32) -> Result<u32, Status> {
    let mut number = 0;
    Status::check(unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            null(),
            0,
            timeout_ms,
            &raw mut number,
        )
    })?;
    Ok(number)
}

/// What the VMs share under a key, and its version.
pub(crate) fn shared(key: &str) -> Result<(Vec<u8>, u32), Status> {
    let mut version = 0;
    let value = given(|data, size| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version)
    })?;
    Ok((value, version))
}

/// Share a value, if what is there has this version, or if nothing was ever there; version 0: in any case.
pub(crate) fn share(key: &str, value: &[u8], version: u32) -> Result<(), Status> {
    Status::check(unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version)
    })
}

/// Make a queue, whose messages the current root context is told of.
pub(crate) fn register_queue(name: &str) -> Result<u32, Status> {
    let mut queue = 0;
    Status::check(unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut queue) })?;
    Ok(queue)
}

/// The oldest message of a queue.
pub(crate) fn dequeue(queue: u32) -> Result<Vec<u8>, Status> {
    given(|data, size| unsafe { proxy_dequeue_shared_queue(queue, data, size) })
}

pub(crate) fn enqueue(queue: u32, message: &[u8]) -> Result<(), Status> {
    Status::check(unsafe { proxy_enqueue_shared_queue(queue, message.as_ptr(), message.len()) })
}

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

/// Fill with bytes that nobody can guess. False if the host has none.
pub(crate) fn random(bytes: &mut [u8]) -> bool {
    unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) == 0 }
}

/// Nanoseconds of a clock; zero if the host has none.
pub(crate) fn nanoseconds(clock: Clock) -> u64 {
    let mut time = 0;
    let _ = unsafe { clock_time_get(clock as i32, 1, &raw mut time) };
    time
}

/// The lines `NAME=value` of the environment, each with a zero byte behind it; nothing if the host does not tell.
///
/// Not the standard library's: its C library ends the process where this fails.
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

/// Memory that the host fills and then gives away; null if there is none.
pub(crate) fn allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size) {
        // To allocate nothing is not allowed.
        Ok(layout) if size > 0 => unsafe { alloc(layout) },
        _ => null_mut(),
    }
}

/// What a host gave by way of [`allocate`].
fn given(call: impl FnOnce(*mut *mut u8, *mut usize) -> i32) -> Result<Vec<u8>, Status> {
    let (mut data, mut size) = (null_mut::<u8>(), 0);
    Status::check(call(&raw mut data, &raw mut size))?;
    if data.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    // Allocated above with this size, and given away.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// The functions of a host. There is none where tests run: each then says that it does nothing.
macro_rules! imports {
    ($($module:literal { $(fn $name:ident($($argument:ident: $of:ty),*);)* })*) => {$(
        #[cfg(target_arch = "wasm32")]
        #[link(wasm_import_module = $module)]
        unsafe extern "C" {
            $(fn $name($($argument: $of),*) -> i32;)*
        }
        $(
            #[cfg(not(target_arch = "wasm32"))]
            unsafe fn $name($(_: $of),*) -> i32 {
                UNIMPLEMENTED
            }
        )*
    )*};
}

imports! {
    "env" {
        fn proxy_log(level: i32, text: *const u8, text_size: usize);
        fn proxy_set_effective_context(context: u32);
        fn proxy_set_tick_period_milliseconds(period: u32);
        fn proxy_get_buffer_bytes(buffer: i32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize);
        fn proxy_get_header_map_value(
            map: i32, name: *const u8, name_size: usize, data: *mut *mut u8, size: *mut usize
        );
        fn proxy_get_header_map_pairs(map: i32, data: *mut *mut u8, size: *mut usize);
        fn proxy_replace_header_map_value(
            map: i32, name: *const u8, name_size: usize, value: *const u8, value_size: usize
        );
        fn proxy_remove_header_map_value(map: i32, name: *const u8, name_size: usize);
        fn proxy_add_header_map_value(
            map: i32, name: *const u8, name_size: usize, value: *const u8, value_size: usize
        );
        fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize);
        fn proxy_continue_stream(stream: i32);
        fn proxy_send_local_response(
            status: u32, details: *const u8, details_size: usize, body: *const u8, body_size: usize,
            headers: *const u8, headers_size: usize, grpc_status: i32
        );
        fn proxy_http_call(
            cluster: *const u8, cluster_size: usize, headers: *const u8, headers_size: usize,
            body: *const u8, body_size: usize, trailers: *const u8, trailers_size: usize,
            timeout_ms: u32, number: *mut u32
        );
        fn proxy_get_shared_data(
            key: *const u8, key_size: usize, data: *mut *mut u8, size: *mut usize, version: *mut u32
        );
        fn proxy_set_shared_data(
            key: *const u8, key_size: usize, value: *const u8, value_size: usize, version: u32
        );
        fn proxy_register_shared_queue(name: *const u8, name_size: usize, queue: *mut u32);
        fn proxy_dequeue_shared_queue(queue: u32, data: *mut *mut u8, size: *mut usize);
        fn proxy_enqueue_shared_queue(queue: u32, message: *const u8, message_size: usize);
        fn proxy_define_metric(kind: i32, name: *const u8, name_size: usize, metric: *mut u32);
        fn proxy_increment_metric(metric: u32, count: i64);
        fn proxy_record_metric(metric: u32, value: u64);
    }
    "wasi_snapshot_preview1" {
        fn environ_sizes_get(count: *mut usize, size: *mut usize);
        fn environ_get(pointers: *mut *mut u8, lines: *mut u8);
        fn clock_time_get(clock: i32, precision: u64, time: *mut u64);
        fn random_get(bytes: *mut u8, size: usize);
    }
}

#[cfg(not(target_arch = "wasm32"))]
const UNIMPLEMENTED: i32 = 12;
const REQUEST: i32 = 0;
/// In variables, and in bytes.
const MAX_ENVIRONMENT: usize = 1 << 20;
const NO_GRPC_STATUS: i32 = -1;
