//! The two traits through which the core touches the world, and what an implementer owes them.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::log::Record;
use crate::token::Secret;

/// The bytes of a request or of an answer. They may hold a secret, so they are one.
pub type Body = secrecy::SecretSlice<u8>;

/// Everything the core needs from where it runs.
///
/// An implementer owes:
/// - **secrecy**: no body and no header value is ever logged, and none is put into an error;
/// - **bounds**: the limits given to [`send`](Host::send) and [`read`](Host::read) are enforced, also against a
///   peer that sends one byte at a time;
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

/// A duration in whole milliseconds, as logs, WIT and query strings want it.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
    /// Anything else, in the host's words, without the file's content.
    Other(String),
}

/// A place shared by broker instances, as the interface `store` of the contract says.
pub trait Store: 'static {
    /// The value under a key, or none when there is none or it has ended.
    ///
    /// # Errors
    /// A [`StoreError`]; the broker then serves itself.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>>;

    /// Put a value under a key, whatever was there, for a time.
    ///
    /// # Errors
    /// A [`StoreError`]; the broker then serves itself.
    fn set(&self, key: &str, value: Vec<u8>, ttl: Duration) -> impl Future<Output = Result<(), StoreError>>;

    /// Put a value under a key only if nothing is there, for a time. True if it was put.
    ///
    /// # Errors
    /// A [`StoreError`]; the broker then serves itself.
    fn add(&self, key: &str, value: Vec<u8>, ttl: Duration)
    -> impl Future<Output = Result<bool, StoreError>>;

    /// Remove what is under a key, if it is this value: nobody ends another's lease.
    ///
    /// # Errors
    /// A [`StoreError`]; the broker then serves itself.
    fn delete(&self, key: &str, value: &[u8]) -> impl Future<Output = Result<(), StoreError>>;

    /// Wait until something may have changed since this was called, so that whoever waits for another instance need not
    /// wait for its next look. A store that does not know never says so.
    fn changed(&self) -> impl Future<Output = ()> {
        std::future::pending()
    }
}

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The store cannot be reached now.
    Unavailable(String),
    /// The host does not let us use the store.
    AccessDenied(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(words) => write!(f, "it cannot be reached: {words}"),
            Self::AccessDenied(words) => write!(f, "it may not be used: {words}"),
            Self::Other(words) => f.write_str(words),
        }
    }
}
