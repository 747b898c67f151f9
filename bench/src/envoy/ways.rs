//! The ways to add a token to a request in Envoy.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use host_test::envoy::{
    self, Bootstrap, Envoy, Upstream, UpstreamTls, cluster, http_listener, token_filter, upstream_filters,
};
use http::Request;
use mock_identity::{Credential, Mock};
use serde_json::{Value, json};
use test_support::sdk::Files;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::SCOPE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Nothing,
    StaticHeader,
    Generic,
    OAuth2,
    Lua,
    GcpAuthn,
    Filter,
    FilterByHost,
    FilterInCluster,
}

impl Way {
    pub(super) const ALL: [Self; 9] = [
        Self::Nothing,
        Self::StaticHeader,
        Self::Generic,
        Self::OAuth2,
        Self::Lua,
        Self::GcpAuthn,
        Self::Filter,
        Self::FilterByHost,
        Self::FilterInCluster,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::StaticHeader => "a header in the route, a fixed token",
            Self::OAuth2 => "`credential_injector`, `oauth2`, a client secret",
            Self::Generic => "`credential_injector`, `generic`, a fixed token",
            Self::Lua => "`lua`, a fixed token",
            Self::GcpAuthn => "`gcp_authn`, its tokens cached",
            Self::Filter => "token-filter, in the listener",
            Self::FilterByHost => "token-filter, in the listener, by host",
            Self::FilterInCluster => "token-filter, in the cluster",
        }
    }
}

/// The service behind Envoy, and the sources of tokens
pub(super) struct Bench<'a> {
    mock: &'a Mock,
    /// A token of the mock
    token: String,
    service: Envoy,
    /// Notes the headers that arrive, which the service does not
    upstream: Upstream,
    metadata: SocketAddr,
    _metadata: JoinSet<()>,
    /// The authority of the mock's certificate
    files: Files,
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
        let files = Files::new(mock.ca_pem().context("the mock has no TLS listener")?)?;
        let upstream = Upstream::start().await?;
        Ok(Self { mock, token, service, upstream, metadata, _metadata: server, files })
    }

    pub(super) async fn start(&self, way: Way, workers: u32) -> Result<Envoy> {
        Envoy::start(&self.bootstrap(way, self.service.listener("in").await?), workers).await
    }

    /// Check that the way does what its title says.
    pub(super) async fn check(&self, way: Way) -> Result<()> {
        let envoy = Envoy::start(&self.bootstrap(way, self.upstream.address()), 1).await?;
        let address = envoy.listener("in").await?;
        self.warm(address).await?;
        self.upstream.take_seen();
        envoy::get(address, "/").await?;
        let seen = self.upstream.take_seen();
        let has_token = seen.last().and_then(envoy::Seen::token).is_some();
        ensure!(has_token != (way == Way::Nothing), "{way:?}: {has_token}: {}", envoy.log());
        Ok(())
    }

    /// Enough requests for every worker to have had some, once there is a token: until then `oauth2` answers 401.
    pub(super) async fn warm(&self, address: SocketAddr) -> Result<()> {
        let began = Instant::now();
        while envoy::get(address, "/").await?.status != 200 {
            ensure!(began.elapsed() < PATIENCE, "an Envoy does not answer with 200");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        try_join_all((0..64).map(|_| envoy::get(address, "/"))).await.map(drop)
    }

    fn bootstrap(&self, way: Way, service: SocketAddr) -> Bootstrap {
        let bearer = format!("Bearer {}", self.token);
        let filters = match way {
            Way::Nothing | Way::StaticHeader | Way::FilterInCluster => vec![],
            Way::Generic => vec![credential_injector(&generic())],
            Way::OAuth2 => vec![credential_injector(&self.oauth2())],
            Way::Lua => vec![lua(&bearer)],
            Way::GcpAuthn => vec![gcp_authn()],
            Way::Filter => vec![self.filter(None)],
            Way::FilterByHost => vec![self.filter(Some("127.0.0.1"))],
        };
        let imds = self.mock.url().trim_start_matches("http://").parse().unwrap_or(service);
        let mut bootstrap = Bootstrap::with_filters(&filters, service)
            .and_cluster(cluster("metadata", self.metadata))
            .and_cluster(cluster("imds", imds));
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
            Way::Generic => bootstrap.secrets.push(secret("token", &bearer)),
            Way::OAuth2 => {
                bootstrap.secrets.push(secret("client-secret", &self.application("AZURE_CLIENT_SECRET")));
                bootstrap.clusters.push(self.entra());
            }
            Way::FilterInCluster => {
                bootstrap.clusters[0] = upstream_filters(bootstrap.clusters[0].clone(), &[self.filter(None)]);
            }
            Way::Nothing | Way::Lua | Way::Filter | Way::FilterByHost => {}
        }
        bootstrap
    }

    /// The client credentials grant, as Entra ID takes it.
    fn oauth2(&self) -> Value {
        let (tenant, client) = (self.application("AZURE_TENANT_ID"), self.application("AZURE_CLIENT_ID"));
        json!({
            "name": "envoy.http.injected_credentials.oauth2",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.oauth2.v3.OAuth2",
                "token_endpoint": {
                    "uri": format!("https://localhost/{tenant}/oauth2/v2.0/token"),
                    "cluster": "entra",
                    "timeout": "5s",
                },
                "scopes": [SCOPE],
                "client_credentials": {
                    "client_id": client,
                    "client_secret": { "name": "client-secret" },
                    "auth_type": "URL_ENCODED_BODY",
                },
            },
        })
    }

    /// Entra ID, over TLS.
    fn entra(&self) -> Value {
        let port =
            self.mock.tls_url().and_then(|url| url.rsplit(':').next()?.parse().ok()).unwrap_or_default();
        let entra = cluster("entra", SocketAddr::from(([127, 0, 0, 1], port)));
        UpstreamTls { authority: &self.files.authority(), name: "localhost" }.on(entra)
    }

    /// A variable of the application that the mock knows.
    fn application(&self, name: &str) -> String {
        let environment = self.mock.app_env(Credential::Secret);
        environment.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value).unwrap_or_default()
    }

    /// One rule, for everything or for a host.
    fn filter(&self, authority: Option<&str>) -> Value {
        let mut rule = json!({ "name": "vault", "scope": "https://vault.azure.net" });
        if let Some(authority) = authority {
            rule["authority"] = json!(authority);
        }
        let source = json!({ "imds": { "cluster": "imds", "endpoint": self.mock.url() } });
        let configuration = json!({ "source": source, "rules": [rule] });
        token_filter("bench", &configuration, &[])
    }
}

fn credential_injector(credential: &Value) -> Value {
    json!({
        "name": "envoy.filters.http.credential_injector",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
            "overwrite": true,
            "credential": credential,
        },
    })
}

fn generic() -> Value {
    json!({
        "name": "envoy.http.injected_credentials.generic",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
            "credential": { "name": "token" },
        },
    })
}

fn secret(name: &str, value: &str) -> Value {
    json!({ "name": name, "generic_secret": { "secret": { "inline_string": value } } })
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

const PATIENCE: Duration = Duration::from_secs(10);
