//! The command in a pod of an AKS cluster with identity bindings.

use std::fs;
use std::time::Duration;

use mock_identity::{Answer, Credential, Endpoint, Fault, FederatedCredential, MockConfig, TokenProxyConfig};
use tempfile::TempDir;
use test_support::port::Port;

use crate::harness::{Cli, text};

/// The command, and the volume of its pod.
struct Pod {
    cli: Cli,
    volume: TempDir,
}

impl Pod {
    async fn start() -> Self {
        Self::with(TokenProxyConfig::default()).await
    }

    async fn with(proxy: TokenProxyConfig) -> Self {
        let config = MockConfig { token_proxy: Some(proxy), ..MockConfig::default() };
        let cli = Cli::at(MockConfig { listen_tls: Some(config.listen), ..config }).await;
        let volume = TempDir::new().unwrap();
        fs::write(volume.path().join("token"), cli.mock.bound_token(HOUR).unwrap()).unwrap();
        fs::write(volume.path().join("ca.crt"), cli.mock.token_proxy_pem().unwrap()).unwrap();
        let in_volume = |value: &str| volume.path().join(value).to_str().unwrap().to_owned();
        let environment = cli.mock.env(Endpoint::TokenProxy).into_iter();
        let environment =
            environment.map(
                |(name, value)| {
                    if name.ends_with("_FILE") { (name, in_volume(&value)) } else { (name, value) }
                },
            );
        let cli = cli.with_all(&environment.collect()).with("TOKEN_BROKER_BUDGET_MS", "500");
        Self { cli, volume }
    }

    fn set(self, name: &'static str, value: &str) -> Self {
        Self { cli: self.cli.with(name, value), ..self }
    }

    fn ca(&self) -> String {
        self.volume.path().join("ca.crt").to_str().unwrap().to_owned()
    }

    /// The code and the last line of a refusal; lines of the log may come before it.
    async fn refusal(&self) -> (i32, String) {
        let output = self.cli.get(&[]).await;
        let said = text(&output.stderr);
        assert_eq!(text(&output.stdout), "");
        assert!(!said.contains("eyJ"), "no token is in {said}");
        (output.status.code().unwrap(), said.lines().last().unwrap().to_owned())
    }

    async fn assert_token(&self) {
        let output = self.cli.get(&["--output", "token"]).await;
        let said = text(&output.stderr);
        let claims = self.cli.mock.verify(&text(&output.stdout), "https://vault.azure.net");
        assert_eq!(claims.unwrap_or_else(|_| panic!("{said}")).appid, ORDERS);
    }

