//! The crate token-broker-host with the built components, against the mock platform.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test has a clock and files")]

#[path = "host/consumer.rs"]
mod consumer;
#[path = "host/fixture.rs"]
mod fixture;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use host_test::hosts::artefact;
use mock_identity::{Answer, Credential, Endpoint, Fault, Mock, MockConfig};
use token_broker_host::{
    Decision, Environment, Error, Identity, MemoryStore, Policy, RawRequest, TrustedRoots, Verdict,
};

use consumer::Consumers;
use fixture::{Fixture, ShiftedClock, broker};

const VAULT: &str = "https://vault.azure.net/.default";
const STORAGE: &str = "https://storage.azure.com/.default";

#[tokio::test]
async fn consumers_in_stores_of_their_own_share_one_token() {
    let fixture = Fixture::new().await;
    let consumers = Consumers::new(&fixture.broker, Policy::default());
    let ends = consumers.fresh().await.get(VAULT).await.unwrap();
    for _ in 0..3 {
        assert_eq!(consumers.fresh().await.get(VAULT).await, Ok(ends));
        assert_eq!(consumers.fresh().await.peek_many(VAULT, 10).await, 10);
    }
    assert_eq!(fixture.requests(), 1);
    let statistics = fixture.broker.stats().await.unwrap();
    assert_eq!((statistics.requests, statistics.hits, statistics.fetches), (34, 33, 1));
}

