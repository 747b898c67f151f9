//! One fetch for the fleet: what instances tell each other through a store.
//!
//! For each key of the cache the store has a token, and while one is being fetched the *turn* of whoever fetches it.
//! A turn is a lease: it is taken by `add`, kept up while the fetch goes on, and ends by itself if its holder dies.
//! A fetch that failed leaves its failure in the place of the turn, for as long as it is the answer.
//!
//! Whoever has the key is trusted: one key is for one deployment, whose instances have the same identities. A store
//! that is down, slow, full of garbage or in the hands of somebody else costs a bounded delay and some more fetches,
//! never a wrong token.

mod budget;
mod entry;
mod seal;

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use crate::broker::Broker;
use crate::cache::rest_after;
use crate::config::{Config, REALM, STORE_KEY, Settings};
use crate::error::{Error, Failure};
use crate::flight::Outcome;
use crate::host::{Host, Store, StoreError};
use crate::jitter::share;
use crate::log::{Level, log};
use crate::policy::Demand;
use crate::token::{Freshness, Token};

use budget::Budget;
use entry::Turn;
use seal::{Place, Seal};

/// What an instance knows of the store that it shares.
#[derive(Debug)]
pub(crate) struct Shared {
    seal: Seal,
    /// What tells this deployment's identities from another's.
    realm: [u8; 32],
    /// The store is left alone until then (time since the Unix epoch).
    away: Cell<Duration>,
    budget: Budget,
}

impl Shared {
    /// None if the settings have no key: nothing is shared.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a key that is none.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        let Some(text) = settings.get(STORE_KEY) else { return Ok(None) };
        let mut realm = Sha256::new();
        for value in REALM.map(|name| settings.get(name).unwrap_or_default()) {
            realm.update((value.len() as u64).to_be_bytes());
            realm.update(value);
        }
        Ok(Some(Self {
            seal: Seal::parse(text)?,
            realm: realm.finalize().into(),
            away: Cell::default(),
            budget: Budget::default(),
        }))
    }

    fn is_away(&self, now: Duration) -> bool {
        // A clock that was set back must not make it last.
        now < self.away.get() && self.away.get() <= now.saturating_add(AWAY)
    }
}

/// One demand for which memory has nothing good, and the store that may.
pub(crate) struct Sharing<'a, H, S> {
    pub(crate) shared: &'a Shared,
    pub(crate) broker: &'a Broker<H, S>,
    pub(crate) config: &'a Config,
    pub(crate) demand: &'a Demand,
    /// Nothing begins after it (time since the Unix epoch).
    pub(crate) deadline: Duration,
}

/// What the store makes of a demand.
enum Found {
    /// Somebody's token, which is in memory now.
    Token(Rc<Token>),
    /// Somebody's failure, which is still the answer.
    Failure(Error),
    /// Somebody is fetching, and the token in memory does until then.
    Underway(Rc<Token>),
    /// Our turn to fetch.
    Ours(Lease),
}

/// Our turn: the value by which we know it again.
struct Lease(Vec<u8>);

