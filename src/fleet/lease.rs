//! The lease on a key: its holder fetches, and the other instances wait for the result.
//!
//! A lease is added to the store with a time to live, and renewed each second during the fetch, so that it expires by
//! itself if its holder dies. A waiter trusts a lease only while it changes: an entry that cannot be decrypted, is old,
//! or stays unchanged for the lifetime of a lease is removed. No instance replaces another's lease: the holder compares
//! it before it renews it or replaces it by a failure, and removes it by its value.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::entry::{self, LeaseEntry};
use super::fleet_fetch::FleetFetch;
use crate::memory::{FetchResult, Lookup};
use crate::model::{Error, Host, Level, Store, StoreError, Token, milliseconds};

/// This instance's lease, by its last value.
pub(super) struct Lease(Vec<u8>);

/// The state of the lease on a key.
pub(super) enum LeaseState {
    /// No instance holds it.
    Free,
    /// This instance holds it, although adding it seemed to fail.
    Ours(Lease),
    /// Another instance holds it.
    Held,
    /// No instance holds it: the last fetch failed, with this remaining cooldown.
    Failed(Error, Duration),
}

/// The result of a renewal.
enum Renewal {
    Renewed,
    /// The lease had expired, and was added again.
    Restored,
    /// Another instance holds the lease.
    Lost,
}

/// The observations of one call of other instances' leases, and of invalid entries.
#[derive(Default)]
pub(super) struct LeaseWatch {
    holder: String,
    /// The last lease, and the time of its first observation (since the Unix epoch).
    value: Vec<u8>,
    since: Duration,
    has_waited: bool,
    /// Whether an invalid entry was logged, which happens once in a call.
    pub(super) has_logged_invalid: bool,
}

impl LeaseWatch {
    /// Whether another instance was found fetching.
    pub(super) fn has_waited(&self) -> bool {
        self.has_waited
    }

    pub(super) fn holder(&self) -> &str {
        if self.holder.is_empty() { "(unknown)" } else { &self.holder }
    }

    /// Whether a lease has been unchanged for its lifetime. If the clock was set back, the time begins again.
    fn is_unchanged(&mut self, value: &[u8], now: Duration) -> bool {
        if self.value != value || now < self.since {
            value.clone_into(&mut self.value);
            self.since = now;
        }
        now.saturating_sub(self.since) >= LEASE_TTL
    }
}

