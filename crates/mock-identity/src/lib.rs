//! A mock Azure identity platform: managed identity endpoints and Entra ID on the wire, with real RS256 tokens.
//!
//! Azure's own SDKs accept it as Azure. It is strict where Azure is strict, it can be told to fail in every way that
//! a network service fails, and it tells afterwards what it was asked. `README.md` beside this crate describes the
//! program; in a test:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};
//!
//! let mock = Mock::start(MockConfig::default()).await?;
//! mock.fault(Fault::new(Endpoint::Imds, Answer::status(503)).times(2));
//! // Run the program under test with the variables of `mock.imds_env()`, then:
//! assert_eq!(mock.counters().of(Endpoint::Imds).requests, 0);
//! # Ok(())
//! # }
//! ```

mod admin;
mod app;
mod app_service;
mod arc;
mod arc_keys;
mod body;
mod call;
mod claims;
mod cloud_shell;
mod config;
mod container_group;
mod date;
mod door;
mod endpoint;
mod entra;
mod fault;
mod federation;
mod identity;
mod imds;
mod issuer;
mod key_vault;
mod link;
mod log;
mod msi_2017;
mod open_id;
mod platform;
mod redaction;
mod reply;
mod sections;
mod server;
mod service_fabric;
mod start_page;
mod throttle;
mod tls;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Result;

pub use app::{App, AppSecret, FederatedCredential, User, UserRefused};
pub use arc_keys::ClosedDirectory;
pub use claims::TokenClaims;
pub use config::MockConfig;
pub use endpoint::Endpoint;
pub use fault::{Answer, Fault, Forever, StatusAnswer, Times};
pub use identity::{Identity, IdentityKind};
pub use log::{Counters, Counts, Recorded};
pub use sections::{
    AppService2017Config, AppServiceConfig, AppServiceHost, ArcConfig, AzureMlConfig, CloudShellConfig,
    ContainerGroupConfig, DateForm, EntraConfig, ImdsConfig, ServiceFabricConfig, VaultConfig,
};

use platform::Platform;
use server::Server;

/// The variables that point a program at an endpoint
pub type Environment = Vec<(&'static str, String)>;

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

    /// A platform with a TLS listener and every endpoint, but for Arc where its agent's keys cannot be written: there
    /// [`Self::arc_env`] is none
    ///
    /// # Errors
    /// When no address can be listened on.
    pub async fn start_all() -> Result<Self> {
        let mut config =
            MockConfig { service_fabric: Some(ServiceFabricConfig::default()), ..MockConfig::default() };
        config.listen_tls = Some(config.listen);
        let with_arc = MockConfig { arc: Some(ArcConfig::default()), ..config.clone() };
        match Self::start(with_arc).await {
            Err(error) if error.is::<ClosedDirectory>() => Self::start(config).await,
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

    /// The certificate authority that vouches for the TLS listener, as PEM
    pub fn ca_pem(&self) -> Option<&str> {
        self.server.ca_pem.as_deref()
    }

    /// The certificate of Service Fabric as PEM, if the configuration has one, for programs that know no thumbprints
    pub fn service_fabric_pem(&self) -> Option<&str> {
        self.server.pinned_pem.as_deref()
    }

    /// The environment that points a program at the mock's IMDS
    pub fn imds_env(&self) -> Environment {
        imds::environment(&self.platform)
    }

    /// The environment that points a program at the mock's App Service endpoint
    pub fn app_service_env(&self) -> Environment {
        app_service::environment(&self.platform)
    }

    /// The environment that points a program at the mock's App Service endpoint of 2017
    pub fn app_service_2017_env(&self) -> Environment {
        msi_2017::app_service_environment(&self.platform)
    }

    /// The environment that points a program at the mock's Azure Machine Learning endpoint
    pub fn azure_ml_env(&self) -> Environment {
        msi_2017::azure_ml_environment(&self.platform)
    }

    /// The environment that points a program at the mock's Cloud Shell
    pub fn cloud_shell_env(&self) -> Environment {
        cloud_shell::environment(&self.platform)
    }

    /// The environment of a container group on Windows
    pub fn container_group_env(&self) -> Environment {
        container_group::environment(&self.platform)
    }

    /// The environment that points a program at the mock's Arc agent, if the configuration has one
    pub fn arc_env(&self) -> Option<Environment> {
        arc::environment(&self.platform)
    }

    /// The environment that points a program at the mock's Service Fabric, if the configuration has one
    pub fn service_fabric_env(&self) -> Option<Environment> {
        service_fabric::environment(&self.platform)
    }

    /// The environment of the first app that has a secret; none without the TLS listener or such an app
    pub fn entra_env(&self) -> Option<Environment> {
        entra::of_secret(&self.platform)
    }

    /// The environment of the first app that has a certificate, which with its key is in `file`; else none
    ///
    /// The certificate of the default configuration is [`MockConfig::CLIENT_CERTIFICATE_PEM`].
    pub fn entra_certificate_env(&self, file: &Path) -> Option<Environment> {
        entra::of_certificate(&self.platform, file)
    }

    /// The environment of the first app that trusts another issuer, of which `file` has a token; else none
    ///
    /// [`Self::federated_token`] makes such a token.
    pub fn workload_identity_env(&self, file: &Path) -> Option<Environment> {
        entra::of_federated_token(&self.platform, file)
    }

    /// The environment of the first app that trusts a managed identity, and of IMDS, which has that identity; else none
    pub fn federated_identity_env(&self) -> Option<Environment> {
        entra::managed_identity(&self.platform)
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

    /// Play `fault` when those of the same endpoint that were added before are through
    pub fn fault(&self, fault: Fault) {
        self.platform.faults().add(fault);
    }

    /// The requests seen, oldest first; only the newest ten thousand are kept, and fewer if they are large
    pub fn requests(&self) -> Vec<Recorded> {
        self.platform.log.requests()
    }

    /// How many requests each endpoint saw, and what became of them
    pub fn counters(&self) -> Counters {
        self.platform.log.counters()
    }

    /// Wait until `endpoint` has seen `count` requests since the start or the last reset
    pub async fn arrived(&self, endpoint: Endpoint, count: u64) {
        self.platform.log.arrived(endpoint, count).await;
    }

    /// Forget log and counters, and start the configured faults anew
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