#[tokio::test]
async fn a_form_reaches_its_peer_with_its_length_and_a_request_without_a_body_says_none() {
    let tls = ([127, 0, 0, 1], 0).into();
    let mock = Mock::start(MockConfig { listen_tls: Some(tls), ..MockConfig::default() }).await.unwrap();
    for environment in [mock.env(Endpoint::Entra), mock.env(Endpoint::CloudShell), mock.env(Endpoint::Imds)] {
        let roots = TrustedRoots::from_pem(mock.ca_pem().unwrap()).unwrap();
        let builder = broker().environment(environment.into_iter().collect()).trusted_roots(roots);
        builder.build().await.unwrap().get_token(VAULT).await.unwrap();
    }
    let framing = mock.requests().into_iter().map(|request| {
        let of = |name: &str| request.headers.get(name).cloned();
        (request.method, of("content-length").is_some(), of("transfer-encoding"))
    });
    let [post, get] = ["POST", "GET"].map(str::to_owned);
    let expected = [(post.clone(), true, None), (post, true, None), (get, false, None)];
    assert_eq!(framing.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn each_linker_has_its_own_policy_and_a_refused_call_is_not_forwarded() {
    let fixture = Fixture::new().await;
    let all = Consumers::new(&fixture.broker, Policy::default());
    let only_storage = Consumers::new(&fixture.broker, Policy::new(Some(STORAGE), None).unwrap());
    let error = only_storage.fresh().await.get(VAULT).await.unwrap_err();
    assert!(error.contains("denied") || error.contains("Denied"), "{error}");
    assert_eq!(fixture.requests(), 0);

    all.fresh().await.get(VAULT).await.unwrap();
    assert!(only_storage.fresh().await.get(VAULT).await.is_err(), "a held token is refused too");
    assert_eq!(only_storage.fresh().await.peek_many(VAULT, 1).await, 0, "and so is a peek");
    assert_eq!(all.fresh().await.peek_many(VAULT, 1).await, 1);
    only_storage.fresh().await.get(STORAGE).await.unwrap();
    assert_eq!(fixture.requests(), 2);
}

#[tokio::test]
async fn an_operators_component_sees_the_sources_and_the_counters_and_has_no_way_to_a_token() {
    let fixture = Fixture::new().await;
    let before = consumer::look(&fixture.broker).await;
    let ready = "imds: Verdict::Ready GET http://127.0.0.1";
    assert!(before.iter().any(|line| line.starts_with(ready)), "{before:?}");
    assert_eq!((before.last().unwrap().as_str(), fixture.requests()), ("fetches: 0", 0), "nothing is sent");
    fixture.broker.get_token(VAULT).await.unwrap();
    let after = consumer::look(&fixture.broker).await;
    assert!(after.iter().any(|line| line.starts_with("imds: Verdict::Used")), "{after:?}");
    assert_eq!(after.last().unwrap(), "fetches: 1");
    assert!(!after.concat().contains("eyJ"), "{after:?}");
}

#[tokio::test]
async fn a_policy_takes_the_default_identity_for_the_one_that_the_deployment_names() {
    let fixture = Fixture::with(Endpoint::Imds, "AZURE_CLIENT_ID", ORDERS).await;
    let policy = |identities| Policy::new(None, Some(identities)).unwrap();
    Consumers::new(&fixture.broker, policy(ORDERS)).fresh().await.get(VAULT).await.unwrap();
    Consumers::new(&fixture.broker, policy("system-assigned")).fresh().await.get(VAULT).await.unwrap_err();
    assert_eq!(fixture.requests(), 1);
}

#[tokio::test]
async fn a_policy_takes_the_default_identity_for_the_federated_one_before_any_other() {
    let environment = Environment::default()
        .with("TOKEN_BROKER_FEDERATED_CLIENT_ID", REPORTS)
        .with("TOKEN_BROKER_FEDERATED_TENANT_ID", REPORTS)
        .with("AZURE_CLIENT_ID", ORDERS);
    let fixture = Fixture::build(|builder, _| builder.environment(environment)).await;
    let policy = Policy::new(None, Some(ORDERS)).unwrap();
    let error = Consumers::new(&fixture.broker, policy).fresh().await.request(VAULT, None).await.unwrap_err();
    assert!(error.contains("Denied") && error.contains(REPORTS), "{error}");
}

#[tokio::test]
async fn a_consumer_gets_the_token_of_the_identity_that_it_requests_and_that_its_policy_allows() {
    let fixture = Fixture::new().await;
    let policy = Policy::new(Some(VAULT), Some(ORDERS)).unwrap();
    let consumers = Consumers::new(&fixture.broker, policy);
    let token = consumers.fresh().await.request(VAULT, Some(ORDERS)).await.unwrap();
    assert_eq!(fixture.client_id(&token), ORDERS);
    assert_eq!(consumers.fresh().await.request(VAULT, Some(ORDERS)).await.unwrap(), token);
    assert_eq!(fixture.requests(), 1);
}

#[tokio::test]
async fn a_request_for_an_identity_or_a_scope_that_the_policy_does_not_list_is_denied_and_nothing_is_sent() {
    let fixture = Fixture::new().await;
    let policy = Policy::new(Some(VAULT), Some(ORDERS)).unwrap();
    let consumers = Consumers::new(&fixture.broker, policy);
    for (scope, client_id) in [(VAULT, Some(REPORTS)), (STORAGE, Some(ORDERS)), (VAULT, None)] {
        let error = consumers.fresh().await.request(scope, client_id).await.unwrap_err();
        assert!(error.contains("Denied"), "{scope} {client_id:?}: {error}");
    }
    assert_eq!(fixture.requests(), 0);
    assert_eq!(fixture.broker.stats().await.unwrap().requests, 0, "the broker was not even asked");

    let orders = consumers.fresh().await.request(VAULT, Some(ORDERS)).await.unwrap();
    assert_eq!(fixture.client_id(&orders), ORDERS);
    assert!(consumers.fresh().await.request(VAULT, Some(REPORTS)).await.is_err());
    assert_eq!(fixture.requests(), 1);
}

#[tokio::test]
async fn a_request_for_the_default_identity_becomes_one_for_the_identity_that_the_deployment_names() {
    let fixture = Fixture::with(Endpoint::Imds, "AZURE_CLIENT_ID", ORDERS).await;
    let policy = Policy::new(None, Some(ORDERS)).unwrap();
    let token = Consumers::new(&fixture.broker, policy).fresh().await.request(VAULT, None).await.unwrap();
    assert_eq!(fixture.client_id(&token), ORDERS);
    let policy = Policy::new(None, Some("system-assigned")).unwrap();
    let error = Consumers::new(&fixture.broker, policy).fresh().await.request(VAULT, None).await.unwrap_err();
    assert!(error.contains("Denied") && error.contains(ORDERS), "{error}");
    assert_eq!(fixture.requests(), 1);
}

#[tokio::test]
async fn where_identities_are_listed_a_request_for_the_default_one_is_for_the_system_assigned_one_alone() {
    let fixture = Fixture::new().await;
    let policy = Policy::new(None, Some("system-assigned")).unwrap();
    let consumers = Consumers::new(&fixture.broker, policy);
    let token = consumers.fresh().await.request(VAULT, None).await.unwrap();
    assert_eq!(fixture.client_id(&token), fixture.system_assigned());
    assert_eq!(fixture.requests(), 1);

    // What a machine with a single user-assigned identity does.
    fixture.mock.fault(Fault::new(Endpoint::Imds, Answer::WrongIdentity).forever());
    let error = consumers.fresh().await.request(STORAGE, None).await.unwrap_err();
    assert!(error.contains("another identity"), "{error}");
    assert_eq!(fixture.requests(), 2);
}

#[tokio::test]
async fn what_a_consumer_forgets_is_fetched_anew_if_its_policy_allows_it_the_scope() {
    let fixture = Fixture::new().await;
    let all = Consumers::new(&fixture.broker, Policy::default());
    let only_storage = Consumers::new(&fixture.broker, Policy::new(Some(STORAGE), None).unwrap());
    all.fresh().await.get(VAULT).await.unwrap();

    only_storage.fresh().await.forget(VAULT).await;
    assert_eq!(all.fresh().await.peek_many(VAULT, 1).await, 1);
    all.fresh().await.get(VAULT).await.unwrap();
    assert_eq!(fixture.requests(), 1, "a scope that is not its own stays");

    all.fresh().await.forget(VAULT).await;
    assert_eq!(all.fresh().await.peek_many(VAULT, 1).await, 0);
    all.fresh().await.get(VAULT).await.unwrap();
    assert_eq!(fixture.requests(), 2);
}

#[tokio::test]
async fn a_consumer_forgets_the_tokens_of_every_identity_for_a_scope() {
    let fixture = Fixture::new().await;
    let consumers = Consumers::new(&fixture.broker, Policy::default());
    let first = consumers.fresh().await.request(VAULT, Some(ORDERS)).await.unwrap();
    consumers.fresh().await.forget(VAULT).await;
    let second = consumers.fresh().await.request(VAULT, Some(ORDERS)).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(fixture.requests(), 2);
}

#[tokio::test]
async fn what_a_consumer_says_is_bounded_before_it_reaches_the_broker() {
    let fixture = Fixture::new().await;
    let consumers = Consumers::new(&fixture.broker, Policy::default());
    let huge = "s".repeat(8 * 1024 * 1024);
    let error = consumers.fresh().await.get(&huge).await.unwrap_err();
    assert!(error.contains("8388608 bytes"), "{error}");
    assert_eq!(fixture.broker.stats().await.unwrap().requests, 0);
}

#[tokio::test]
async fn concurrent_callers_of_any_kind_make_one_request() {
    for callers in [32, 1000] {
        let fixture = Fixture::new().await;
        fixture.mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_millis(50)));
        let mut consumer = Consumers::new(&fixture.broker, Policy::default()).fresh().await;
        let direct: Vec<_> = (0..callers).map(|_| fixture.spawn_call(VAULT)).collect();
        assert_eq!(consumer.get_concurrent(VAULT, callers).await, Ok(callers));
        for call in direct {
            call.await.unwrap().unwrap();
        }
        assert_eq!(fixture.requests(), 1, "{callers} callers in tasks, as many in a consumer");
    }
}

