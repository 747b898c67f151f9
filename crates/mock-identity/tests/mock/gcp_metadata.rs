//! The metadata server of Google Cloud, and what Entra ID makes of its tokens.

use mock_identity::{Answer, Counts, Endpoint, Fault, Mock, MockConfig};
use serde_json::Value;

use crate::{
    client::{assert_log_is_without, claims, get, mock, send, verified},
    federation::{PIPELINE, present},
    secure::{self, token_path},
};

const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");
const EXCHANGE: &str = "?audience=api%3A%2F%2FAzureADTokenExchange";

fn target(account: &str, query: &str) -> String {
    format!("/computeMetadata/v1/instance/service-accounts/{account}/identity{query}")
}

#[tokio::test]
async fn a_machine_gets_a_token_of_an_hour_as_text() {
    let mock = mock().await;
    let account = mock.config().gcp_metadata.as_ref().unwrap().service_account.clone();
    for account in ["default", &account] {
        let answer = get(&mock, &target(account, EXCHANGE), &[FLAVOR]).await;
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "text/html"));
        assert_eq!(answer.headers["metadata-flavor"], "Google");
        let claims = claims(answer.text());
        assert_eq!(claims["iss"], "https://accounts.google.com");
        assert_eq!(claims["sub"], "112233445566778899001");
        assert_eq!(claims["aud"], "api://AzureADTokenExchange");
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
        assert_eq!((&claims["email"], &claims["google"]), (&Value::Null, &Value::Null));
        assert_log_is_without(&mock, &[answer.text()]);
    }
    let expected = Counts { requests: 2, tokens: 2, ..Counts::default() };
    assert_eq!(mock.counters().of(Endpoint::GcpMetadata), expected);
}

#[tokio::test]
async fn a_token_in_full_tells_of_the_machine_and_is_for_the_same_subject() {
    let mock = mock().await;
    let answer = get(&mock, &target("default", &format!("{EXCHANGE}&format=full")), &[FLAVOR]).await;
    let claims = claims(answer.text());
    assert_eq!((&claims["email_verified"], &claims["sub"]), (&true.into(), &"112233445566778899001".into()));
    assert!(claims["google"]["compute_engine"]["instance_id"].is_string());
}

#[tokio::test]
async fn the_service_account_is_a_directory_that_can_be_read_whole() {
    let mock = mock().await;
    let directory = "/computeMetadata/v1/instance/service-accounts/default/";
    let whole = get(&mock, &format!("{directory}?recursive=true"), &[FLAVOR]).await;
    assert_eq!(whole.headers["content-type"], "application/json");
    assert_eq!(whole.json()["email"], "shop@contoso.iam.gserviceaccount.com");
    let listed = get(&mock, directory, &[FLAVOR]).await;
    assert!(listed.text().contains("identity\n"), "{}", listed.text());
    let file = get(&mock, directory.trim_end_matches('/'), &[FLAVOR]).await;
    assert_eq!((file.status, &file.headers["location"]), (301, &format!("{}{directory}", mock.url())));
    assert_eq!(mock.counters().of(Endpoint::GcpMetadata).tokens, 0);
}

#[tokio::test]
async fn what_the_metadata_server_refuses_is_refused_as_it_does() {
    let mock = mock().await;
    let good = target("default", EXCHANGE);
    let forwarded = [FLAVOR, ("X-Forwarded-For", "10.0.0.1")];
    let (without, empty) = (target("default", ""), target("default", "?audience="));
    let unknown = target("other@contoso.iam.gserviceaccount.com", EXCHANGE);
    for (method, target, headers, status, words) in [
        ("GET", &good, &[][..], 403, "Missing Metadata-Flavor:Google header."),
        ("GET", &good, &[("Metadata-Flavor", "google")], 403, "Missing Metadata-Flavor:Google header."),
        ("GET", &good, &forwarded, 403, "does not have permission"),
        ("POST", &good, &[FLAVOR], 405, "Error 405"),
        ("GET", &without, &[FLAVOR], 400, "non-empty audience parameter required"),
        ("GET", &empty, &[FLAVOR], 400, "non-empty audience parameter required"),
        ("GET", &unknown, &[FLAVOR], 404, "Error 404 (Not Found)!!1"),
        ("GET", &"/computeMetadata/v1/instance/id".to_owned(), &[FLAVOR], 404, "Error 404"),
    ] {
        let answer = send(&mock, method, target, headers, "").await.unwrap();
        assert_eq!(
            (answer.status, answer.headers["metadata-flavor"].as_str()),
            (status, "Google"),
            "{target}"
        );
        assert!(answer.text().contains(words), "{}", answer.text());
        assert!(answer.headers["content-type"].starts_with("text/html"));
    }
    assert_eq!(mock.counters().of(Endpoint::GcpMetadata).tokens, 0);
}

#[tokio::test]
async fn the_root_is_the_metadata_servers_for_who_asks_for_one_and_else_the_start_page() {
    let mock = mock().await;
    let found = get(&mock, "/", &[FLAVOR]).await;
    assert_eq!((found.status, found.text()), (200, "computeMetadata/\n"));
    assert_eq!(found.headers["metadata-flavor"], "Google");
    let page = get(&mock, "/", &[]).await;
    assert!(page.text().starts_with("A mock of ") && !page.headers.contains_key("metadata-flavor"));
    assert_eq!(mock.counters().of(Endpoint::GcpMetadata).requests, 1);
    let none = Mock::start(MockConfig { gcp_metadata: None, ..MockConfig::default() }).await.unwrap();
    for target in ["/", &target("default", EXCHANGE)] {
        let answer = get(&none, target, &[FLAVOR]).await;
        assert!(answer.status == 404 && answer.text().contains("[gcp-metadata]"), "{}", answer.text());
    }
    assert!(none.env(Endpoint::GcpMetadata).is_empty());
}

#[tokio::test]
async fn a_fault_is_a_page_of_the_metadata_server() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::GcpMetadata, Answer::retry_after(503, "2")));
    let answer = get(&mock, &target("default", EXCHANGE), &[FLAVOR]).await;
    assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (503, "2"));
    assert!(answer.text().contains("Error 503 (Service Unavailable)!!1"), "{}", answer.text());
}

#[tokio::test]
async fn entra_takes_the_machines_token_for_the_app_that_trusts_its_service_account() {
    let mock = secure::mock().await;
    let answer = get(&mock, &target("default", EXCHANGE), &[FLAVOR]).await;
    let answer = present(&mock, &token_path(&mock), PIPELINE, answer.text()).await;
    assert_eq!(verified(&mock, &answer).appid, PIPELINE);
}
