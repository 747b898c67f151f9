//! `spin:redis`: a connection to the Redis that the component may reach.

use redis::aio::MultiplexedConnection;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

use super::{Result, View};

/// An open connection.
struct Open(MultiplexedConnection);

pub(super) fn add_to_linker<T: Send + 'static>(linker: &mut Linker<T>, view: View<T>) -> Result<()> {
    let mut redis = linker.instance("spin:redis/redis@3.0.0")?;
    redis.resource("connection", ResourceType::host::<Open>(), move |mut access, rep| {
        view(access.data_mut()).1.delete(Resource::<Open>::new_own(rep))?;
        Ok(())
    })?;
    redis.func_wrap_concurrent("[static]connection.open", move |accessor, (address,): (String,)| {
        Box::pin(async move {
            let allowed = accessor.with(|mut access| view(access.data_mut()).0.lent().redis.clone());
            if allowed.as_ref() != Some(&address) {
                return Ok((Err(RedisError::InvalidAddress),));
            }
            let connection = match ::redis::Client::open(address) {
                Ok(client) => client.get_multiplexed_async_connection().await,
                Err(error) => Err(error),
            };
            Ok((match connection {
                Ok(connection) => {
                    Ok(accessor.with(|mut access| view(access.data_mut()).1.push(Open(connection)))?)
                }
                Err(error) => Err(RedisError::Other(error.to_string())),
            },))
        })
    })?;
    redis.func_wrap_concurrent(
        "[method]connection.execute",
        move |accessor, (connection, command, arguments): (Resource<Open>, String, Vec<Parameter>)| {
            Box::pin(async move {
                let connection = accessor.with(|mut access| {
                    Ok::<_, wasmtime::Error>(view(access.data_mut()).1.get(&connection)?.0.clone())
                });
                Ok((execute(connection?, &command, arguments)
                    .await
                    .map_err(|error| RedisError::Other(error.to_string())),))
            })
        },
    )
}

async fn execute(
    mut connection: MultiplexedConnection,
    command: &str,
    arguments: Vec<Parameter>,
) -> ::redis::RedisResult<Vec<Reply>> {
    let mut line = ::redis::cmd(command);
    for argument in arguments {
        match argument {
            Parameter::Int64(number) => line.arg(number),
            Parameter::Binary(bytes) => line.arg(bytes),
        };
    }
    Ok(vec![match line.query_async(&mut connection).await? {
        ::redis::Value::Int(number) => Reply::Int64(number),
        ::redis::Value::BulkString(bytes) => Reply::Binary(bytes),
        ::redis::Value::SimpleString(text) => Reply::Status(text),
        ::redis::Value::Okay => Reply::Status("OK".to_owned()),
        _ => Reply::Nil,
    }])
}

#[derive(ComponentType, Lift)]
#[component(variant)]
enum Parameter {
    #[component(name = "int64")]
    Int64(i64),
    #[component(name = "binary")]
    Binary(Vec<u8>),
}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum Reply {
    #[component(name = "nil")]
    Nil,
    #[component(name = "status")]
    Status(String),
    #[component(name = "int64")]
    Int64(i64),
    #[component(name = "binary")]
    Binary(Vec<u8>),
}

#[derive(ComponentType, Lower)]
#[component(variant)]
#[allow(dead_code, reason = "the cases of the interface")]
enum RedisError {
    #[component(name = "invalid-address")]
    InvalidAddress,
    #[component(name = "too-many-connections")]
    TooManyConnections,
    #[component(name = "type-error")]
    TypeError,
    #[component(name = "other")]
    Other(String),
}
