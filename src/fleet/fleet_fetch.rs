//! One fetch for the fleet: take what others have, wait for whoever fetches, or fetch for all.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use secrecy::ExposeSecret as _;

use super::Fleet;
use super::lease::{self, Lease, LeaseState};
use super::sealed_store::SealedStore;
use super::shared_rest::shared_rest;
use crate::acquire::{Chain, FetchContext, Instance, acquire};
use crate::memory::{FetchResult, Freshness, Memory, is_expiring};
use crate::model::{Error, Failure, Host, Level, Store, StoreError, Token, share};
use crate::settings::variables::BUDGET_MS;
use crate::wire::redacted;

/// One fetch, for which memory has nothing good, and the store that may.
pub(crate) struct FleetFetch<'a, H, S> {
    pub(super) fleet: &'a Fleet,
    chain: &'a Chain,
    pub(super) fetch: &'a FetchContext<'a, H>,
    pub(super) store: SealedStore<'a, H, S>,
}

/// What the store makes of it.
enum Found {
    /// Somebody's token, which is in memory now.
    Token(Rc<Token>),
    /// Somebody's failure, which is the answer for so long.
    Failure(Error, Duration),
    /// Somebody is fetching, and the token in memory does until then.
    Underway(Rc<Token>),
    /// It is ours to fetch for all.
    Ours(Lease),
    /// The store does not answer. `together`: others find that out now, too.
    Nothing { together: bool },
}

/// What one call has seen of the store so far.
#[derive(Default)]
struct StoreWatch {
    pauses: u32,
    /// Since when the store fails (time since the Unix epoch).
    fails_since: Option<Duration>,
    has_missed: bool,
    /// The fingerprint of the token that was there when this call began to wait.
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

    /// Take what others have, or fetch for all.
    pub(crate) async fn run(&self) -> FetchResult {
        self.tell_of_deployment();
        if self.fetch.request.claims().is_some() {
            // No other token can do, because the request says something besides.
            return self.alone().await;
        }
        match self.find().await {
            Found::Token(token) => Ok(token),
            Found::Underway(token) => {
                self.memory().pause_refresh(self.fetch.request, self.now());
                Ok(token)
            }
            Found::Failure(error, left) => {
                self.memory().rest_for(self.fetch.request, &error, self.now(), left);
                Err(error)
            }
            Found::Ours(lease) => self.lead(lease).await,
            Found::Nothing { together } => {
                if together {
                    self.spread().await;
                }
                self.alone().await
            }
        }
    }

    /// Fetch for all, and tell them.
    async fn lead(&self, mut lease: Lease) -> FetchResult {
        let has_time = self.fetch.left(self.now()) >= self.fetch.limits.timeout;
        let outcome = match self.keeping(&mut lease, acquire(self.chain, self.fetch)).await {
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
            Err(error) => match shared_rest(error, has_time) {
                Some(rest) => self.fail(error, rest).await,
                None => self.end(&lease).await,
            },
        }
        self.or_anothers(outcome).await
    }

    /// Fetch without the others; what comes of it may be of use to them.
    async fn alone(&self) -> FetchResult {
        let outcome = acquire(self.chain, self.fetch).await;
        if let Ok(token) = &outcome
            && !self.fleet.is_away(self.now())
        {
            self.publish(token).await;
        }
        self.or_anothers(outcome).await
    }

    /// A fetch that failed, and had no lease all the time, may have been overtaken.
    async fn or_anothers(&self, outcome: FetchResult) -> FetchResult {
        let Err(error) = outcome else { return outcome };
        let token = self.anothers_token().await;
        // One that is due for a refresh does not end the rest after the failure.
        self.memory().rest(self.fetch.request, &error, self.now());
        token.ok_or(error)
    }

    /// Take a token that another instance fetched into memory. This one still may not ask for so long.
    pub(crate) async fn look_despite(&self, error: &Error, left: Duration) {
        // Also one in its last minutes, which is nothing to come back with for whoever may ask.
        let _ = self.anothers_token().await;
        if self.memory().held(self.fetch.request, self.now()).is_some() {
            self.memory().rest_for(self.fetch.request, error, self.now(), left);
        }
    }

    /// A token that another instance fetched meanwhile.
    pub(super) async fn anothers_token(&self) -> Option<Rc<Token>> {
        if self.fetch.request.claims().is_some() || self.fleet.is_away(self.now()) {
            return None;
        }
        self.token(&mut StoreWatch::default()).await.ok().flatten()
    }

    async fn publish(&self, token: &Token) {
        if let Err(error) = self.store.put_token(token).await {
            self.leave_alone(&error);
        }
    }

    /// Whoever finds no store does so when all others do; an endpoint would have all of them at once.
    async fn spread(&self) {
        let spread = Duration::from_micros(share(ALONE_WITHIN_US, self.instance().random()));
        if !spread.is_zero() {
            self.host().sleep(spread.min(self.fetch.left(self.now()))).await;
        }
    }

