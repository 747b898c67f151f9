//! `examples/spin-app` on a host that does what Spin does: components by the manifest, instances that are thrown away,
//! variables, a key-value store, and a list of hosts.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test reads files")]

#[path = "spin_app/sender.rs"]
mod sender;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use host_test::serve::Reuse;
use host_test::spin::app::App;
use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};

#[tokio::test]
async fn a_secret_is_read_with_a_token_that_is_asked_for_and_without_a_word_about_tokens() {
    for route in ["/credentials", "/injected"] {
        let stage = Stage::start(Reuse::default()).await;
        assert_eq!(stage.get(route).await, (200, "a secret of 28 characters\n".to_owned()), "{route}");
        assert_eq!(stage.mock.counters().of(Endpoint::Imds).requests, 1, "{route}");
        assert!(!stage.app.log().contains(TOKEN), "{route}");
    }
}

/// Two keys of the manifest are two brokers.
#[tokio::test]
async fn the_store_joins_the_two_components_and_their_instances() {
    let stage = Stage::start(Reuse { requests: 1, ..Reuse::default() }).await;
    for route in ["/credentials", "/injected", "/injected", "/credentials", "/credentials"] {
        assert_eq!(stage.get(route).await.0, 200, "{route}");
    }
    assert_eq!([stage.instances("/credentials"), stage.instances("/injected")], [3, 2]);
    assert_eq!(stage.mock.counters().of(Endpoint::Imds).requests, 1);
    let kept = stage.app.entries("default");
    assert!(
        kept.len() == 2 && kept.values().all(|value| !holds(value, TOKEN)),
        "one token, sealed, and its lease"
    );
}

#[tokio::test]
async fn without_a_key_for_the_store_each_component_has_a_token_of_its_own() {
    let stage = Stage::of(&manifest(), "", Reuse::default()).await;
    for route in ["/credentials", "/injected", "/injected", "/credentials"] {
        assert_eq!(stage.get(route).await.0, 200, "{route}");
    }
    assert_eq!(stage.mock.counters().of(Endpoint::Imds).requests, 2, "in memory, for each key one");
    assert!(stage.app.entries("default").is_empty());
}

#[tokio::test]
async fn three_hundred_requests_take_three_instances_and_one_token() {
    for route in ["/credentials", "/injected"] {
        let stage = Stage::start(Reuse::default()).await;
        for _ in 0..300 {
            assert_eq!(stage.get(route).await.0, 200, "{route}");
        }
        assert_eq!(stage.instances(route), 3, "128, 128 and 44");
        assert_eq!(stage.mock.counters().of(Endpoint::Imds).requests, 1, "{route}");
    }
}

#[tokio::test]
async fn a_token_outlives_the_instance_that_idled_too_long() {
    for route in ["/credentials", "/injected"] {
        // Nothing but idling ends one.
        let stage = Stage::start(Reuse { requests: usize::MAX, concurrent: 16, idle: Duration::ZERO }).await;
        // One that is asked again at once may not have idled yet.
        let mut asked = 0;
        while asked < 20 || stage.instances(route) == 1 {
            assert_eq!(stage.get(route).await.0, 200, "{route}");
            asked += 1;
            assert!(asked < 10_000, "{route}: no instance has idled");
        }
        assert_eq!(stage.mock.counters().of(Endpoint::Imds).requests, 1, "{route}");
    }
}

#[tokio::test]
async fn requests_that_come_at_once_share_a_token() {
    for route in ["/credentials", "/injected"] {
        let stage = Stage::start(Reuse::default()).await;
        let answers = join_all((0..64).map(|_| stage.get(route))).await;
        let failed = answers.iter().find(|(status, _)| *status != 200);
        assert_eq!(failed, None, "{route}");
        assert!(stage.instances(route) >= 4, "{}", stage.instances(route));
        assert_eq!(stage.mock.counters().of(Endpoint::Imds).requests, 1, "{route}");
    }
}

