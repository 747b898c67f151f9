//! Variables from outside the environment.

use crate::future::BoxFuture;

/// A source of configuration and secrets outside the environment.
///
/// Any `Fn(&str) -> Result<Option<String>, String>` is one. Implement the trait for a service with asynchronous calls.
pub trait Settings: Send + Sync + 'static {
    /// The value of a variable, by its name in the environment; none if there is no such variable.
    ///
    /// The error gives the reason of a failure, and contains no value.
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
