//! The trait through which the core reaches the outside world, and its contract.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use super::log::Record;
use super::secret::Secret;

/// The body of a request or response. It may contain a secret, so it is treated as one.
pub type Body = secrecy::SecretSlice<u8>;

/// The environment in which the core runs.
///
/// An implementation guarantees:
/// - **Secrecy**: bodies and header values are never logged, and never part of an error.
/// - **Limits**: the limits of [`send`](Host::send) and [`read`](Host::read) are enforced, even against a peer that
///   sends one byte at a time.
/// - **Framing**: a request with a body is sent with its `content-length`, and never chunked: Entra answers 404 to a
///   chunked request. A request without a body is sent without a body.
/// - **No redirects, proxies, cookies or retries**: a 3xx status is a response like any other.
///
/// Futures need not be `Send`: the core is single-threaded. Different tasks may poll the same future.
pub trait Host: 'static {
    /// The time since the Unix epoch by the host's clock, which may jump.
    fn now(&self) -> Duration;

    /// Sends a request and reads the whole response, within the limits.
    ///
    /// # Errors
    /// A [`SendError`] if there is no complete response. An HTTP status is never an error.
    fn send(
        &self,
        request: http::Request<Body>,
        limits: Limits,
    ) -> impl Future<Output = Result<http::Response<Body>, SendError>>;

    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;

    /// 64 bits from a cryptographically secure generator, which never repeats its output: the sealing of store entries
    /// depends on it. Zero, in tests, disables jitter.
    fn random(&self) -> u64;

    /// Reads a UTF-8 text file of at most `max_bytes`.
    ///
    /// # Errors
    /// A [`ReadError`] if the file is longer, is not UTF-8, or is a symbolic link and `links` refuses links.
    fn read(
        &self,
        path: &str,
        max_bytes: usize,
        links: Links,
    ) -> impl Future<Output = Result<Secret, ReadError>>;

    /// Writes a record to the host's log. The record has passed the configured level.
    fn log(&self, record: &Record<'_>);
}

/// The limits of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time until the connection is established.
    pub connect: Duration,
    /// The time until the last byte of the response. Never zero.
    pub total: Duration,
    /// The size of the response body, in bytes.
    pub body: usize,
}

/// The reason why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError {
    /// The kind of failure.
    pub kind: SendErrorKind,
    /// The host's description, without any part of the request or the response.
    pub detail: String,
}

/// The kind of a [`SendError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendErrorKind {
    /// No connection: refused, unreachable, unknown name, or the connect limit has passed. Nothing was sent.
    NotConnected,
    /// The host does not allow requests to this address. Nothing was sent.
    Forbidden,
    /// The host does not support such a request. Nothing was sent.
    Unsendable,
    /// The host is configured wrongly, for example without the user and the password that its proxy wants. Nothing was
    /// sent.
    Unconfigured,
    /// The total limit has passed. The request may have been received.
    TimedOut,
    /// The peer's certificate is not trusted. Nothing was sent.
    Untrusted,
    /// The connection was lost before the response began. The request may have been received.
    Broken,
    /// The response ended before it was complete.
    Truncated,
    /// The response is larger than the limit.
    TooLarge,
}

/// Whether a file may be a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Links are followed: Kubernetes updates mounted files by replacing a link.
    Follow,
    /// Links are refused: a link could lead to a file that must not be sent.
    Refuse,
}

/// The reason why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no such file.
    NotFound,
    /// The file is larger than the limit.
    TooLarge,
    /// A symbolic link in the path leads out of the directories that the host exposes.
    Outside,
    /// Another error, in the host's words, without the content of the file.
    Other(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such file",
            Self::TooLarge => "it is too large",
            Self::Outside => "a symbolic link leads out of the directory that the host shows to the broker",
            Self::Other(text) => text,
        })
    }
}
