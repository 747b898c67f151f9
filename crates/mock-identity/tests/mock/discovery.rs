//! How clients find the token endpoint.

use crate::{
    client::{get, text},
    secure::{mock, send},
};

#[tokio::test]
async fn the_open_id_configuration_names_the_token_endpoint_as_the_client_names_the_mock() {
    let mock = mock().await;
    let (url, tenant) = (mock.tls_url().unwrap().to_owned(), mock.config().tenant_id.clone());
    let path = format!("/{tenant}/v2.0/.well-known/openid-configuration");
    let document = send(&mock, "GET", &path, &[], b"").await.json();
    assert_eq!(text(&document, "token_endpoint"), format!("{url}/{tenant}/oauth2/v2.0/token"));
    assert_eq!(text(&document, "issuer"), format!("https://login.microsoftonline.com/{tenant}/v2.0"));
    let keys = text(&document, "jwks_uri").strip_prefix(&url).unwrap();
    assert_eq!(send(&mock, "GET", keys, &[], b"").await.json()["keys"][0]["kty"], "RSA");
    let plain = get(&mock, &path, &[]).await.json();
    assert!(text(&plain, "token_endpoint").starts_with(mock.url()));
}

#[tokio::test]
async fn ad_fs_and_the_other_tenants_have_configurations_too() {
    let mock = mock().await;
    let url = mock.tls_url().unwrap();
    let adfs = send(&mock, "GET", "/adfs/.well-known/openid-configuration", &[], b"").await.json();
    assert_eq!(text(&adfs, "token_endpoint"), format!("{url}/adfs/oauth2/token"));
    let other = &mock.config().other_tenant_ids[0];
    let path = format!("/{other}/v2.0/.well-known/openid-configuration");
    let document = send(&mock, "GET", &path, &[], b"").await.json();
    assert_eq!(text(&document, "issuer"), format!("https://login.microsoftonline.com/{other}/v2.0"));
}

#[tokio::test]
async fn instance_discovery_leads_to_the_open_id_configuration() {
    let mock = mock().await;
    let url = mock.tls_url().unwrap().to_owned();
    let path = format!("/common/discovery/instance?api-version=1.1&authorization_endpoint={url}/t/authorize");
    let document = send(&mock, "GET", &path, &[], b"").await.json();
    let next = text(&document, "tenant_discovery_endpoint").strip_prefix(&url).unwrap();
    assert_eq!(send(&mock, "GET", next, &[], b"").await.status, 200);
    assert_eq!(document["metadata"][0]["preferred_network"], url.strip_prefix("https://").unwrap());
    assert_eq!(send(&mock, "POST", &path, &[], b"").await.status, 405);
}