impl<H: Host, S: Store> Sharing<'_, H, S> {
    /// Take what others have, or fetch for all.
    pub(crate) async fn run(&self) -> Outcome {
        if self.demand.claims().is_some() {
            return self.fetch().await;
        }
        match self.find().await {
            Some(Found::Token(token)) => Ok(token),
            Some(Found::Underway(token)) => {
                self.broker.pause_refresh(self.demand);
                Ok(token)
            }
            Some(Found::Failure(error)) => {
                self.broker.rest(self.demand, &error);
                Err(error)
            }
            Some(Found::Ours(lease)) => {
                let outcome = self.keeping(&lease, self.acquire()).await;
                self.tell(Some(lease), &outcome).await;
                outcome
            }
            None => self.alone().await,
        }
    }

    /// Fetch a token that no other could do for, because the request says something besides, and give it to the others.
    async fn fetch(&self) -> Outcome {
        let outcome = self.acquire().await;
        self.tell(None, &outcome).await;
        outcome
    }

    async fn acquire(&self) -> Outcome {
        self.broker.acquire(self.config, self.demand, self.deadline).await
    }

    /// Nothing if the store does not answer: an error is borne for [`PATIENCE`], in which a store restarts.
    async fn find(&self) -> Option<Found> {
        let mut polls = Polls::default();
        let mut bears_until = None;
        loop {
            if self.shared.is_away(self.now()) {
                return None;
            }
            // From before the look, so that nothing is missed.
            let changed = pin!(self.broker.store().changed());
            match self.look(&mut polls).await {
                Ok(Some(found)) => return Some(found),
                Ok(None) => bears_until = None,
                Err(error) => {
                    self.broker.count(|stats| &mut stats.store_errors);
                    if self.now() >= *bears_until.get_or_insert_with(|| self.now().saturating_add(PATIENCE)) {
                        self.leave_alone(&error);
                        return None;
                    }
                }
            }
            if self.now() >= self.deadline {
                return Some(Found::Failure(self.waited_in_vain()));
            }
            let pause = self.broker.host().sleep(polls.next(self.broker.host().random()));
            select(changed, pin!(pause)).await;
        }
    }

    /// Look once. Nothing if somebody else fetches what we need: look again.
    async fn look(&self, polls: &mut Polls) -> Result<Option<Found>, StoreError> {
        if let Some(token) = self.token().await? {
            return Ok(Some(Found::Token(token)));
        }
        if polls.is_first() {
            self.broker.count(|stats| &mut stats.store_misses);
        }
        let Some(lease) = self.take_turn().await? else { return self.turn(polls).await };
        if !polls.is_first() {
            self.broker.count(|stats| &mut stats.lease_takeovers);
        }
        // Somebody's turn may have ended between our look and now.
        if let Some(token) = self.token().await? {
            self.end_turn(&lease).await;
            return Ok(Some(Found::Token(token)));
        }
        Ok(Some(Found::Ours(lease)))
    }

    /// A token in the store that is better than what memory has, which it goes into. One in its last minutes is none to
    /// come back with, but does if the fetch fails.
    async fn token(&self) -> Result<Option<Rc<Token>>, StoreError> {
        let found = self.open(TOKEN, |bytes, _| entry::token(bytes)).await?;
        let Some(token) = found.filter(|token| self.is_better(token)) else { return Ok(None) };
        let (key, token_hash) = (self.demand.key(), token.fingerprint());
        let fields =
            [("audience", key.audience()), ("source", token.source()), ("token_sha256", &token_hash)];
        self.log(Level::Debug, "took a token from the store", &fields);
        let token = self.broker.adopt(self.demand, token);
        if token.is_expiring(self.now()) {
            return Ok(None);
        }
        self.broker.count(|stats| &mut stats.store_hits);
        Ok(Some(token))
    }

    fn is_better(&self, token: &Token) -> bool {
        if self.broker.refused(self.demand).is_some_and(|refused| refused == token.fingerprint()) {
            return false;
        }
        let better: &[Freshness] = match self.broker.held(self.demand) {
            None => &[Freshness::Fresh, Freshness::Stale, Freshness::Expiring],
            Some(held) if held.secret().expose_secret() == token.secret().expose_secret() => &[],
            Some(held) if held.is_expiring(self.now()) => &[Freshness::Fresh, Freshness::Stale],
            Some(_) => &[Freshness::Fresh],
        };
        better.contains(&token.freshness(token.refresh_on().unwrap_or(token.received_on), self.now()))
    }

    async fn take_turn(&self) -> Result<Option<Lease>, StoreError> {
        let place = self.place(TURN);
        let value = self.seal(&place, &entry::taken());
        let taken = self.within(self.broker.store().add(&place.name, value.clone(), LEASE)).await?;
        Ok(taken.then_some(Lease(value)))
    }

    /// What somebody else's turn means for us.
    async fn turn(&self, polls: &Polls) -> Result<Option<Found>, StoreError> {
        if let Some(Turn::Failed(error)) = self.open(TURN, entry::turn).await? {
            return Ok(Some(Found::Failure(error)));
        }
        if let Some(held) = self.broker.held(self.demand).filter(|held| !held.is_expiring(self.now())) {
            return Ok(Some(Found::Underway(held)));
        }
        if polls.is_first() {
            self.broker.count(|stats| &mut stats.lease_waits);
        }
        Ok(None)
    }

    /// Fetch, and keep our turn up meanwhile.
    async fn keeping<T>(&self, lease: &Lease, fetch: impl Future<Output = T>) -> T {
        let (place, mut fetch) = (self.place(TURN), pin!(fetch));
        loop {
            let pause = self.broker.host().sleep(KEPT_UP);
            if let Either::Left((output, _)) = select(fetch.as_mut(), pin!(pause)).await {
                return output;
            }
            // If the store fails, the lease ends and another instance takes over: nothing else depends on it.
            let put = self.within(self.broker.store().set(&place.name, lease.0.clone(), LEASE));
            if let Either::Left((output, put)) = select(fetch.as_mut(), pin!(put)).await {
                // Not dropped: arriving late, it would take the place of the failure that is told next.
                let _ = put.await;
                return output;
            }
        }
    }

    /// Tell the others what came of our turn, or of a fetch without one.
    async fn tell(&self, lease: Option<Lease>, outcome: &Outcome) {
        if self.shared.is_away(self.now()) {
            return;
        }
        let told = match outcome {
            Ok(token) => self.put(TOKEN, &entry::of_token(token), token.life_left(self.now())).await,
            Err(_) => Ok(()),
        };
        if let Err(error) = told {
            self.broker.count(|stats| &mut stats.store_errors);
            self.leave_alone(&error);
        }
        let Some(lease) = lease else { return };
        match outcome.as_ref().err().and_then(|error| Some((error, shared_rest(error)?))) {
            // In the place of our turn: whoever waits for it, or comes to it, has an answer.
            Some((error, rest)) => {
                let _ = self.put(TURN, &entry::failed(error, self.now(), rest), rest).await;
            }
            None => self.end_turn(&lease).await,
        }
    }

    /// If this fails, the lease ends by itself.
    async fn end_turn(&self, lease: &Lease) {
        let _ = self.within(self.broker.store().delete(&self.place(TURN).name, &lease.0)).await;
    }

    /// Without the others, who find themselves alone at the same moment, but not without restraint.
    async fn alone(&self) -> Outcome {
        let spread = share(ALONE_WITHIN_US, self.broker.host().random());
        if spread > 0 {
            self.broker.host().sleep(Duration::from_micros(spread)).await;
        }
        let left = self.deadline.saturating_sub(self.now());
        let wait = self.shared.budget.take(self.now(), left).map_err(over_budget)?;
        if !wait.is_zero() {
            self.broker.count(|stats| &mut stats.budget_waits);
            self.broker.host().sleep(wait).await;
        }
        self.fetch().await
    }

    fn leave_alone(&self, error: &StoreError) {
        self.shared.away.set(self.now().saturating_add(AWAY));
        let fields = [("error", &*error.to_string())];
        log(
            self.broker.host(),
            self.config,
            Level::Warn,
            "the store does not do its work: going on without it",
            &fields,
        );
    }

    fn waited_in_vain(&self) -> Error {
        Error::Transient(Failure {
            source: "token-broker".into(),
            message: format!(
                "another instance has been fetching the token for {} for as long as this call may take",
                self.demand.key().audience()
            ),
            remedy: Some(
                "see the log of that instance; TOKEN_BROKER_BUDGET_MS is how long a call may take".to_owned(),
            ),
            ..Failure::default()
        })
    }

    async fn put(&self, what: &str, text: &[u8], ttl: Duration) -> Result<(), StoreError> {
        let place = self.place(what);
        let value = self.seal(&place, text);
        self.within(self.broker.store().set(&place.name, value, ttl)).await
    }

    /// What the store has, by the key that seals or the one before it. What does not open is not there.
    async fn open<T>(
        &self,
        what: &str,
        read: impl Fn(&[u8], Duration) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        for place in self.places(what) {
            let Some(value) = self.within(self.broker.store().get(&place.name)).await? else { continue };
            let opened = place.open(&value).and_then(|text| read(&text, self.now()));
            if opened.is_some() {
                return Ok(opened);
            }
            self.broker.count(|stats| &mut stats.store_tampered);
            let fields = [("audience", self.demand.key().audience()), ("entry", what)];
            log(
                self.broker.host(),
                self.config,
                Level::Warn,
                "what the store has does not open: ignored",
                &fields,
            );
        }
        Ok(None)
    }

    fn place(&self, what: &str) -> Place<'_> {
        self.shared.seal.place(&self.named(what))
    }

    fn places(&self, what: &str) -> Vec<Place<'_>> {
        self.shared.seal.places(&self.named(what))
    }

    /// What something is, and whose: equal bytes for what is the same, and for nothing else.
    fn named(&self, what: &str) -> Vec<u8> {
        let key = self.demand.key().without_claims();
        [what.as_bytes(), &self.shared.realm, &key.to_bytes()].concat()
    }

    fn seal(&self, place: &Place<'_>, text: &[u8]) -> Vec<u8> {
        place.seal(text, || self.broker.host().random())
    }

    async fn within<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match select(pin!(operation), pin!(self.broker.host().sleep(OPERATION))).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => {
                Err(StoreError::Unavailable(format!("no answer within {} ms", OPERATION.as_millis())))
            }
        }
    }

    fn log(&self, level: Level, event: &'static str, fields: &[(&'static str, &str)]) {
        log(self.broker.host(), self.config, level, event, fields);
    }

    fn now(&self) -> Duration {
        self.broker.host().now()
    }
}

