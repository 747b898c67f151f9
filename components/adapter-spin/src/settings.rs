//! The contract's `settings`: Spin's variables.

use crate::Spin;
use crate::bindings::exports::token_broker::identity::settings::Guest;
use crate::bindings::spin::variables::variables::{self, Error};

impl Guest for Spin {
    async fn get(name: String) -> Result<Option<String>, String> {
        variable(&name).await
    }
}

/// The value of the Spin variable for a name of the environment; none if the component has no such variable.
///
/// # Errors
/// The error text of Spin or of the provider, if the value cannot be looked up.
pub(crate) async fn variable(name: &str) -> Result<Option<String>, String> {
    match variables::get(spin_name(name)).await {
        Ok(value) => Ok(Some(value)),
        // A name that Spin refuses cannot be defined.
        Err(Error::Undefined(_) | Error::InvalidName(_)) => Ok(None),
        Err(Error::Provider(why) | Error::Other(why)) => Err(why),
    }
}

/// The name in Spin, where names have lower-case letters, digits and underscores.
pub(crate) fn spin_name(name: &str) -> String {
    name.to_ascii_lowercase()
}

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
        for variable in token_broker::VARIABLES {
            let name = spin_name(variable.name);
            assert!(name.starts_with(|first: char| first.is_ascii_lowercase()), "{name}");
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(name.chars().all(allowed), "{name}");
            assert!(!name.ends_with('_') && !name.contains("__"), "{name}");
        }
    }
}
