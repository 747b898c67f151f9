//! The store in a Redis server: the commands, their results and their errors. A value is a string with a time to live.

use crate::StoreError;
use crate::redis_api::{Error, RedisParameter, RedisResult};
use crate::spin::{STORE, spin_name};

/// A command with its arguments.
pub(crate) type Command = (&'static str, Vec<RedisParameter>);

/// Reads a value, as far as a value of the broker is long.
pub(crate) fn get(key: String) -> Command {
    ("GETRANGE", vec![text(key), number(0), number(MAX_VALUE)])
}

pub(crate) fn set(key: String, value: Vec<u8>, ttl_ms: u64) -> Command {
    ("SET", vec![text(key), RedisParameter::Binary(value), text("PX"), milliseconds(ttl_ms)])
}

/// Puts a value if there is none.
pub(crate) fn add(key: String, value: Vec<u8>, ttl_ms: u64) -> Command {
    let (name, mut arguments) = set(key, value, ttl_ms);
    arguments.push(text("NX"));
    (name, arguments)
}

/// Removes a value if it is this one.
pub(crate) fn delete(key: String, value: Vec<u8>) -> Command {
    ("EVAL", vec![text(COMPARE_AND_DELETE), number(1), text(key), RedisParameter::Binary(value)])
}

/// The value that `get` has read: a key without a value has an empty one.
pub(crate) fn value(results: Vec<RedisResult>) -> Option<Vec<u8>> {
    match results.into_iter().next() {
        Some(RedisResult::Binary(value)) if !value.is_empty() => Some(value),
        _ => None,
    }
}

/// True if `add` has put its value.
pub(crate) fn was_put(results: &[RedisResult]) -> bool {
    matches!(results.first(), Some(RedisResult::Status(_)))
}

/// The error of a server, without the user and the password of its URL.
pub(crate) fn failed(url: &str, error: Error) -> StoreError {
    let (place, variable) = (place(url), spin_name(STORE));
    match error {
        Error::InvalidAddress => StoreError::AccessDenied(format!(
            "Spin does not let this component reach {place}, or the URL in {variable} is invalid; fix: add \"{place}\" \
             to allowed_outbound_hosts in spin.toml, or correct the URL"
        )),
        Error::TooManyConnections => StoreError::Unavailable(format!(
            "too many connections to Redis are open in this instance, none is left for {place}; fix: close those that \
             the application does not use"
        )),
        Error::TypeError => StoreError::Other(format!(
            "the key of a token at {place} has a value of another program; fix: give the broker a database of its own"
        )),
        Error::Other(words) => StoreError::Unavailable(format!(
            "{place}: {}; fix: check that the server runs, the way to it, and that the user may run GETRANGE, SET and \
             EVAL on token-broker-*",
            without_login(&words, url)
        )),
    }
}

/// The URL without user, password and path.
fn place(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let rest = login(url).map_or(rest, |login| rest.get(login.len() + 1..).unwrap_or_default());
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}")
}

/// The user and the password of the URL. A password may contain an unescaped `/`, so all before the last `@` counts.
fn login(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.rsplit_once('@').map(|(login, _)| login)
}

/// The words of Spin or of the server without the user and the password, together or the password alone.
fn without_login(words: &str, url: &str) -> String {
    let login = login(url).unwrap_or_default();
    let password = login.split_once(':').map_or("", |(_, password)| password);
    let secrets = [login, password].into_iter().filter(|secret| !secret.is_empty());
    secrets.fold(words.to_owned(), |words, secret| words.replace(secret, "****"))
}

fn text(text: impl Into<Vec<u8>>) -> RedisParameter {
    RedisParameter::Binary(text.into())
}

fn number(number: i64) -> RedisParameter {
    RedisParameter::Int64(number)
}

/// Redis refuses a time to live of zero.
fn milliseconds(ttl_ms: u64) -> RedisParameter {
    number(i64::try_from(ttl_ms).unwrap_or(i64::MAX).max(1))
}

const COMPARE_AND_DELETE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
/// Longer than a sealed token.
const MAX_VALUE: i64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_user_and_password() {
        for (url, password, shown) in [
            ("redis://localhost:6379", "", "redis://localhost:6379"),
            ("rediss://user:secret@redis.example:6380/1", "secret", "rediss://redis.example:6380"),
            ("redis://:se@cr/et@redis.example/0?a=b", "se@cr/et", "redis://redis.example"),
            ("redis://", "", "redis://"),
        ] {
            assert_eq!(place(url), shown);
            let words = format!("cannot connect to {url} with {password}");
            for error in
                [Error::InvalidAddress, Error::TooManyConnections, Error::TypeError, Error::Other(words)]
            {
                let text = format!("{:?}", failed(url, error));
                assert!(!text.contains("secret") && !text.contains("se@cr"), "{text}");
                assert!(text.contains("; fix: "), "{text}");
            }
        }
    }

    #[test]
    fn a_result_that_is_none_of_the_command_is_no_value_and_no_lease() {
        let results = || {
            [RedisResult::Nil, RedisResult::Int64(1), RedisResult::Status("OK".to_owned())]
                .map(|result| vec![result])
        };
        assert!(results().into_iter().chain([vec![]]).all(|results| value(results).is_none()));
        assert_eq!(value(vec![RedisResult::Binary(vec![])]), None);
        assert_eq!(value(vec![RedisResult::Binary(vec![7])]), Some(vec![7]));
        assert_eq!(results().map(|results| was_put(&results)), [false, false, true]);
        assert!(!was_put(&[]));
    }

    #[test]
    fn a_time_to_live_is_never_zero_nor_too_large_for_redis() {
        for (ttl, sent) in [(0, 1), (5000, 5000), (u64::MAX, i64::MAX)] {
            let (_, arguments) = add("k".to_owned(), vec![], ttl);
            assert!(matches!(arguments[3], RedisParameter::Int64(ms) if ms == sent));
        }
    }
}