impl<H: Host, S: Store> FleetFetch<'_, H, S> {
    /// The state of the lease. Removes an entry that is invalid or expired.
    pub(super) async fn lease_state(&self, watch: &mut LeaseWatch) -> Result<LeaseState, StoreError> {
        let slot = self.store.lease();
        let Some(value) = self.store.get(slot).await? else { return Ok(LeaseState::Free) };
        let now = self.now();
        match slot.open(&value).and_then(|text| entry::lease_entry(&text, now)) {
            Some(LeaseEntry::Taken { holder }) if holder == self.fleet.name(self.host()) => {
                return Ok(LeaseState::Ours(Lease(value)));
            }
            Some(LeaseEntry::Taken { holder }) if !watch.is_unchanged(&value, now) => {
                self.log_holder(&holder, watch);
                return Ok(LeaseState::Held);
            }
            Some(LeaseEntry::Failed { error, left, holder }) => {
                self.log_failure(&error, left, &holder);
                return Ok(LeaseState::Failed(error, left));
            }
            Some(LeaseEntry::Taken { .. } | LeaseEntry::Expired) => {}
            None => self.store.log_invalid(slot, watch),
        }
        self.store.remove(slot, &value).await?;
        Ok(LeaseState::Free)
    }

    /// Takes the lease; none if another instance was faster.
    pub(super) async fn take(&self, watch: &mut LeaseWatch) -> Result<Option<Lease>, StoreError> {
        let value = self.sealed();
        if self.store.add(self.store.lease(), value.clone(), LEASE_TTL).await? {
            return Ok(Some(Lease(value)));
        }
        self.count_wait(watch);
        Ok(None)
    }

    /// Runs a fetch, and renews the lease meanwhile. A fetch that was idle may have lost its lease: a token that
    /// another instance has fetched since is taken instead.
    pub(super) async fn hold_while(
        &self,
        lease: &mut Lease,
        fetch: impl Future<Output = FetchResult>,
    ) -> Either<FetchResult, Rc<Token>> {
        let (mut fetch, mut is_held) = (pin!(fetch), true);
        loop {
            let pause = pin!(self.host().sleep(RENEWAL_INTERVAL));
            let is_late = match select(self.late(), select(fetch.as_mut(), pause)).await {
                Either::Right((Either::Left((outcome, _)), _)) => return Either::Left(outcome),
                Either::Right((Either::Right(_), _)) => false,
                Either::Left(_) => true,
            };
            if (is_late || !is_held)
                && let Some(token) = self.fresh_token().await
            {
                return Either::Right(token);
            }
            if !is_held {
                continue;
            }
            let renewal = pin!(self.renew(lease));
            match select(self.late(), select(fetch.as_mut(), renewal)).await {
                Either::Right((Either::Left((outcome, renewal)), _)) => {
                    // Completed, not dropped: arriving late, it would replace the failure that is published next.
                    let _ = renewal.await;
                    return Either::Left(outcome);
                }
                Either::Right((Either::Right((Renewal::Renewed, _)), _)) => continue,
                Either::Right((Either::Right((Renewal::Restored, _)), _)) | Either::Left(_) => {}
                Either::Right((Either::Right((Renewal::Lost, _)), _)) => is_held = false,
            }
            if let Some(token) = self.fresh_token().await {
                return Either::Right(token);
            }
        }
    }

    /// A token of another instance, unless it is due for a refresh: the fetch may be this refresh, and continues.
    async fn fresh_token(&self) -> Option<Rc<Token>> {
        let token = self.token_of_other().await?;
        matches!(self.memory().look(self.fetch.request.key(), self.now()), Lookup::Fresh(_)).then_some(token)
    }

    /// Ready if it was not polled for [`LATE`]. It wakes no task, and is polled before the fetch, which would send a
    /// request at once. It is never ready with a clock that stands still.
    fn late(&self) -> impl Future<Output = ()> + Unpin {
        let from = self.now();
        poll_fn(move |_| match self.now().saturating_sub(from) < LATE {
            true => Poll::Pending,
            false => Poll::Ready(()),
        })
    }

    /// Renews the lease. If the store fails, the lease expires, and another instance takes over.
    async fn renew(&self, lease: &mut Lease) -> Renewal {
        let (slot, value) = (self.store.lease(), self.sealed());
        let (put, kept) = match self.store.get(slot).await {
            Ok(Some(there)) if !self.is_ours(&there) => return Renewal::Lost,
            Ok(Some(_)) => {
                (self.store.set(slot, value.clone(), LEASE_TTL).await.map(|()| true), Renewal::Renewed)
            }
            // It has expired, or the store has lost it.
            Ok(None) => (self.store.add(slot, value.clone(), LEASE_TTL).await, Renewal::Restored),
            Err(_) => return Renewal::Renewed,
        };
        match put {
            Ok(true) => *lease = Lease(value),
            Ok(false) => return Renewal::Lost,
            Err(_) => {}
        }
        kept
    }

    /// Removes the lease. If this fails, it expires.
    pub(super) async fn end(&self, lease: &Lease) {
        let _ = self.store.remove(self.store.lease(), &lease.0).await;
    }

    /// Replaces the lease by a failure, which is the answer for other instances during its cooldown.
    pub(super) async fn fail(&self, error: &Error, cooldown: Duration) {
        let slot = self.store.lease();
        let text = entry::failure_bytes(error, self.fleet.name(self.host()), self.now(), cooldown);
        let value = self.store.seal(slot, &text);
        // If the store fails, other instances fetch themselves.
        let _ = match self.store.get(slot).await {
            Ok(Some(there)) if self.is_ours(&there) => self.store.set(slot, value, cooldown).await,
            Ok(None) => self.store.add(slot, value, cooldown).await.map(drop),
            Ok(Some(_)) | Err(_) => Ok(()),
        };
    }

    fn sealed(&self) -> Vec<u8> {
        let text = entry::lease_bytes(self.fleet.name(self.host()), self.now());
        self.store.seal(self.store.lease(), &text)
    }

    fn is_ours(&self, value: &[u8]) -> bool {
        let entry = self.store.lease().open(value).and_then(|text| entry::lease_entry(&text, self.now()));
        matches!(entry, Some(LeaseEntry::Taken { holder }) if holder == self.fleet.name(self.host()))
    }

    fn log_holder(&self, holder: &str, watch: &mut LeaseWatch) {
        self.count_wait(watch);
        if watch.holder != holder {
            let fields = [("audience", self.fetch.request.key().audience()), ("instance", holder)];
            self.instance().log(Level::Debug, "another instance is fetching", &fields);
            holder.clone_into(&mut watch.holder);
        }
    }

    fn count_wait(&self, watch: &mut LeaseWatch) {
        if !std::mem::replace(&mut watch.has_waited, true) {
            self.instance().count(|stats| &mut stats.lease_waits);
        }
    }

    fn log_failure(&self, error: &Error, left: Duration, holder: &str) {
        let left_ms = milliseconds(left).to_string();
        let fields = [
            ("audience", self.fetch.request.key().audience()),
            ("kind", error.kind()),
            ("instance", holder),
            ("left_ms", &left_ms),
        ];
        self.instance().log(Level::Info, "another instance could not fetch a token", &fields);
    }
}

/// The lifetime of a lease: the time for which other instances wait for one that has died.
pub(super) const LEASE_TTL: Duration = Duration::from_secs(5);
/// The interval of renewals. A lease survives four that fail or are late.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);
/// The time without a poll after which a fetch counts as idle: longer than a renewal takes, and shorter than a lease
/// lasts.
const LATE: Duration = Duration::from_secs(3);
