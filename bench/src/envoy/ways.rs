//! The ways in which Envoy can add a token to a request.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use host_test::envoy::{
    self, Bootstrap, Envoy, Upstream, cluster, http_listener, token_filter, upstream_filters,
};
use http::Request;
use mock_identity::Mock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Nothing,
    StaticHeader,
    CredentialInjector,
    Lua,
    GcpAuthn,
    Ours,
    OursByHost,
    OursInCluster,
}

impl Way {
    pub(super) const ALL: [Self; 8] = [
        Self::Nothing,
        Self::StaticHeader,
        Self::CredentialInjector,
        Self::Lua,
        Self::GcpAuthn,
        Self::Ours,
        Self::OursByHost,
        Self::OursInCluster,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::StaticHeader => "static header",
            Self::CredentialInjector => "credential_injector",
            Self::Lua => "lua",
            Self::GcpAuthn => "gcp_authn",
            Self::Ours => "ours",
            Self::OursByHost => "ours, by host",
            Self::OursInCluster => "ours, in the cluster",
        }
    }
}

/// The service behind, and where tokens come from.
pub(super) struct Bench<'a> {
    mock: &'a Mock,
    /// A token as the mock makes it.
    token: String,
    service: Envoy,
    /// Sees what arrives, where the service does not tell.
    upstream: Upstream,
    metadata: SocketAddr,
    _metadata: JoinSet<()>,
}

impl<'a> Bench<'a> {
    pub(super) async fn new(mock: &'a Mock) -> Result<Self> {
        let imds = mock.url().trim_start_matches("http://").parse()?;
        let path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";
        let request = Request::get(path).header("metadata", "true").body(Bytes::new())?;
        let answer: Value = serde_json::from_slice(&envoy::send(imds, request).await?.body)?;
        let token = answer["access_token"].as_str().context("the mock gives no token")?.to_owned();
        let (metadata, server) = google_metadata(token.clone()).await?;
        let answering = Bootstrap { listeners: vec![answering()], ..Bootstrap::default() };
        let service = Envoy::start(&answering, 1).await?;
        Ok(Self { mock, token, service, upstream: Upstream::start().await?, metadata, _metadata: server })
    }

    pub(super) async fn start(&self, way: Way, workers: u32) -> Result<Envoy> {
        Envoy::start(&self.bootstrap(way, self.service.listener("in").await?), workers).await
    }

    /// See that the way does what it says.
    pub(super) async fn check(&self, way: Way, address: SocketAddr) -> Result<()> {
        self.warm(address).await?;
        let envoy = Envoy::start(&self.bootstrap(way, self.upstream.address()), 1).await?;
        let address = envoy.listener("in").await?;
        // gcp_authn has its token after the first.
        for _ in 0..2 {
            ensure!(envoy::get(address, "/").await?.status == 200, "{way:?}: {}", envoy.log());
        }
        let seen = self.upstream.take_seen();
        let has_token = seen.last().and_then(envoy::Seen::token).is_some();
        ensure!(has_token != (way == Way::Nothing), "{way:?}: {has_token}");
        Ok(())
    }

    /// Enough requests for every worker to have had some.
    pub(super) async fn warm(&self, address: SocketAddr) -> Result<()> {
        try_join_all((0..64).map(|_| envoy::get(address, "/"))).await.map(drop)
    }

    fn bootstrap(&self, way: Way, service: SocketAddr) -> Bootstrap {
        let bearer = format!("Bearer {}", self.token);
        let filters = match way {
            Way::Nothing | Way::StaticHeader | Way::OursInCluster => vec![],
            Way::CredentialInjector => vec![credential_injector()],
            Way::Lua => vec![lua(&bearer)],
            Way::GcpAuthn => vec![gcp_authn()],
            Way::Ours => vec![self.ours(None)],
            Way::OursByHost => vec![self.ours(Some("127.0.0.1"))],
        };
        let imds = self.mock.url().trim_start_matches("http://").parse().unwrap_or(service);
        let mut bootstrap = Bootstrap::with_filters(&filters, service)
            .and_cluster(cluster("metadata", self.metadata))
            .and_cluster(cluster("imds", imds));
        let secret = json!({ "name": "token", "generic_secret": { "secret": { "inline_string": bearer } } });
        match way {
            Way::StaticHeader => {
                let manager = &mut bootstrap.listeners[0]["filter_chains"][0]["filters"][0]["typed_config"];
                manager["route_config"]["request_headers_to_add"] = json!([{
                    "header": { "key": "authorization", "value": bearer },
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }]);
            }
            Way::GcpAuthn => {
                bootstrap.clusters[0]["metadata"]["typed_filter_metadata"]["envoy.filters.http.gcp_authn"] = json!({
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.gcp_authn.v3.Audience",
                    "url": "https://vault.azure.net",
                });
            }
            Way::CredentialInjector => bootstrap.secrets.push(secret),
            Way::OursInCluster => {
                bootstrap.clusters[0] = upstream_filters(bootstrap.clusters[0].clone(), &[self.ours(None)]);
            }
            Way::Nothing | Way::Lua | Way::Ours | Way::OursByHost => {}
        }
        bootstrap
    }

    /// One rule, for everything or for a host.
    fn ours(&self, authority: Option<&str>) -> Value {
        let mut rule = json!({ "name": "vault", "scope": "https://vault.azure.net" });
        if let Some(authority) = authority {
            rule["authority"] = json!(authority);
        }
        let source = json!({ "imds": { "cluster": "imds", "endpoint": self.mock.url() } });
        let configuration = json!({ "source": source, "rules": [rule] });
        token_filter("bench", &configuration, &[])
    }
}

fn credential_injector() -> Value {
    json!({
        "name": "envoy.filters.http.credential_injector",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
            "overwrite": true,
            "credential": {
                "name": "envoy.http.injected_credentials.generic",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
                    "credential": { "name": "token" },
                },
            },
        },
    })
}

fn lua(bearer: &str) -> Value {
    let code = format!(
        "function envoy_on_request(handle)\n  handle:headers():replace(\"authorization\", \"{bearer}\")\nend\n"
    );
    json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": { "inline_string": code },
        },
    })
}

fn gcp_authn() -> Value {
    json!({
        "name": "envoy.filters.http.gcp_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.gcp_authn.v3.GcpAuthnFilterConfig",
            "http_uri": { "uri": "http://metadata/identity?audience=[AUDIENCE]", "cluster": "metadata", "timeout": "5s" },
            "cache_config": { "cache_size": 16 },
        },
    })
}

/// A listener that answers by itself.
fn answering() -> Value {
    let mut listener = http_listener("in", &[], "nowhere");
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    manager["route_config"]["virtual_hosts"][0]["routes"][0] = json!({ "match": { "prefix": "/" }, "direct_response": { "status": 200, "body": { "inline_string": "ok" } } });
    listener
}

/// Google's metadata server, as far as gcp_authn asks it: it answers with an identity token, whatever it is asked.
async fn google_metadata(token: String) -> Result<(SocketAddr, JoinSet<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{token}", token.len());
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok((address, server))
}
