//! The settings of a component: the environment, then the contract's `settings-sync`.

use token_broker::{Error, Settings};
use wasip2::cli::environment::get_environment;

use crate::bindings::token_broker::identity::settings_sync;

/// Reads the environment, and asks the host for each of these names that is not set there.
///
/// # Errors
/// [`Error::Misconfigured`] for a setting that cannot be looked up: a policy or a rule that is kept there would not be
/// enforced.
pub(crate) fn read(names: impl IntoIterator<Item = &'static str>) -> Result<Settings, Error> {
    let mut read = Settings::from_pairs(get_environment());
    for name in names {
        complete(&mut read, name)?;
    }
    for name in read.named_variables() {
        complete(&mut read, &name)?;
    }
    Ok(read)
}

/// Asks the host for a setting that is not set yet.
fn complete(read: &mut Settings, name: &str) -> Result<(), Error> {
    if !read.is_set(name)
        && let Some(value) = settings_sync::get(name).map_err(|why| Settings::unreadable(name, &why))?
    {
        read.set(name, value);
    }
    Ok(())
}
