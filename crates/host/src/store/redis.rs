//! A store in Redis, or in another server with its protocol.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Script, ServerErrorKind, TlsCertificates,
};
use token_broker::StoreError;
use tokio::time::error::Elapsed;
use wasmtime::Result;
use wasmtime::error::format_err;

use crate::store::{MAX_VALUE, Store, StoreFuture};

/// A [`Store`] in a Redis that brokers of many processes and machines share.
///
/// An entry is a string with a time to live: `SET` with `PX`, for the lease with `NX`. A script compares a lease and
/// removes it. An access list must allow keys that begin with `token-broker-`, and the commands `GETRANGE`, `SET`,
/// `EVALSHA`, `EVAL`, `GET` and `DEL`. Works with one server or a proxy in front of several, and not with a cluster.
/// Clones share the connection.
#[derive(Clone)]
pub struct RedisStore {
    client: Client,
    connection: Arc<Mutex<Option<Link>>>,
    delete: Script,
}

/// A connection, or the making of one, that all operations share.
#[derive(Clone)]
struct Link {
    manager: ConnectionManager,
    made: Instant,
}

impl RedisStore {
    /// A store by its URL: `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS with the public
    /// authorities. Connects at first use, and again after the connection is lost or does not answer.
    ///
    /// With `rediss://`, installs ring as the provider of rustls in a process that has none.
    ///
    /// # Errors
    /// The URL has another form. The error does not repeat it, since it may hold a password.
    pub fn new(url: &str) -> Result<Self> {
        provide_cryptography(url);
        Ok(Self::over(Client::open(url).map_err(|_| no_url())?))
    }

    /// As [`RedisStore::new`], for a server whose certificate is from these authorities, in PEM.
    ///
    /// # Errors
    /// As [`RedisStore::new`], and if the URL is not `rediss://` or there is no certificate in the PEM.
    pub fn trusting(url: &str, roots: impl Into<Vec<u8>>) -> Result<Self> {
        provide_cryptography(url);
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(roots.into()) };
        let client = Client::build_with_tls(url, certificates);
        Ok(Self::over(client.map_err(|error| match error.kind() {
            ErrorKind::InvalidClientConfig if url.starts_with("rediss://") => {
                format_err!("the certificates of Redis' authorities are not in PEM; fix: pass them in PEM")
            }
            _ => no_url(),
        })?))
    }

    fn over(client: Client) -> Self {
        Self { client, connection: Arc::default(), delete: Script::new(DELETE_IF_EQUAL) }
    }

    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> std::result::Result<T, StoreError> {
        let mut link = self.link()?;
        let answer = tokio::time::timeout(RESPONSE, command.query_async(&mut link.manager)).await;
        self.outcome(&link, answer)
    }

    /// The current connection, or a new one. A task of its own makes it, even if the operation gives up early.
    fn link(&self) -> std::result::Result<Link, StoreError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = connection.as_ref() {
            return Ok(link.clone());
        }
        // The broker itself repeats operations.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None);
        let manager = ConnectionManager::new_lazy_with_config(self.client.clone(), config);
        let link = Link { manager: manager.map_err(store_error)?, made: Instant::now() };
        Ok(connection.insert(link).clone())
    }

    /// The outcome of an operation. Gives up a half-open connection, which never answers, and one that could not be
    /// made.
    fn outcome<T>(
        &self,
        link: &Link,
        answer: std::result::Result<RedisResult<T>, Elapsed>,
    ) -> std::result::Result<T, StoreError> {
        let (gone, outcome) = match answer {
            Ok(Ok(value)) => (false, Ok(value)),
            Ok(Err(error)) => (!is_an_answer(&error), Err(store_error(error))),
            Err(_) => {
                let words =
                    format!("Redis did not answer within {} ms; fix: {CHECK_SERVER}", RESPONSE.as_millis());
                (link.made.elapsed() > CONNECT, Err(StoreError::Unavailable(words)))
            }
        };
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.take_if(|there| gone && there.made == link.made);
        outcome
    }
}

impl Store for RedisStore {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            // A longer value must not fill the memory. Only a missing value is empty.
            let most = isize::try_from(MAX_VALUE).unwrap_or(isize::MAX);
            let value: Vec<u8> = self.run(&Cmd::getrange(key, 0, most)).await?;
            Ok(Some(value).filter(|value| !value.is_empty()))
        })
    }

    fn set<'a>(&'a self, key: &'a str, value: Vec<u8>, ttl: Duration) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.run(put(key, value).arg("PX").arg(milliseconds(ttl))).await })
    }

    fn add<'a>(&'a self, key: &'a str, value: Vec<u8>, ttl: Duration) -> StoreFuture<'a, bool> {
        Box::pin(async move { self.run(put(key, value).arg("NX").arg("PX").arg(milliseconds(ttl))).await })
    }

    fn delete<'a>(&'a self, key: &'a str, value: &'a [u8]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut link = self.link()?;
            let mut delete = self.delete.key(key);
            let deleted = delete.arg(value).invoke_async(&mut link.manager);
            let answer = tokio::time::timeout(RESPONSE, deleted).await;
            self.outcome(&link, answer)
        })
    }
}

/// A connection knows its password.
impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisStore")
    }
}

fn put(key: &str, value: Vec<u8>) -> Cmd {
    let mut command = redis::cmd("SET");
    command.arg(key).arg(value);
    command
}

/// Redis refuses a time to live of nothing.
fn milliseconds(ttl: Duration) -> u64 {
    token_broker::milliseconds(ttl).max(1)
}

fn store_error(error: RedisError) -> StoreError {
    let with = |fix: &str| format!("{error}; fix: {fix}");
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            StoreError::AccessDenied(with("correct the user and the password in the URL"))
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => StoreError::AccessDenied(with(
            "allow the user the keys that begin with token-broker-, and the commands GETRANGE, SET, EVALSHA, EVAL, GET \
             and DEL",
        )),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            StoreError::Other(with("name the primary server in the URL"))
        }
        ErrorKind::Server(ServerErrorKind::ResponseError) | ErrorKind::UnexpectedReturnType => {
            StoreError::Other(with(
                "use a server with the commands of Redis, and let brokers alone write to its keys",
            ))
        }
        _ => StoreError::Unavailable(with(CHECK_SERVER)),
    }
}

/// Whether the error is the server's own answer.
fn is_an_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::UnexpectedReturnType | ErrorKind::Extension)
}

fn no_url() -> wasmtime::Error {
    format_err!("the URL of Redis is invalid; fix: write it like rediss://user:password@redis.example:6380/0")
}

/// Where two are compiled in and none is installed, rustls would panic.
fn provide_cryptography(url: &str) {
    if url.starts_with("rediss://") {
        // An error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// The fix for a server that does not answer.
const CHECK_SERVER: &str = "check the URL of the server, its load and the network between";
/// The limit for making a connection. Operations give up before, and later ones find it made.
const CONNECT: Duration = Duration::from_secs(2);
/// Shorter than the broker waits for an operation: after that, nobody is left to notice a dead connection.
const RESPONSE: Duration = Duration::from_millis(400);

const DELETE_IF_EQUAL: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
