//! On-behalf-of: an app shows the token of the user who has called it.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use mock_identity::Mock;
use serde_json::{Value, json};

use crate::{
    client::{Received, VAULT, assert_log_is_without, get, text},
    entra::{SCOPE, SECRET, SHOP, assert_refused},
    secure::{config, mock, token},
};

pub(crate) const GRANT: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
pub(crate) const USE: (&str, &str) = ("requested_token_use", "on_behalf_of");

/// The token with which maria has called the app of this name
fn user_token(mock: &Mock, app: &str) -> String {
    let app = mock.config().apps.iter().find(|held| held.name == app).unwrap();
    mock.user_token(&mock.config().users[0], app).unwrap()
}

async fn ask(mock: &Mock, assertion: &str) -> Received {
    token(mock, &[GRANT, SHOP, SECRET, SCOPE, USE, ("assertion", assertion)]).await
}

#[tokio::test]
async fn an_app_gets_a_token_of_the_user_who_has_called_it() {
    let mock = mock().await;
    let assertion = user_token(&mock, "shop");
    let scope = ("scope", "https://vault.azure.net/user_impersonation openid profile offline_access");
    let info = ("client_info", "1");
    let body = token(&mock, &[GRANT, SHOP, SECRET, scope, USE, ("assertion", &assertion), info]).await.json();
    let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
    let maria = &mock.config().users[0].object_id;
    assert_eq!((&claims.oid, claims.idtyp.as_str(), claims.appid.as_str()), (maria, "user", SHOP.1));
    assert_eq!(claims.scp.as_deref(), Some("user_impersonation"));
    assert_eq!(text(&body, "scope"), "https://vault.azure.net/user_impersonation");
    let info = BASE64_URL_SAFE_NO_PAD.decode(text(&body, "client_info")).unwrap();
    let info: Value = serde_json::from_slice(&info).unwrap();
    assert_eq!(info, json!({ "uid": maria, "utid": mock.config().tenant_id }));
    assert_eq!(mock.requests()[0].issued_to.as_deref(), Some("maria"));
    assert_log_is_without(&mock, &[&assertion, SECRET.1]);
}

#[tokio::test]
async fn a_token_for_another_app_of_no_user_or_of_nobody_is_refused() {
    let mock = mock().await;
    let other = ask(&mock, &user_token(&mock, "billing")).await;
    assert_refused(&other, 400, "invalid_grant", 50_013);
    assert!(other.text().contains("audience"), "{}", other.text());
    for nonsense in ["SENTINEL-9", "a.b.c"] {
        assert_refused(&ask(&mock, nonsense).await, 400, "invalid_grant", 50_013);
    }
    let mut config = config();
    config.audiences.push(format!("api://{}", SHOP.1));
    let mock = Mock::start(config).await.unwrap();
    let own = ("scope", "api://33334444-dddd-5555-eeee-6666ffff7777/.default");
    let body = token(&mock, &[("grant_type", "client_credentials"), SHOP, SECRET, own]).await.json();
    let app_only = ask(&mock, text(&body, "access_token")).await;
    assert_refused(&app_only, 400, "invalid_grant", 7_000_114);
    let mut stranger = mock.config().users[0].clone();
    stranger.object_id = "00000000-0000-0000-0000-000000000000".to_owned();
    let stranger = mock.user_token(&stranger, &mock.config().apps[0]).unwrap();
    assert_refused(&ask(&mock, &stranger).await, 400, "invalid_grant", 50_034);
    assert_log_is_without(&mock, &["SENTINEL-9", text(&body, "access_token"), &stranger]);
}

#[tokio::test]
async fn an_app_needs_a_credential_the_users_token_and_one_resource() {
    let mock = mock().await;
    let user = user_token(&mock, "shop");
    let assertion = ("assertion", user.as_str());
    let bare = token(&mock, &[GRANT, SHOP, SCOPE, USE, assertion]).await;
    assert_refused(&bare, 401, "invalid_client", 7_000_218);
    let wrong = token(&mock, &[GRANT, SHOP, ("client_secret", "wrong"), SCOPE, USE, assertion]).await;
    assert_refused(&wrong, 401, "invalid_client", 7_000_215);
    let all = [GRANT, SHOP, SECRET, SCOPE, USE, assertion];
    for missing in ["scope", "requested_token_use", "assertion"] {
        let fields: Vec<_> = all.into_iter().filter(|(name, _)| *name != missing).collect();
        let answer = token(&mock, &fields).await;
        assert_refused(&answer, 400, "invalid_request", 900_144);
        assert!(answer.text().contains(&format!("'{missing}'")), "{}", answer.text());
    }
    for (scope, error, code) in [
        ("https://vault.azure.net/x https://storage.azure.com/y", "invalid_request", 28_000),
        ("openid", "invalid_scope", 70_011),
        ("https://nowhere.example/.default", "invalid_resource", 500_011),
    ] {
        let answer = token(&mock, &[GRANT, SHOP, SECRET, USE, assertion, ("scope", scope)]).await;
        assert_refused(&answer, 400, error, code);
    }
    let other_use = [GRANT, SHOP, SECRET, SCOPE, ("requested_token_use", "logon_cert"), assertion];
    assert_refused(&token(&mock, &other_use).await, 400, "invalid_request", 90_023);
}

#[tokio::test]
async fn the_admin_endpoint_hands_out_users_tokens() {
    let mock = mock().await;
    let user = get(&mock, "/admin/user-token/maria/shop", &[]).await;
    assert_eq!(ask(&mock, user.text()).await.status, 200);
    assert_eq!(get(&mock, "/admin/user-token/nobody/shop", &[]).await.status, 404);
}