    /// So many requests to the proxy, and none to anybody else.
    fn assert_asked(&self, times: usize) {
        let asked: Vec<_> = self.cli.mock.requests().into_iter().map(|request| request.endpoint).collect();
        assert_eq!(asked, vec![Endpoint::TokenProxy; times]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_by_one_request_to_the_clusters_token_proxy_and_past_every_other() {
    let dead = Port::reserve().unwrap();
    let mut pod = Pod::start().await;
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        pod = pod.set(name, &dead.url());
    }
    pod.assert_token().await;
    pod.assert_asked(1);
    let request = &pod.cli.mock.requests()[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, format!("/token-proxy/{}/oauth2/v2.0/token", pod.cli.mock.config().tenant_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_may_be_in_a_variable_which_explain_does_not_show() {
    let pod = Pod::start().await;
    let pem = pod.cli.mock.token_proxy_pem().unwrap();
    let pod = pod.set("AZURE_KUBERNETES_CA_FILE", "").set("AZURE_KUBERNETES_CA_DATA", &pem);
    pod.assert_token().await;
    pod.assert_asked(1);
    let shown = text(&pod.cli.run(&["explain"]).await.stdout);
    assert!(shown.contains("AZURE_KUBERNETES_CA_DATA"), "{shown}");
    assert!(pem.lines().all(|line| !shown.contains(line)), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_the_way_and_sends_nothing() {
    let pod = Pod::start().await;
    let shown = text(&pod.cli.run(&["explain"]).await.stdout);
    let name = TokenProxyConfig::default().sni_name;
    for part in
        ["workload-identity: ready", "/token-proxy/", "token proxy https://127.0.0.1:", &name, &pod.ca()]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    pod.assert_asked(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_is_sent_nothing() {
    let certificate_name = Some("y.test".to_owned());
    let pod = Pod::with(TokenProxyConfig { certificate_name, ..TokenProxyConfig::default() }).await;
    let (code, line) = pod.refusal().await;
    assert!(code == 5 && line.contains("AZURE_KUBERNETES_SNI_NAME"), "{code} {line}");

    let pod = Pod::start().await;
    pod.cli.mock.replace_token_proxy_authority().unwrap();
    let (code, line) = pod.refusal().await;
    assert!(
        code == 5 && line.contains("AZURE_KUBERNETES_CA_FILE") && line.contains(&pod.ca()),
        "{code} {line}"
    );
    for broken in [Some(""), Some("text"), None] {
        match broken {
            Some(text) => fs::write(pod.ca(), text).unwrap(),
            None => fs::remove_file(pod.ca()).unwrap(),
        }
        let (code, line) = pod.refusal().await;
        assert!(code == 5 && line.contains(&pod.ca()), "{broken:?}: {code} {line}");
    }
    pod.assert_asked(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_that_contradict_each_other_are_named_and_entra_is_not_asked() {
    for (name, value, also) in [
        ("AZURE_KUBERNETES_CA_DATA", "-----BEGIN CERTIFICATE-----", "AZURE_KUBERNETES_CA_FILE"),
        ("AZURE_KUBERNETES_TOKEN_PROXY", "", "AZURE_KUBERNETES_SNI_NAME"),
        ("AZURE_KUBERNETES_TOKEN_PROXY", "https://kubernetes.default.svc?", "has a query"),
        ("AZURE_KUBERNETES_SNI_NAME", "127.0.0.1", "is not the name of a server"),
    ] {
        let pod = Pod::start().await.set(name, value);
        let (code, line) = pod.refusal().await;
        assert!(code == 3 && line.contains(name) && line.contains(also), "{code} {line}");
        pod.assert_asked(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_redirects_of_the_proxy_are_told_and_the_assertion_goes_nowhere_else() {
    let pod = Pod::start().await.set("AZURE_CLIENT_ID", "22223333-cccc-4444-dddd-5555eeee6666");
    let (code, line) = pod.refusal().await;
    for part in ["ClusterRole", "use-managed-identity", "cid.wi.aks.azure.com", "22223333-cccc"] {
        assert!(code == 6 && line.contains(part), "{part}: {code} {line}");
    }
    pod.assert_asked(1);

    let pod = Pod::start().await;
    let elsewhere = format!("{}/elsewhere", pod.cli.mock.tls_url().unwrap());
    for answer in [Answer::Redirect(elsewhere.clone()), Answer::TemporaryRedirect(elsewhere)] {
        pod.cli.mock.fault(Fault::new(Endpoint::TokenProxy, answer));
        let (code, line) = pod.refusal().await;
        assert!(code == 9 && line.contains("is not followed"), "{code} {line}");
    }
    pod.assert_asked(2);

    let pod = Pod::start().await;
    pod.cli.mock.fault(Fault::new(Endpoint::TokenProxy, Answer::Closed).forever());
    let (code, line) = pod.refusal().await;
    assert!(code == 8 && line.contains("AZURE_KUBERNETES_TOKEN_PROXY"), "{code} {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_the_proxy_without_its_variables_leads_to_identity_bindings() {
    let cli = Cli::with_tls().await;
    let files = test_support::sdk::Files::new(cli.mock.ca_pem().unwrap()).unwrap();
    let trusted = cli.mock.cluster_credential().unwrap().clone();
    let bound = FederatedCredential { audience: "api://AKSIdentityBinding".to_owned(), ..trusted };
    let token = files.write("token", &cli.mock.federated_token(&bound, HOUR).unwrap()).unwrap();
    let environment = cli.mock.app_env(Credential::FederatedToken(&token));
    let cli = cli.with_all(&environment).with_all(&files.trust());
    let (code, line) = cli.refusal().await;
    assert!(code == 6 && line.contains("AADSTS700212"), "{code} {line}");
    for part in ["identity bindings", "azure.workload.identity/use-identity-binding: \"true\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

const ORDERS: &str = "11112222-bbbb-3333-cccc-4444dddd5555";
const HOUR: Duration = Duration::from_secs(3600);
