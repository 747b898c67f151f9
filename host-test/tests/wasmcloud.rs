//! The broker on the real wasmCloud: one fetch for all requests, in each way of deploying it.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test starts programs")]

use futures_util::future::join_all;
use host_test::fleet::Redis;
use host_test::nats::Nats;
use host_test::wash::Wash;
use mock_identity::{Endpoint, Mock, MockConfig};

#[tokio::test]
async fn an_app_composed_with_the_broker_and_pooled_fetches_once_and_once_more_after_a_refusal() {
    let stage = Stage::start(&[]).await;
    let wash = stage.wash(&format!("{}{POOLED}", component("app", "wasmcloud-composed"))).await;
    stage.herd(&wash, 1).await;
    assert!(tokens_of(&wash, "/refused").await);
    assert_eq!(stage.fetches(), 2);
    stage.herd(&wash, 2).await;
    stage.check(&[&wash]);
}

#[tokio::test]
async fn without_a_pool_and_without_a_store_each_request_costs_a_fetch() {
    let stage = Stage::start(&[]).await;
    let wash = stage.wash(&component("app", "wasmcloud-composed")).await;
    for _ in 0..5 {
        assert!(tokens_of(&wash, "/").await);
    }
    assert_eq!(stage.fetches(), 5);
    stage.check(&[&wash]);
}

/// Two components of one workload, of which only the broker may reach the identity endpoint.
#[tokio::test]
async fn an_app_linked_to_a_pooled_broker_fetches_once_forgets_and_reaches_nothing_itself() {
    let stage = Stage::start(&[]).await;
    let wash = stage.linked_wash().await;
    stage.herd(&wash, 1).await;
    assert!(tokens_of(&wash, "/refused").await);
    assert_eq!(stage.fetches(), 2, "forget-token reaches the instance that stays");
    stage.herd(&wash, 2).await;
    let (_, reached) = wash.get(&format!("/reach?{}", stage.mock.url()), &[]).await.unwrap();
    assert!(reached.contains("does not let the component go there"), "{reached}");
    stage.check(&[&wash]);
}

#[tokio::test]
async fn the_endpoint_for_sdks_fetches_once_when_it_is_pooled_and_when_it_is_a_service() {
    for (components, service) in
        [(format!("{}{POOLED}", component("endpoint", "token-endpoint")), ""), (String::new(), SERVICE)]
    {
        let stage = Stage::start(&[]).await;
        let wash = stage.wash_as(&components, service, "").await;
        let ask = || async {
            let path =
                "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";
            let (status, body) = wash.get(path, &[("metadata", "true")]).await.unwrap();
            assert_eq!(status, 200, "{body}");
        };
        join_all((0..30).map(|_| ask())).await;
        ask().await;
        assert_eq!(stage.fetches(), 1, "{service}");
        stage.check(&[&wash]);
    }
}

