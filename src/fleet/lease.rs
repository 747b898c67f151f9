//! The lease on a key: whoever holds it fetches, and the others wait for what comes of it.
//!
//! It is put where none is, with a time to live, and put anew each second while the fetch goes on, so that it ends by
//! itself if its holder dies. A waiter believes it for as long as it changes: what does not open, is old, or stays as it
//! is for a lease's time is nobody's, whatever the store says. Nobody replaces another's lease: its holder looks before
//! it puts it anew or puts a failure in its place, and removes it by its value.

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

/// Our lease, by the value that was put last.
pub(super) struct Lease(Vec<u8>);

/// How the lease on a key stands.
pub(super) enum LeaseState {
    /// Nobody holds it.
    Free,
    /// We do, although putting it seemed to fail.
    Ours(Lease),
    /// Another instance does.
    Held,
    /// Nobody holds it, because fetching failed; that is the answer for so long.
    Failed(Error, Duration),
}

/// What has become of our lease.
enum Renewal {
    Up,
    /// It had ended, and is there again.
    Anew,
    /// It is another's.
    Lost,
}

/// What one call has seen of others' leases, and of garbage.
#[derive(Default)]
pub(super) struct LeaseWatch {
    holder: String,
    /// The last lease that was seen, and since when (time since the Unix epoch).
    value: Vec<u8>,
    since: Duration,
    has_waited: bool,
    /// Whether garbage was told of: once is enough for a call.
    pub(super) has_told: bool,
}

impl LeaseWatch {
    /// Whether another instance was found fetching.
    pub(super) fn has_waited(&self) -> bool {
        self.has_waited
    }

    pub(super) fn holder(&self) -> &str {
        if self.holder.is_empty() { "that was there" } else { &self.holder }
    }

    /// Whether a lease has stayed as it is for as long as one lasts. A clock that was set back begins anew.
    fn is_unchanged(&mut self, value: &[u8], now: Duration) -> bool {
        if self.value != value || now < self.since {
            value.clone_into(&mut self.value);
            self.since = now;
        }
        now.saturating_sub(self.since) >= LASTS
    }
}

