//! Variables from outside the environment.

use crate::future::BoxFuture;

/// Where a host keeps configuration and secrets outside the environment.
///
/// Any `Fn(&str) -> Result<Option<String>, String>` is one; a service that must be waited for implements the trait.
pub trait Settings: Send + Sync + 'static {
    /// The value of a variable, by the name it has in the environment; none if there is no such variable.
    ///
    /// The error says why it could not be looked up, without any value.
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>, String>>;
}

impl<F> Settings for F
where
    F: Fn(&str) -> Result<Option<String>, String> + Send + Sync + 'static,
{
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>, String>> {
        let answer = self(name);
        Box::pin(async move { answer })
    }
}
