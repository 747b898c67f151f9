//! One fetch of a fleet: takes a token from the store, waits for the instance that fetches one, or fetches for all.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use secrecy::ExposeSecret as _;

use super::Fleet;
use super::lease::{self, Lease, LeaseState};
use super::sealed_store::SealedStore;
use super::shared_cooldown::shared_cooldown;
use crate::acquire::{Chain, FetchContext, Instance, acquire};
use crate::memory::{FetchResult, Freshness, Memory, is_expiring};
use crate::model::{Error, Failure, Host, Level, Store, StoreError, Token, share};
use crate::settings::variables::BUDGET_MS;
use crate::wire::redacted;

/// A fetch with a shared store.
pub(crate) struct FleetFetch<'a, H, S> {
    pub(super) fleet: &'a Fleet,
    chain: &'a Chain,
    pub(super) fetch: &'a FetchContext<'a, H>,
    pub(super) store: SealedStore<'a, H, S>,
}

/// The result of the look into the store.
enum Found {
    /// Another instance's token, which is in memory now.
    Token(Rc<Token>),
    /// Another instance's failure, with its remaining cooldown.
    Failure(Error, Duration),
    /// Another instance is fetching. The token in memory is used until then.
    InProgress(Rc<Token>),
    /// The lease: this instance fetches for all.
    Lease(Lease),
    /// The store is unavailable. `has_waited`: other waiting instances notice it at the same time.
    NoStore { has_waited: bool },
}

/// The observations of one call in the store.
#[derive(Default)]
struct StoreWatch {
    pauses: u32,
    /// The beginning of the store's failures (time since the Unix epoch).
    fails_since: Option<Duration>,
    has_missed: bool,
    /// True after a look in which the store refused the lease and showed none.
    was_denied: bool,
    /// The fingerprint of the last token in the store that was not better than the one in memory.
    token: Option<String>,
    lease: lease::LeaseWatch,
}

impl<'a, H: Host, S: Store> FleetFetch<'a, H, S> {
    pub(crate) fn new(
        fleet: &'a Fleet,
        store: &'a S,
        chain: &'a Chain,
        fetch: &'a FetchContext<'a, H>,
    ) -> Self {
        let store = SealedStore::new(fleet, store, fetch.instance, fetch.request.key());
        Self { fleet, chain, fetch, store }
    }

    /// Takes a token from the store, or fetches one for all.
    pub(crate) async fn run(&self) -> FetchResult {
        self.log_deployment();
        if self.fetch.request.claims().is_some() {
            // Tokens with claims are not shared.
            return self.fetch_alone().await;
        }
        match self.find().await {
            Found::Token(token) => Ok(token),
            Found::InProgress(token) => {
                self.memory().pause_refresh(self.fetch.request, self.now());
                Ok(token)
            }
            Found::Failure(error, left) => {
                self.memory().keep_failure_for(self.fetch.request, &error, self.now(), left);
                Err(error)
            }
            Found::Lease(lease) => self.fetch_for_all(lease).await,
            Found::NoStore { has_waited } => {
                if has_waited {
                    self.spread().await;
                }
                self.fetch_alone().await
            }
        }
    }

    /// Fetches under a lease, and publishes the result.
    async fn fetch_for_all(&self, mut lease: Lease) -> FetchResult {
        // Half, because a refresh within a call has the time of one request, and the store has taken some of it.
        let has_time = self.fetch.left(self.now()).saturating_mul(2) >= self.fetch.limits.timeout;
        let outcome = match self.hold_while(&mut lease, acquire(self.chain, self.fetch)).await {
            Either::Left(outcome) => outcome,
            Either::Right(token) => {
                self.fetch.mark_served();
                self.end(&lease).await;
                return Ok(token);
            }
        };
        match &outcome {
            Ok(token) => {
                self.publish(token).await;
                self.end(&lease).await;
            }
            Err(error) => match shared_cooldown(error, has_time) {
                Some(cooldown) => self.fail(error, cooldown).await,
                None => self.end(&lease).await,
            },
        }
        self.or_token_of_other(outcome).await
    }

    /// Fetches without a lease, and publishes a token.
    async fn fetch_alone(&self) -> FetchResult {
        let outcome = acquire(self.chain, self.fetch).await;
        if let Ok(token) = &outcome
            && !self.fleet.is_suspended(self.now())
        {
            self.publish(token).await;
        }
        self.or_token_of_other(outcome).await
    }

    /// Replaces a failure by the token of another instance, if there is one: this fetch may have lost its lease.
    async fn or_token_of_other(&self, outcome: FetchResult) -> FetchResult {
        let Err(error) = outcome else { return outcome };
        let token = self.token_of_other().await;
        // A token that is due for a refresh does not end the cooldown.
        self.memory().keep_failure(self.fetch.request, &error, self.now());
        token.ok_or(error)
    }