/// Bindings of Spin's SDK pass a stream with every request, also with a GET, and end it whenever they come to it.
#[tokio::test(flavor = "multi_thread")]
async fn under_load_no_instance_traps_and_each_request_is_answered_once() {
    let all: usize = std::env::var(REQUESTS).map_or(FEW, |all| all.parse().unwrap());
    for route in ["/credentials", "/injected"] {
        let stage = Stage::start(Reuse::default()).await;
        let left = AtomicUsize::new(all);
        let take = || left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        let client = async || {
            let mut answered = 0;
            while take() {
                let answer = stage.app.server(route).unwrap().get(route).await;
                answered += usize::from(answer.is_ok_and(|(status, _)| status == 200));
            }
            answered
        };
        let answered: usize = join_all((0..AT_ONCE).map(|_| client())).await.into_iter().sum();
        let traps = stage.app.server(route).unwrap().traps();
        assert_eq!((answered, traps), (all, vec![]), "{route}");
        let counters = stage.mock.counters();
        let seen = [Endpoint::KeyVault, Endpoint::Imds].map(|endpoint| counters.of(endpoint).requests);
        assert_eq!(seen, [all as u64, 1], "{route}");
    }
}

#[tokio::test]
async fn a_host_that_is_not_listed_is_told_with_the_remedy() {
    let unlisted = manifest().replace(r#"["{{ vault }}", "{{ metadata }}"]"#, r#"["http://vault.invalid"]"#);
    let stage = Stage::of(&unlisted, KEY, Reuse::default()).await;
    for route in ["/credentials", "/injected"] {
        let (status, why) = stage.get(route).await;
        assert!(status == 502 && why.contains("allowed_outbound_hosts"), "{route}: {why}");
    }
    assert_eq!(stage.mock.counters().of(Endpoint::Imds).requests, 0);
}

#[tokio::test]
async fn a_machine_without_an_identity_is_told_with_the_remedy() {
    let stage = Stage::start(Reuse::default()).await;
    for (route, by) in [("/credentials", ""), ("/injected", "the broker says 503 Service Unavailable: ")] {
        let none = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
        stage.mock.fault(Fault::new(Endpoint::Imds, Answer::body(400, "application/json", none)).times(1));
        let (status, why) = stage.get(route).await;
        assert!(status == 502 && why.starts_with(by) && why.contains("az vm identity assign"), "{why}");
    }
}

#[tokio::test]
async fn a_variable_without_a_default_needs_a_value() {
    let lacking = App::start(&manifest(), &[("vault", ORIGIN)], Reuse::default()).await.err().unwrap();
    assert_eq!(lacking.to_string(), "the variable store_key needs a value");
}

/// The application beside a mock that is the machine's metadata service and the vault.
struct Stage {
    mock: Mock,
    app: App,
}

impl Stage {
    async fn start(reuse: Reuse) -> Self {
        Self::of(&manifest(), KEY, reuse).await
    }

    async fn of(manifest: &str, key: &str, reuse: Reuse) -> Self {
        let mock = Mock::start(MockConfig::at_two_addresses()).await.unwrap();
        let values = [("vault", mock.also_url().unwrap()), ("metadata", mock.url()), ("store_key", key)];
        let app = App::start(manifest, &values, reuse).await.unwrap();
        Self { mock, app }
    }

    async fn get(&self, route: &str) -> (u16, String) {
        self.app.server(route).unwrap().get(route).await.unwrap()
    }

    fn instances(&self, route: &str) -> usize {
        self.app.server(route).unwrap().instances()
    }
}

fn manifest() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/spin-app/spin.toml");
    std::fs::read_to_string(file).unwrap()
}

fn holds(value: &[u8], text: &str) -> bool {
    value.windows(text.len()).any(|bytes| bytes == text.as_bytes())
}

const AT_ONCE: usize = 64;
/// As many requests as the suite has time for; the variable asks for more.
const FEW: usize = 2_000;
const REQUESTS: &str = "HOST_TEST_REQUESTS";
/// What every token of the mock begins with.
const TOKEN: &str = "eyJ";
/// Of 32 bytes.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const ORIGIN: &str = "http://127.0.0.1:9";
