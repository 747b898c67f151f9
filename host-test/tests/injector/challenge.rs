//! A service refuses a token and says which one it takes.

use std::sync::atomic::{AtomicU64, Ordering};

use http::header::WWW_AUTHENTICATE;

use crate::stage::{Body, ENTRA, IMDS, Stage, request};
use crate::{SECRET, VAULT};

const HOME: &str = r#"Bearer authorization="https://login.microsoftonline.com/home.example", resource="https://vault.azure.net""#;
const AWAY: &str = r#"Bearer authorization="https://login.microsoftonline.com/away.example", resource="https://vault.azure.net""#;
const LACKING: &str = r#"Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzI2MDc3NTk1In19fQ==""#;

/// Have a service refuse every token but one that begins with this.
fn insist(stage: &Stage, origin: &str, wanted: &'static str, challenge: &'static str) {
    stage.network.answer(origin, move |head| {
        let shown = head.headers.get("authorization").unwrap().to_str().unwrap();
        let status = if shown.starts_with(wanted) { 200 } else { 401 };
        let answer = http::Response::builder().status(status).header(WWW_AUTHENTICATE, challenge);
        answer.body(String::new()).unwrap()
    });
}

fn name_another_tenant_each_time(stage: &Stage) {
    let nth = AtomicU64::new(1);
    stage.network.answer(VAULT, move |_| {
        let tenant = format!("tenant-{}.example", nth.fetch_add(1, Ordering::SeqCst));
        let challenge = HOME.replace("home.example", &tenant);
        http::Response::builder().status(401).header(WWW_AUTHENTICATE, challenge).body(String::new()).unwrap()
    });
}

