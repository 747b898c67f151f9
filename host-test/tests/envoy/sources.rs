//! Each identity source that a proxy can have.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host_test::envoy::{
    self, Bootstrap, UpstreamTls, cluster, http_listener, internal_cluster, token_file_listener, token_filter,
};
use mock_identity::{App, Credential, Endpoint, Mock, MockConfig, TokenClaims, TokenProxyConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stage::{Stage, VAULT, address_of, configuration, problem, until};

#[tokio::test]
async fn app_service_by_the_variables_that_it_sets() {
    let mock = platform().await;
    let environment = mock.env(Endpoint::AppService);
    let source = json!({ "source": { "app_service": { "cluster": "imds" } } });
    let filter = token_filter("vm", &configuration(&mock, source), &environment);
    let stage = Stage::of_filters(mock, &[filter], |bootstrap| bootstrap).await;
    assert_eq!(token(&stage).await.appid, stage.mock.config().identities[0].client_id);
    assert_eq!(stage.mock.counters().of(Endpoint::AppService).tokens, 1);
    let secret = &environment.iter().find(|(name, _)| *name == "IDENTITY_HEADER").unwrap().1;
    assert!(!stage.envoy.log().contains(secret));
}

#[tokio::test]
async fn an_app_registration_with_a_secret_from_the_environment() {
    let mock = platform().await;
    let environment = mock.env(Endpoint::Entra);
    let source = json!({ "source": { "client_secret": { "cluster": "entra" } } });
    let filter = token_filter("vm", &configuration(&mock, source), &environment);
    let files = Files::of(&mock);
    let entra = files.entra(&mock);
    let stage = Stage::of_filters(mock, &[filter], |bootstrap| bootstrap.and_cluster(entra)).await;
    assert_eq!(token(&stage).await.appid, app(&stage, "shop"));
    assert!(!stage.envoy.log().contains("the-secret-of-the-shop"));
    assert!(!stage.envoy.admin("/config_dump").await.unwrap().is_empty());
}

/// Each of two apps trusts another service account, and the kubelet's file has a token of one at first.
#[tokio::test]
async fn workload_identity_reads_the_token_that_the_kubelet_has_put_there_last() {
    let mut config = MockConfig::default();
    config.listen_tls = Some(config.listen);
    let worker = config.apps.iter().find(|app| app.name == "worker").unwrap().clone();
    let mut other =
        App { name: "other".to_owned(), client_id: OTHER.to_owned(), object_id: OTHER.to_owned(), ..worker };
    other.federated_credentials[0].subject = "system:serviceaccount:default:other".to_owned();
    let others = other.federated_credentials[0].clone();
    config.apps.push(other);
    let mock = Mock::start(config).await.unwrap();
    let files = Files::of(&mock);
    let lifetime = Duration::from_secs(600);
    let tokens =
        [mock.cluster_credential().unwrap(), &others].map(|of| mock.federated_token(of, lifetime).unwrap());
    files.put_token(&tokens[0]);
    let environment = mock.app_env(Credential::FederatedToken(Path::new("unused")));
    let source = json!({
        "source": { "workload_identity": { "cluster": "entra", "token_cluster": "sa_token" } },
        "rules": [
            { "authority": "first.example", "scope": VAULT },
            { "authority": "second.example", "scope": VAULT, "identity": { "client_id": OTHER } },
        ],
    });
    let filter = token_filter("vm", &configuration(&mock, source), &environment);
    let (entra, listener) = (files.entra(&mock), token_file_listener("sa_token", &files.token()));
    let more = |bootstrap: Bootstrap| {
        let clusters = bootstrap.and_cluster(entra).and_cluster(internal_cluster("sa_token", "sa_token"));
        clusters.and_listener(listener).and_listener(http_listener("shown", &[], "sa_token"))
    };
    let stage = Stage::of_filters(mock, &[filter], more).await;
    assert_eq!(stage.get_for("first.example").await.status, 200);
    assert_eq!(stage.claims(&stage.only_seen(), VAULT).appid, app(&stage, "worker"));
    files.put_token(&tokens[1]);
    // Envoy takes a moment to notice; a token that was refused is not shown again for ten seconds.
    let shown = stage.envoy.listener("shown").await.unwrap();
    until(async || envoy::get(shown, "/").await.unwrap().text() == tokens[1]).await;
    until(async || stage.get_for("second.example").await.status == 200).await;
    assert_eq!(stage.claims(&stage.only_seen(), VAULT).appid, OTHER);
    assert!(tokens.iter().all(|token| !stage.envoy.log().contains(token)));
}

/// The token proxy is a cluster with its name and its authority; Entra is none at all.
#[tokio::test]
async fn identity_bindings_ask_the_token_proxy_by_the_name_and_the_authority_of_its_cluster() {
    let stage = bound_stage(|authority| authority).await;
    let orders = stage.mock.config().identities.iter().find(|identity| identity.name == "orders").unwrap();
    assert_eq!(token(&stage).await.appid, orders.client_id);
    let asked: Vec<_> =
        stage.mock.requests().into_iter().map(|request| (request.endpoint, request.method)).collect();
    assert_eq!(asked, [(Endpoint::TokenProxy, "POST".to_owned())]);
}

#[tokio::test]
async fn a_token_proxy_of_another_authority_gets_no_assertion() {
    let stage = bound_stage(|_| authority_of_another()).await;
    let problem = problem(&stage.get().await);
    assert_eq!(problem["kind"], "transient", "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("cluster.token_proxy.ssl.fail_verify_error"), "{detail}");
    assert_eq!(stage.mock.requests().len(), 0);
}

/// A pod with identity bindings, whose Envoy trusts this authority for the token proxy
async fn bound_stage(trusted: impl FnOnce(String) -> String) -> Stage {
    let token_proxy = Some(TokenProxyConfig::default());
    let mock = Mock::start(MockConfig { token_proxy, ..MockConfig::default() }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    fs::write(&authority, trusted(mock.token_proxy_pem().unwrap())).unwrap();
    let files = Files(folder);
    files.put_token(&mock.bound_token(Duration::from_secs(600)).unwrap());
    let environment = mock.env(Endpoint::TokenProxy);
    let of = |name| environment.iter().find(|(known, _)| *known == name).unwrap().1.clone();
    let (url, name) = (of("AZURE_KUBERNETES_TOKEN_PROXY"), of("AZURE_KUBERNETES_SNI_NAME"));
    let source = json!({
        "source": {
            "workload_identity": { "cluster": "token_proxy", "token_cluster": "sa_token", "token_proxy": url },
        },
        "budget_ms": 1500,
    });
    let filter = token_filter("vm", &configuration(&mock, source), &environment);
    let address = url.strip_prefix("https://").unwrap().split('/').next().unwrap().parse().unwrap();
    let tls = UpstreamTls { authority: &authority, name: &name };
    let proxy = tls.on(cluster("token_proxy", address));
    let listener = token_file_listener("sa_token", &files.token());
    Stage::of_filters(mock, &[filter], |bootstrap| {
        let clusters = bootstrap.and_cluster(proxy).and_cluster(internal_cluster("sa_token", "sa_token"));
        clusters.and_listener(listener)
    })
    .await
}

#[tokio::test]
async fn a_managed_identity_proves_to_be_an_app_of_another_tenant() {
    let mock = platform().await;
    let environment = mock.app_env(Credential::ManagedIdentity);
    let managed = json!({ "imds": { "cluster": "imds" } });
    let source =
        json!({ "source": { "federated_identity": { "cluster": "entra", "managed_identity": managed } } });
    let filter = token_filter("vm", &configuration(&mock, source), &environment);
    let files = Files::of(&mock);
    let entra = files.entra(&mock);
    let stage = Stage::of_filters(mock, &[filter], |bootstrap| bootstrap.and_cluster(entra)).await;
    assert_eq!(token(&stage).await.appid, app(&stage, "partner"));
    assert_eq!(stage.fetches(), 1);
    assert_eq!(stage.mock.counters().of(Endpoint::Entra).tokens, 1);
    let form = stage.mock.requests().pop().unwrap().headers;
    assert!(form.contains_key("content-length") && !form.contains_key("transfer-encoding"), "{form:?}");
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_gets_no_secret_and_the_operator_a_hint() {
    let mock = platform().await;
    let environment = mock.env(Endpoint::Entra);
    let source = json!({ "source": { "client_secret": { "cluster": "entra" } }, "budget_ms": 1500 });
    let filter = token_filter("vm", &configuration(&mock, source), &environment);
    let others = Files::of(&platform().await);
    let entra = others.entra(&mock);
    let stage = Stage::of_filters(mock, &[filter], |bootstrap| bootstrap.and_cluster(entra)).await;
    let problem = problem(&stage.get().await);
    assert_eq!(problem["kind"], "transient", "{problem}");
    // Envoy does not tell the filter why there is no connection.
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("cluster.entra.ssl.fail_verify_error"), "{detail}");
    let verified = stage.envoy.stats("cluster.entra.ssl.").await.unwrap();
    assert!(verified["fail_verify_error"] > 0, "{verified:?}");
    assert_eq!(stage.mock.counters().of(Endpoint::Entra).requests, 0);
}

#[tokio::test]
async fn a_cluster_that_envoy_does_not_have_is_named() {
    let mock = platform().await;
    let source = json!({ "source": { "imds": { "cluster": "nowhere", "endpoint": mock.url() } } });
    let stage = Stage::with(mock, source).await;
    let problem = problem(&stage.get().await);
    assert_eq!(problem["kind"], "misconfigured");
    assert!(problem["detail"].as_str().unwrap().contains("no cluster nowhere"), "{problem}");
}

/// The claims of the token that the service gets for a request
async fn token(stage: &Stage) -> TokenClaims {
    let response = stage.get().await;
    assert_eq!(response.status, 200, "{}", response.text());
    stage.claims(&stage.only_seen(), VAULT)
}

fn app(stage: &Stage, name: &str) -> String {
    stage.mock.config().apps.iter().find(|app| app.name == name).unwrap().client_id.clone()
}

async fn platform() -> Mock {
    let config = MockConfig::default();
    Mock::start(MockConfig { listen_tls: Some(config.listen), ..config }).await.unwrap()
}

/// An authority that no server of a test has
fn authority_of_another() -> String {
    rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap().cert.pem()
}

/// What Envoy finds in files
struct Files(TempDir);

impl Files {
    fn of(mock: &Mock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), mock.ca_pem().unwrap()).unwrap();
        Self(folder)
    }

    /// Entra as a cluster, which trusts the authority of these files
    fn entra(&self, mock: &Mock) -> Value {
        let authority = &self.0.path().join("ca.pem");
        let tls = UpstreamTls { authority, name: "localhost" };
        tls.on(cluster("entra", address_of(mock.tls_url().unwrap())))
    }

    fn token(&self) -> PathBuf {
        self.0.path().join("tokens/token")
    }

    /// As the kubelet does it: a folder anew, and a link that is moved to it
    fn put_token(&self, token: &str) {
        let tokens = self.0.path().join("tokens");
        let folder = format!("..{}", fs::read_dir(&tokens).map_or(0, Iterator::count));
        fs::create_dir_all(tokens.join(&folder)).unwrap();
        fs::write(tokens.join(&folder).join("token"), token).unwrap();
        symlink(&folder, tokens.join("..data_tmp")).unwrap();
        fs::rename(tokens.join("..data_tmp"), tokens.join("..data")).unwrap();
        if !self.token().exists() {
            symlink("..data/token", self.token()).unwrap();
        }
    }
}

const OTHER: &str = "88889999-cccc-0000-dddd-1111eeee2222";
