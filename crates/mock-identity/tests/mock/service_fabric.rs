//! The token service of Service Fabric: its certificate, its secret, and the tokens that it keeps.

use mock_identity::{Answer, Counts, Endpoint, Fault, Mock, MockConfig, ServiceFabricConfig};
use ring::digest::{SHA256, digest};
use serde_json::json;

use crate::{
    client::{Received, SYSTEM, VAULT, assert_log_is_without, text, verified},
    secure::pinned,
};

async fn cluster() -> Mock {
    let service_fabric = Some(ServiceFabricConfig::default());
    Mock::start(MockConfig { service_fabric, ..MockConfig::default() }).await.unwrap()
}

fn thumbprint(mock: &Mock) -> String {
    let environment = mock.env(Endpoint::ServiceFabric);
    let (name, value) = &environment[2];
    assert_eq!(*name, "IDENTITY_SERVER_THUMBPRINT");
    value.clone()
}

fn secret() -> String {
    ServiceFabricConfig::default().secret
}

async fn get(mock: &Mock, target: &str, headers: &[(&str, &str)]) -> Received {
    pinned(mock, &thumbprint(mock), "GET", target, headers).await.expect("the certificate has the thumbprint")
}

async fn ask(mock: &Mock, parameters: &str) -> Received {
    let version = "api-version=2019-07-01-preview";
    let target = format!("/metadata/identity/oauth2/token?{version}&resource={VAULT}{parameters}");
    get(mock, &target, &[("Secret", &secret())]).await
}

fn sha256(token: &str) -> String {
    digest(&SHA256, token.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn service_fabric_answers_with_an_integer_behind_the_certificate_of_its_thumbprint() {
    let mock = cluster().await;
    let body = ask(&mock, "").await.json();
    let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
    assert_eq!((claims.appid.as_str(), body["expires_on"].as_u64()), (SYSTEM, Some(claims.exp)));
    assert_eq!((text(&body, "resource"), text(&body, "token_type")), (VAULT, "Bearer"));
    assert_eq!(thumbprint(&mock).len(), 40);
    let other = pinned(&mock, &"0".repeat(40), "GET", "/", &[]).await;
    assert!(other.is_none(), "another thumbprint must not do");
    assert_log_is_without(&mock, &[&secret(), text(&body, "access_token")]);
    assert_eq!(mock.requests()[0].headers["secret"], "(not shown)");
}

#[tokio::test]
async fn service_fabric_gives_the_same_token_until_it_is_refused_by_its_digest() {
    let mock = cluster().await;
    let first = text(&ask(&mock, "").await.json(), "access_token").to_owned();
    assert_eq!(text(&ask(&mock, "").await.json(), "access_token"), first);
    let unrelated = ask(&mock, &format!("&token_sha256_to_refresh={}", sha256("other"))).await.json();
    assert_eq!(text(&unrelated, "access_token"), first);
    let refused = format!("&token_sha256_to_refresh={}", sha256(&first));
    let second = text(&ask(&mock, &refused).await.json(), "access_token").to_owned();
    assert_ne!(second, first);
    let again = ask(&mock, &refused).await.json();
    assert_eq!(text(&again, "access_token"), second, "the refused token is no longer the one it holds");
    assert_eq!(mock.requests()[3].query[2], ("token_sha256_to_refresh".to_owned(), sha256(&first)));
    mock.reset();
    assert_ne!(text(&ask(&mock, "").await.json(), "access_token"), second);
}

#[tokio::test]
async fn service_fabric_puts_the_capabilities_into_the_token() {
    let mock = cluster().await;
    let claims = verified(&mock, &ask(&mock, "&xms_cc=CP1,foo").await);
    assert_eq!(claims.xms_cc, ["CP1", "foo"]);
    let without = ask(&mock, "").await.json();
    let claims = mock.verify(text(&without, "access_token"), VAULT).unwrap();
    assert!(claims.xms_cc.is_empty(), "a token with capabilities is not one without");
}

#[tokio::test]
async fn service_fabric_refuses_in_its_nested_form() {
    let mock = cluster().await;
    let path = "/metadata/identity/oauth2/token";
    let target = format!("{path}?api-version=2019-07-01-preview&resource={VAULT}");
    let no_resource = format!("{path}?api-version=2019-07-01-preview");
    let secret = secret();
    let right = [("Secret", secret.as_str())];
    let elsewhere = format!("{no_resource}&resource=https://nowhere.example");
    let wrong_method = pinned(&mock, &thumbprint(&mock), "DELETE", &target, &right).await.unwrap();
    for (answer, status, code) in [
        (get(&mock, &target, &[]).await, 400, "SecretHeaderNotFound"),
        (get(&mock, &target, &[("Secret", "SENTINEL-5")]).await, 404, "ManagedIdentityNotFound"),
        (get(&mock, &format!("{path}?resource={VAULT}"), &right).await, 400, "InvalidApiVersion"),
        (get(&mock, &no_resource, &right).await, 400, "ArgumentNullOrEmpty"),
        (get(&mock, &elsewhere, &right).await, 400, "InvalidResource"),
        (wrong_method, 405, "MethodNotAllowed"),
    ] {
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, text(&error, "code")), (status, code));
        assert_eq!(text(&error, "correlationId").len(), 36);
        assert!(!text(&error, "message").is_empty());
    }
    for name in ["client_id", "object_id", "principal_id", "msi_res_id", "mi_res_id"] {
        let answer = ask(&mock, &format!("&{name}=any")).await;
        assert_eq!(
            (answer.status, text(&answer.json()["error"], "code")),
            (400, "InvalidArgument"),
            "{name}"
        );
    }
    let counts = mock.counters().of(Endpoint::ServiceFabric);
    assert_eq!(counts, Counts { requests: 11, tokens: 0, refused: 11, faults: 0 });
    assert_log_is_without(&mock, &["SENTINEL-5"]);
}

#[tokio::test]
async fn service_fabric_has_its_own_listener_and_nothing_else_on_it() {
    let mock = cluster().await;
    let imds = crate::client::imds(&mock, &[]).await;
    assert_eq!((imds.status, mock.counters().of(Endpoint::Imds).requests), (200, 1));
    assert_eq!(get(&mock, "/msi/token", &[]).await.status, 404);
    assert_eq!(mock.counters().of(Endpoint::Unknown).requests, 1);
    let without = crate::client::mock().await;
    assert!(without.env(Endpoint::ServiceFabric).is_empty());
}

#[tokio::test]
async fn a_fault_of_service_fabric_is_not_kept() {
    let mock = cluster().await;
    mock.fault(Fault::new(Endpoint::ServiceFabric, Answer::WrongIdentity));
    mock.fault(Fault::new(Endpoint::ServiceFabric, Answer::status(500)));
    assert_ne!(verified(&mock, &ask(&mock, "").await).appid, SYSTEM);
    let broken = ask(&mock, "").await;
    assert_eq!((broken.status, &broken.json()["error"]["code"]), (500, &json!("InternalServerError")));
    assert_eq!(verified(&mock, &ask(&mock, "").await).appid, SYSTEM);
}