    /// Takes a token of another instance into memory during the cooldown of a failure, which continues.
    pub(crate) async fn check_store_despite(&self, error: &Error, left: Duration) {
        // Also a token that expires soon, for which the result is none.
        let _ = self.token_of_other().await;
        if self.memory().held(self.fetch.request, self.now()).is_some() {
            self.memory().keep_failure_for(self.fetch.request, error, self.now(), left);
        }
    }

    /// A token of another instance.
    pub(super) async fn token_of_other(&self) -> Option<Rc<Token>> {
        if self.fetch.request.claims().is_some() || self.fleet.is_suspended(self.now()) {
            return None;
        }
        self.token(&mut StoreWatch::default()).await.ok().flatten()
    }

    async fn publish(&self, token: &Token) {
        let replaces_refused =
            self.store.has_seen_refused() || self.memory().is_forget_paused(self.fetch.request, self.now());
        if replaces_refused {
            self.memory().pause_forget(self.fetch.request, token, self.now());
        }
        if let Err(error) = self.store.put_token(token, replaces_refused).await {
            self.suspend(&error);
        }
    }

    /// Waits for a random time. All waiting instances notice the loss of the store at the same time, and their requests
    /// would reach the endpoint at once.
    async fn spread(&self) {
        let spread = Duration::from_micros(share(SPREAD_US, self.instance().random()));
        if !spread.is_zero() {
            self.host().sleep(spread.min(self.fetch.left(self.now()))).await;
        }
    }

    /// Looks into the store until there is a result. Errors are tolerated for [`PATIENCE`], so that the store can
    /// restart.
    async fn find(&self) -> Found {
        let mut watch = StoreWatch::default();
        loop {
            if self.fleet.is_suspended(self.now()) {
                return Found::NoStore { has_waited: watch.pauses > 0 };
            }
            // Created before the look, so that no change is missed.
            let changed = pin!(self.store.changed());
            let began = self.now();
            match self.look(&mut watch).await {
                Ok(Some(found)) => return found,
                Ok(None) => watch.fails_since = None,
                Err(error) => {
                    let (now, patience) = (self.now(), patience(&error));
                    // From its beginning: an operation that blocks the instance may take any time to fail.
                    let since = *watch.fails_since.get_or_insert(began);
                    // A clock that was set back must not prolong it.
                    if now < since || now >= since.saturating_add(patience) {
                        self.suspend(&error);
                        return Found::NoStore { has_waited: watch.pauses > 0 };
                    }
                }
            }
            if self.fetch.left(self.now()).is_zero() {
                return Found::Failure(self.wait_timed_out(watch.lease.holder()), Duration::ZERO);
            }
            let pause = pin!(self.host().sleep(watch.pause(self.instance().random())));
            select(changed, pause).await;
        }
    }

    /// Looks into the store once. None if another instance is fetching, and this one must wait.
    async fn look(&self, watch: &mut StoreWatch) -> Result<Option<Found>, StoreError> {
        if let Some(token) = self.token(watch).await? {
            return Ok(Some(Found::Token(token)));
        }
        if !std::mem::replace(&mut watch.has_missed, true) {
            self.instance().count(|stats| &mut stats.store_misses);
        }
        let lease = match self.lease_state(&mut watch.lease).await? {
            LeaseState::Ours(lease) => lease,
            LeaseState::Failed(error, left) => return Ok(Some(Found::Failure(error, left))),
            LeaseState::Held => {
                watch.was_denied = false;
                return Ok(self.usable_token().map(Found::InProgress));
            }
            LeaseState::Free => match self.take(&mut watch.lease).await? {
                Some(lease) => lease,
                // Another instance was faster: then its lease is seen next.
                None if !std::mem::replace(&mut watch.was_denied, true) => return Ok(None),
                None => return Err(StoreError::Other(NO_LEASE.to_owned())),
            },
        };
        // Another instance may have published a token since the look.
        if let Some(token) = self.token(watch).await? {
            self.fetch.mark_served();
            self.end(&lease).await;
            return Ok(Some(Found::Token(token)));
        }
        if watch.lease.has_waited() {
            self.instance().count(|stats| &mut stats.lease_takeovers);
        }
        Ok(Some(Found::Lease(lease)))
    }

