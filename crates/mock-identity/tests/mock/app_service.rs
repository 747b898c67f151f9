//! The identity endpoint of App Service: what it answers, and what it refuses.

use mock_identity::{Mock, MockConfig};
use serde_json::json;

use crate::client::{SYSTEM, VAULT, app_service, get, identity_header, mock, text, verified};

#[tokio::test]
async fn app_service_answers_without_expires_in_and_with_a_string_expires_on() {
    let mock = mock().await;
    let body = app_service(&mock, &[]).await.json();
    let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
    assert_eq!(claims.appid, SYSTEM);
    assert_eq!(text(&body, "expires_on"), claims.exp.to_string());
    assert!(body.get("expires_in").is_none());
}

#[tokio::test]
async fn app_service_refuses_a_wrong_header_version_identity_and_audience() {
    let mock = mock().await;
    let target = format!("/msi/token?api-version=2019-08-01&resource={VAULT}");
    let header = identity_header(&mock);
    let right = [("X-IDENTITY-HEADER", header.as_str())];
    for (answer, status, words) in [
        (get(&mock, &target, &[]).await, 401, "X-IDENTITY-HEADER"),
        (get(&mock, &target, &[("X-IDENTITY-HEADER", "wrong")]).await, 401, "X-IDENTITY-HEADER"),
        (get(&mock, "/msi/token?api-version=2017-09-01&resource=r", &right).await, 400, "2019-08-01"),
        (app_service(&mock, &[("client_id", "unknown")]).await, 400, NO_USER_ASSIGNED),
        (get(&mock, "/msi/token?api-version=2019-08-01&resource=r", &right).await, 400, "AADSTS500011"),
    ] {
        let body = answer.json();
        assert_eq!((answer.status, &body["statusCode"]), (status, &json!(status)));
        assert!(text(&body, "message").contains(words), "{body}");
        assert_eq!(text(&body, "correlationId").len(), 36);
    }
}

#[tokio::test]
async fn app_service_honours_mi_res_id_and_silently_ignores_msi_res_id() {
    let mock = mock().await;
    let orders = mock.config().identities[1].clone();
    for (name, id, appid) in [
        ("client_id", &orders.client_id, orders.client_id.as_str()),
        ("object_id", &orders.object_id, &orders.client_id),
        ("principal_id", &orders.object_id, &orders.client_id),
        ("mi_res_id", &orders.resource_id, &orders.client_id),
        ("msi_res_id", &orders.resource_id, SYSTEM),
    ] {
        assert_eq!(verified(&mock, &app_service(&mock, &[(name, id)]).await).appid, appid, "{name}");
    }
}

#[tokio::test]
async fn app_service_has_no_stand_in_for_the_system_assigned_identity() {
    let mut config = MockConfig::default();
    config.identities.retain(|identity| identity.name == "orders");
    let answer = app_service(&Mock::start(config).await.unwrap(), &[]).await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        (answer.body.len(), answer.headers["x-correlation-id"].len()),
        (0, 36),
        "and not a word of why"
    );
}

#[tokio::test]
async fn app_service_takes_the_two_headers_of_azure_automation() {
    let mock = mock().await;
    let target = format!("/msi/token?api-version=2019-08-01&resource={VAULT}");
    let both = [("X-IDENTITY-HEADER", identity_header(&mock)), ("Metadata", "true".to_owned())];
    let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(get(&mock, &target, &both).await.status, 200);
}

const NO_USER_ASSIGNED: &str = "No User Assigned or Delegated Managed Identity found for specified ClientId";
