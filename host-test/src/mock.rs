//! A mock Azure identity platform: the wire behaviour of the managed identity endpoints, with real RS256 tokens.
//!
//! Azure's own SDKs accept it as Azure. It is strict where Azure is strict, it can be told to fail in every way that
//! a network service fails, and it tells afterwards what it was asked. `README.md` beside this crate describes the
//! program; in a test:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! use host_test::mock::{Answer, Endpoint, Fault, Mock, MockConfig};
//!
//! let mock = Mock::start(MockConfig::default()).await?;
//! mock.fault(Fault::new(Endpoint::Imds, Answer::status(503)).times(2));
//! // Run the program under test with the variables of `mock.imds_env()`, then:
//! assert_eq!(mock.counters().of(Endpoint::Imds).requests, 0);
//! # Ok(())
//! # }
//! ```

mod admin;
mod app_service;
mod body;
mod call;
mod config;
mod endpoint;
mod fault;
mod identity;
mod imds;
mod issuer;
mod key_vault;
mod link;
mod log;
mod open_id;
mod platform;
mod reply;
mod server;
mod start_page;
mod tls;

use std::sync::Arc;

use anyhow::Result;

pub use config::{AppServiceConfig, ImdsConfig, MockConfig, VaultConfig};
pub use endpoint::Endpoint;
pub use fault::{Answer, Fault, Forever, StatusAnswer, Times};
pub use identity::{Identity, IdentityKind};
pub use issuer::TokenClaims;
pub use log::{Counters, Counts, Recorded};

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

    /// The base URL, without a slash at the end
    pub fn url(&self) -> &str {
        &self.platform.url
    }

    /// The base URL of the TLS listener, if the configuration asks for one
    pub fn tls_url(&self) -> Option<&str> {
        self.platform.tls_url.as_deref()
    }

    /// The certificate authority that vouches for the TLS listener, as PEM
    pub fn ca_pem(&self) -> Option<&str> {
        self.server.ca_pem.as_deref()
    }

    /// The environment that points a program at the mock's IMDS
    pub fn imds_env(&self) -> Vec<(&'static str, String)> {
        imds::environment(&self.platform)
    }

    /// The environment that points a program at the mock's App Service endpoint
    pub fn app_service_env(&self) -> Vec<(&'static str, String)> {
        app_service::environment(&self.platform)
    }

    /// The configuration it was started with
    pub fn config(&self) -> &MockConfig {
        &self.platform.config
    }

    /// Play `fault` when those of the same endpoint that were added before are through
    pub fn fault(&self, fault: Fault) {
        self.platform.faults().add(fault);
    }

    /// The requests seen, oldest first; only the newest ten thousand are kept
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