/// The pauses between looks: short at first, since a fetch takes milliseconds as a rule.
#[derive(Default)]
struct Polls(u32);

impl Polls {
    fn is_first(&self) -> bool {
        self.0 == 0
    }

    fn next(&mut self, random: u64) -> Duration {
        let pause = FIRST_POLL.saturating_mul(1 << self.0.min(6)).min(LONGEST_POLL);
        self.0 = self.0.saturating_add(1);
        let half = u64::try_from(pause.as_micros() / 2).unwrap_or_default();
        Duration::from_micros(half.saturating_add(share(half, random)))
    }
}

/// How long a failure is everybody's. One that no service spoke may be this machine's alone.
fn shared_rest(error: &Error) -> Option<Duration> {
    let rest = rest_after(error)?;
    let answered = error.failures().iter().any(|failure| failure.status.is_some());
    Some(if answered { rest } else { rest.min(UNANSWERED) })
}

fn over_budget(wait: Duration) -> Error {
    Error::Throttled(Failure {
        source: "token-broker".into(),
        message: "the store that instances share does not answer, and this instance has asked the identity service as \
                  often as it may without it"
            .to_owned(),
        remedy: Some("look after the store; until then ask for fewer different tokens".to_owned()),
        retry_after: Some(wait),
        ..Failure::default()
    })
}

const TOKEN: &str = "token";
const TURN: &str = "turn ";

/// How long an instance that died keeps the others waiting.
const LEASE: Duration = Duration::from_secs(5);
/// How often a lease is put anew: it lasts although four of these fail, or come late.
const KEPT_UP: Duration = Duration::from_secs(1);
/// One operation of the store.
const OPERATION: Duration = Duration::from_millis(500);
/// In which a store that fails may come back, before we go on without it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long we then leave it alone.
const AWAY: Duration = Duration::from_secs(5);
/// Over how long instances that find no store spread their requests, in microseconds: enough for the few hundred of a
/// large machine to be connections that its endpoint takes.
const ALONE_WITHIN_US: u64 = 1_000_000;
const FIRST_POLL: Duration = Duration::from_millis(10);
const LONGEST_POLL: Duration = Duration::from_millis(500);
const UNANSWERED: Duration = Duration::from_secs(1);
