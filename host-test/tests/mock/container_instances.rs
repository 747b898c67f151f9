//! The identity endpoint of Windows container groups.

use host_test::mock::{Answer, Counts, Endpoint, Fault, Mock};

use crate::client::{Received, SYSTEM, VAULT, get, mock, text};

async fn ask(mock: &Mock, parameters: &str) -> Received {
    let target = format!(
        "/container-group/metadata/identity/oauth2/token?api-version=1.0&resource={VAULT}{parameters}"
    );
    get(mock, &target, &[("secret", &mock.config().container_instances.secret)]).await
}

#[tokio::test]
async fn a_container_group_chooses_the_identity_by_its_object_id() {
    let mock = mock().await;
    let orders = &mock.config().identities[1];
    for (parameters, appid) in [
        (String::new(), SYSTEM),
        (format!("&principalId={}", orders.object_id), orders.client_id.as_str()),
        (format!("&client_id={}", orders.client_id), SYSTEM),
    ] {
        let body = ask(&mock, &parameters).await.json();
        let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
        assert_eq!(claims.appid, appid, "{parameters}");
    }
    let counts = Counts { requests: 3, tokens: 3, refused: 0, faults: 0 };
    assert_eq!(mock.counters().of(Endpoint::ContainerInstances), counts);
}

#[tokio::test]
async fn a_container_group_refuses_in_the_form_that_was_recorded() {
    let mock = mock().await;
    let recorded = include_str!("../../recorded/container-instances/default-identity-not-defined-2024.json");
    let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
    let seen = ask(&mock, "&principalId=nobody").await;
    assert_eq!((seen.status, seen.text()), (404, recorded["response"]["body"].as_str().unwrap()));
    let url = "/container-group/metadata/identity/oauth2/token";
    for (target, secret, status) in [
        (format!("{url}?api-version=1.0&resource={VAULT}"), "wrong", 401),
        (format!("{url}?resource={VAULT}"), mock.config().container_instances.secret.as_str(), 400),
        (format!("{url}?api-version=1.0"), mock.config().container_instances.secret.as_str(), 400),
    ] {
        assert_eq!(get(&mock, &target, &[("secret", secret)]).await.status, status, "{target}");
    }
    mock.fault(Fault::new(Endpoint::ContainerInstances, Answer::status(500)));
    assert_eq!(text(&ask(&mock, "").await.json()["error"], "code"), "InternalServerError");
}

#[tokio::test]
async fn a_container_group_is_found_by_its_environment() {
    let mock = mock().await;
    let environment = mock.container_instances_env();
    assert!(environment[0].1.ends_with("/container-group/metadata/identity/oauth2/token?api-version=1.0"));
    assert_eq!(environment[1].1, mock.config().container_instances.secret);
}
