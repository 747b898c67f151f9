//! A mock of Azure's identity platform: managed identity endpoints, Entra ID and Key Vault, with real RS256 tokens.
//!
//! Azure's own SDKs accept it as Azure. It is strict where Azure is strict, fails on demand in every way in which a network
//! service fails, and records its requests. The README describes the program; in a test:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};
//!
//! let mock = Mock::start(MockConfig::default()).await?;
//! mock.fault(Fault::new(Endpoint::Imds, Answer::status(503)).times(2));
//! // Run the program under test with the variables of `mock.env(Endpoint::Imds)`, then:
//! assert_eq!(mock.counters().of(Endpoint::Imds).requests, 0);
//! # Ok(())
//! # }
//! ```
//!
//! The modules, each of which uses those below it:
//!
//! ```text
//! server      listeners and connections; tls, proxy_certificate
//! router      the way of a request: fault, answer, log; start_page, admin
//! endpoints   one file an endpoint, each with its SPEC: its paths, answers, failures and variables
//! spec        the description of an endpoint; federation
//! platform    the state that endpoints share: issuer, log, throttle, token_cache, arc_keys; entra_error
//! call        a request; reply, body
//! config      the configuration; sections, app, identity, fault, endpoint, claims
//! ```
#![allow(
    clippy::disallowed_methods,
    reason = "the bans are for the core of token-broker; a server has a clock, files and sockets"
)]

mod addresses;
mod admin;
mod app;
mod arc_keys;
mod body;
mod call;
mod claims;
mod config;
mod date;
mod endpoint;
mod endpoints;
mod entra_error;
mod fault;
mod federation;
mod identity;
mod issuer;
mod listener;
mod log;
mod platform;
mod proxy_certificate;
mod redaction;
mod reply;
mod router;
mod sections;
mod server;
mod spec;
mod start_page;
mod throttle;
mod tls;
mod token_cache;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};

pub use app::{App, AppSecret, FederatedCredential, User, UserRefused};
pub use arc_keys::KeyDirectoryError;
pub use claims::TokenClaims;
pub use config::MockConfig;
pub use endpoint::Endpoint;
pub use endpoints::entra::Credential;
pub use fault::{Answer, Fault, Forever, StatusAnswer, Times};
pub use identity::{Identity, IdentityKind};
pub use log::{Counters, Counts, LoggedRequest};
pub use sections::{
    AppService2017Config, AppServiceConfig, AppServiceHost, ArcConfig, AzureMlConfig, AzurePipelinesConfig,
    BoundAccount, CloudShellConfig, ContainerGroupConfig, DateForm, EntraConfig, GcpMetadataConfig,
    GithubActionsConfig, ImdsConfig, ServiceConnection, ServiceFabricConfig, TokenProxyConfig, VaultConfig,
};

pub use spec::Environment;

use endpoints::{entra, token_proxy};
use platform::Platform;
use server::Server;

/// A running mock platform; it stops when dropped
pub struct Mock {
    platform: Arc<Platform>,
    server: Server,
}

impl Mock {
    /// Listen where `config` says and serve until dropped
    ///
    /// # Errors
    /// When the configuration contradicts itself or an address cannot be listened on.
    pub async fn start(config: MockConfig) -> Result<Self> {
        config.check()?;
        let (platform, server) = Server::start(config).await?;
        Ok(Self { platform, server })
    }

    /// A platform with a TLS listener and every endpoint, without Arc if the keys of its agent cannot be written
    ///
    /// # Errors
    /// When no address can be listened on.
    pub async fn start_all() -> Result<Self> {
        let mut config = MockConfig {
            service_fabric: Some(ServiceFabricConfig::default()),
            token_proxy: Some(TokenProxyConfig::default()),
            ..MockConfig::default()
        };
        config.listen_tls = Some(config.listen);
        let with_arc = MockConfig { arc: Some(ArcConfig::default()), ..config.clone() };
        match Self::start(with_arc).await {
            Err(error) if error.is::<KeyDirectoryError>() => Self::start(config).await,
            outcome => outcome,
        }
    }

    /// The base URL, without a slash at the end
    pub fn url(&self) -> &str {
        &self.platform.addresses.plain
    }

    /// The base URL of the second listener, if the configuration asks for one
    pub fn also_url(&self) -> Option<&str> {
        self.platform.addresses.also.as_deref()
    }

