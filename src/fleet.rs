//! One fetch for the fleet: what instances tell each other through a store.
//!
//! For each key of the cache the store has a token, and while one is being fetched the *lease* of whoever fetches it
//! (`fleet/lease.rs`). A fetch that failed leaves its failure in the place of the lease, for as long as it is the answer.
//!
//! Whoever has the key is trusted: one key is for one deployment, whose instances have the same identities. A store
//! that is down, slow, full of garbage or in the hands of somebody else costs a bounded delay and some more fetches,
//! never a wrong token.

mod entry;
mod fleet_fetch;
mod lease;
mod seal;
mod sealed_store;
mod shared_rest;

use std::cell::{Cell, OnceCell};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use self::seal::Seal;
use self::sealed_store::SealedStore;
use crate::acquire::Instance;
use crate::model::{Error, Host, Store};
use crate::policy::CacheKey;
use crate::settings::Settings;
use crate::settings::variables::{
    AUTHORITY_HOST, CLIENT_ID, DEFAULT_IDENTITY_CLIENT_ID, FEDERATED_CLIENT_ID, FEDERATED_TENANT_ID,
    IDENTITY_SERVER_THUMBPRINT, TENANT_ID, TOKEN_CREDENTIALS,
};

pub(crate) use self::fleet_fetch::FleetFetch;

/// What an instance knows of the store that it shares.
#[derive(Debug)]
pub(crate) struct Fleet {
    seal: Seal,
    /// What tells this deployment's identities from another's.
    realm: [u8; 32],
    /// What this instance is called in leases and in logs.
    name: OnceCell<String>,
    has_told_deployment: Cell<bool>,
    /// The store is left alone until then (time since the Unix epoch).
    away: Cell<Duration>,
}

impl Fleet {
    /// None if the settings have no key: nothing is shared.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a key that is none.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        let Some(seal) = Seal::detect(settings)? else { return Ok(None) };
        let mut realm = Sha256::new();
        for value in REALM.map(|name| settings.get(name).unwrap_or_default()) {
            realm.update((value.len() as u64).to_be_bytes());
            realm.update(value);
        }
        Ok(Some(Self {
            seal,
            realm: realm.finalize().into(),
            name: OnceCell::new(),
            has_told_deployment: Cell::default(),
            away: Cell::default(),
        }))
    }

    /// Remove the token under a key from the store, if it is the one with this fingerprint.
    pub(crate) async fn remove_token<H: Host, S: Store>(
        &self,
        store: &S,
        instance: &Instance<H>,
        key: &CacheKey,
        token_hash: &str,
    ) {
        if !self.is_away(instance.now()) {
            // If this fails, another instance takes the token, is refused by the service, and forgets it in turn.
            let _ = SealedStore::new(self, store, instance, key).remove_token(token_hash).await;
        }
    }

    fn is_away(&self, now: Duration) -> bool {
        // A clock that was set back must not make it last.
        now < self.away.get() && self.away.get() <= now.saturating_add(AWAY)
    }

    fn leave_alone(&self, now: Duration) {
        self.away.set(now.saturating_add(AWAY));
    }

    fn name<H: Host>(&self, host: &H) -> &str {
        self.name.get_or_init(|| format!("{:012x}", host.random() >> 16))
    }
}

/// What names the identities of a deployment, besides the request: the same token is never shared where they differ.
/// Endpoints are not among them, since App Service gives each instance its own.
const REALM: [&str; 8] = [
    FEDERATED_CLIENT_ID,
    FEDERATED_TENANT_ID,
    TOKEN_CREDENTIALS,
    CLIENT_ID,
    TENANT_ID,
    AUTHORITY_HOST,
    DEFAULT_IDENTITY_CLIENT_ID,
    IDENTITY_SERVER_THUMBPRINT,
];

/// How long a store that does not answer is left alone.
const AWAY: Duration = Duration::from_secs(5);
