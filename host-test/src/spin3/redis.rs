//! Redis, by a connection of the instance's own.

use redis::aio::MultiplexedConnection;
use wasmtime::component::Resource;

use super::State;
use super::bindings::fermyon::spin::redis::{Error, Host, HostConnection, RedisParameter, RedisResult};

/// An open connection
pub struct Open(MultiplexedConnection);

impl Host for State {}

impl HostConnection for State {
    /// An address that the manifest does not allow is an invalid one, as in Spin.
    async fn open(&mut self, address: String) -> Result<Resource<Open>, Error> {
        if !self
            .data
            .spin
            .hosts
            .iter()
            .any(|host| address.trim_end_matches('/').ends_with(after_scheme(host)))
        {
            return Err(Error::InvalidAddress);
        }
        self.data.spin.shared().connections += 1;
        let client = redis::Client::open(address).map_err(|_| Error::InvalidAddress)?;
        let connection = client.get_multiplexed_async_connection().await.map_err(other)?;
        self.table.push(Open(connection)).map_err(|_| Error::TooManyConnections)
    }

    async fn execute(
        &mut self,
        connection: Resource<Open>,
        command: String,
        arguments: Vec<RedisParameter>,
    ) -> Result<Vec<RedisResult>, Error> {
        let Open(connection) = self.table.get_mut(&connection).map_err(|_| Error::InvalidAddress)?;
        let mut line = redis::cmd(&command);
        for argument in arguments {
            match argument {
                RedisParameter::Int64(number) => line.arg(number),
                RedisParameter::Binary(bytes) => line.arg(bytes),
            };
        }
        let answer: redis::Value = line.query_async(connection).await.map_err(other)?;
        let mut results = Vec::new();
        collect(answer, &mut results);
        Ok(results)
    }

    async fn drop(&mut self, connection: Resource<Open>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

fn collect(answer: redis::Value, results: &mut Vec<RedisResult>) {
    match answer {
        redis::Value::Int(number) => results.push(RedisResult::Int64(number)),
        redis::Value::BulkString(bytes) => results.push(RedisResult::Binary(bytes)),
        redis::Value::SimpleString(text) => results.push(RedisResult::Status(text)),
        redis::Value::Okay => results.push(RedisResult::Status("OK".to_owned())),
        redis::Value::Array(values) => values.into_iter().for_each(|value| collect(value, results)),
        _ => results.push(RedisResult::Nil),
    }
}

fn after_scheme(host: &str) -> &str {
    host.split_once("://").map_or(host, |(_, rest)| rest)
}

fn other(error: redis::RedisError) -> Error {
    Error::Other(error.to_string())
}
