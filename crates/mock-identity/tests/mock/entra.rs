//! The token endpoint of Entra ID, with client secrets: what it answers, and what it refuses.

use mock_identity::{Answer, Counts, Endpoint, Fault, Mock, MockConfig};
use serde_json::json;

use crate::{
    client::{FORM, Received, VAULT, assert_log_is_without, form, post as plain_post, text, verified},
    secure::{config, mock, post, send, token, token_path},
};

pub(crate) const SCOPE: (&str, &str) = ("scope", "https://vault.azure.net/.default");
pub(crate) const GRANT: (&str, &str) = ("grant_type", "client_credentials");
pub(crate) const SHOP: (&str, &str) = ("client_id", "33334444-dddd-5555-eeee-6666ffff7777");
pub(crate) const SECRET: (&str, &str) = ("client_secret", "the-secret-of-the-shop");

/// That this is a refusal as Entra ID words it, with this number
pub(crate) fn assert_refused(answer: &Received, status: u16, error: &str, code: u32) {
    let body = answer.json();
    assert_eq!((answer.status, text(&body, "error")), (status, error), "{body}");
    assert_eq!(body["error_codes"], json!([code]));
    let (trace, correlation) = (text(&body, "trace_id"), text(&body, "correlation_id"));
    let description = text(&body, "error_description");
    let traces =
        format!(" Trace ID: {trace} Correlation ID: {correlation} Timestamp: {}", text(&body, "timestamp"));
    assert!(description.starts_with(&format!("AADSTS{code}: ")), "{description}");
    assert!(description.ends_with(&traces), "{description}");
    assert_eq!(text(&body, "error_uri"), format!("https://login.microsoftonline.com/error?code={code}"));
    assert_eq!((answer.headers["x-ms-request-id"].as_str(), trace.len()), (trace, 36));
}

#[tokio::test]
async fn entra_gives_a_token_for_a_secret() {
    let mock = mock().await;
    let answer = token(&mock, &[GRANT, SHOP, SECRET, SCOPE]).await;
    let body = answer.json();
    let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
    assert_eq!((claims.appid.as_str(), claims.aud.as_str(), claims.appidacr.as_str()), (SHOP.1, VAULT, "1"));
    assert_eq!((&claims.oid, &claims.tid), (&mock.config().apps[0].object_id, &mock.config().tenant_id));
    assert_eq!((claims.idtyp.as_str(), &claims.xms_mirid, &claims.scp), ("app", &None, &None));
    assert!((3598..=3599).contains(&body["expires_in"].as_u64().unwrap()));
    assert_eq!(body["ext_expires_in"], body["expires_in"]);
    assert_eq!((text(&body, "token_type"), body.as_object().unwrap().len()), ("Bearer", 4));
    assert_eq!(answer.headers["x-ms-request-id"].len(), 36);
    let seen = &mock.requests()[0];
    assert_eq!((seen.endpoint, seen.issued_to.as_deref()), (Endpoint::Entra, Some("shop")));
    assert_eq!(seen.form[2], ("client_secret".to_owned(), "(not shown)".to_owned()));
    assert_log_is_without(&mock, &[SECRET.1, text(&body, "access_token")]);
}

#[tokio::test]
async fn entra_says_when_to_refresh_if_it_is_configured_to() {
    let mut config = config();
    config.entra.refresh_in_seconds = Some(1800.try_into().unwrap());
    let mock = Mock::start(config).await.unwrap();
    assert_eq!(token(&mock, &[GRANT, SHOP, SECRET, SCOPE]).await.json()["refresh_in"], 1800);
}

#[tokio::test]
async fn entra_keeps_a_slash_at_the_end_of_the_resource() {
    let mock = mock().await;
    let scope = ("scope", "https://database.windows.net//.default");
    let body = token(&mock, &[GRANT, SHOP, SECRET, scope]).await.json();
    let claims = mock.verify(text(&body, "access_token"), "https://database.windows.net/").unwrap();
    assert_eq!(claims.aud, "https://database.windows.net/");
}

#[tokio::test]
async fn entra_puts_the_capabilities_of_the_claims_parameter_into_the_token() {
    let mock = mock().await;
    let claims = r#"{"access_token":{"xms_cc":{"values":["CP1"]},"nbf":{"essential":true,"value":"1"}}}"#;
    assert_eq!(
        verified(&mock, &token(&mock, &[GRANT, SHOP, SECRET, SCOPE, ("claims", claims)]).await).xms_cc,
        ["CP1"]
    );
    for harmless in ["{}", r#"{"access_token":1}"#, r#"{"access_token":{"xms_cc":{"values":[1,null]}}}"#] {
        assert!(
            verified(&mock, &token(&mock, &[GRANT, SHOP, SECRET, SCOPE, ("claims", harmless)]).await)
                .xms_cc
                .is_empty()
        );
    }
    for bad in ["{", "1", "[]", "eyJhIjoxfQ"] {
        let answer = token(&mock, &[GRANT, SHOP, SECRET, SCOPE, ("claims", bad)]).await;
        assert_refused(&answer, 400, "invalid_request", 90_023);
    }
}