    /// The base URL of the TLS listener, if the configuration asks for one
    pub fn tls_url(&self) -> Option<&str> {
        self.platform.addresses.tls.as_deref()
    }

    /// The certificate authority of the TLS listener, as PEM
    pub fn ca_pem(&self) -> Option<&str> {
        self.server.ca_pem.as_deref()
    }

    /// The certificate of Service Fabric as PEM, if the configuration has one, for programs that know no thumbprints
    pub fn service_fabric_pem(&self) -> Option<&str> {
        self.server.pinned_pem.as_deref()
    }

    /// The authority of the cluster's token proxy as PEM, if the configuration has one
    pub fn token_proxy_pem(&self) -> Option<String> {
        self.platform.addresses.token_proxy.as_ref().map(|proxy| proxy.certificate.authority())
    }

    /// Give the cluster's token proxy another authority, and a certificate of it, for the next connections
    ///
    /// # Errors
    /// When none can be made.
    pub fn replace_token_proxy_authority(&self) -> Result<()> {
        self.platform.addresses.token_proxy.as_ref().map_or(Ok(()), |proxy| proxy.certificate.replace())
    }

    /// A token as the cluster projects it into the pods of the token proxy's first service account, good for `lifetime`
    ///
    /// # Errors
    /// When there is no such account, or the token cannot be signed.
    pub fn bound_token(&self, lifetime: Duration) -> Result<String> {
        token_proxy::bound_token(&self.platform, lifetime).context("the configuration has no token proxy")?
    }

    /// The variables that point a program at `endpoint`; of Entra ID those for [`Credential::Secret`]
    ///
    /// Empty if the configuration lacks the endpoint, and for those that no variable is for.
    pub fn env(&self, endpoint: Endpoint) -> Environment {
        let setup = endpoints::spec(endpoint).setups.first();
        setup.map(|setup| (setup.environment)(&self.platform)).unwrap_or_default()
    }

    /// The variables of the first app that has this credential, for Entra ID; those of a managed identity are for IMDS, too, and
    /// those of another platform for its endpoint
    ///
    /// Empty if no app has it, and without the TLS listener.
    pub fn app_env(&self, credential: Credential<'_>) -> Environment {
        entra::environment(&self.platform, credential)
    }

    /// The first credential by which an app of the configuration trusts another issuer, such as a Kubernetes cluster
    pub fn cluster_credential(&self) -> Option<&FederatedCredential> {
        self.platform.config.apps.iter().find_map(|app| federation::cluster_credential(&self.platform, app))
    }

    /// A token of the issuer, subject and audience that `credential` trusts, good for `lifetime`
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn federated_token(&self, credential: &FederatedCredential, lifetime: Duration) -> Result<String> {
        federation::token(&self.platform, credential, lifetime)
    }

    /// The token with which `user` has called `app`, for on-behalf-of
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn user_token(&self, user: &User, app: &App) -> Result<String> {
        entra::user_token(&self.platform, user, app)
    }

    /// The configuration it was started with
    pub fn config(&self) -> &MockConfig {
        &self.platform.config
    }

    /// Queue a fault behind the others of its endpoint
    pub fn fault(&self, fault: Fault) {
        self.platform.faults.lock().add(fault);
    }

    /// The log of requests, oldest first: the newest ten thousand, fewer if they are large
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.platform.log.requests()
    }

    /// The numbers of requests of each endpoint, and of their outcomes
    pub fn counters(&self) -> Counters {
        self.platform.log.counters()
    }

    /// Wait until `endpoint` has seen `count` requests since the start or the last reset
    pub async fn arrived(&self, endpoint: Endpoint, count: u64) {
        self.platform.log.arrived(endpoint, count).await;
    }

    /// Clear log and counters, and start the configured faults anew
    pub fn reset(&self) {
        self.platform.reset();
    }

    /// Check a token's signature, lifetime and audience as a resource service does
    ///
    /// # Errors
    /// When the token is not one that this platform issued for `audience` and that is valid now.
    pub fn verify(&self, token: &str, audience: &str) -> Result<TokenClaims> {
        Ok(self.platform.issuer.verify(token, audience)?)
    }

    /// Refuse new connections, let the requests under way finish, and stop
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
