//! A Redis server, by its URL.

use std::cell::RefCell;
use std::rc::Rc;

use crate::StoreError;
use crate::redis_api::{Connection, RedisResult};
use crate::spin_redis::{self, Command};

pub(crate) async fn get(url: &str, key: String) -> Result<Option<Vec<u8>>, StoreError> {
    run(url, spin_redis::get(key)).await.map(spin_redis::value)
}

pub(crate) async fn set(url: &str, key: String, value: Vec<u8>, ttl_ms: u64) -> Result<(), StoreError> {
    run(url, spin_redis::set(key, value, ttl_ms)).await.map(drop)
}

pub(crate) async fn add(url: &str, key: String, value: Vec<u8>, ttl_ms: u64) -> Result<bool, StoreError> {
    run(url, spin_redis::add(key, value, ttl_ms)).await.map(|results| spin_redis::was_put(&results))
}

pub(crate) async fn delete(url: &str, key: String, value: Vec<u8>) -> Result<(), StoreError> {
    run(url, spin_redis::delete(key, value)).await.map(drop)
}

async fn run(url: &str, (name, arguments): Command) -> Result<Vec<RedisResult>, StoreError> {
    let connection = connection(url).await?;
    connection.execute(name.to_owned(), arguments).await.map_err(|error| {
        // The next operation opens another.
        CONNECTION.set(None);
        spin_redis::failed(url, error)
    })
}

/// The connection of this instance.
async fn connection(url: &str) -> Result<Rc<Connection>, StoreError> {
    if let Some(open) = CONNECTION.with_borrow(Clone::clone) {
        return Ok(open);
    }
    let opened =
        Rc::new(Connection::open(url.to_owned()).await.map_err(|error| spin_redis::failed(url, error))?);
    CONNECTION.set(Some(Rc::clone(&opened)));
    Ok(opened)
}

thread_local! {
    static CONNECTION: RefCell<Option<Rc<Connection>>> = const { RefCell::new(None) };
}