impl<H: Host, S: Store> FleetFetch<'_, H, S> {
    /// Look at the lease, and remove what is in its place and is none.
    pub(super) async fn lease_stands(&self, seen: &mut LeaseWatch) -> Result<LeaseState, StoreError> {
        let place = self.store.lease();
        let Some(value) = self.store.get(place).await? else { return Ok(LeaseState::Free) };
        let now = self.now();
        match place.open(&value).and_then(|text| entry::holding(&text, now)) {
            Some(LeaseEntry::Taken { holder }) if holder == self.fleet.name(self.host()) => {
                return Ok(LeaseState::Ours(Lease(value)));
            }
            Some(LeaseEntry::Taken { holder }) if !seen.is_unchanged(&value, now) => {
                self.tell_of_holder(&holder, seen);
                return Ok(LeaseState::Held);
            }
            Some(LeaseEntry::Failed { error, left, holder }) => {
                self.tell_of_failure(&error, left, &holder);
                return Ok(LeaseState::Failed(error, left));
            }
            Some(LeaseEntry::Taken { .. } | LeaseEntry::Over) => {}
            None => self.store.tell_of_garbage(place, seen),
        }
        self.store.remove(place, &value).await?;
        Ok(LeaseState::Free)
    }

    /// None if somebody else was faster.
    pub(super) async fn take(&self, seen: &mut LeaseWatch) -> Result<Option<Lease>, StoreError> {
        let value = self.sealed();
        if self.store.add(self.store.lease(), value.clone(), LASTS).await? {
            return Ok(Some(Lease(value)));
        }
        self.count_wait(seen);
        Ok(None)
    }

    /// Fetch, and keep the lease up meanwhile. A fetch that was left alone may have lost it: what another instance fetched
    /// since is taken in its place.
    pub(super) async fn keeping(
        &self,
        lease: &mut Lease,
        fetch: impl Future<Output = FetchResult>,
    ) -> Either<FetchResult, Rc<Token>> {
        let (mut fetch, mut is_kept) = (pin!(fetch), true);
        loop {
            let pause = pin!(self.host().sleep(KEPT_UP));
            let is_late = match select(self.late(), select(fetch.as_mut(), pause)).await {
                Either::Right((Either::Left((outcome, _)), _)) => return Either::Left(outcome),
                Either::Right((Either::Right(_), _)) => false,
                Either::Left(_) => true,
            };
            if (is_late || !is_kept)
                && let Some(token) = self.fresh_token().await
            {
                return Either::Right(token);
            }
            if !is_kept {
                continue;
            }
            let keeping_up = pin!(self.keep_up(lease));
            match select(self.late(), select(fetch.as_mut(), keeping_up)).await {
                Either::Right((Either::Left((outcome, keeping_up)), _)) => {
                    // Not dropped: arriving late, it would take the place of the failure that is told next.
                    let _ = keeping_up.await;
                    return Either::Left(outcome);
                }
                Either::Right((Either::Right((Renewal::Up, _)), _)) => continue,
                Either::Right((Either::Right((Renewal::Anew, _)), _)) | Either::Left(_) => {}
                Either::Right((Either::Right((Renewal::Lost, _)), _)) => is_kept = false,
            }
            if let Some(token) = self.fresh_token().await {
                return Either::Right(token);
            }
        }
    }

    /// A token that another instance fetched meanwhile, unless it is due for a refresh: that is what this fetch is for, and
    /// it rests as long as the service wants.
    async fn fresh_token(&self) -> Option<Rc<Token>> {
        let token = self.anothers_token().await?;
        matches!(self.memory().look(self.fetch.request.key(), self.now()), Lookup::Fresh(_)).then_some(token)
    }

    /// Ready when nobody has polled for [`LATE`]. It wakes nobody, and is polled before the fetch, which would ask at once.
    /// A clock that stands still, at its end for instance, makes nothing late.
    fn late(&self) -> impl Future<Output = ()> + Unpin {
        let from = self.now();
        poll_fn(move |_| match self.now().saturating_sub(from) < LATE {
            true => Poll::Pending,
            false => Poll::Ready(()),
        })
    }

    /// If the store fails, the lease ends, and another instance takes over: nothing else depends on it.
    async fn keep_up(&self, lease: &mut Lease) -> Renewal {
        let (place, value) = (self.store.lease(), self.sealed());
        let (put, kept) = match self.store.get(place).await {
            Ok(Some(there)) if !self.is_ours(&there) => return Renewal::Lost,
            Ok(Some(_)) => (self.store.set(place, value.clone(), LASTS).await.map(|()| true), Renewal::Up),
            // It ended while the store or we stood still, or the store has forgotten it.
            Ok(None) => (self.store.add(place, value.clone(), LASTS).await, Renewal::Anew),
            Err(_) => return Renewal::Up,
        };
        match put {
            Ok(true) => *lease = Lease(value),
            Ok(false) => return Renewal::Lost,
            Err(_) => {}
        }
        kept
    }

    /// If this fails, the lease ends by itself.
    pub(super) async fn end(&self, lease: &Lease) {
        let _ = self.store.remove(self.store.lease(), &lease.0).await;
    }

    /// Put a failure in the place of our lease: whoever waits for it, or comes to it, has an answer.
    pub(super) async fn fail(&self, error: &Error, rest: Duration) {
        let place = self.store.lease();
        let text = entry::failed(error, self.fleet.name(self.host()), self.now(), rest);
        let value = self.store.seal(place, &text);
        // If the store fails, others find out for themselves.
        let _ = match self.store.get(place).await {
            Ok(Some(there)) if self.is_ours(&there) => self.store.set(place, value, rest).await,
            Ok(None) => self.store.add(place, value, rest).await.map(drop),
            Ok(Some(_)) | Err(_) => Ok(()),
        };
    }

    fn sealed(&self) -> Vec<u8> {
        let text = entry::taken(self.fleet.name(self.host()), self.now());
        self.store.seal(self.store.lease(), &text)
    }

    fn is_ours(&self, value: &[u8]) -> bool {
        let holding = self.store.lease().open(value).and_then(|text| entry::holding(&text, self.now()));
        matches!(holding, Some(LeaseEntry::Taken { holder }) if holder == self.fleet.name(self.host()))
    }

    fn tell_of_holder(&self, holder: &str, seen: &mut LeaseWatch) {
        self.count_wait(seen);
        if seen.holder != holder {
            let fields = [("audience", self.fetch.request.key().audience()), ("instance", holder)];
            self.instance().log(Level::Debug, "another instance fetches", &fields);
            holder.clone_into(&mut seen.holder);
        }
    }

    fn count_wait(&self, seen: &mut LeaseWatch) {
        if !std::mem::replace(&mut seen.has_waited, true) {
            self.instance().count(|stats| &mut stats.lease_waits);
        }
    }

    fn tell_of_failure(&self, error: &Error, left: Duration, holder: &str) {
        let left_ms = milliseconds(left).to_string();
        let fields = [
            ("audience", self.fetch.request.key().audience()),
            ("kind", error.kind()),
            ("instance", holder),
            ("left_ms", &left_ms),
        ];
        self.instance().log(Level::Info, "another instance could not fetch", &fields);
    }
}

/// How long an instance that died keeps the others waiting.
pub(super) const LASTS: Duration = Duration::from_secs(5);
/// How often a lease is put anew: it lasts although four of these fail, or come late.
const KEPT_UP: Duration = Duration::from_secs(1);
/// Longer than keeping a lease up takes, and shorter than one lasts.
const LATE: Duration = Duration::from_secs(3);
