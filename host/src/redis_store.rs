//! A store that a fleet shares: Redis, or whatever speaks its protocol.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind};
use token_broker::StoreError;
use wasmtime::Result;
use wasmtime::error::format_err;

use crate::store::{BoxFuture, Store};

/// A [`Store`] in a Redis that brokers of many processes and machines share.
///
/// An entry is a string with a time to live: `SET` with `PX`, for the lease with `NX`. A lease is removed by a script that
/// compares it first. The names of all entries begin with `token-broker-`, which is what an access list has to allow.
#[derive(Clone)]
pub struct RedisStore {
    connection: ConnectionManager,
    delete: Script,
}

impl RedisStore {
    /// A store by its URL: `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS with the public
    /// authorities. Connects at the first use and again whenever the connection is lost, on the current tokio runtime.
    ///
    /// # Errors
    /// The URL is none of these. It is not repeated, since it may hold a password.
    pub fn new(url: &str) -> Result<Self> {
        let client = Client::open(url).map_err(|_| {
            format_err!(
                "this is no URL of a Redis; it looks like rediss://user:password@redis.example:6380/0"
            )
        })?;
        // A retry of ours would only add to those of the broker, which gives up on a store after a second.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPONSE));
        let connection = ConnectionManager::new_lazy_with_config(client, config)
            .map_err(|error| format_err!("the connection to Redis cannot be set up: {}", error.category()))?;
        Ok(Self { connection, delete: Script::new(DELETE_IF_EQUAL) })
    }

    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> std::result::Result<T, StoreError> {
        command.query_async(&mut self.connection.clone()).await.map_err(store_error)
    }
}

impl Store for RedisStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, std::result::Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move { self.run(&Cmd::get(key)).await })
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, std::result::Result<(), StoreError>> {
        Box::pin(async move { self.run(put(key, value).arg("PX").arg(milliseconds(ttl))).await })
    }

    fn add<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, std::result::Result<bool, StoreError>> {
        Box::pin(async move { self.run(put(key, value).arg("NX").arg("PX").arg(milliseconds(ttl))).await })
    }

    fn delete<'a>(
        &'a self,
        key: &'a str,
        value: &'a [u8],
    ) -> BoxFuture<'a, std::result::Result<(), StoreError>> {
        Box::pin(async move {
            let mut delete = self.delete.key(key);
            delete.arg(value).invoke_async(&mut self.connection.clone()).await.map_err(store_error)
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
    let words = error.to_string();
    match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => {
            StoreError::AccessDenied(words)
        }
        ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::ReadOnly)
        | ErrorKind::UnexpectedReturnType => StoreError::Other(words),
        _ => StoreError::Unavailable(words),
    }
}

/// Both are longer than the broker waits for an operation, and shorter than it leaves a store alone for.
const CONNECT: Duration = Duration::from_secs(2);
const RESPONSE: Duration = Duration::from_secs(2);

const DELETE_IF_EQUAL: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
