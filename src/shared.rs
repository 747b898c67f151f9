//! One fetch for the fleet: what instances tell each other through a store.
//!
//! For each key of the cache the store has a token, and while one is being fetched the *lease* of whoever fetches it
//! (`shared/lease.rs`). A fetch that failed leaves its failure in the place of the lease, for as long as it is the answer.
//!
//! Whoever has the key is trusted: one key is for one deployment, whose instances have the same identities. A store
//! that is down, slow, full of garbage or in the hands of somebody else costs a bounded delay and some more fetches,
//! never a wrong token.

mod entry;
mod lease;
mod seal;
mod shelf;

use std::cell::{Cell, OnceCell};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use crate::broker::Core;
use crate::cache::rest_after;
use crate::config::{Config, REALM, STORE_KEY, Settings};
use crate::error::{Error, Failure};
use crate::fetch::Fetch;
use crate::flight::Outcome;
use crate::host::{Host, Store, StoreError};
use crate::jitter::share;
use crate::log::{Level, log};
use crate::policy::Key;
use crate::source::is_of_the_machine;
use crate::token::{Freshness, Token};
use crate::words::shown;

use lease::{Lease, Stands};
use seal::Seal;
use shelf::Shelf;

/// What an instance knows of the store that it shares.
#[derive(Debug)]
pub(crate) struct Shared {
    seal: Seal,
    /// What tells this deployment's identities from another's.
    realm: [u8; 32],
    /// What this instance is called in leases and in logs.
    name: OnceCell<String>,
    has_told_deployment: Cell<bool>,
    /// The store is left alone until then (time since the Unix epoch).
    away: Cell<Duration>,
    /// Whether it was left alone, and has not answered since.
    is_lost: Cell<bool>,
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
            name: OnceCell::new(),
            has_told_deployment: Cell::default(),
            away: Cell::default(),
            is_lost: Cell::default(),
        }))
    }

    /// Whether the store has not answered since it was left alone, and so does not tell what other instances do.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.get()
    }

    /// Remove the token under a key from the store, if it is the one with this fingerprint.
    pub(crate) async fn remove_token<H: Host, S: Store>(
        &self,
        broker: &Rc<Core<H, S>>,
        config: &Config,
        key: &Key,
        token_hash: &str,
    ) {
        if !self.is_away(broker.host.now()) {
            // If this fails, another instance takes the token, is refused by the service, and forgets it in turn.
            let _ = Shelf::new(self, broker, config, key).remove_token(token_hash).await;
        }
    }

    fn is_away(&self, now: Duration) -> bool {
        // A clock that was set back must not make it last.
        now < self.away.get() && self.away.get() <= now.saturating_add(AWAY)
    }

    fn answers(&self) {
        self.is_lost.set(false);
    }

    fn name<H: Host>(&self, host: &H) -> &str {
        self.name.get_or_init(|| format!("{:012x}", host.random() >> 16))
    }
}

/// One fetch, for which memory has nothing good, and the store that may.
pub(crate) struct Sharing<'a, H, S> {
    shared: &'a Shared,
    broker: &'a Rc<Core<H, S>>,
    fetch: &'a Fetch<'a>,
    shelf: Shelf<'a, H, S>,
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
struct Watch {
    pauses: u32,
    /// The store fails, and may until then (time since the Unix epoch).
    bears_until: Option<Duration>,
    has_missed: bool,
    /// The fingerprint of the token that was there when this call began to wait.
    token: Option<String>,
    lease: lease::Seen,
}

impl<'a, H: Host, S: Store> Sharing<'a, H, S> {
    pub(crate) fn new(shared: &'a Shared, broker: &'a Rc<Core<H, S>>, fetch: &'a Fetch<'a>) -> Self {
        let shelf = Shelf::new(shared, broker, fetch.config, fetch.demand.key());
        Self { shared, broker, fetch, shelf }
    }