/// The tokens that a service was shown.
fn shown(stage: &Stage, origin: &str) -> Vec<String> {
    stage.network.seen(origin).iter().map(|seen| seen.authorization().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_vault_of_another_tenant_is_answered_once_and_remembered() {
    let stage = Stage::with_entra(&[("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "away.example")]);
    insist(&stage, VAULT, "Bearer sentinel-away.example", AWAY);
    insist(&stage, "https://other.vault.azure.net", "Bearer sentinel-home.example", HOME);
    let mut application = stage.application().await;
    assert_eq!(application.get(SECRET).await.status, 200);
    assert_eq!(shown(&stage, VAULT), ["Bearer sentinel-home.example-1", "Bearer sentinel-away.example-2"]);
    assert_eq!(application.get(SECRET).await.status, 200);
    assert_eq!(application.get("https://other.vault.azure.net/").await.status, 200);
    assert_eq!(shown(&stage, VAULT).len(), 3, "the tenant of a host is remembered");
    let other = shown(&stage, "https://other.vault.azure.net");
    assert_eq!(other, ["Bearer sentinel-home.example-1"], "of that host alone");
    assert_eq!(stage.network.seen(ENTRA).len(), 2);
}

#[tokio::test]
async fn storage_names_a_tenant_in_its_own_way() {
    let stage = Stage::with_entra(&[("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "*")]);
    let storage = "https://a.blob.core.windows.net";
    let challenge = "Bearer authorization_uri=https://login.microsoftonline.com/away.example/oauth2/authorize \
                     resource_id=https://storage.azure.com";
    insist(&stage, storage, "Bearer sentinel-away.example", challenge);
    assert_eq!(stage.application().await.get(storage).await.status, 200);
    assert_eq!(shown(&stage, storage), ["Bearer sentinel-home.example-1", "Bearer sentinel-away.example-2"]);
}

#[tokio::test]
async fn a_body_is_not_sent_twice_but_the_next_request_has_the_right_token() {
    let stage = Stage::with_entra(&[("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "away.example")]);
    insist(&stage, VAULT, "Bearer sentinel-away.example", AWAY);
    let mut application = stage.application().await;
    for (method, body) in [("PUT", Body::Text("a".to_owned())), ("POST", Body::None)] {
        let answer = application.send(&request(method, VAULT).with_body(body)).await.unwrap();
        let expected = if method == "PUT" { 401 } else { 200 };
        assert_eq!((answer.status, answer.header("x-token-broker")), (expected, None), "{method}");
    }
    assert_eq!(shown(&stage, VAULT), ["Bearer sentinel-home.example-1", "Bearer sentinel-away.example-2"]);
}

#[tokio::test]
async fn a_request_without_a_body_is_sent_twice_and_no_other() {
    let length = |length: &'static str| Some(("content-length", length));
    for (method, header, body, status) in [
        ("GET", None, Body::None, 200),
        ("GET", None, Body::Nothing, 200),
        ("GET", None, Body::Kept, 200),
        ("HEAD", None, Body::None, 200),
        ("DELETE", None, Body::Nothing, 200),
        ("OPTIONS", None, Body::None, 200),
        ("POST", length("0"), Body::Nothing, 200),
        // Clients of hosts send no body with a GET that announces none.
        ("GET", None, Body::Text("a".to_owned()), 200),
        ("GET", length("1"), Body::Text("a".to_owned()), 401),
        ("DELETE", None, Body::Filler(100_000), 401),
        ("POST", None, Body::None, 401),
    ] {
        let stage = Stage::with_entra(&[("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "away.example")]);
        insist(&stage, VAULT, "Bearer sentinel-away.example", AWAY);
        let mut sent = request(method, VAULT).with_body(body.clone());
        sent.headers.extend(header.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let answer = stage.application().await.send(&sent).await.unwrap();
        assert_eq!(answer.status, status, "{method} {header:?} {body:?}");
    }
}

#[tokio::test]
async fn a_tenant_that_is_not_allowed_is_told_and_the_application_gets_the_services_answer() {
    let stage = Stage::with_entra(&[]);
    insist(&stage, VAULT, "Bearer sentinel-away.example", AWAY);
    let answer = stage.application().await.get(SECRET).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(AWAY)));
    assert_eq!((shown(&stage, VAULT).len(), stage.network.seen(ENTRA).len()), (1, 1));
    let [line] = stage.lines("could not answer a challenge").try_into().unwrap();
    assert_eq!((line["kind"].as_str(), line["host"].as_str()), (Some("denied"), Some("my.vault.azure.net")));
    assert!(line["error"].as_str().unwrap().contains("AZURE_ADDITIONALLY_ALLOWED_TENANTS"), "{line}");
}

#[tokio::test]
async fn no_token_is_asked_for_a_scope_that_is_not_the_services_own() {
    for challenge in [
        r#"Bearer authorization="https://login.microsoftonline.com/away.example", resource="https://graph.microsoft.com""#,
        r#"Bearer authorization="https://login.microsoftonline.com/away.example", scope="https://management.azure.com/.default""#,
        r#"Bearer authorization="http://login.example/away.example", resource="https://vault.azure.net""#,
        r#"Basic realm="x""#,
        "",
    ] {
        let stage = Stage::with_entra(&[("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "*")]);
        insist(&stage, VAULT, "nothing", challenge);
        assert_eq!(stage.application().await.get(SECRET).await.status, 401);
        let seen = (shown(&stage, VAULT).len(), stage.network.seen(ENTRA).len());
        assert_eq!(seen, (1, 1), "{challenge}");
    }
}

#[tokio::test]
async fn a_service_may_name_the_scope_of_its_own_domain() {
    let rule = "*.vault.contoso.stack=https://vault.azure.net";
    let stage = Stage::with_entra(&[("TOKEN_BROKER_INJECT", rule)]);
    let vault = "https://a.vault.contoso.stack";
    let challenge = r#"Bearer authorization="https://login.microsoftonline.com/home.example", resource="https://vault.contoso.stack""#;
    insist(&stage, vault, "Bearer sentinel-home.example-2", challenge);
    let mut application = stage.application().await;
    for _ in 0..2 {
        assert_eq!(application.get(vault).await.status, 200);
    }
    let tokens = ["1", "2", "2"].map(|nth| format!("Bearer sentinel-home.example-{nth}"));
    assert_eq!(shown(&stage, vault), tokens);
}

#[tokio::test]
async fn missing_claims_are_asked_for_once_and_later_requests_have_them() {
    for (method, body, status, tokens) in [
        ("GET", Body::None, 200, &["1", "2-claims", "2-claims"][..]),
        ("PUT", Body::Text("a".to_owned()), 401, &["1", "2-claims"]),
    ] {
        let stage = Stage::with_entra(&[]);
        insist(&stage, VAULT, "Bearer sentinel-home.example-2-claims", LACKING);
        let mut application = stage.application().await;
        let sent = request(method, VAULT).with_body(body);
        assert_eq!(application.send(&sent).await.unwrap().status, status);
        assert_eq!(application.send(&sent).await.unwrap().status, 200);
        assert_eq!(stage.network.seen(ENTRA).len(), 2);
        let tokens: Vec<_> = tokens.iter().map(|nth| format!("Bearer sentinel-home.example-{nth}")).collect();
        assert_eq!(shown(&stage, VAULT), tokens);
    }
}

#[tokio::test]
async fn a_token_that_is_refused_without_a_reason_is_replaced_once_in_a_while() {
    let stage = Stage::with_imds(&[]);
    insist(&stage, VAULT, "Bearer sentinel-2", HOME);
    let mut application = stage.application().await;
    assert_eq!(application.get(SECRET).await.status, 200);
    assert_eq!(shown(&stage, VAULT), ["Bearer sentinel-1", "Bearer sentinel-2"]);

    // A service that takes none does not cost a fetch for each request.
    let stage = Stage::with_imds(&[]);
    insist(&stage, VAULT, "nothing", HOME);
    let mut application = stage.application().await;
    for _ in 0..5 {
        assert_eq!(application.get(SECRET).await.status, 401);
    }
    assert_eq!((shown(&stage, VAULT).len(), stage.network.seen(IMDS).len()), (6, 2));
}

#[tokio::test]
async fn requests_that_are_refused_together_share_the_new_token() {
    let stage = Stage::with_imds(&[]);
    insist(&stage, VAULT, "Bearer sentinel-2", HOME);
    let mut application = stage.application().await;
    let answers = application.send_at_once(&request("GET", SECRET), 50).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status == 200), "{answers:?}");
    assert_eq!((stage.network.seen(IMDS).len(), shown(&stage, VAULT).len()), (2, 100));
}

#[tokio::test]
async fn one_challenge_is_answered_and_no_more() {
    let stage = Stage::with_entra(&[("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "*")]);
    name_another_tenant_each_time(&stage);
    let answer = stage.application().await.get(SECRET).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").unwrap().contains("tenant-2"));
    let expected = ["Bearer sentinel-home.example-1", "Bearer sentinel-tenant-1.example-2"];
    assert_eq!(shown(&stage, VAULT), expected);
}

#[tokio::test]
async fn requests_that_lack_the_same_claims_share_the_token_that_has_them() {
    let stage = Stage::with_entra(&[]);
    insist(&stage, VAULT, "Bearer sentinel-home.example-2-claims", LACKING);
    let mut application = stage.application().await;
    let answers = application.send_at_once(&request("GET", SECRET), 50).await;
    let answered = answers.iter().filter(|answer| answer.as_ref().unwrap().status == 200).count();
    assert_eq!((answered, stage.network.seen(ENTRA).len(), shown(&stage, VAULT).len()), (50, 2, 100));
}

#[tokio::test]
async fn a_service_that_names_another_tenant_each_time_does_not_cost_a_fetch_for_each_request() {
    let stage = Stage::with_entra(&[("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "*")]);
    name_another_tenant_each_time(&stage);
    let mut application = stage.application().await;
    for _ in 0..5 {
        assert_eq!(application.get(SECRET).await.status, 401);
    }
    assert_eq!((stage.network.seen(ENTRA).len(), shown(&stage, VAULT).len()), (2, 6));
}

#[tokio::test]
async fn each_showing_of_a_token_is_told() {
    let stage = Stage::with_imds(&[("TOKEN_BROKER_LOG", "info")]);
    insist(&stage, VAULT, "Bearer sentinel-2", HOME);
    assert_eq!(stage.application().await.get(SECRET).await.status, 200);
    let lines = stage.lines("sent a request with a token");
    let told: Vec<_> = lines.iter().map(|line| [&line["status"], &line["token_sha256"]]).collect();
    let sha256 = crate::token_broker_sha256;
    assert_eq!(told, [["401", &sha256("sentinel-1")], ["200", &sha256("sentinel-2")]]);
}
