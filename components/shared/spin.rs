//! The names that both adapters for Spin read: variables, and the store that `TOKEN_BROKER_STORE` names.
//!
//! Settings are the variables of the component, under their names in the environment, in lower case. The variable
//! `token_broker_store` names the store: a label of `key_value_stores` (default: `default`), or the URL of a Redis server.
//!
//! # Limits of the stores
//! Redis by its URL keeps everything that the contract asks for. A key-value store of Spin has no expiry, so the expiry is
//! stored with the value, by the clocks of the instances that put and get it: instances whose clocks differ by more than a
//! lease's time find each other's leases expired. The lease of a key is exact (`spin_lease.rs`) but for the very first one
//! in SQLite. In each of these cases two instances fetch a token where one would have been enough: more requests, and never
//! a wrong token.

/// The name of a variable in Spin, where names have lower-case letters, digits and underscores.
pub(crate) fn spin_name(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// A store for tokens on Spin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreName {
    /// A key-value store, by its label.
    KeyValue(String),
    /// A Redis server, by its URL.
    Redis(String),
}

impl StoreName {
    /// The store for a value of [`STORE`], or for none.
    pub(crate) fn parse(value: Option<String>) -> Self {
        match value.filter(|value| !value.is_empty()) {
            Some(url) if SCHEMES.iter().any(|scheme| url.starts_with(scheme)) => Self::Redis(url),
            Some(label) => Self::KeyValue(label),
            None => Self::KeyValue(DEFAULT.to_owned()),
        }
    }
}

/// The error of a label that the manifest does not give to the component.
pub(crate) fn not_allowed(label: &str) -> String {
    format!(
        "Spin does not give this component the store {label}; fix: add key_value_stores = [\"{label}\"] to it in \
         spin.toml"
    )
}

/// The error of a failed look-up of [`STORE`].
pub(crate) fn not_found(why: &str) -> String {
    format!(
        "the variable {} cannot be looked up: {why}; fix: make its provider answer, or remove it for the store {DEFAULT}",
        spin_name(STORE)
    )
}

/// The error of a key-value store, in Spin's words.
pub(crate) fn store_failed(words: &str) -> String {
    format!("{words}; fix: check the store's provider in Spin's runtime configuration")
}

/// The error of a store that Spin does not have.
pub(crate) const UNDEFINED: &str = "Spin has no such store; fix: define it in Spin's runtime configuration";
/// The error of a store that the manifest does not list.
pub(crate) const NOT_LISTED: &str =
    "Spin does not allow it; fix: list the store in key_value_stores in spin.toml";
/// The variable that names the store.
pub(crate) const STORE: &str = "TOKEN_BROKER_STORE";
/// The store that Spin has without configuration.
const DEFAULT: &str = "default";
const SCHEMES: [&str; 2] = ["redis://", "rediss://"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_environment_is_written_in_lower_case() {
        assert_eq!(spin_name("TOKEN_BROKER_STORE_KEY"), "token_broker_store_key");
    }

    /// <https://spinframework.dev/variables>
    #[test]
    fn every_variable_of_the_broker_has_a_name_that_spin_accepts() {
        for name in token_broker::VARIABLES.iter().map(|variable| variable.name).chain([STORE]) {
            let name = spin_name(name);
            assert!(name.starts_with(|first: char| first.is_ascii_lowercase()), "{name}");
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(name.chars().all(allowed), "{name}");
            assert!(!name.ends_with('_') && !name.contains("__"), "{name}");
        }
    }

    #[test]
    fn a_url_of_redis_is_a_redis_and_any_other_name_a_label() {
        let parse = |text: &str| StoreName::parse(Some(text.to_owned()));
        for url in ["redis://localhost:6379", "rediss://u:p@redis.example:6380/1"] {
            assert_eq!(parse(url), StoreName::Redis(url.to_owned()));
        }
        for label in ["tokens", "redis", "http://redis.example"] {
            assert_eq!(parse(label), StoreName::KeyValue(label.to_owned()));
        }
        assert_eq!([None, Some(String::new())].map(StoreName::parse), [(); 2].map(|()| parse("default")));
    }
}
