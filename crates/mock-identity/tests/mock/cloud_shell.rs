//! The token endpoint of Cloud Shell.

use mock_identity::{Answer, Counts, Endpoint, Fault, Mock, MockConfig};

use crate::client::{
    FORM, METADATA, Received, VAULT, assert_log_is_without, form, get, mock, post, send, text,
};

async fn ask(mock: &Mock, fields: &[(&str, &str)]) -> Received {
    post(mock, "/oauth2/token", &[FORM, METADATA[0]], &form(fields)).await
}

#[tokio::test]
async fn cloud_shell_answers_for_the_user_whose_shell_it_is() {
    let mock = mock().await;
    let body = ask(&mock, &[("resource", VAULT)]).await.json();
    let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
    assert_eq!((claims.idtyp.as_str(), &claims.oid), ("user", &mock.config().users[0].object_id));
    assert_eq!((claims.scp.as_deref(), &claims.xms_mirid), (Some("user_impersonation"), &None));
    assert!((3598..=3600).contains(&body["expires_in"].as_u64().unwrap()));
    assert_eq!(text(&body, "expires_on"), claims.exp.to_string());
    let seen = &mock.requests()[0];
    assert_eq!((seen.issued_to.as_deref(), seen.form[0].1.as_str()), (Some("maria"), VAULT));
    assert_eq!(mock.env(Endpoint::CloudShell), [("MSI_ENDPOINT", format!("{}/oauth2/token", mock.url()))]);
}

#[tokio::test]
async fn cloud_shell_takes_a_form_with_the_metadata_header_and_nothing_else() {
    let mock = mock().await;
    let fields = form(&[("resource", VAULT)]);
    let (json, both) = ([("Content-Type", "application/json"), METADATA[0]], [FORM, METADATA[0]]);
    let (path, query) = ("/oauth2/token", format!("/oauth2/token?resource={VAULT}"));
    let unsupported = "is not a supported MSI token audience. Supported audiences: https://";
    for (answer, status, words) in [
        (get(&mock, &query, &METADATA).await, 405, "Only POST"),
        (post(&mock, path, &[FORM], &fields).await, 400, "metadata header"),
        (post(&mock, path, &METADATA, &fields).await, 400, "application/x-www-form-urlencoded"),
        (post(&mock, path, &json, "{}").await, 400, "application/x-www-form-urlencoded"),
        (post(&mock, &query, &both, "").await, 400, "missing"),
        (ask(&mock, &[("resource", "")]).await, 400, "missing"),
        (ask(&mock, &[("resource", "https://nowhere.example")]).await, 400, unsupported),
        (ask(&mock, &[("SENTINEL-3", "SENTINEL-4")]).await, 400, "missing"),
    ] {
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(text(&answer.json()["error"], "message").contains(words), "{}", answer.text());
    }
    assert_log_is_without(&mock, &["SENTINEL"]);
}

#[tokio::test]
async fn cloud_shell_refuses_every_kind_of_id() {
    let mock = mock().await;
    for name in ["client_id", "clientid", "object_id", "principal_id", "msi_res_id", "mi_res_id"] {
        let answer = ask(&mock, &[("resource", VAULT), (name, "any")]).await;
        assert_eq!(answer.status, 400);
        assert!(text(&answer.json()["error"], "message").contains(name), "{}", answer.text());
    }
    let counts = mock.counters().of(Endpoint::CloudShell);
    assert_eq!(counts, Counts { requests: 6, tokens: 0, refused: 6, faults: 0 });
}

#[tokio::test]
async fn cloud_shell_survives_hostile_forms() {
    let mock = mock().await;
    let huge = form(&[("resource", &"a".repeat(70_000))]);
    let answer = send(&mock, "POST", "/oauth2/token", &[FORM, METADATA[0]], &huge).await.unwrap();
    assert_eq!(answer.status, 413);
    for body in ["%ff%fe=%ff", "&&&===", "resource=%zz", "resource"] {
        assert_eq!(post(&mock, "/oauth2/token", &[FORM, METADATA[0]], body).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn cloud_shell_without_a_user_says_so_and_fails_in_its_own_words() {
    let mock = Mock::start(MockConfig { users: Vec::new(), ..MockConfig::default() }).await.unwrap();
    let nobody = ask(&mock, &[("resource", VAULT)]).await;
    assert_eq!((nobody.status, text(&nobody.json()["error"], "message")), (400, "No user is signed in"));
    mock.fault(Fault::new(Endpoint::CloudShell, Answer::status(503)));
    let broken = ask(&mock, &[("resource", VAULT)]).await;
    assert_eq!((broken.status, text(&broken.json()["error"], "code")), (503, "ServerError"));
}