    /// An error of the store is borne for [`PATIENCE`], in which one restarts.
    async fn find(&self) -> Found {
        let mut watch = StoreWatch::default();
        loop {
            if self.fleet.is_away(self.now()) {
                return Found::Nothing { together: watch.pauses > 0 };
            }
            // From before the look, so that nothing is missed.
            let changed = pin!(self.store.changed());
            match self.look(&mut watch).await {
                Ok(Some(found)) => return found,
                Ok(None) => watch.fails_since = None,
                Err(error) => {
                    let (now, patience) = (self.now(), patience(&error));
                    let since = *watch.fails_since.get_or_insert(now);
                    // A clock that was set back must not make it last.
                    if now < since || now >= since.saturating_add(patience) {
                        self.leave_alone(&error);
                        return Found::Nothing { together: watch.pauses > 0 };
                    }
                }
            }
            if self.fetch.left(self.now()).is_zero() {
                return Found::Failure(self.waited_in_vain(watch.lease.holder()), Duration::ZERO);
            }
            let pause = pin!(self.host().sleep(watch.pause(self.instance().random())));
            select(changed, pause).await;
        }
    }

    /// Look once. Nothing if somebody else fetches what we need: look again.
    async fn look(&self, watch: &mut StoreWatch) -> Result<Option<Found>, StoreError> {
        if let Some(token) = self.token(watch).await? {
            return Ok(Some(Found::Token(token)));
        }
        if !std::mem::replace(&mut watch.has_missed, true) {
            self.instance().count(|stats| &mut stats.store_misses);
        }
        let lease = match self.lease_stands(&mut watch.lease).await? {
            LeaseState::Ours(lease) => lease,
            LeaseState::Failed(error, left) => return Ok(Some(Found::Failure(error, left))),
            LeaseState::Held => return Ok(self.good_until_then().map(Found::Underway)),
            LeaseState::Free => match self.take(&mut watch.lease).await? {
                Some(lease) => lease,
                None => return Ok(None),
            },
        };
        // Somebody's lease may have ended between our look and now.
        if let Some(token) = self.token(watch).await? {
            self.fetch.mark_served();
            self.end(&lease).await;
            return Ok(Some(Found::Token(token)));
        }
        if watch.lease.has_waited() {
            self.instance().count(|stats| &mut stats.lease_takeovers);
        }
        Ok(Some(Found::Ours(lease)))
    }

    /// A token in the store that is better than what memory has, which it goes into. One in its last minutes is none to
    /// come back with, unless it is what this call has waited for; but it does if the fetch fails.
    async fn token(&self, watch: &mut StoreWatch) -> Result<Option<Rc<Token>>, StoreError> {
        let Some(token) = self.store.token(&mut watch.lease).await? else { return Ok(None) };
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

    /// The token that memory has, if it can be used while somebody else fetches the next one.
    fn good_until_then(&self) -> Option<Rc<Token>> {
        self.memory().held(self.fetch.request, self.now()).filter(|held| !is_expiring(held, self.now()))
    }

    /// For whoever wonders why two instances do not share: the same key and identities are the same deployment.
    fn tell_of_deployment(&self) {
        if !self.fleet.has_told_deployment.replace(true) {
            let deployment = self.fleet.seal.place(&[b"realm", &self.fleet.realm[..]].concat()).name;
            let deployment: String = deployment.chars().rev().take(12).collect();
            let fields = [("instance", self.fleet.name(self.host())), ("deployment", &*deployment)];
            self.instance().log(Level::Info, "shares tokens with the instances of its deployment", &fields);
        }
    }

    fn leave_alone(&self, error: &StoreError) {
        self.fleet.leave_alone(self.now());
        self.instance().rate_limits.set_alone(true);
        let words = redacted(&error.to_string(), &[]);
        let fields = [("error", &*words), ("instance", self.fleet.name(self.host()))];
        self.instance().log(Level::Warn, "the store does not do its work: going on without it", &fields);
    }

    fn waited_in_vain(&self, holder: &str) -> Error {
        Error::Transient(Failure {
            source: "token-broker".into(),
            message: format!(
                "the instance {holder} has been fetching the token for {} for as long as this call may take",
                self.fetch.request.key().audience()
            ),
            remedy: Some(format!(
                "see why in the log of the instance {holder}; {} is how long a call may take",
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
    /// Until the next look: short at first, since a fetch takes milliseconds as a rule.
    fn pause(&mut self, random: u64) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.pauses.min(6)).min(LONGEST_PAUSE);
        self.pauses = self.pauses.saturating_add(1);
        let half = u64::try_from(pause.as_micros() / 2).unwrap_or_default();
        Duration::from_micros(half.saturating_add(share(half, random)))
    }
}

/// What is forbidden does not come back within a second.
fn patience(error: &StoreError) -> Duration {
    match error {
        StoreError::AccessDenied(_) => Duration::ZERO,
        StoreError::Unavailable(_) | StoreError::Other(_) => PATIENCE,
    }
}

/// In which a store that fails may come back, before we go on without it.
const PATIENCE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Over how long instances that find no store spread their requests, in microseconds: so that the few hundred of a large
/// machine are connections that its endpoint takes.
const ALONE_WITHIN_US: u64 = 1_000_000;