#[tokio::test]
async fn a_slow_scope_does_not_hold_up_another_one() {
    let fixture = Fixture::new().await;
    fixture.mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(FOREVER));
    let slow = fixture.spawn_call(VAULT);
    fixture.mock.arrived(Endpoint::Imds, 1).await;
    fixture.broker.get_token(STORAGE).await.unwrap();
    assert!(!slow.is_finished());
    slow.abort();
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_take_the_fetch_with_it() {
    let fixture = Fixture::new().await;
    fixture.mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_millis(100)));
    let leaving = fixture.spawn_call(VAULT);
    fixture.mock.arrived(Endpoint::Imds, 1).await;
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    fixture.broker.get_token(VAULT).await.unwrap();
    assert_eq!(fixture.requests(), 1);
}

#[tokio::test]
async fn a_refresh_runs_on_when_the_call_that_set_it_off_has_its_answer() {
    let (fixture, clock) = with_clock().await;
    let first = fixture.broker.get_token(VAULT).await.unwrap();
    // Twelve hours of a token of a day: it is Stale.
    clock.advance(Duration::from_secs(12 * 3600 + 60));
    assert!(fixture.broker.peek_token(VAULT).is_none());
    let stale = fixture.broker.get_token(VAULT).await.unwrap();
    assert_eq!(stale.token(), first.token());
    fixture.mock.arrived(Endpoint::Imds, 2).await;
    // What the refresh brought is what later calls get.
    let expires_on = async || fixture.broker.get_token(VAULT).await.unwrap().expires_on();
    fixture::until(async || expires_on().await > first.expires_on()).await;
    assert!(fixture.broker.peek_token(VAULT).is_some());
    assert_eq!(fixture.requests(), 2);
}

