//! The settings of a component: the environment, then the contract's `settings`.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use token_broker::{Error, Settings};
use wasip3::cli::environment::get_environment;
use wasip3::clocks::monotonic_clock;

use crate::bindings::token_broker::identity::settings;

/// Reads the environment, and asks the host for each of these names that is not set there.
///
/// # Errors
/// [`Error::Misconfigured`] for a setting that cannot be looked up: a policy or a rule that is kept there would not be
/// enforced.
pub(crate) async fn read(names: impl IntoIterator<Item = &'static str>) -> Result<Settings, Error> {
    let mut read = Settings::from_pairs(get_environment());
    for name in names {
        complete(&mut read, name).await?;
    }
    for name in read.named_variables() {
        complete(&mut read, &name).await?;
    }
    Ok(read)
}

/// Asks the host for a setting that is not set yet.
async fn complete(read: &mut Settings, name: &str) -> Result<(), Error> {
    if !read.is_set(name)
        && let Some(value) = look_up(name).await?
    {
        read.set(name, value);
    }
    Ok(())
}

async fn look_up(name: &str) -> Result<Option<String>, Error> {
    let value = pin!(settings::get(name.to_owned()));
    let limit = pin!(monotonic_clock::wait_for(LIMIT.as_nanos() as u64));
    let why = match select(value, limit).await {
        Either::Left((Ok(value), _)) => return Ok(value),
        Either::Left((Err(why), _)) => why,
        Either::Right(((), _)) => format!("no answer within {} s", LIMIT.as_secs()),
    };
    Err(Settings::unreadable(name, &why))
}

/// The longest wait for one setting.
const LIMIT: Duration = Duration::from_secs(5);
