//! What is asked: a mock platform, or the machine's own.

use std::env;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use mock_identity::{Endpoint, IdentityKind, Mock, MockConfig};
use token_broker_host::{Broker, Decision, DefaultHttpPolicy, Environment, HttpPolicy, engine_config};
use wasmtime::Engine;
use wasmtime::error::Context as _;

/// An identity platform, and how many requests the broker has sent to it
pub(crate) struct Platform {
    pub(crate) about: String,
    pub(crate) client_id: Option<String>,
    pub(crate) vault: Option<String>,
    environment: Environment,
    engine: Engine,
    requests: Arc<AtomicU64>,
    /// Serves until dropped
    #[cfg_attr(not(test), expect(dead_code, reason = "held for as long as it must serve"))]
    pub(crate) mock: Option<Mock>,
}

impl Platform {
    /// A mock, with the identities that it has by default
    pub(crate) async fn mock() -> Result<Self> {
        let mock = Mock::start(MockConfig::default()).await?;
        let user_assigned =
            mock.config().identities.iter().find(|identity| identity.kind == IdentityKind::UserAssigned);
        Ok(Self {
            about: format!("a mock of Azure's identity platform is at {}", mock.url()),
            client_id: user_assigned.map(|identity| identity.client_id.clone()),
            vault: Some(mock.url().into()),
            environment: mock.env(Endpoint::Imds).into_iter().collect(),
            mock: Some(mock),
            ..Self::real(None)?
        })
    }

    /// This machine's, as its environment says
    pub(crate) fn real(client_id: Option<String>) -> Result<Self> {
        Ok(Self {
            about: "the identity endpoint of this machine is asked".into(),
            client_id,
            vault: env::var("KEY_VAULT_URL").ok(),
            environment: Environment::inherit(),
            engine: Engine::new(&engine_config())?,
            requests: Arc::default(),
            mock: None,
        })
    }

    /// A broker for this platform
    pub(crate) async fn broker(&self) -> Result<Broker> {
        let requests = Arc::clone(&self.requests);
        let count = move |head: &http::request::Parts| {
            let decision = DefaultHttpPolicy.decide(head);
            requests.fetch_add(u64::from(matches!(decision, Decision::Send)), Ordering::Relaxed);
            decision
        };
        let broker = Broker::builder()
            .engine(&self.engine)
            // A failure is told once, by the demo.
            .environment(self.environment.clone().with("TOKEN_BROKER_LOG", "off"))
            .http(count);
        Ok(broker.build().await.context("the broker does not start")?)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// How many requests the broker has sent
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Where `cargo xtask build` puts components
pub(crate) fn components() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/components"))
}
