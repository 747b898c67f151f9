//! Acquisition: tries the sources in order until there is a token.

mod chain;
mod context;
mod fetch_log;
mod instance;
mod rate_limit;
mod retry;
mod source_client;
mod source_slot;

pub(crate) use self::chain::Chain;
pub(crate) use self::context::{Assertions, FetchContext, FetchLimits};
pub(crate) use self::instance::Instance;
pub use self::source_slot::{SourceReport, Verdict};
use crate::memory::{FetchResult, Lookup};
use crate::model::Host;

/// Gets a token from the identity sources, and stores it or the failure in memory.
pub(crate) async fn acquire<H: Host>(chain: &Chain, fetch: &FetchContext<'_, H>) -> FetchResult {
    fetch.mark_asked();
    let (instance, memory) = (fetch.instance, &fetch.instance.memory);
    let began = instance.now();
    let refreshes = !matches!(memory.look(fetch.request.key(), began), Lookup::Failed(..) | Lookup::Nothing);
    if refreshes {
        instance.count(|stats| &mut stats.refreshes);
    }
    instance.count(|stats| &mut stats.fetches);
    let outcome = match chain.fetch(fetch).await {
        Ok(token) => {
            let token = memory.keep(fetch.request, token, instance.random());
            fetch.mark_served();
            Ok(token)
        }
        Err(error) => {
            memory.keep_failure(fetch.request, &error, instance.now());
            instance.stats.borrow_mut().count_failure(error.kind());
            Err(error)
        }
    };
    fetch_log::log_fetch(fetch, refreshes, instance.now().saturating_sub(began), &outcome);
    outcome
}
