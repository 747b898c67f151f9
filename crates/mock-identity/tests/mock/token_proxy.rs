//! The token proxy of a cluster with identity bindings: its name, its authority, its review, its roles, and Entra ID behind it.

use std::time::Duration;

use mock_identity::{
    Answer, BoundAccount, Credential, Endpoint, Fault, FederatedCredential, Mock, MockConfig,
    TokenProxyConfig,
};

use crate::{
    assertion::ASSERTION_TYPE,
    client::{FORM, Received, assert_log_is_without, form, get, post, text, verified},
    entra::{GRANT, SCOPE},
    secure::{self, proxied},
};

const ORDERS: &str = "11112222-bbbb-3333-cccc-4444dddd5555";
const REPORTS: &str = "22223333-cccc-4444-dddd-5555eeee6666";
const HOUR: Duration = Duration::from_secs(3600);

async fn cluster() -> Mock {
    cluster_of(TokenProxyConfig::default()).await
}

async fn cluster_of(proxy: TokenProxyConfig) -> Mock {
    Mock::start(MockConfig { token_proxy: Some(proxy), ..secure::config() }).await.unwrap()
}

fn name() -> String {
    TokenProxyConfig::default().sni_name
}

fn path(mock: &Mock) -> String {
    format!("/token-proxy/{}/oauth2/v2.0/token", mock.config().tenant_id)
}