#[tokio::test]
async fn the_caller_of_a_stale_token_does_not_wait_for_its_refresh() {
    let (fixture, clock) = with_clock().await;
    let first = fixture.broker.get_token(VAULT).await.unwrap();
    fixture.mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(FOREVER));
    clock.advance(Duration::from_secs(12 * 3600 + 60));
    for _ in 0..3 {
        assert_eq!(fixture.broker.get_token(VAULT).await.unwrap().token(), first.token());
    }
    fixture.mock.arrived(Endpoint::Imds, 2).await;
    assert_eq!(fixture.requests(), 2);
}

#[tokio::test]
async fn a_policy_for_the_system_assigned_identity_lets_no_other_through() {
    let fixture = Fixture::new().await;
    // What a machine with a single user-assigned identity does.
    fixture.mock.fault(Fault::new(Endpoint::Imds, Answer::WrongIdentity).forever());
    fixture.broker.get_token(VAULT).await.unwrap();
    let policy = Policy::new(None, Some("system-assigned")).unwrap();
    let mut consumer = Consumers::new(&fixture.broker, policy).fresh().await;
    assert_eq!(consumer.peek_many(VAULT, 1).await, 0);
    assert!(consumer.get(VAULT).await.unwrap_err().contains("another identity"));
}

#[tokio::test]
async fn a_policy_that_panics_ends_the_calls_inside_and_not_the_broker() {
    let has_panicked = AtomicBool::new(false);
    let policy = move |_: &http::request::Parts| {
        assert!(has_panicked.swap(true, Ordering::Relaxed), "as a defect of the embedder would");
        Decision::Send
    };
    let fixture = Fixture::build(|builder, mock| fixture::at_mock(builder, mock).http(policy)).await;
    assert_eq!(fixture.broker.get_token(VAULT).await.unwrap_err().kind(), "other");
    fixture.broker.get_token(VAULT).await.unwrap();
    assert!(fixture.log().contains("panicked"));
}

#[tokio::test]
async fn what_is_forgotten_is_fetched_anew_whatever_the_spelling() {
    let fixture = Fixture::new().await;
    let first = fixture.broker.get_token(VAULT).await.unwrap();
    fixture.broker.forget_token("https://vault.azure.net").await.unwrap();
    assert!(fixture.broker.peek_token(VAULT).is_none());
    let second = fixture.broker.get_token(VAULT).await.unwrap();
    assert_ne!(first.token(), second.token());
    assert_eq!(fixture.requests(), 2);
}