    /// Takes a token from the store into memory, if it is better than the one there. None for a token that expires
    /// soon, unless this call has waited for it; it remains in memory in case the fetch fails.
    async fn token(&self, watch: &mut StoreWatch) -> Result<Option<Rc<Token>>, StoreError> {
        let Some((token, replaces_refused)) = self.store.token(&mut watch.lease).await? else {
            return Ok(None);
        };
        let token_hash = token.fingerprint();
        let is_awaited = watch.has_missed && watch.token.as_ref() != Some(&token_hash);
        if !self.is_better(&token, &token_hash) {
            watch.token = Some(token_hash);
            return Ok(None);
        }
        let fields = [
            ("audience", self.fetch.request.key().audience()),
            ("source", token.source()),
            ("token_sha256", &token_hash),
        ];
        self.instance().log(Level::Debug, "took a token from the store", &fields);
        let token = self.memory().keep(self.fetch.request, token, self.instance().random());
        if replaces_refused {
            self.memory().pause_forget(self.fetch.request, &token, self.now());
        }
        watch.token = Some(token_hash);
        if is_expiring(&token, self.now()) && !is_awaited {
            return Ok(None);
        }
        self.instance().count(|stats| &mut stats.store_hits);
        Ok(Some(token))
    }

    fn is_better(&self, token: &Token, token_hash: &str) -> bool {
        if self.memory().refused(self.fetch.request).is_some_and(|refused| refused == token_hash) {
            return false;
        }
        let now = self.now();
        let freshness = Freshness::of(token, token.refresh_on().unwrap_or(token.received_on), now);
        match self.memory().held(self.fetch.request, self.now()) {
            None => freshness != Freshness::Gone,
            Some(held) if held.secret().expose_secret() == token.secret().expose_secret() => false,
            Some(held) if is_expiring(&held, now) => {
                freshness != Freshness::Gone && token.expires_on() > held.expires_on()
            }
            Some(_) => freshness == Freshness::Fresh,
        }
    }

    /// The token in memory, if it does not expire soon.
    fn usable_token(&self) -> Option<Rc<Token>> {
        self.memory().held(self.fetch.request, self.now()).filter(|held| !is_expiring(held, self.now()))
    }

    /// Logs a fingerprint of the store key and the identities once, by which operators see which instances share
    /// tokens.
    fn log_deployment(&self) {
        if !self.fleet.has_logged_deployment.replace(true) {
            let deployment = self.fleet.seal.slot(&[b"realm", &self.fleet.realm[..]].concat()).name;
            let deployment: String = deployment.chars().rev().take(12).collect();
            let fields = [("instance", self.fleet.name(self.host())), ("deployment", &*deployment)];
            self.instance().log(Level::Info, "sharing tokens with this deployment", &fields);
        }
    }

    fn suspend(&self, error: &StoreError) {
        self.fleet.suspend(self.now());
        self.instance().rate_limits.set_store_lost(true);
        let text = redacted(&error.to_string(), &[]);
        let fields = [("error", &*text), ("instance", self.fleet.name(self.host()))];
        self.instance().log(Level::Warn, "store unavailable, continuing without it", &fields);
    }

    fn wait_timed_out(&self, holder: &str) -> Error {
        Error::Transient(Failure {
            source: "token-broker".into(),
            message: format!(
                "timed out waiting for the instance {holder}, which is fetching the token for {}",
                self.fetch.request.key().audience()
            ),
            remedy: Some(format!(
                "read the log of the instance {holder} for the cause; {} is the timeout of a call",
                self.instance().names.of(BUDGET_MS)
            )),
            ..Failure::default()
        })
    }

    pub(super) fn instance(&self) -> &'a Instance<H> {
        self.fetch.instance
    }

    pub(super) fn memory(&self) -> &'a Memory {
        &self.instance().memory
    }

    pub(super) fn host(&self) -> &'a H {
        &self.instance().host
    }

    pub(super) fn now(&self) -> Duration {
        self.instance().now()
    }
}

impl StoreWatch {
    /// The time until the next look: short at first, because most fetches take milliseconds.
    fn pause(&mut self, random: u64) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.pauses.min(6)).min(LONGEST_PAUSE);
        self.pauses = self.pauses.saturating_add(1);
        let half = u64::try_from(pause.as_micros() / 2).unwrap_or_default();
        Duration::from_micros(half.saturating_add(share(half, random)))
    }
}

/// The time for which an error is tolerated: none for a refusal, which does not pass within a second.
fn patience(error: &StoreError) -> Duration {
    match error {
        StoreError::AccessDenied(_) => Duration::ZERO,
        StoreError::Unavailable(_) | StoreError::Other(_) => PATIENCE,
    }
}

const NO_LEASE: &str =
    "it refuses the lease although there is none; fix: check that the store keeps written values";
/// The time for which errors of the store are tolerated.
const PATIENCE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The time over which instances without a store spread their requests, in microseconds, so that the endpoint can
/// accept the connections of several hundred instances on one machine.
const SPREAD_US: u64 = 1_000_000;