    /// Take what others have, or fetch for all.
    pub(crate) async fn run(&self) -> Outcome {
        self.tell_of_deployment();
        if self.fetch.demand.claims().is_some() {
            // No other token can do, because the request says something besides.
            return self.alone().await;
        }
        match self.find().await {
            Found::Token(token) => Ok(token),
            Found::Underway(token) => {
                self.broker.pause_refresh(self.fetch.demand);
                Ok(token)
            }
            Found::Failure(error, left) => {
                self.broker.rest_for(self.fetch.demand, &error, left);
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
    async fn lead(&self, mut lease: Lease) -> Outcome {
        let has_time = self.fetch.left(self.now()) >= self.fetch.config.timeout;
        let outcome = match self.keeping(&mut lease, self.broker.acquire(self.fetch)).await {
            Either::Left(outcome) => outcome,
            Either::Right(token) => {
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
    async fn alone(&self) -> Outcome {
        let outcome = self.broker.acquire(self.fetch).await;
        if let Ok(token) = &outcome
            && !self.shared.is_away(self.now())
        {
            self.publish(token).await;
        }
        self.or_anothers(outcome).await
    }

    /// A fetch that failed, and had no lease all the time, may have been overtaken.
    async fn or_anothers(&self, outcome: Outcome) -> Outcome {
        let Err(error) = outcome else { return outcome };
        let token = self.anothers_token().await;
        // One that is due for a refresh does not end the rest after the failure.
        self.broker.rest_for(self.fetch.demand, &error, rest_after(&error).unwrap_or_default());
        token.ok_or(error)
    }

    /// Take a token that another instance fetched into memory. This one still may not ask for so long.
    pub(crate) async fn look_despite(&self, error: &Error, left: Duration) {
        // Also one in its last minutes, which is nothing to come back with for whoever may ask.
        let _ = self.anothers_token().await;
        if self.broker.held(self.fetch.demand).is_some() {
            self.broker.rest_for(self.fetch.demand, error, left);
        }
    }

    /// A token that another instance fetched meanwhile.
    async fn anothers_token(&self) -> Option<Rc<Token>> {
        if self.fetch.demand.claims().is_some() || self.shared.is_away(self.now()) {
            return None;
        }
        self.token(&mut Watch::default()).await.ok().flatten()
    }

    async fn publish(&self, token: &Token) {
        if let Err(error) = self.shelf.put_token(token).await {
            self.leave_alone(&error);
        }
    }

    /// Whoever finds no store does so when all others do; an endpoint would have all of them at once.
    async fn spread(&self) {
        let spread = Duration::from_micros(share(ALONE_WITHIN_US, self.host().random()));
        if !spread.is_zero() {
            self.host().sleep(spread.min(self.fetch.left(self.now()))).await;
        }
    }

    /// An error of the store is borne for [`PATIENCE`], in which one restarts.
    async fn find(&self) -> Found {
        let mut watch = Watch::default();
        loop {
            if self.shared.is_away(self.now()) {
                return Found::Nothing { together: watch.pauses > 0 };
            }
            // From before the look, so that nothing is missed.
            let changed = pin!(self.broker.store.changed());
            match self.look(&mut watch).await {
                Ok(Some(found)) => return found,
                Ok(None) => watch.bears_until = None,
                Err(error) => {
                    let now = self.now();
                    if now >= *watch.bears_until.get_or_insert_with(|| now.saturating_add(patience(&error))) {
                        self.leave_alone(&error);
                        return Found::Nothing { together: watch.pauses > 0 };
                    }
                }
            }
            if self.now() >= self.fetch.deadline() {
                return Found::Failure(self.waited_in_vain(watch.lease.holder()), Duration::ZERO);
            }
            let pause = pin!(self.host().sleep(watch.pause(self.host().random())));
            select(changed, pause).await;
        }
    }

    /// Look once. Nothing if somebody else fetches what we need: look again.
    async fn look(&self, watch: &mut Watch) -> Result<Option<Found>, StoreError> {
        if let Some(token) = self.token(watch).await? {
            return Ok(Some(Found::Token(token)));
        }
        if !std::mem::replace(&mut watch.has_missed, true) {
            self.broker.count(|stats| &mut stats.store_misses);
        }
        let lease = match self.lease_stands(&mut watch.lease).await? {
            Stands::Ours(lease) => lease,
            Stands::Failed(error, left) => return Ok(Some(Found::Failure(error, left))),
            Stands::Held => return Ok(self.good_until_then().map(Found::Underway)),
            Stands::Free => match self.take(&mut watch.lease).await? {
                Some(lease) => lease,
                None => return Ok(None),
            },
        };
        // Somebody's lease may have ended between our look and now.
        if let Some(token) = self.token(watch).await? {
            self.end(&lease).await;
            return Ok(Some(Found::Token(token)));
        }
        if watch.lease.has_waited() {
            self.broker.count(|stats| &mut stats.lease_takeovers);
        }
        Ok(Some(Found::Ours(lease)))
    }

    /// A token in the store that is better than what memory has, which it goes into. One in its last minutes is none to
    /// come back with, unless it is what this call has waited for; but it does if the fetch fails.
    async fn token(&self, watch: &mut Watch) -> Result<Option<Rc<Token>>, StoreError> {
        let Some(token) = self.shelf.token(&mut watch.lease).await? else { return Ok(None) };
        let token_hash = token.fingerprint();
        let is_awaited = watch.has_missed && watch.token.as_ref() != Some(&token_hash);
        if !self.is_better(&token, &token_hash) {
            watch.token = Some(token_hash);
            return Ok(None);
        }
        let fields = [
            ("audience", self.fetch.demand.key().audience()),
            ("source", token.source()),
            ("token_sha256", &token_hash),
        ];
        self.log(Level::Debug, "took a token from the store", &fields);
        let token = self.broker.adopt(self.fetch.demand, token);
        watch.token = Some(token_hash);
        if token.is_expiring(self.now()) && !is_awaited {
            return Ok(None);
        }
        self.broker.count(|stats| &mut stats.store_hits);
        self.fetch.is_served();
        Ok(Some(token))
    }

    fn is_better(&self, token: &Token, token_hash: &str) -> bool {
        if self.broker.refused(self.fetch.demand).is_some_and(|refused| refused == token_hash) {
            return false;
        }
        let now = self.now();
        let freshness = token.freshness(token.refresh_on().unwrap_or(token.received_on), now);
        match self.broker.held(self.fetch.demand) {
            None => freshness != Freshness::Gone,
            Some(held) if held.secret().expose_secret() == token.secret().expose_secret() => false,
            Some(held) if held.is_expiring(now) => {
                freshness != Freshness::Gone && token.expires_on() > held.expires_on()
            }
            Some(_) => freshness == Freshness::Fresh,
        }
    }

    /// The token that memory has, if it can be used while somebody else fetches the next one.
    fn good_until_then(&self) -> Option<Rc<Token>> {
        self.broker.held(self.fetch.demand).filter(|held| !held.is_expiring(self.now()))
    }

    /// For whoever wonders why two instances do not share: the same key and identities are the same deployment.
    fn tell_of_deployment(&self) {
        if !self.shared.has_told_deployment.replace(true) {
            let deployment = self.shared.seal.place(&[b"realm", &self.shared.realm[..]].concat()).name;
            let deployment: String = deployment.chars().rev().take(12).collect();
            let fields = [("instance", self.shared.name(self.host())), ("deployment", &*deployment)];
            self.log(Level::Info, "shares tokens with the instances of its deployment", &fields);
        }
    }

    fn leave_alone(&self, error: &StoreError) {
        self.shared.away.set(self.now().saturating_add(AWAY));
        self.shared.is_lost.set(true);
        let words = shown(&error.to_string(), &[]);
        let fields = [("error", &*words), ("instance", self.shared.name(self.host()))];
        self.log(Level::Warn, "the store does not do its work: going on without it", &fields);
    }

    fn waited_in_vain(&self, holder: &str) -> Error {
        Error::Transient(Failure {
            source: "token-broker".into(),
            message: format!(
                "the instance {holder} has been fetching the token for {} for as long as this call may take",
                self.fetch.demand.key().audience()
            ),
            remedy: Some(format!(
                "see why in the log of the instance {holder}; TOKEN_BROKER_BUDGET_MS is how long a call may take"
            )),
            ..Failure::default()
        })
    }

    fn host(&self) -> &H {
        &self.broker.host
    }

    fn log(&self, level: Level, event: &'static str, fields: &[(&'static str, &str)]) {
        log(self.host(), self.fetch.config, level, event, fields);
    }

    fn now(&self) -> Duration {
        self.host().now()
    }
}

impl Watch {
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

/// How long a failure is everybody's. `had_time`: the call that failed had time for a whole try.
///
/// What the fleet's identity service says is so for all. A machine's own endpoint speaks for that machine, which may be
/// the one without the identity; only that it wants to be left alone is respected by all.
fn shared_rest(error: &Error, had_time: bool) -> Option<Duration> {
    let rest = rest_after(error)?;
    let answered = error.failures().iter().any(|failure| failure.status.is_some());
    let of_the_machine = error.failures().iter().any(|failure| is_of_the_machine(&failure.source));
    match error {
        // Others have a rate limit of their own.
        Error::Throttled(_) => answered.then_some(rest),
        _ if answered && !of_the_machine => Some(rest),
        _ if answered || had_time => Some(rest.min(OF_ONE_MACHINE)),
        _ => None,
    }
}

/// In which a store that fails may come back, before we go on without it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long we then leave it alone.
const AWAY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A failure that may be one machine's alone.
const OF_ONE_MACHINE: Duration = Duration::from_secs(1);
/// Over how long instances that find no store spread their requests, in microseconds: so that the few hundred of a large
/// machine are connections that its endpoint takes.
const ALONE_WITHIN_US: u64 = 1_000_000;
