//! A client, an Envoy with the filter, a service behind it, and a platform.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use host_test::envoy::{
    self, Bootstrap, Envoy, Response, Seen, Upstream, cluster, token_filter, upstream_filters,
};
use http::Request;
use mock_identity::{Endpoint, Mock, MockConfig, TokenClaims};
use serde_json::{Value, json};

pub(crate) struct Stage {
    pub(crate) mock: Mock,
    pub(crate) upstream: Upstream,
    pub(crate) envoy: Envoy,
    pub(crate) address: SocketAddr,
}

impl Stage {
    /// Two workers, a mock with its defaults for IMDS, and one rule for everything; `changes` of the filter's configuration
    pub(crate) async fn new(changes: Value) -> Self {
        Self::with(Mock::start(MockConfig::default()).await.unwrap(), changes).await
    }

    pub(crate) async fn with(mock: Mock, changes: Value) -> Self {
        let filter = token_filter("vm", &configuration(&mock, changes), &[]);
        Self::of_filters(mock, &[filter], |bootstrap| bootstrap).await
    }

    /// One worker: what others take from what they share ends earlier, by how far clocks may be apart
    pub(crate) async fn with_one_worker(mock: Mock, changes: Value) -> Self {
        let filter = token_filter("vm", &configuration(&mock, changes), &[]);
        Self::start(mock, &[filter], |bootstrap| bootstrap, 1).await
    }

    /// These filters in the listener, and whatever else of the bootstrap
    pub(crate) async fn of_filters(
        mock: Mock,
        filters: &[Value],
        more: impl FnOnce(Bootstrap) -> Bootstrap,
    ) -> Self {
        Self::start(mock, filters, more, 2).await
    }

    /// The filter in the cluster, and a listener whose one route has more fields
    pub(crate) async fn in_cluster(mock: Mock, changes: Value, route: Value) -> Self {
        let filter = token_filter("vm", &configuration(&mock, changes), &[]);
        let place = |mut bootstrap: Bootstrap| {
            bootstrap.clusters[0] = upstream_filters(bootstrap.clusters[0].clone(), &[filter]);
            let manager = &mut bootstrap.listeners[0]["filter_chains"][0]["filters"][0]["typed_config"];
            let to = &mut manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"];
            to.as_object_mut().unwrap().extend(route.as_object().unwrap().clone());
            bootstrap
        };
        Self::of_filters(mock, &[], place).await
    }

    async fn start(
        mock: Mock,
        filters: &[Value],
        more: impl FnOnce(Bootstrap) -> Bootstrap,
        workers: u32,
    ) -> Self {
        let upstream = Upstream::start().await.unwrap();
        let bootstrap = Bootstrap::with_filters(filters, upstream.address());
        let bootstrap = more(bootstrap.and_cluster(cluster("imds", address_of(mock.url()))));
        let envoy = Envoy::start(&bootstrap, workers).await.unwrap();
        let address = envoy.listener("in").await.unwrap();
        Self { mock, upstream, envoy, address }
    }

    pub(crate) async fn get(&self) -> Response {
        envoy::get(self.address, "/").await.unwrap()
    }

    pub(crate) async fn get_for(&self, authority: &str) -> Response {
        self.send(Request::get("/").header("host", authority)).await
    }

    /// Send a request without a body
    pub(crate) async fn send(&self, request: http::request::Builder) -> Response {
        envoy::send(self.address, request.body(Bytes::new()).unwrap()).await.unwrap()
    }

    pub(crate) async fn get_at_once(&self, count: usize) -> Vec<Response> {
        join_all((0..count).map(|_| self.get())).await
    }

    /// Requests that reached IMDS
    pub(crate) fn fetches(&self) -> u64 {
        self.mock.counters().of(Endpoint::Imds).requests
    }

    /// The only request that reached the service since this was asked last
    pub(crate) fn only_seen(&self) -> Seen {
        let mut seen = self.upstream.take_seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// The claims of the token of a request, which is checked as a service would
    pub(crate) fn claims(&self, seen: &Seen, audience: &str) -> TokenClaims {
        let token = seen.token().unwrap_or_else(|| panic!("no token: {:?}", seen.all("authorization")));
        assert!(!self.envoy.log().contains(&token), "a token is in the log");
        self.mock.verify(&token, audience).unwrap()
    }
}

/// A configuration with the mock as IMDS and one rule for everything
pub(crate) fn configuration(mock: &Mock, changes: Value) -> Value {
    let mut configuration = json!({
        "source": { "imds": { "cluster": "imds", "endpoint": mock.url() } },
        "rules": [{ "name": "vault", "scope": VAULT }],
        "log_level": "debug",
    });
    for (name, value) in changes.as_object().unwrap() {
        configuration[name] = value.clone();
    }
    configuration
}

/// The address in a URL
pub(crate) fn address_of(url: &str) -> SocketAddr {
    url.split("//").nth(1).unwrap().parse().unwrap()
}

/// Wait for something that comes about soon
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(tokio::time::Instant::now() < limit, "it does not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a problem says of itself
pub(crate) fn problem(response: &Response) -> Value {
    let status = if response.header("x-token-broker") == "denied" { 403 } else { 503 };
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.headers.get_all("content-type").iter().count(), 1);
    assert_eq!(response.header("content-type"), "application/problem+json");
    serde_json::from_slice(&response.body).unwrap()
}

pub(crate) const VAULT: &str = "https://vault.azure.net";