#[tokio::test]
async fn entra_tells_a_wrong_secret_from_an_expired_one() {
    let mock = mock().await;
    let wrong = token(&mock, &[GRANT, SHOP, ("client_secret", "SENTINEL-6"), SCOPE]).await;
    assert_refused(&wrong, 401, "invalid_client", 7_000_215);
    assert!(!wrong.text().contains("SENTINEL-6"));
    let expired =
        token(&mock, &[GRANT, SHOP, ("client_secret", "the-former-secret-of-the-shop"), SCOPE]).await;
    assert_refused(&expired, 401, "invalid_client", 7_000_222);
    assert_eq!(mock.counters().of(Endpoint::Entra), Counts { requests: 2, tokens: 0, refused: 2, faults: 0 });
    assert_log_is_without(&mock, &["SENTINEL-6", "the-former-secret-of-the-shop"]);
}

#[tokio::test]
async fn entra_knows_its_tenants_and_the_apps_in_each() {
    let mock = mock().await;
    let fields = [GRANT, SHOP, SECRET, SCOPE];
    let nowhere = post(&mock, "/nowhere/oauth2/v2.0/token", &fields).await;
    assert_refused(&nowhere, 400, "invalid_request", 90_002);
    let other = format!("/{}/oauth2/v2.0/token", mock.config().other_tenant_ids[0]);
    assert_refused(&post(&mock, &other, &fields).await, 400, "unauthorized_client", 700_016);
    let nobody = ("client_id", "99999999-0000-0000-0000-000000000000");
    assert_refused(&token(&mock, &[GRANT, nobody, SECRET, SCOPE]).await, 400, "unauthorized_client", 700_016);
    assert_refused(&post(&mock, "/adfs/oauth2/v2.0/token", &fields).await, 400, "invalid_request", 90_002);
    let upper = token_path(&mock).replace("aaaabbbb", "AAAABBBB");
    assert_eq!(post(&mock, &upper, &fields).await.status, 200);
}

#[tokio::test]
async fn entra_names_what_is_missing() {
    let mock = mock().await;
    for missing in ["grant_type", "client_id", "scope"] {
        let fields: Vec<_> =
            [GRANT, SHOP, SECRET, SCOPE].into_iter().filter(|(name, _)| *name != missing).collect();
        let without = token(&mock, &fields).await;
        assert_refused(&without, 400, "invalid_request", 900_144);
        assert!(without.text().contains(&format!("'{missing}'")), "{}", without.text());
        let empty = token(&mock, &[fields.as_slice(), &[(missing, "")]].concat()).await;
        assert_refused(&empty, 400, "invalid_request", 900_144);
    }
    assert_refused(&token(&mock, &[GRANT, SHOP, SCOPE]).await, 401, "invalid_client", 7_000_216);
    let both = token(&mock, &[GRANT, SHOP, SECRET, ("client_assertion", "a.b.c"), SCOPE]).await;
    assert_refused(&both, 400, "invalid_request", 90_023);
}

#[tokio::test]
async fn entra_refuses_other_grants_scopes_and_resources() {
    let mock = mock().await;
    let password = token(&mock, &[("grant_type", "password"), SHOP, SECRET, SCOPE]).await;
    assert_refused(&password, 400, "unsupported_grant_type", 70_003);
    for (scope, error, code) in [
        (VAULT, "invalid_scope", 1_002_012),
        ("User.Read", "invalid_scope", 1_002_012),
        ("/.default", "invalid_scope", 1_002_012),
        ("https://vault.azure.net/.default https://storage.azure.com/.default", "invalid_request", 28_000),
        ("https://nowhere.example/.default", "invalid_resource", 500_011),
    ] {
        let answer = token(&mock, &[GRANT, SHOP, SECRET, ("scope", scope)]).await;
        assert_refused(&answer, 400, error, code);
    }
}

#[tokio::test]
async fn entra_takes_a_form_by_post_with_tls_and_nothing_else() {
    let mock = mock().await;
    let path = token_path(&mock);
    let fields = form(&[GRANT, SHOP, SECRET, SCOPE]);
    for method in ["GET", "PUT", "DELETE"] {
        let answer = send(&mock, method, &path, &[FORM], fields.as_bytes()).await;
        assert_refused(&answer, 400, "invalid_request", 900_561);
    }
    for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded2", ""] {
        let answer = send(&mock, "POST", &path, &[("Content-Type", content_type)], fields.as_bytes()).await;
        assert_refused(&answer, 400, "invalid_request", 900_144);
    }
    let labelled = [("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=utf-8")];
    assert_eq!(send(&mock, "POST", &path, &labelled, fields.as_bytes()).await.status, 200);
    let plain = plain_post(&mock, &path, &[FORM], &fields).await;
    assert_eq!((plain.status, mock.counters().of(Endpoint::Unknown).requests), (404, 1));
    assert_log_is_without(&mock, &[SECRET.1]);
}

