//! How clients find the token endpoint.

use crate::{
    client::{VAULT, get, text, token},
    secure::{mock, send},
};

#[tokio::test]
async fn the_open_id_configuration_names_issuer_token_endpoint_and_keys_as_the_client_names_the_mock() {
    let mock = mock().await;
    let (tenant, other) = (&mock.config().tenant_id, &mock.config().other_tenant_ids[0]);
    let version_2 = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
    for (place, issuer, endpoint) in [
        (tenant.clone(), format!("https://sts.windows.net/{tenant}/"), format!("{tenant}/oauth2/token")),
        (format!("{tenant}/v2.0"), version_2(tenant), format!("{tenant}/oauth2/v2.0/token")),
        (format!("{other}/v2.0"), version_2(other), format!("{other}/oauth2/v2.0/token")),
        (
            "adfs".to_owned(),
            "http://adfs.mock.example/adfs/services/trust".to_owned(),
            "adfs/oauth2/token".to_owned(),
        ),
    ] {
        let path = format!("/{place}/.well-known/openid-configuration");
        let (secure, plain) = (send(&mock, "GET", &path, &[], b"").await, get(&mock, &path, &[]).await);
        for (document, url) in [(secure.json(), mock.tls_url().unwrap()), (plain.json(), mock.url())] {
            assert_eq!(text(&document, "issuer"), issuer);
            assert_eq!(text(&document, "token_endpoint"), format!("{url}/{endpoint}"));
            let keys = text(&document, "jwks_uri").strip_prefix(url).unwrap();
            let keys = match url == mock.url() {
                true => get(&mock, keys, &[]).await.json(),
                false => send(&mock, "GET", keys, &[], b"").await.json(),
            };
            assert_eq!((text(&keys["keys"][0], "kty"), text(&keys["keys"][0], "use")), ("RSA", "sig"));
        }
    }
    let issued = token(&mock, VAULT).await;
    assert_eq!(mock.verify(&issued, VAULT).unwrap().iss, format!("https://sts.windows.net/{tenant}/"));
    let nowhere = get(&mock, "/other/v2.0/.well-known/openid-configuration", &[]).await;
    assert_eq!((nowhere.status, text(&nowhere.json(), "error")), (400, "invalid_tenant"));
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
