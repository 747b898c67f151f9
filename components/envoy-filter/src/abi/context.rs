//! The contexts of a proxy: plugins and requests.
//!
//! In the ABI a call acts on the "effective context", which other calls change. Here each call sets its own context first,
//! so that none acts on another one.

use std::ptr::null;

use super::imports::*;
use super::{Status, given};

/// A request that passes through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream(pub(crate) u32);

/// The root context of a plugin. Calls, ticks and queues belong to it: they outlast the request that started them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Root(pub(crate) u32);

impl Stream {
    /// False after the request has ended, or after its client has hung up.
    pub(crate) fn is_there(self) -> bool {
        act_as(self.0).is_ok()
    }

    /// The value of a request header; the host chooses one of several with that name.
    pub(crate) fn header(self, name: &str) -> Result<Option<Vec<u8>>, Status> {
        act_as(self.0)?;
        found(given(|data, size| unsafe {
            proxy_get_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len(), data, size)
        }))
    }

    pub(crate) fn replace_header(self, name: &str, value: &[u8]) -> Result<(), Status> {
        act_as(self.0)?;
        Status::check(unsafe {
            proxy_replace_header_map_value(
                REQUEST_HEADERS,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        })
    }

    pub(crate) fn add_header(self, name: &str, value: &[u8]) -> Result<(), Status> {
        act_as(self.0)?;
        Status::check(unsafe {
            proxy_add_header_map_value(
                REQUEST_HEADERS,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        })
    }

    pub(crate) fn remove_header(self, name: &str) -> Result<(), Status> {
        act_as(self.0)?;
        Status::check(unsafe { proxy_remove_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len()) })
    }

    /// A property of the stream; its path has a zero byte between its parts.
    pub(crate) fn property(self, path: &str) -> Result<Option<Vec<u8>>, Status> {
        act_as(self.0)?;
        found(given(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }))
    }

    pub(crate) fn resume(self) -> Result<(), Status> {
        act_as(self.0)?;
        Status::check(unsafe { proxy_continue_stream(REQUEST) })
    }

    /// Answers a request in the place of the upstream. `details` goes to the access log.
    pub(crate) fn respond(
        self,
        status: u16,
        details: &str,
        headers: &[u8],
        body: &[u8],
    ) -> Result<(), Status> {
        act_as(self.0)?;
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
}

impl Root {
    /// False after the proxy has dropped the plugin.
    pub(crate) fn is_there(self) -> bool {
        act_as(self.0).is_ok()
    }

    /// The plugin's configuration, while the proxy configures it.
    pub(crate) fn configuration(self, max_bytes: usize) -> Result<Vec<u8>, Status> {
        self.buffer(PLUGIN_CONFIGURATION, max_bytes)
    }

    /// Sets the period in which the proxy calls the plugin, in milliseconds; zero ends the calls.
    pub(crate) fn tick_every(self, milliseconds: u32) -> Result<(), Status> {
        act_as(self.0)?;
        Status::check(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
    }

    /// Sends a request through a cluster; the number by which the proxy tells of the response.
    pub(crate) fn call(
        self,
        cluster: &str,
        headers: &[u8],
        body: &[u8],
        timeout_ms: u32,
    ) -> Result<u32, Status> {
        act_as(self.0)?;
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

    /// All headers of the response to a call, serialized, while the proxy tells of it.
    pub(crate) fn response_headers(self) -> Result<Vec<u8>, Status> {
        act_as(self.0)?;
        given(|data, size| unsafe { proxy_get_header_map_pairs(RESPONSE_HEADERS, data, size) })
    }

    /// The body of the response to a call, while the proxy tells of it.
    pub(crate) fn response_body(self, max_bytes: usize) -> Result<Vec<u8>, Status> {
        self.buffer(RESPONSE_BODY, max_bytes)
    }

    /// Makes a queue, of whose messages the proxy tells the plugin; its number.
    pub(crate) fn register_queue(self, name: &str) -> Result<u32, Status> {
        act_as(self.0)?;
        let mut queue = 0;
        Status::check(unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut queue) })?;
        Ok(queue)
    }

    fn buffer(self, buffer: i32, max_bytes: usize) -> Result<Vec<u8>, Status> {
        act_as(self.0)?;
        given(|data, size| unsafe { proxy_get_buffer_bytes(buffer, 0, max_bytes, data, size) })
    }
}

fn act_as(context: u32) -> Result<(), Status> {
    Status::check(unsafe { proxy_set_effective_context(context) })
}

fn found<T>(value: Result<T, Status>) -> Result<Option<T>, Status> {
    match value {
        Ok(value) => Ok(Some(value)),
        Err(Status::NOT_FOUND) => Ok(None),
        Err(status) => Err(status),
    }
}

/// The request half of a stream.
const REQUEST: i32 = 0;
const REQUEST_HEADERS: i32 = 0;
/// The headers of a call's response.
const RESPONSE_HEADERS: i32 = 6;
const RESPONSE_BODY: i32 = 4;
const PLUGIN_CONFIGURATION: i32 = 7;
const NO_GRPC_STATUS: i32 = -1;
