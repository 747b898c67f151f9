//! The contract's `settings`: Spin's variables.

use crate::Spin;
use crate::bindings::exports::token_broker::identity::settings::Guest;
use crate::bindings::spin::variables::variables::{self, Error};
use crate::spin::spin_name;

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
