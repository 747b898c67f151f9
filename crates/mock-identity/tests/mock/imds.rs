//! The instance metadata service: what it answers, and what it refuses.

use mock_identity::{Endpoint, IdentityKind, Mock, MockConfig};
use serde_json::json;

use crate::client::{METADATA, SYSTEM, VAULT, get, imds, imds_target, mock, send, text};

#[tokio::test]
async fn imds_answers_with_string_typed_numbers_and_a_signed_token() {
    let mock = mock().await;
    let answer = imds(&mock, &[]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers["server"].starts_with("IMDS/"));
    assert!(answer.headers.contains_key("date"));
    let body = answer.json();
    let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
    assert_eq!(claims.appid, SYSTEM);
    assert_eq!((claims.oid.as_str(), &claims.sub), ("aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb", &claims.oid));
    assert_eq!((claims.idtyp.as_str(), claims.exp - claims.iat), ("app", 86400 + 300));
    assert!(claims.xms_mirid.unwrap().ends_with("/virtualMachines/vm"));
    assert_eq!(text(&body, "expires_on"), claims.exp.to_string());
    assert_eq!(text(&body, "not_before"), claims.nbf.to_string());
    assert_eq!((text(&body, "resource"), text(&body, "token_type")), (VAULT, "Bearer"));
    assert!((86_391..=86_400).contains(&text(&body, "expires_in").parse::<u64>().unwrap()));
}

#[tokio::test]
async fn imds_takes_a_trailing_slash_and_newer_versions() {
    let mock = mock().await;
    for target in [
        format!("/metadata/identity/oauth2/token/?api-version=2018-02-01&resource={VAULT}"),
        format!("/metadata/identity/oauth2/token?api-version=2019-08-01&resource={VAULT}"),
        format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={VAULT}/"),
    ] {
        assert_eq!(get(&mock, &target, &METADATA).await.status, 200, "{target}");
    }
}

#[tokio::test]
async fn imds_demands_the_metadata_header_and_refuses_forwarded_requests() {
    let mock = mock().await;
    let target = imds_target(&[]);
    for headers in [&[][..], &[("Metadata", "false")]] {
        let answer = get(&mock, &target, headers).await;
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.json(),
            json!({ "error": "invalid_request", "error_description": "Required metadata header not specified" })
        );
    }
    let forwarded = get(&mock, &target, &[("Metadata", "true"), ("X-Forwarded-For", "10.0.0.1")]).await;
    assert_eq!((forwarded.status, forwarded.json()["error"].clone()), (400, json!("invalid_request")));
    assert_eq!(mock.counters().of(Endpoint::Imds).tokens, 0);
}

#[tokio::test]
async fn imds_refuses_what_azure_refuses_in_azures_words() {
    let mock = mock().await;
    let full = "api-version=2018-02-01&resource=https://vault.azure.net";
    for (query, error, words) in [
        ("resource=https://vault.azure.net", "invalid_request", "'api-version' is missing"),
        ("api-version=1999-01-01&resource=https://vault.azure.net", "invalid_request", "not supported"),
        ("api-version=2018-02-01", "invalid_request", "Required query variable 'resource' is missing"),
        ("api-version=2018-02-01&resource=https://example.org", "invalid_resource", "AADSTS500011"),
        (&format!("{full}&client_id=a&object_id=b"), "invalid_request", "Only one of"),
        (&format!("{full}&client_id="), "invalid_request", "Identity not found"),
    ] {
        let answer = get(&mock, &format!("/metadata/identity/oauth2/token?{query}"), &METADATA).await;
        let body = answer.json();
        assert_eq!((answer.status, text(&body, "error")), (400, error), "{query}");
        assert!(text(&body, "error_description").contains(words), "{body}");
    }
    let post = send(&mock, "POST", &imds_target(&[]), &METADATA, "").await.unwrap();
    assert_eq!(post.status, 405);
}

#[tokio::test]
async fn imds_finds_a_user_assigned_identity_by_each_of_its_ids() {
    let mock = mock().await;
    let orders = mock.config().identities[1].clone();
    for (name, id) in [
        ("client_id", orders.client_id.to_uppercase()),
        ("object_id", orders.object_id.clone()),
        ("msi_res_id", orders.resource_id.clone()),
        ("mi_res_id", orders.resource_id.to_lowercase()),
    ] {
        let body = imds(&mock, &[(name, &id)]).await.json();
        let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
        assert_eq!(claims.appid, orders.client_id, "{name}");
        assert_eq!(claims.xms_mirid.as_ref(), Some(&orders.resource_id), "{name}");
        assert_eq!(text(&body, "client_id"), orders.client_id);
    }
    let unknown = imds(&mock, &[("client_id", "99999999-0000-0000-0000-000000000000")]).await;
    assert_eq!(
        (unknown.status, unknown.json()),
        (400, json!({ "error": "invalid_request", "error_description": "Identity not found" }))
    );
}

#[tokio::test]
async fn imds_without_a_system_assigned_identity_answers_for_the_only_other_one() {
    for (user_assigned, status, words) in
        [(0, 400, "Identity not found"), (1, 200, ""), (2, 400, "Multiple user assigned identities exist")]
    {
        let mut config = MockConfig::default();
        config.identities.retain(|identity| identity.kind == IdentityKind::UserAssigned);
        config.identities.truncate(user_assigned);
        let answer = imds(&Mock::start(config).await.unwrap(), &[]).await;
        assert_eq!(answer.status, status);
        assert!(answer.text().contains(words), "{}", answer.text());
    }
}
