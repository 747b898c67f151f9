//! The store as one key's callers use it: everything sealed, every operation bounded, every failure counted.

use std::cell::OnceCell;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::Fleet;
use super::entry;
use super::lease::LeaseWatch;
use super::seal::StoreSlot;
use crate::acquire::Instance;
use crate::model::{Host, Level, Store, StoreError, Token};
use crate::policy::CacheKey;

pub(super) struct SealedStore<'a, H, S> {
    fleet: &'a Fleet,
    store: &'a S,
    instance: &'a Instance<H>,
    key: CacheKey,
    /// Where the token may be: under the key that seals, and under the one before it.
    tokens: Vec<StoreSlot>,
    /// Worked out when it is needed: a token that is there is taken without it.
    lease: OnceCell<StoreSlot>,
}

impl<'a, H: Host, S: Store> SealedStore<'a, H, S> {
    pub(super) fn new(fleet: &'a Fleet, store: &'a S, instance: &'a Instance<H>, key: &CacheKey) -> Self {
        let key = key.without_claims();
        let tokens = fleet.seal.places(&named(TOKEN, fleet, &key));
        Self { fleet, store, instance, key, tokens, lease: OnceCell::new() }
    }

    /// Where the lease is.
    pub(super) fn lease(&self) -> &StoreSlot {
        self.lease.get_or_init(|| self.fleet.seal.place(&named(LEASE, self.fleet, &self.key)))
    }

    pub(super) fn seal(&self, place: &StoreSlot, text: &[u8]) -> Vec<u8> {
        place.seal(text, || self.instance.random())
    }

    /// The token that is there. What does not open is not there.
    pub(super) async fn token(&self, seen: &mut LeaseWatch) -> Result<Option<Token>, StoreError> {
        for place in &self.tokens {
            let Some(value) = self.get(place).await? else { continue };
            match place.open(&value).and_then(|text| entry::token(&text)) {
                Some(token) => return Ok(Some(token)),
                None => self.tell_of_garbage(place, seen),
            }
        }
        Ok(None)
    }

    pub(super) async fn put_token(&self, token: &Token) -> Result<(), StoreError> {
        let Some(place) = self.tokens.first() else { return Ok(()) };
        let value = self.seal(place, &entry::of_token(token));
        self.set(place, value, token.life_left(self.instance.now())).await
    }

    /// Remove the token that is there, if it is the one with this fingerprint.
    pub(super) async fn remove_token(&self, token_hash: &str) -> Result<(), StoreError> {
        for place in &self.tokens {
            let Some(value) = self.get(place).await? else { continue };
            let token = place.open(&value).and_then(|text| entry::token(&text));
            if token.is_some_and(|token| token.fingerprint() == token_hash) {
                self.remove(place, &value).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn get(&self, place: &StoreSlot) -> Result<Option<Vec<u8>>, StoreError> {
        self.within(OPERATION, self.store.get(&place.name)).await
    }

    pub(super) async fn set(
        &self,
        place: &StoreSlot,
        value: Vec<u8>,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        self.within(OPERATION, self.store.set(&place.name, value, ttl)).await
    }

    pub(super) async fn add(
        &self,
        place: &StoreSlot,
        value: Vec<u8>,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        self.within(ADDING, self.store.add(&place.name, value, ttl)).await
    }

    pub(super) async fn remove(&self, place: &StoreSlot, value: &[u8]) -> Result<(), StoreError> {
        self.within(OPERATION, self.store.delete(&place.name, value)).await
    }

    /// Wait until something may have changed in the store.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + use<'_, 'a, H, S> {
        self.store.changed()
    }

    /// Counted each time, and told once for a call, with the name under which the store's operator finds it.
    pub(super) fn tell_of_garbage(&self, place: &StoreSlot, seen: &mut LeaseWatch) {
        self.instance.count(|stats| &mut stats.store_tampered);
        if !std::mem::replace(&mut seen.has_told, true) {
            let fields = [("audience", self.key.audience()), ("entry", &*place.name)];
            let event = "what the store has does not open: ignored";
            self.instance.log(Level::Warn, event, &fields);
        }
    }

    async fn within<T>(
        &self,
        limit: Duration,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let outcome = match select(pin!(operation), pin!(self.instance.host.sleep(limit))).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => {
                Err(StoreError::Unavailable(format!("no answer within {} ms", limit.as_millis())))
            }
        };
        match &outcome {
            Ok(_) => self.instance.rate_limits.set_alone(false),
            Err(_) => self.instance.count(|stats| &mut stats.store_errors),
        }
        outcome
    }
}

/// What something is, and whose: equal bytes for what is the same, and for nothing else.
fn named(kind: &[u8; 5], fleet: &Fleet, key: &CacheKey) -> Vec<u8> {
    [kind.as_slice(), &fleet.realm, &key.to_bytes()].concat()
}

/// What is kept for a key; of equal length, so that nothing runs into what follows.
const TOKEN: &[u8; 5] = b"token";
const LEASE: &[u8; 5] = b"lease";

/// One operation of the store.
const OPERATION: Duration = Duration::from_millis(500);
/// Putting something only where nothing is: on a store that cannot, several operations and a pause.
const ADDING: Duration = Duration::from_millis(1500);
