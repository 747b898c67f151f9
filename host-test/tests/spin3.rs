//! `token-broker-spin3.wasm` in the example for SpinKube, on a host that does what Spin 3.6 does: WASI 0.2, a fresh instance
//! for each request, and stores that keep less than their interface says.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]

use std::time::Duration;

use futures_util::future::join_all;
use host_test::fleet::Redis;
use host_test::serve::Server;
use host_test::spin3::{Backend, Condition, Spin3};
use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};

const BACKENDS: [Backend; 3] = [Backend::Sqlite, Backend::Redis, Backend::Cosmos];

#[tokio::test]
async fn a_hundred_requests_cost_one_fetch_with_every_backend_although_each_has_its_own_instance() {
    for backend in BACKENDS {
        let stage = Stage::new(backend).await;
        for _ in 0..100 {
            stage.token().await;
        }
        assert_eq!((stage.server.instances(), stage.fetches()), (100, 1), "{backend:?}");
        assert_eq!(stage.spin.values().len(), 2, "the token, and the lease, which has ended");
        assert!(!stage.spin.values().iter().any(|value| holds(value, "eyJ")), "a token that is not sealed");
        stage.check();
    }
}

#[tokio::test]
async fn instances_that_start_at_once_make_one_request_with_every_backend() {
    for backend in BACKENDS {
        let stage = Stage::new(backend).await;
        stage.tokens(30).await;
        assert_eq!((stage.server.instances(), stage.fetches()), (30, 1), "{backend:?}");
        stage.check();
    }
}

#[tokio::test]
async fn a_refused_token_is_fetched_once_more_for_all_instances() {
    for backend in BACKENDS {
        let stage = Stage::new(backend).await;
        stage.token().await;
        // An instance forgets its own tokens only, and this one has none before it asks.
        stage.get("/refused").await;
        assert_eq!(stage.fetches(), 2, "{backend:?}");
        stage.tokens(10).await;
        assert_eq!(stage.fetches(), 2, "{backend:?}");
        stage.check();
    }
}

#[tokio::test]
async fn redis_by_its_url_keeps_the_token_for_all_instances_and_ends_the_lease() {
    let redis = Redis::start().await.unwrap();
    let stage =
        Stage::with(|spin| spin.with_variable("token_broker_store", &redis.url()).with_host(&redis.url()))
            .await;
    stage.tokens(30).await;
    for _ in 0..20 {
        stage.token().await;
    }
    assert_eq!(stage.fetches(), 1);
    assert_eq!(stage.spin.operations(), (0, 50), "a connection for each instance, and no key-value store");
    assert_eq!(redis.names().await.unwrap().len(), 1, "the token; the lease has ended");
    stage.get("/refused").await;
    assert_eq!(stage.fetches(), 2);
    stage.check();
}

