//! What the mock takes of HTTP's ways to send a body: login.microsoftonline.com answers 404 to one in chunks.

use mock_identity::Endpoint;

use crate::{
    client::{self, CHUNKS, FORM, METADATA, VAULT, form, post as plain_post},
    entra::{GRANT, SCOPE, SECRET, SHOP},
    secure::{self, send, token_path},
};

#[tokio::test]
async fn a_form_in_chunks_is_404_to_entra_and_to_ad_fs_and_one_with_its_length_is_read() {
    let mock = secure::mock().await;
    let body = form(&[GRANT, SHOP, SECRET, SCOPE]);
    for path in [token_path(&mock), "/adfs/oauth2/token".to_owned()] {
        let chunked = send(&mock, "POST", &path, &[FORM, CHUNKS], body.as_bytes()).await;
        assert_eq!((chunked.status, chunked.body.len()), (404, 0), "{path}");
        assert_eq!(send(&mock, "POST", &path, &[FORM], body.as_bytes()).await.status, 200, "{path}");
    }
    let discovery = format!("/{}/v2.0/.well-known/openid-configuration", mock.config().tenant_id);
    assert_eq!(send(&mock, "GET", &discovery, &[CHUNKS], b"").await.status, 404);
    let seen = &mock.requests()[..2];
    assert_eq!(seen[0].headers["transfer-encoding"], "chunked");
    assert_eq!(seen[1].headers["content-length"], body.len().to_string());
    assert_eq!(mock.counters().of(Endpoint::Entra).refused, 2);
}

#[tokio::test]
async fn a_form_in_chunks_is_404_to_cloud_shell_too() {
    let mock = client::mock().await;
    let body = form(&[("resource", VAULT)]);
    let chunked = plain_post(&mock, "/oauth2/token", &[FORM, METADATA[0], CHUNKS], &body).await;
    assert_eq!((chunked.status, chunked.body.len()), (404, 0));
    assert_eq!(plain_post(&mock, "/oauth2/token", &[FORM, METADATA[0]], &body).await.status, 200);
}