#[tokio::test]
async fn entra_survives_hostile_forms() {
    let mock = mock().await;
    let path = token_path(&mock);
    let twice = token(&mock, &[GRANT, SHOP, SECRET, SCOPE, SECRET]).await;
    assert_refused(&twice, 400, "invalid_request", 9_000_411);
    let huge = vec![b'a'; 70_000];
    assert_eq!(send(&mock, "POST", &path, &[FORM], &huge).await.status, 413);
    let many = "a&".repeat(30_000);
    assert_refused(
        &send(&mock, "POST", &path, &[FORM], many.as_bytes()).await,
        400,
        "invalid_request",
        9_000_411,
    );
    let raw = b"grant_type=client_credentials&client_id=\xff\xfe&client_secret=\xc3\x28";
    let answer = send(&mock, "POST", &path, &[FORM], raw).await;
    assert_refused(&answer, 400, "unauthorized_client", 700_016);
    let bare = send(&mock, "POST", &path, &[FORM], b"SENTINEL-7.of.a.bare.token").await;
    assert_refused(&bare, 400, "invalid_request", 900_144);
    assert_eq!(mock.requests()[1].form.len(), 40);
    assert_log_is_without(&mock, &["SENTINEL-7"]);
}

#[tokio::test]
async fn entra_repeats_the_callers_own_id_if_it_is_one() {
    let mock = mock().await;
    let path = token_path(&mock);
    let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
    for header in ["client-request-id", "x-ms-client-request-id"] {
        let answer = send(&mock, "POST", &path, &[FORM, (header, id)], b"").await;
        assert_eq!(text(&answer.json(), "correlation_id"), id);
    }
    let answer = send(&mock, "POST", &path, &[FORM, ("client-request-id", "no id\"")], b"").await;
    assert_eq!(text(&answer.json(), "correlation_id").len(), 36);
}

#[tokio::test]
async fn entra_is_found_by_its_environment_and_only_with_tls() {
    let mock = mock().await;
    assert_eq!(
        mock.env(Endpoint::Entra),
        [
            ("AZURE_AUTHORITY_HOST", mock.tls_url().unwrap().to_owned()),
            ("AZURE_TENANT_ID", mock.config().tenant_id.clone()),
            ("AZURE_CLIENT_ID", SHOP.1.to_owned()),
            ("AZURE_CLIENT_SECRET", SECRET.1.to_owned()),
        ]
    );
    assert!(crate::client::mock().await.env(Endpoint::Entra).is_empty());
    let without_apps = Mock::start(MockConfig { apps: Vec::new(), ..config() }).await.unwrap();
    assert!(without_apps.env(Endpoint::Entra).is_empty());
}

#[tokio::test]
async fn entra_fails_in_its_own_words() {
    let mock = mock().await;
    for (status, error, code) in [
        (401, "invalid_client", 7_000_215),
        (403, "invalid_request", 90_023),
        (429, "temporarily_unavailable", 90_055),
        (503, "temporarily_unavailable", 90_033),
    ] {
        mock.fault(Fault::new(Endpoint::Entra, Answer::status(status)));
        let answer = token(&mock, &[GRANT, SHOP, SECRET, SCOPE]).await;
        assert_refused(&answer, status, error, code);
    }
    mock.fault(Fault::new(Endpoint::Entra, Answer::WrongIdentity));
    assert_ne!(verified(&mock, &token(&mock, &[GRANT, SHOP, SECRET, SCOPE]).await).appid, SHOP.1);
    assert_eq!(mock.counters().of(Endpoint::Entra), Counts { requests: 5, tokens: 1, refused: 4, faults: 5 });
}

#[tokio::test]
async fn ad_fs_has_a_path_and_an_issuer_of_its_own() {
    let mock = mock().await;
    let answer = post(&mock, "/adfs/oauth2/token", &[GRANT, SHOP, SECRET, SCOPE]).await;
    let body = answer.json();
    let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
    assert_eq!(claims.iss, "http://adfs.mock.example/adfs/services/trust");
    assert!(body.get("ext_expires_in").is_none());
    assert_eq!(post(&mock, "/adfs/oauth2/token/", &[GRANT, SHOP, SECRET, SCOPE]).await.status, 200);
}