#[tokio::test]
async fn a_redis_that_is_not_allowed_or_gone_costs_fetches_and_the_log_says_which_it_is_without_its_password()
{
    let redis = "redis://user:hunter2@127.0.0.1:9";
    for (allowed, said) in [(false, "allowed_outbound_hosts"), (true, "redis://127.0.0.1:9: ")] {
        let stage = Stage::with(|spin| {
            let spin = spin.with_variable("token_broker_store", redis);
            if allowed { spin.with_host("redis://127.0.0.1:9") } else { spin }
        })
        .await;
        stage.token().await;
        stage.token().await;
        assert_eq!(stage.fetches(), 2, "each instance for itself");
        let log = stage.spin.log();
        assert!(log.contains("store unavailable") && log.contains(said), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
        stage.check();
    }
}

/// The one case in which a lease of SQLite has two holders: its first one.
#[tokio::test]
async fn the_first_lease_in_sqlite_belongs_to_the_instance_whose_bytes_are_there() {
    let stage = Stage::new(Backend::Sqlite).await;
    // Another program's bytes, which no instance can open: they are no lease, and are taken over.
    stage.spin.write_over_next(b"another program's");
    stage.token().await;
    assert_eq!(stage.fetches(), 1);
    assert!(stage.spin.log().contains("cannot be decrypted"), "it did not look: {}", stage.spin.log());
    stage.token().await;
    assert_eq!(stage.fetches(), 1);
    stage.check();
}

#[tokio::test]
async fn a_store_of_other_software_costs_a_fetch_and_is_put_right() {
    for backend in BACKENDS {
        let stage = Stage::new(backend).await;
        stage.token().await;
        for bytes in [&b""[..], b"text", &[b'a'; 40], &[0xff; 4096]] {
            let before = stage.fetches();
            stage.spin.write_over(bytes);
            stage.token().await;
            assert_eq!(stage.fetches(), before + 1, "{backend:?}");
            stage.token().await;
            assert_eq!(stage.fetches(), before + 1, "{backend:?}");
        }
        stage.check();
    }
}

#[tokio::test]
async fn a_store_that_fails_gives_a_token_all_the_same_and_the_log_says_what_it_lacks() {
    for backend in BACKENDS {
        for (condition, said) in [
            (Condition::Down, "the database is gone"),
            // Redis and Cosmos DB report a lost race instead of the error.
            (Condition::ReadOnly, if backend == Backend::Sqlite { "read-only" } else { REFUSES }),
            (Condition::Loses, REFUSES),
            (Condition::Slow(Duration::from_millis(30)), ""),
        ] {
            let stage = Stage::new(backend).await;
            stage.spin.set_condition(condition);
            stage.token().await;
            assert_eq!(stage.fetches(), 1, "{backend:?} {condition:?}");
            let log = stage.spin.log();
            assert!(log.contains(said), "{backend:?} {condition:?}: {log}");
            assert_eq!(
                log.contains("store unavailable"),
                !said.is_empty(),
                "{backend:?} {condition:?}: {log}"
            );
            stage.check();
        }
    }
}

#[tokio::test]
async fn without_a_store_in_the_manifest_each_instance_fetches_and_the_log_says_what_to_add() {
    let stage = Stage::with(|spin| spin.with_variable("token_broker_store", "tokens")).await;
    stage.token().await;
    stage.token().await;
    assert_eq!(stage.fetches(), 2);
    assert!(stage.spin.log().contains(r#"key_value_stores = [\"tokens\"]"#), "{}", stage.spin.log());
    stage.check();
}

#[tokio::test]
async fn two_applications_with_one_key_and_other_identities_share_a_store_and_no_token() {
    let one = Stage::with(|spin| spin).await;
    one.token().await;
    let other = one.spin.beside().with_store("default").with_variable("token_broker_store_key", KEY);
    let other = other.with_imds(&one.mock).with_variable("azure_tenant_id", "contoso.com");
    let server = other.serve().await.unwrap();
    assert_eq!(server.get("/").await.unwrap().0, 200);
    assert_eq!(one.fetches(), 2, "each its own");
    one.token().await;
    assert_eq!(one.fetches(), 2);
}

#[tokio::test]
async fn a_failure_is_shared_as_a_token_is() {
    let stage = Stage::new(Backend::Cosmos).await;
    stage.mock.fault(Fault::new(Endpoint::Imds, Answer::retry_after(429, "300")).forever());
    let answers = join_all((0..10).map(|_| stage.get("/"))).await;
    assert!(answers.iter().all(|answer| answer.contains("throttled")), "{answers:?}");
    assert_eq!(stage.fetches(), 1);
    stage.check();
}

#[tokio::test]
async fn a_setting_that_cannot_be_read_is_told_and_nothing_is_sent() {
    let stage =
        Stage::with(|spin| spin.with_broken_variable("token_broker_allowed_scopes", "the vault is sealed"))
            .await;
    let error = stage.get("/").await;
    assert!(error.starts_with("misconfigured: ") && error.contains("the vault is sealed"), "{error}");
    assert_eq!(stage.fetches(), 0);
    stage.check();
}

struct Stage {
    spin: Spin3,
    mock: Mock,
    server: Server,
}

impl Stage {
    async fn new(backend: Backend) -> Self {
        Self::over(Spin3::new(backend), Mock::start(MockConfig::default()).await.unwrap(), |spin| spin).await
    }

    async fn with(lend: impl FnOnce(Spin3) -> Spin3) -> Self {
        Self::over(Spin3::new(Backend::Sqlite), Mock::start(MockConfig::default()).await.unwrap(), lend).await
    }

    async fn over(spin: Spin3, mock: Mock, lend: impl FnOnce(Spin3) -> Spin3) -> Self {
        let spin = spin.with_store("default").with_variable("token_broker_store_key", KEY).with_imds(&mock);
        let spin = lend(spin);
        let server = spin.serve().await.unwrap();
        Self { spin, mock, server }
    }

    async fn get(&self, path: &str) -> String {
        let (status, body) = self.server.get(path).await.unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn token(&self) {
        let body = self.get("/").await;
        assert!(body.starts_with("Bearer token, expires at "), "{body}");
    }

    async fn tokens(&self, at_once: usize) {
        join_all((0..at_once).map(|_| self.token())).await;
    }

    fn fetches(&self) -> u64 {
        self.mock.counters().of(Endpoint::Imds).requests
    }

    /// Nothing trapped, and nothing secret was printed.
    fn check(&self) {
        assert_eq!(self.server.traps(), Vec::<String>::new());
        let log = self.spin.log();
        assert!(!log.contains("eyJ") && !log.contains(KEY), "{log}");
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

const REFUSES: &str = "it refuses the lease although there is none";
const KEY: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=";