#[tokio::test]
async fn a_token_that_claims_brought_replaces_the_copy_of_the_one_without() {
    let fixture = Fixture::new().await;
    let without = fixture.broker.get_token(VAULT).await.unwrap();
    let claims = Some(r#"{"access_token":{"nbf":{"essential":true}}}"#.to_owned());
    let request = RawRequest { scopes: vec![VAULT.to_owned()], claims, ..RawRequest::default() };
    let with = fixture.broker.request_token(&request).await.unwrap();
    assert_ne!(with.token(), without.token());
    assert_eq!(fixture.broker.get_token(VAULT).await.unwrap().token(), with.token());
    assert_eq!(fixture.requests(), 2);
}

#[tokio::test]
async fn a_request_names_an_identity() {
    let fixture = Fixture::new().await;
    let identity = Identity::client_id(ORDERS).unwrap();
    let request = RawRequest { scopes: vec![VAULT.to_owned()], identity, ..RawRequest::default() };
    let token = fixture.broker.request_token(&request).await.unwrap();
    assert_eq!(fixture.mock.verify(token.token(), "https://vault.azure.net").unwrap().appid, ORDERS);
    assert!(fixture.broker.peek_token(VAULT).is_none(), "a peek is for the default identity");
}

#[tokio::test]
async fn an_instance_that_traps_is_replaced_and_only_the_calls_inside_it_fail() {
    let fixture = Fixture::with_little_memory().await;
    fixture.mock.fault(Fault::new(Endpoint::Imds, Answer::Oversize).times(1));
    let Err(Error::Other(text)) = fixture.broker.get_token(VAULT).await else { panic!("another outcome") };
    assert!(text.contains("trapped") && text.contains("next call"), "{text}");
    assert!(fixture.log().contains("the broker's instance trapped"), "{}", fixture.log());
    fixture.broker.get_token(VAULT).await.unwrap();
}

#[tokio::test]
async fn an_instance_that_keeps_trapping_is_not_replaced_for_ever() {
    let fixture = Fixture::with_little_memory().await;
    fixture.mock.fault(Fault::new(Endpoint::Imds, Answer::Oversize).forever());
    for _ in 0..11 {
        let error = fixture.broker.get_token(VAULT).await.unwrap_err().to_string();
        assert!(error.contains("trapped while"), "{error}");
    }
    let error = fixture.broker.get_token(VAULT).await.unwrap_err().to_string();
    assert!(error.contains("trapped 10 times within 60 s"), "{error}");
    assert_eq!(fixture.requests(), 11);
}

#[tokio::test]
async fn the_http_policy_may_refuse_and_says_why_in_the_log() {
    let refuse = |_: &http::request::Parts| Decision::Refuse("closed today".to_owned());
    let fixture = Fixture::build(|builder, mock| fixture::at_mock(builder, mock).http(refuse)).await;
    fixture.broker.get_token(VAULT).await.unwrap_err();
    assert_eq!(fixture.requests(), 0);
    assert!(fixture.log().contains("closed today"), "{}", fixture.log());
}

#[tokio::test]
async fn the_http_policy_may_answer_in_memory() {
    let answer = |request: &http::request::Parts| {
        assert_eq!(request.uri.host(), Some("169.254.169.254"));
        let body = r#"{"access_token":"in-memory","expires_in":"86400","resource":"https://vault.azure.net","token_type":"Bearer"}"#;
        let response = http::Response::builder().header("content-type", "application/json");
        Decision::answer(response.body(body.into()).unwrap())
    };
    let broker = broker().http(answer).build().await.unwrap();
    assert_eq!(broker.get_token(VAULT).await.unwrap().token(), "in-memory");
}

#[tokio::test]
async fn the_settings_are_asked_for_what_the_environment_does_not_have() {
    let fixture = Fixture::build(|builder, mock| {
        let imds = mock.env(Endpoint::Imds);
        builder.settings(move |name: &str| {
            Ok(imds.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
        })
    })
    .await;
    fixture.broker.get_token(VAULT).await.unwrap();
    assert_eq!(fixture.requests(), 1);
}

#[tokio::test]
async fn what_only_the_settings_have_is_explained_before_the_first_call() {
    let settings = |name: &str| Ok((name == "AZURE_CLIENT_SECRET").then(|| "sentinel-31".to_owned()));
    let broker = broker().settings(settings).build().await.unwrap();
    let reports = broker.explain().await.unwrap();
    let report = reports.iter().find(|report| report.source == "client-secret").unwrap();
    assert!(report.variables.contains(&("AZURE_CLIENT_SECRET".to_owned(), true)), "{report:?}");
    assert!(!format!("{reports:?}").contains("sentinel"), "{reports:?}");
}

/// As certbot renews a certificate.
#[tokio::test]
async fn a_token_file_is_read_where_its_link_leads_and_again_when_the_link_changes() {
    let mut config = MockConfig::default();
    config.listen_tls = Some(config.listen);
    let mock = Mock::start(config).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    let put = |name: &str| {
        let token = mock.federated_token(mock.cluster_credential().unwrap(), FOREVER).unwrap();
        fs::write(path(name), token).unwrap();
    };
    ["live", "archive"].iter().for_each(|name| fs::create_dir(path(name)).unwrap());
    put("archive/1");
    symlink("../archive/1", path("live/token")).unwrap();
    let environment = mock.app_env(Credential::FederatedToken(&path("live/token"))).into_iter().collect();
    let roots = TrustedRoots::from_pem(mock.ca_pem().unwrap()).unwrap();
    let broker = broker().environment(environment).trusted_roots(roots).build().await.unwrap();
    broker.get_token(VAULT).await.unwrap();

    ["archive/1", "live/token"].iter().for_each(|name| fs::remove_file(path(name)).unwrap());
    put("archive/2");
    symlink(path("archive/2"), path("live/token")).unwrap();
    broker.get_token(STORAGE).await.unwrap();
    assert_eq!(mock.counters().of(Endpoint::Entra).tokens, 2);
}

#[tokio::test]
async fn settings_cannot_say_that_this_host_compares_a_certificate() {
    let thumbprint = "ab".repeat(20);
    let settings = move |name: &str| {
        Ok(match name {
            "IDENTITY_ENDPOINT" => Some("https://127.0.0.1:2377/metadata/identity/oauth2/token".to_owned()),
            "IDENTITY_HEADER" => Some("s".to_owned()),
            "IDENTITY_SERVER_THUMBPRINT" | "TOKEN_BROKER_PINNED_THUMBPRINT" => Some(thumbprint.clone()),
            _ => None,
        })
    };
    let nothing = |request: &http::request::Parts| -> Decision { panic!("asked for {}", request.uri) };
    let broker = broker().settings(settings).http(nothing).build().await.unwrap();
    let error = broker.get_token(VAULT).await.unwrap_err().to_string();
    assert!(error.contains("nothing was sent") && error.contains("service-fabric"), "{error}");
}

#[tokio::test]
async fn a_store_without_a_key_is_refused_with_the_way_to_make_one() {
    let error = broker().store(MemoryStore::default()).build().await.err().unwrap().to_string();
    assert!(error.contains("TOKEN_BROKER_STORE_KEY") && error.contains("openssl rand -base64 32"), "{error}");
}

#[tokio::test]
async fn a_component_that_is_no_broker_is_refused_by_name() {
    let component = artefact("consumer-composed.wasm").unwrap();
    let error = broker().component_file(component).build().await.err().unwrap();
    assert!(format!("{error:#}").contains("token-broker:identity"), "{error:#}");
}

#[tokio::test]
async fn an_embedder_may_own_the_store() {
    let fixture = Fixture::new().await;
    let mut instance = fixture::at_mock(broker(), &fixture.mock).instantiate().await.unwrap();
    assert!(instance.peek_token(VAULT).await.unwrap().is_none());
    let token = instance.get_token(VAULT).await.unwrap().unwrap();
    assert_eq!(instance.peek_token(VAULT).await.unwrap().unwrap().token(), token.token());
    let used = instance.explain().await.unwrap().into_iter().find(|report| report.verdict == Verdict::Used);
    assert_eq!(used.unwrap().source, "imds");
    instance.forget_token(VAULT).await.unwrap();
    assert!(instance.peek_token(VAULT).await.unwrap().is_none());
    assert_eq!(instance.stats().await.unwrap().fetches, 1);
    assert!(instance.memory_bytes() <= 1024 * 1024, "{} bytes", instance.memory_bytes());
}

#[tokio::test]
async fn no_token_and_no_secret_is_in_an_error_a_report_or_the_log() {
    let fixture = Fixture::with(Endpoint::AppService, "TOKEN_BROKER_LOG", "debug").await;
    let token = fixture.broker.get_token(VAULT).await.unwrap();
    let error = fixture.broker.get_token("https://unknown.example").await.unwrap_err();
    let said = format!("{token:?} {error} {error:?} {:?} {}", fixture.broker.explain().await, fixture.log());
    let header = &fixture.mock.config().app_service.identity_header;
    for secret in [token.token(), header.as_str()] {
        assert!(!said.contains(secret), "a secret is in {said}");
    }
    assert!(!fixture.log().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_serves_callers_on_every_thread_at_once() {
    let fixture = Fixture::new().await;
    let calls: Vec<_> = (0..64).map(|n| fixture.spawn_call([VAULT, STORAGE][n % 2])).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(fixture.requests(), 2);
}

/// A user-assigned identity of the mock's default configuration.
const ORDERS: &str = "11112222-bbbb-3333-cccc-4444dddd5555";
/// The other one.
const REPORTS: &str = "22223333-cccc-4444-dddd-5555eeee6666";

/// A broker whose clock can be put forward, without jitter.
async fn with_clock() -> (Fixture, ShiftedClock) {
    let clock = ShiftedClock::default();
    let lent = clock.clone();
    let fixture = Fixture::build(|builder, mock| {
        fixture::at_mock(builder, mock).clock(lent).random(|bytes| bytes.fill(0))
    })
    .await;
    (fixture, clock)
}

/// Longer than any test.
const FOREVER: Duration = Duration::from_secs(3600);