#[tokio::test]
async fn an_app_behind_the_injector_fetches_once() {
    let stage = Stage::start(&[]).await;
    let service = Mock::start(MockConfig::default()).await.unwrap();
    let more = [("TOKEN_BROKER_INJECT", format!("{}=https://vault.azure.net", service.url()))];
    let stage = Stage { more: more.to_vec(), hosts: vec![service.url().to_owned()], ..stage };
    let wash = stage.wash(&format!("{}{POOLED}", component("app", "sender-composed"))).await;
    let path = format!("/GET/none/1?{}/secrets/orders", service.url());
    let ask = || wash.get(&path, &[]);
    for answer in join_all((0..30).map(|_| ask())).await {
        let (status, body) = answer.unwrap();
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!(stage.fetches(), 1);
    let sent = service.requests();
    assert!(sent.len() == 30 && sent.iter().all(|request| request.headers.contains_key("authorization")));
    stage.check(&[&wash]);
}

#[tokio::test]
async fn instances_that_live_for_one_request_share_the_store_of_their_host() {
    let stage = Stage::start(&[KEY]).await;
    let wash = stage.wash(&component("app", "wasmcloud-composed")).await;
    stage.herd(&wash, 1).await;
    assert!(tokens_of(&wash, "/refused").await);
    assert_eq!(stage.fetches(), 2);
    stage.herd(&wash, 2).await;
    stage.check(&[&wash]);
}

#[tokio::test]
async fn two_hosts_share_one_token_through_nats_and_through_redis() {
    let nats = Nats::start().await.unwrap();
    nats.create_bucket("tokens").await.unwrap();
    let redis = Redis::start().await.unwrap();
    for (backend, url) in [("nats", nats.url()), ("redis", redis.url())] {
        let stage = Stage::start(&[KEY, ("TOKEN_BROKER_STORE", "tokens")]).await;
        let interface = interface(backend, &url);
        let app = component("app", "wasmcloud-composed");
        let (one, other) =
            tokio::join!(stage.wash_as(&app, "", &interface), stage.wash_as(&app, "", &interface));
        tokio::join!(stage.ask(&one, 30), stage.ask(&other, 30));
        assert_eq!(stage.fetches(), 1, "{backend}");
        // Redis has no conditional deletion, so that one of many that remove a refused token may remove the next one.
        let refused = [&one, &other].into_iter().cycle().take(if backend == "nats" { 20 } else { 1 });
        let refused = refused.map(|wash| tokens_of(wash, "/refused"));
        join_all(refused).await;
        assert_eq!(stage.fetches(), 2, "{backend}: a lease that has ended is taken by one");
        tokio::join!(stage.ask(&one, 10), stage.ask(&other, 10));
        assert_eq!(stage.fetches(), 2, "{backend}");
        stage.check(&[&one, &other]);
    }
}

#[tokio::test]
async fn a_bucket_that_is_missing_or_gone_costs_fetches_and_the_log_says_which() {
    let mut nats = Nats::start().await.unwrap();
    nats.create_bucket("tokens").await.unwrap();
    let stage = Stage::start(&[KEY, ("TOKEN_BROKER_STORE", "other")]).await;
    let app = component("app", "wasmcloud-composed");
    let wash = stage.wash_as(&app, "", &interface("nats", &nats.url())).await;
    assert!(tokens_of(&wash, "/").await && tokens_of(&wash, "/").await);
    assert_eq!(stage.fetches(), 2);
    assert!(wash.log().contains("the bucket other does not exist"), "{}", wash.log());

    let gone = Stage::start(&[KEY, ("TOKEN_BROKER_STORE", "tokens")]).await;
    let wash = gone.wash_as(&app, "", &interface("nats", &nats.url())).await;
    assert!(tokens_of(&wash, "/").await);
    nats.kill().await.unwrap();
    assert!(tokens_of(&wash, "/").await, "{}", wash.log());
    assert_eq!(gone.fetches(), 2);
    assert!(wash.log().contains("store unavailable, continuing without it"), "{}", wash.log());
    stage.check(&[&wash]);
}

/// A workload and the mock that is its identity endpoint.
struct Stage {
    mock: Mock,
    more: Vec<(&'static str, String)>,
    /// The hosts that it may reach, beside the mock
    hosts: Vec<String>,
}

impl Stage {
    async fn start(more: &[(&'static str, &str)]) -> Self {
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { mock: Mock::start(MockConfig::default()).await.unwrap(), more, hosts: Vec::new() }
    }

    async fn wash(&self, components: &str) -> Wash {
        self.wash_as(components, "", "").await
    }

    /// The workload as components or as a service, with a host interface.
    async fn wash_as(&self, components: &str, service: &str, interface: &str) -> Wash {
        let components =
            if components.is_empty() { String::new() } else { format!("  components:\n{components}") };
        let main =
            if service.is_empty() { "  component_path: COMPONENTS/token-broker.wasm\n" } else { service };
        let config = format!("dev:\n{main}{components}{interface}workload:\n{}", self.rights("  "));
        Wash::start(&config).await.unwrap()
    }

    /// The app may reach nothing, and the broker the mock.
    async fn linked_wash(&self) -> Wash {
        let broker = format!("{}{POOLED}{}", component("broker", "token-broker"), self.rights("      "));
        let app = format!("{}      allowedHosts: []\n", component("app", "wasmcloud"));
        let config = format!(
            "dev:\n  component_path: COMPONENTS/consumer.wasm\n  components:\n{broker}{app}workload:\n  allowedHosts: []\n"
        );
        Wash::start(&config).await.unwrap()
    }

    /// The keys `allowedHosts` and `environment`, indented.
    fn rights(&self, indent: &str) -> String {
        let hosts = self.hosts.iter().map(String::as_str).chain([self.mock.url()]);
        let hosts: Vec<String> = hosts.map(|host| format!("\"{host}\"")).collect();
        let variables = self.mock.env(Endpoint::Imds).into_iter().chain(self.more.clone());
        let variables: String =
            variables.map(|(name, value)| format!("{indent}    {name}: \"{value}\"\n")).collect();
        format!(
            "{indent}allowedHosts: [{}]\n{indent}environment:\n{indent}  config:\n{variables}",
            hosts.join(", ")
        )
    }

    /// Thirty requests at once, and five in turn, after which there have been so many fetches.
    async fn herd(&self, wash: &Wash, fetches: u64) {
        self.ask(wash, 30).await;
        for _ in 0..5 {
            assert!(tokens_of(wash, "/").await);
        }
        assert_eq!(self.fetches(), fetches);
    }

    async fn ask(&self, wash: &Wash, at_once: usize) {
        assert!(join_all((0..at_once).map(|_| tokens_of(wash, "/"))).await.into_iter().all(|got| got));
    }

    fn fetches(&self) -> u64 {
        self.mock.counters().of(Endpoint::Imds).requests
    }

    /// Nothing secret was printed.
    fn check(&self, all: &[&Wash]) {
        for wash in all {
            let log = wash.log();
            assert!(!log.contains("eyJ") && !log.contains(KEY.1), "{log}");
        }
    }
}

async fn tokens_of(wash: &Wash, path: &str) -> bool {
    let (status, body) = wash.get(path, &[]).await.unwrap();
    assert!(status == 200 && body.starts_with("Bearer token, "), "{status} {body}\n{}", wash.log());
    true
}

fn component(name: &str, file: &str) -> String {
    format!("    - name: {name}\n      file: COMPONENTS/{file}.wasm\n")
}

fn interface(backend: &str, url: &str) -> String {
    format!(
        "  host_interfaces:\n    - {{namespace: wasmcloud, package: keyvalue, interfaces: [store, cas], version: 0.2.0, \
         config: {{backend: {backend}, url: \"{url}\"}}}}\n"
    )
}

const POOLED: &str = "      poolSize: 1\n      maxConcurrency: 1000\n";
const SERVICE: &str = "  service: true\n  component_path: COMPONENTS/token-endpoint.wasm\n";
const KEY: (&str, &str) = ("TOKEN_BROKER_STORE_KEY", "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=");
