//! One fetch for many instances, which share tokens through a store.
//!
//! For each cache key the store has a token, and during a fetch the *lease* of the fetching instance
//! (`fleet/lease.rs`). A failed fetch replaces its lease by the failure, for the time of its cooldown.
//!
//! Instances with the store key trust each other: one key is for one deployment, whose instances have the same
//! identities. A store that is down, slow, corrupt or malicious causes a bounded delay and more fetches, never a wrong
//! token.

mod entry;
mod fleet_fetch;
mod lease;
mod seal;
mod sealed_store;
mod shared_cooldown;

use std::cell::{Cell, OnceCell};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use self::seal::Seal;
use self::sealed_store::SealedStore;
use crate::acquire::Instance;
use crate::model::{Error, Host, Store, StoreError};
use crate::policy::CacheKey;
use crate::settings::Settings;
use crate::settings::variables::{
    ASSERTION, ASSERTION_URL, ASSERTION_VARIABLE, AUTHORITY_HOST, CLIENT_ID, DEFAULT_IDENTITY_CLIENT_ID,
    FEDERATED_CLIENT_ID, FEDERATED_TENANT_ID, IDENTITY_SERVER_THUMBPRINT, PIPELINES_CONNECTION, TENANT_ID,
    TOKEN_CREDENTIALS,
};

pub(crate) use self::fleet_fetch::FleetFetch;

/// The state of an instance that shares a store.
#[derive(Debug)]
pub(crate) struct Fleet {
    seal: Seal,
    /// A digest of the settings that distinguish the identities of deployments.
    realm: [u8; 32],
    /// The name of this instance in leases and logs.
    name: OnceCell<String>,
    has_logged_deployment: Cell<bool>,
    /// The time until which the store is not used (since the Unix epoch).
    suspended_until: Cell<Duration>,
}

impl Fleet {
    /// The fleet of the settings; none if they have no store key.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for an invalid key.
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
            has_logged_deployment: Cell::default(),
            suspended_until: Cell::default(),
        }))
    }

    /// Removes the token under a key from the store, if it has this fingerprint.
    ///
    /// # Errors
    /// Of the store. Another instance may then take the token; the service refuses it, and the instance forgets it in
    /// turn.
    pub(crate) async fn remove_token<H: Host, S: Store>(
        &self,
        store: &S,
        instance: &Instance<H>,
        key: &CacheKey,
        token_hash: &str,
    ) -> Result<(), StoreError> {
        match self.is_suspended(instance.now()) {
            true => Ok(()),
            false => SealedStore::new(self, store, instance, key).remove_token(token_hash).await,
        }
    }

    fn is_suspended(&self, now: Duration) -> bool {
        // A clock that was set back must not prolong it.
        now < self.suspended_until.get() && self.suspended_until.get() <= now.saturating_add(SUSPENSION)
    }

    fn suspend(&self, now: Duration) {
        self.suspended_until.set(now.saturating_add(SUSPENSION));
    }

    fn name<H: Host>(&self, host: &H) -> &str {
        self.name.get_or_init(|| format!("{:012x}", host.random() >> 16))
    }
}

/// The settings that determine the identities of a deployment. Deployments in which they differ share no tokens.
/// Endpoints are not among them: on App Service each instance has another one. Nor is the token proxy of a cluster, which
/// has the tokens of the same app from the same tenant as Entra itself: clusters that bind one identity share them.
const REALM: [&str; 12] = [
    FEDERATED_CLIENT_ID,
    FEDERATED_TENANT_ID,
    TOKEN_CREDENTIALS,
    CLIENT_ID,
    TENANT_ID,
    AUTHORITY_HOST,
    DEFAULT_IDENTITY_CLIENT_ID,
    IDENTITY_SERVER_THUMBPRINT,
    ASSERTION,
    ASSERTION_URL,
    ASSERTION_VARIABLE,
    PIPELINES_CONNECTION,
];

/// The time for which a failing store is not used.
const SUSPENSION: Duration = Duration::from_secs(5);
