//! HTTP as WASI has it: bodies, and the reasons for which there is no answer.

use std::future::Future;
use std::io;

use wasmtime_wasi_http::p3::bindings::http::types::{DnsErrorPayload, ErrorCode};

/// The reason for which there is no HTTP answer, in WASI's cases.
pub use wasmtime_wasi_http::Error as HttpError;
/// The body of an HTTP answer.
pub use wasmtime_wasi_http::WasiBody;

/// The answer, and what drives the connection until its body has been read.
pub(crate) type Sent =
    Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>), HttpError>;

/// The WASI error for a failure to connect.
pub(crate) fn connect_error(error: &io::Error) -> ErrorCode {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            ErrorCode::DestinationUnavailable
        }
        io::ErrorKind::TimedOut => ErrorCode::ConnectionTimeout,
        // A look-up that failed has no kind of its own, and no error of the operating system's either.
        _ if error.raw_os_error().is_none() => {
            ErrorCode::DnsError(DnsErrorPayload { rcode: None, info_code: None })
        }
        _ => ErrorCode::InternalError(Some(format!("no connection: {error}"))),
    }
}

/// The WASI error for a failure on a connection.
pub(crate) fn hyper_error(error: &hyper::Error) -> ErrorCode {
    if error.is_parse_too_large() {
        ErrorCode::HttpResponseHeaderSectionSize(None)
    } else if error.is_parse() {
        ErrorCode::HttpProtocolError
    } else {
        ErrorCode::ConnectionTerminated
    }
}
