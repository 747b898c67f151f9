//! The store for one cache key: entries are sealed, operations have timeouts, failures are counted.

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::Fleet;
use super::entry::{self, TokenEntry};
use super::lease::LeaseWatch;
use super::seal::StoreSlot;
use crate::acquire::Instance;
use crate::memory::BETWEEN_FORGETS;
use crate::model::{Host, Level, Store, StoreError, Token};
use crate::policy::CacheKey;

/// The store for one cache key.
pub(super) struct SealedStore<'a, H, S> {
    fleet: &'a Fleet,
    store: &'a S,
    instance: &'a Instance<H>,
    key: CacheKey,
    /// The slots of the token: that of the sealing key, and during a rotation that of the previous one.
    tokens: Vec<StoreSlot>,
    /// Derived when it is needed: a token is taken without it.
    lease: OnceCell<StoreSlot>,
    /// True once the mark of a refused token was read.
    has_seen_refused: Cell<bool>,
}

impl<'a, H: Host, S: Store> SealedStore<'a, H, S> {
    pub(super) fn new(fleet: &'a Fleet, store: &'a S, instance: &'a Instance<H>, key: &CacheKey) -> Self {
        let key = key.without_claims();
        let tokens = fleet.seal.slots(&subject(TOKEN, fleet, &key));
        Self {
            fleet,
            store,
            instance,
            key,
            tokens,
            lease: OnceCell::new(),
            has_seen_refused: Cell::default(),
        }
    }

    /// The slot of the lease.
    pub(super) fn lease(&self) -> &StoreSlot {
        self.lease.get_or_init(|| self.fleet.seal.slot(&subject(LEASE, self.fleet, &self.key)))
    }

    pub(super) fn seal(&self, slot: &StoreSlot, text: &[u8]) -> Vec<u8> {
        slot.seal(text, || self.instance.random())
    }

    /// The token in the store, and whether it replaces a refused one; none if there is no valid token.
    pub(super) async fn token(&self, watch: &mut LeaseWatch) -> Result<Option<(Token, bool)>, StoreError> {
        for slot in &self.tokens {
            let Some(value) = self.get(slot).await? else { continue };
            match slot.open(&value).and_then(|text| entry::token_entry(&text)) {
                Some(TokenEntry::Token { token, replaces_refused }) => {
                    return Ok(Some((token, replaces_refused)));
                }
                Some(TokenEntry::Refused) => self.has_seen_refused.set(true),
                None => self.log_invalid(slot, watch),
            }
        }
        Ok(None)
    }

    /// True once [`token`](Self::token) has read the mark of a refused token.
    pub(super) fn has_seen_refused(&self) -> bool {
        self.has_seen_refused.get()
    }

    pub(super) async fn put_token(&self, token: &Token, replaces_refused: bool) -> Result<(), StoreError> {
        let Some(slot) = self.tokens.first() else { return Ok(()) };
        let value = self.seal(slot, &entry::token_bytes(token, replaces_refused));
        self.set(slot, value, token.time_left(self.instance.now())).await
    }

    /// Replaces the token by the mark of a refused one, if it has this fingerprint.
    pub(super) async fn remove_token(&self, token_hash: &str) -> Result<(), StoreError> {
        for slot in &self.tokens {
            let Some(value) = self.get(slot).await? else { continue };
            let entry = slot.open(&value).and_then(|text| entry::token_entry(&text));
            if matches!(entry, Some(TokenEntry::Token { token, .. }) if token.fingerprint() == token_hash) {
                self.remove(slot, &value).await?;
                // Not over a token that another instance has put since.
                self.add(slot, self.seal(slot, &entry::refused_bytes()), BETWEEN_FORGETS).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn get(&self, slot: &StoreSlot) -> Result<Option<Vec<u8>>, StoreError> {
        self.within(OPERATION_TIMEOUT, self.store.get(&slot.name)).await
    }

    pub(super) async fn set(
        &self,
        slot: &StoreSlot,
        value: Vec<u8>,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        self.within(OPERATION_TIMEOUT, self.store.set(&slot.name, value, ttl)).await
    }

    pub(super) async fn add(
        &self,
        slot: &StoreSlot,
        value: Vec<u8>,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        self.within(ADD_TIMEOUT, self.store.add(&slot.name, value, ttl)).await
    }

    pub(super) async fn remove(&self, slot: &StoreSlot, value: &[u8]) -> Result<(), StoreError> {
        self.within(OPERATION_TIMEOUT, self.store.delete(&slot.name, value)).await
    }

    /// Waits until the store may have changed.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + use<'_, 'a, H, S> {
        self.store.changed()
    }

    /// Counts an entry that cannot be decrypted, and logs its name once in a call.
    pub(super) fn log_invalid(&self, slot: &StoreSlot, watch: &mut LeaseWatch) {
        self.instance.count(|stats| &mut stats.store_tampered);
        if !std::mem::replace(&mut watch.has_logged_invalid, true) {
            let fields = [("audience", self.key.audience()), ("entry", &*slot.name)];
            self.instance.log(Level::Warn, "store entry cannot be decrypted, ignored", &fields);
        }
    }

    async fn within<T>(
        &self,
        limit: Duration,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let outcome = match select(pin!(operation), pin!(self.instance.host.sleep(limit))).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => Err(StoreError::Unavailable(format!(
                "no answer within {} ms; fix: check that the store runs, and the way to it",
                limit.as_millis()
            ))),
        };
        match &outcome {
            Ok(_) => self.instance.rate_limits.set_store_lost(false),
            Err(_) => self.instance.count(|stats| &mut stats.store_errors),
        }
        outcome
    }
}

/// The subject of an entry: an injective encoding of its kind, deployment and cache key.
fn subject(kind: &[u8; 5], fleet: &Fleet, key: &CacheKey) -> Vec<u8> {
    [kind.as_slice(), &fleet.realm, &key.to_bytes()].concat()
}

/// The kinds of entries. They have equal lengths, so that the encoding is injective.
const TOKEN: &[u8; 5] = b"token";
const LEASE: &[u8; 5] = b"lease";

/// The timeout of an operation.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(500);
/// The timeout of `add`, which some stores implement by several operations and a pause.
const ADD_TIMEOUT: Duration = Duration::from_millis(1500);
