//! A mock and a shared broker in front of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mock_identity::{Endpoint, IdentityKind, Mock, MockConfig};
use token_broker_host::{AccessToken, Broker, Builder, Cache, Clock, Environment, Error, SystemClock};
use tokio::task::JoinHandle;

pub(crate) struct Fixture {
    pub(crate) mock: Mock,
    pub(crate) broker: Broker,
    log: Arc<Mutex<String>>,
}

impl Fixture {
    /// A broker that finds the mock as IMDS.
    pub(crate) async fn new() -> Self {
        Self::build(at_mock).await
    }

    pub(crate) async fn build(configure: impl FnOnce(Builder, &Mock) -> Builder) -> Self {
        let mock = Mock::start(MockConfig::default()).await.unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let builder = configure(broker(), &mock).log({
            let log = Arc::clone(&log);
            move |line| *log.lock().unwrap() += &format!("{line}\n")
        });
        Self { mock, broker: builder.build().await.unwrap(), log }
    }

    /// A broker that finds an endpoint of the mock, and has one variable more.
    pub(crate) async fn with(endpoint: Endpoint, name: &'static str, value: &str) -> Self {
        Self::build(|builder, mock| {
            let environment: Environment = mock.env(endpoint).into_iter().collect();
            builder.environment(environment.with(name, value))
        })
        .await
    }

    /// A call in a task of its own.
    pub(crate) fn spawn_call(&self, scope: &'static str) -> JoinHandle<Result<AccessToken, Error>> {
        let broker = self.broker.clone();
        tokio::spawn(async move { broker.get_token(scope).await })
    }

    /// A broker that has room for a usual answer and traps at a large one.
    pub(crate) async fn with_little_memory() -> Self {
        let mock = Mock::start(MockConfig::default()).await.unwrap();
        let mut instance = at_mock(broker(), &mock).instantiate().await.unwrap();
        instance.get_token("https://vault.azure.net/.default").await.unwrap().unwrap();
        let usual = instance.memory_bytes();
        Self::build(|builder, mock| at_mock(builder, mock).max_memory(usual)).await
    }

    /// How many requests the mock's endpoints saw.
    pub(crate) fn requests(&self) -> u64 {
        let counters = self.mock.counters();
        counters.of(Endpoint::Imds).requests + counters.of(Endpoint::AppService).requests
    }

    /// Whose token it is, by its client id.
    pub(crate) fn client_id(&self, token: &str) -> String {
        self.mock.verify(token, "https://vault.azure.net").unwrap().appid
    }

    /// The client id of the system-assigned identity.
    pub(crate) fn system_assigned(&self) -> &str {
        let identities = &self.mock.config().identities;
        &identities.iter().find(|identity| identity.kind == IdentityKind::SystemAssigned).unwrap().client_id
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

/// A builder with a cache and nothing else.
pub(crate) fn broker() -> Builder {
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cache");
    Broker::builder().cache(Cache::in_directory(cache))
}

pub(crate) fn at_mock(builder: Builder, mock: &Mock) -> Builder {
    builder.environment(mock.env(Endpoint::Imds).into_iter().collect())
}

/// Ask again until it is so, for a while.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so().await {
        assert!(Instant::now() < deadline, "it did not come to be");
        tokio::task::yield_now().await;
    }
}

/// The system's clock, put forward.
#[derive(Clone, Default)]
pub(crate) struct ShiftedClock {
    system: Arc<SystemClock>,
    seconds: Arc<AtomicU64>,
}

impl ShiftedClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.seconds.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    fn shift(&self) -> Duration {
        Duration::from_secs(self.seconds.load(Ordering::SeqCst))
    }
}

impl Clock for ShiftedClock {
    fn wall(&self) -> Duration {
        self.system.wall() + self.shift()
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic() + self.shift()
    }
}
