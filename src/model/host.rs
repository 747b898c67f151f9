//! The trait through which the core touches the world, and what an implementer owes it.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use super::log::Record;
use super::secret::Secret;

/// The bytes of a request or of an answer. They may hold a secret, so they are one.
pub type Body = secrecy::SecretSlice<u8>;

/// Everything the core needs from where it runs.
///
/// An implementer owes:
/// - **secrecy**: no body and no header value is ever logged, and none is put into an error;
/// - **bounds**: the limits given to [`send`](Host::send) and [`read`](Host::read) are enforced, also against a
///   peer that sends one byte at a time;
/// - **framing**: the `content-length` that a request with a body has reaches the peer, and no chunks do: Entra answers
///   404 to a request in chunks. One without a body is sent without any;
/// - **no redirects**, no proxy, no cookies, no retries: a 3xx is an answer like any other.
///
/// Futures need not be `Send`: the core is single-threaded. A future may be polled by one task and later by another.
pub trait Host: 'static {
    /// The time since the Unix epoch by this host's clock. It may jump.
    fn now(&self) -> Duration;

    /// Send a request and read the whole answer, within the limits.
    ///
    /// # Errors
    /// A [`SendError`] that says whether the request may have reached the peer. An HTTP status is never an error.
    fn send(
        &self,
        request: http::Request<Body>,
        limits: Limits,
    ) -> impl Future<Output = Result<http::Response<Body>, SendError>>;

    /// Wait.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;

    /// Random bits of a cryptographic source, never the same twice: what is sealed for a store depends on it. All zeros,
    /// in a test, means: no jitter.
    fn random(&self) -> u64;

    /// The text of a file of at most `max_bytes`.
    ///
    /// # Errors
    /// A [`ReadError`], also for a file that is longer or is not UTF-8, or is a link where links are refused.
    fn read(
        &self,
        path: &str,
        max_bytes: usize,
        links: Links,
    ) -> impl Future<Output = Result<Secret, ReadError>>;

    /// Write a record that passed the configured level to wherever this host keeps its log.
    fn log(&self, record: &Record<'_>);
}

/// What one try may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until the connection stands.
    pub connect: Duration,
    /// From the first step to the last byte. Never zero.
    pub total: Duration,
    /// The longest body that is read, in bytes.
    pub body: usize,
}

/// Why there is no HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError {
    /// What happened, as far as it changes what to do.
    pub kind: SendErrorKind,
    /// The host's words for it, without anything that was sent or received.
    pub detail: String,
}

/// What happened to a request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendErrorKind {
    /// No connection: refused, unreachable, unknown name, or the connect limit passed. The peer saw nothing.
    NotConnected,
    /// The host does not let us send there. The peer saw nothing.
    Forbidden,
    /// The host cannot make such a request at all. The peer saw nothing.
    Unsendable,
    /// The total limit passed. The peer may have seen the request.
    TimedOut,
    /// The peer's certificate is not trusted. The peer saw nothing.
    Untrusted,
    /// The connection broke before an answer began. The peer may have seen the request.
    Broken,
    /// The answer ended before it was complete.
    Truncated,
    /// The answer is longer than the limit.
    TooLarge,
}

/// Whether a file may be a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// It may: Kubernetes replaces mounted files by moving a link.
    Follow,
    /// It must be the file itself: a link could lead to one that was never meant to be sent.
    Refuse,
}

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// There is no such file.
    NotFound,
    /// The file is longer than was allowed.
    TooLarge,
    /// A symbolic link on the way to it leads out of the directories that the host shows.
    Outside,
    /// Anything else, in the host's words, without the file's content.
    Other(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such file",
            Self::TooLarge => "it is too large",
            Self::Outside => "a symbolic link leads out of the directory that the host shows to the broker",
            Self::Other(words) => words,
        })
    }
}