async fn send(mock: &Mock, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Received {
    let authority = mock.token_proxy_pem().unwrap();
    proxied(mock, (&name(), &authority), method, path, headers, body.as_bytes()).await.unwrap()
}

async fn present(mock: &Mock, client_id: &str, assertion: &str) -> Received {
    let fields = [GRANT, ("client_id", client_id), ASSERTION_TYPE, ("client_assertion", assertion), SCOPE];
    send(mock, "POST", &path(mock), &[FORM], &form(&fields)).await
}

#[tokio::test]
async fn a_pods_token_is_exchanged_for_one_of_its_identity_whatever_host_and_query_are_named() {
    let mock = cluster().await;
    let assertion = mock.bound_token(HOUR).unwrap();
    let claims = verified(&mock, &present(&mock, ORDERS, &assertion).await);
    assert_eq!(claims.appid, ORDERS);
    let fields = [GRANT, ("client_id", ORDERS), ASSERTION_TYPE, ("client_assertion", &assertion), SCOPE];
    let query = format!("{}?client-request-id=1", path(&mock));
    let answer = send(&mock, "POST", &query, &[FORM, ("host", "whatever.example")], &form(&fields)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let counts = mock.counters();
    assert_eq!((counts.of(Endpoint::TokenProxy).tokens, counts.of(Endpoint::Entra).requests), (2, 0));
    assert_log_is_without(&mock, &[&assertion]);
}

#[tokio::test]
async fn it_shows_a_certificate_to_those_who_name_it_and_of_its_own_authority() {
    let mock = cluster().await;
    let (own, of_entra) = (mock.token_proxy_pem().unwrap(), mock.ca_pem().unwrap());
    for (name, authority) in
        [("127.0.0.1", &*own), ("localhost", &own), ("y.test", &own), (name().as_str(), of_entra)]
    {
        let refused = proxied(&mock, (name, authority), "POST", "/", &[], b"").await;
        assert!(refused.is_err(), "{name}");
    }
    assert_eq!(mock.requests().len(), 0);
    let other =
        TokenProxyConfig { certificate_name: Some("y.test".to_owned()), ..TokenProxyConfig::default() };
    let mock = cluster_of(other).await;
    let authority = mock.token_proxy_pem().unwrap();
    let refused =
        proxied(&mock, (&name(), &authority), "POST", "/", &[], b"").await.err().unwrap().to_string();
    assert!(refused.contains("y.test"), "{refused}");
}

#[tokio::test]
async fn its_authority_can_be_replaced_while_it_runs() {
    let mock = cluster().await;
    let before = mock.token_proxy_pem().unwrap();
    assert_eq!(get(&mock, "/admin/token-proxy-ca", &[]).await.text(), before);
    let after = post(&mock, "/admin/token-proxy-ca", &[], "").await.text().to_owned();
    assert_ne!(before, after);
    assert!(proxied(&mock, (&name(), &before), "GET", "/x", &[], b"").await.is_err());
    assert_eq!(proxied(&mock, (&name(), &after), "GET", "/x", &[], b"").await.unwrap().status, 404);
    mock.replace_token_proxy_authority().unwrap();
    assert_ne!(mock.token_proxy_pem().unwrap(), after);
}

#[tokio::test]
async fn a_token_that_is_not_the_clusters_for_the_proxy_is_refused_in_text() {
    let mock = cluster().await;
    let good = FederatedCredential {
        issuer: "https://cluster.example/oidc".to_owned(),
        subject: "system:serviceaccount:default:orders".to_owned(),
        audience: "api://AKSIdentityBinding".to_owned(),
    };
    let token =
        |credential: FederatedCredential, lifetime| mock.federated_token(&credential, lifetime).unwrap();
    let forged = mock.bound_token(HOUR).unwrap();
    let forged = format!("{}AAAA", &forged[..forged.len() - 4]);
    for (token, status, words) in [
        (token(good.clone(), HOUR), 200, ""),
        (
            token(
                FederatedCredential { audience: "api://AzureADTokenExchange".into(), ..good.clone() },
                HOUR,
            ),
            401,
            "review",
        ),
        (
            token(FederatedCredential { issuer: "https://x.example".into(), ..good.clone() }, HOUR),
            401,
            "review",
        ),
        (token(good.clone(), Duration::ZERO), 401, "review"),
        (forged, 401, "review"),
        ("opaque".to_owned(), 401, "review"),
        (
            token(FederatedCredential { subject: "other".into(), ..good.clone() }, HOUR),
            403,
            "cid.wi.aks.azure.com",
        ),
    ] {
        let answer = present(&mock, ORDERS, &token).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(status == 200 || answer.headers["content-type"].starts_with("text/plain"));
        assert!(answer.text().contains(words), "{}", answer.text());
    }
    let answer = present(&mock, REPORTS, &token(good, HOUR)).await;
    assert_eq!(answer.status, 403, "another identity: {}", answer.text());
}

#[tokio::test]
async fn the_errors_of_entra_behind_it_are_relayed() {
    let unknown = "99999999-9999-9999-9999-999999999999";
    let account = BoundAccount {
        subject: "system:serviceaccount:default:orders".to_owned(),
        client_ids: vec![ORDERS.to_owned(), unknown.to_owned()],
    };
    let mock = cluster_of(TokenProxyConfig { accounts: vec![account], ..TokenProxyConfig::default() }).await;
    let assertion = mock.bound_token(HOUR).unwrap();
    let answer = present(&mock, unknown, &assertion).await;
    assert!(answer.status == 400 && text(&answer.json(), "error_description").starts_with("AADSTS700016: "));
    for (changed, code) in
        [(("scope", "https://vault.azure.net"), "AADSTS1002012"), (("grant_type", "password"), "AADSTS70003")]
    {
        let fields = [GRANT, ("client_id", ORDERS), ASSERTION_TYPE, ("client_assertion", &assertion), SCOPE];
        let fields = fields.map(|field| if field.0 == changed.0 { changed } else { field });
        let answer = send(&mock, "POST", &path(&mock), &[FORM], &form(&fields)).await;
        assert!(text(&answer.json(), "error_description").starts_with(code), "{}", answer.text());
    }
    let path = "/token-proxy/nowhere.example/oauth2/v2.0/token";
    let fields = [GRANT, ("client_id", ORDERS), ASSERTION_TYPE, ("client_assertion", &assertion), SCOPE];
    let answer = send(&mock, "POST", path, &[FORM], &form(&fields)).await;
    assert!(text(&answer.json(), "error_description").starts_with("AADSTS90002"), "{}", answer.text());
}

#[tokio::test]
async fn other_requests_are_refused() {
    let mock = cluster().await;
    let assertion = mock.bound_token(HOUR).unwrap();
    let own = path(&mock);
    let fields =
        form(&[GRANT, ("client_id", ORDERS), ASSERTION_TYPE, ("client_assertion", &assertion), SCOPE]);
    let without_type = form(&[GRANT, ("client_id", ORDERS), ("client_assertion", &assertion), SCOPE]);
    let without_prefix = own.replace("/token-proxy", "");
    for (method, path, headers, body, status) in [
        ("GET", &own, &[][..], "", 405),
        ("POST", &own, &[("content-type", "application/json")], "{}", 415),
        ("POST", &own, &[FORM], without_type.as_str(), 400),
        ("POST", &without_prefix, &[FORM], &fields, 404),
    ] {
        let answer = send(&mock, method, path, headers, body).await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn it_fails_as_it_is_told_to() {
    let mock = cluster().await;
    let assertion = mock.bound_token(HOUR).unwrap();
    let text = |code, body| Answer::body(code, "text/plain", body);
    let elsewhere = "https://x.example/".to_owned();
    for (answer, status) in [
        (text(403, "no"), 403),
        (text(401, "no"), 401),
        (Answer::Redirect(elsewhere.clone()), 302),
        (Answer::TemporaryRedirect(elsewhere), 307),
    ] {
        mock.fault(Fault::new(Endpoint::TokenProxy, answer));
        assert_eq!(present(&mock, ORDERS, &assertion).await.status, status);
    }
}

#[tokio::test]
async fn the_admin_has_a_token_for_it_and_its_environment_has_what_aks_sets() {
    let mock = cluster().await;
    let token = get(&mock, "/admin/bound-token", &[]).await;
    assert_eq!(present(&mock, ORDERS, token.text()).await.status, 200);
    let names: Vec<_> = mock.env(Endpoint::TokenProxy).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "AZURE_AUTHORITY_HOST",
            "AZURE_TENANT_ID",
            "AZURE_CLIENT_ID",
            "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_KUBERNETES_TOKEN_PROXY",
            "AZURE_KUBERNETES_SNI_NAME",
            "AZURE_KUBERNETES_CA_FILE"
        ]
    );
    let without = secure::mock().await;
    assert!(without.env(Endpoint::TokenProxy).is_empty() && without.token_proxy_pem().is_none());
    assert!(without.bound_token(HOUR).is_err());
    for path in ["/admin/bound-token", "/admin/token-proxy-ca"] {
        assert_eq!(get(&without, path, &[]).await.status, 404, "{path}");
    }
    assert!(!without.app_env(Credential::Secret).is_empty());
}
