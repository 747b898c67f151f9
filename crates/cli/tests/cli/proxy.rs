//! The command behind a company's proxy.

use http::Uri;
use mock_identity::{Endpoint, MockConfig};
use tempfile::NamedTempFile;
use test_support::proxy::{Does, TestProxy};

use crate::harness::{Cli, VAULT, text};

/// The command for an app of Entra, which has a name that is not local, and the file of its authority.
async fn of_app() -> (Cli, u16, NamedTempFile) {
    let config = MockConfig::default();
    let cli = Cli::at(MockConfig { listen_tls: Some(config.listen), ..config }).await;
    let roots = NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), cli.mock.ca_pem().unwrap()).unwrap();
    let url: Uri = cli.mock.tls_url().unwrap().parse().unwrap();
    let port = url.port_u16().unwrap();
    let environment = cli.mock.env(Endpoint::Entra);
    let cli = cli
        .with_all(&environment)
        .with("AZURE_AUTHORITY_HOST", &format!("https://mock-identity.test:{port}"))
        .with("SSL_CERT_FILE", roots.path().to_str().unwrap())
        .with("TOKEN_BROKER_BUDGET_MS", "3000");
    (cli, port, roots)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apps_token_comes_through_the_proxy_and_explain_names_it_without_user_and_password() {
    let (cli, port, _roots) = of_app().await;
    let proxy = TestProxy::start(Does::Lead(port)).await;
    let cli = cli.with("HTTPS_PROXY", &format!("http://user:sentinel@127.0.0.1:{}", proxy.port()));
    let token = cli.prints(&["get", "--scope", VAULT, "--output", "token"]).await;
    assert!(cli.mock.verify(token.trim(), "https://vault.azure.net").is_ok());
    let requests = proxy.requests();
    assert!(
        requests.len() == 1 && requests[0].starts_with(&format!("CONNECT mock-identity.test:{port} ")),
        "{requests:?}"
    );
    assert!(requests[0].contains("proxy-authorization: Basic "), "{requests:?}");

    let shown = text(&cli.run(&["explain"]).await.stdout);
    let line = format!("   by proxy     http://127.0.0.1:{} (HTTPS_PROXY)\n", proxy.port());
    assert_eq!(shown.matches(&line).count(), 1, "{shown}");
    let report = text(&cli.run(&["explain", "--output", "json"]).await.stdout);
    assert!(report.contains(&format!("http://127.0.0.1:{} (HTTPS_PROXY)", proxy.port())), "{report}");
    assert!(!shown.contains("sentinel") && !report.contains("sentinel"), "{shown}{report}");
    let excepted = cli.with("NO_PROXY", "mock-identity.test");
    assert!(!text(&excepted.run(&["explain"]).await.stdout).contains("by proxy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_wants_a_password_is_asked_once_and_one_that_fails_is_named() {
    let (cli, _, _roots) = of_app().await;
    for (status, code, words) in [
        ("407 Proxy Authentication Required", 3, "wants a user and a password"),
        ("502 Bad Gateway", 8, "answered 502 to CONNECT"),
    ] {
        let says = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let proxy = TestProxy::start(Does::Say(says)).await;
        let (cli, _, _roots) = of_app().await;
        let output = cli.with("HTTPS_PROXY", &proxy.address()).get(&[]).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.lines().last().unwrap().contains(words) || code == 3, "{said}");
        assert!(said.contains(words) && said.contains(&proxy.address()), "{said}");
        assert!(code == 8 || proxy.requests().len() == 1, "{:?}", proxy.requests());
    }
    assert_eq!(cli.mock.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_managed_identity_is_asked_directly_whatever_the_variables_say() {
    let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"];
    let cli = Cli::new().await;
    let cli = names.into_iter().fold(cli, |cli, name| cli.with(name, "http://127.0.0.1:9"));
    assert_eq!(cli.get(&[]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_names_no_proxy_is_refused_before_anything_is_sent() {
    for value in
        ["socks5://sentinel.corp:1080", "http://u:sentinel word@proxy.corp", "http://proxy.corp:sentinel"]
    {
        let (code, line) = Cli::new().await.with("HTTPS_PROXY", value).refusal().await;
        assert!(code == 3 && line.contains("HTTPS_PROXY") && !line.contains("sentinel"), "{code} {line}");
    }
}
