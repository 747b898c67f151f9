//! The token endpoint of a job of Azure Pipelines, and what Entra ID makes of its tokens.

use mock_identity::{Answer, Counts, Credential, Endpoint, Fault, Mock, MockConfig};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    client::{Received, assert_log_is_without, claims, get, mock, receive, send, text, verified},
    entra::assert_refused,
    federation::{PIPELINE, present},
    secure::{self, token_path},
};

const SUPPRESS: (&str, &str) = ("X-TFS-FedAuthRedirect", "Suppress");
const VERSION: &str = "?api-version=7.1";

/// The path, the header with the job's token, and the query for its service connection
fn given(mock: &Mock) -> (String, String, String) {
    let [(_, url), (_, token), (_, connection)] = mock.env(Endpoint::AzurePipelines).try_into().unwrap();
    let origin = mock.tls_url().unwrap_or_else(|| mock.url());
    let path = url.strip_prefix(origin).unwrap().to_owned();
    (path, format!("Bearer {token}"), format!("{VERSION}&serviceConnectionId={connection}"))
}

async fn ask(mock: &Mock, query: &str) -> Received {
    let (path, token, _) = given(mock);
    let headers = [SUPPRESS, ("Authorization", &token)];
    send(mock, "POST", &format!("{path}{query}"), &headers, "").await.unwrap()
}

#[tokio::test]
async fn a_job_gets_a_token_of_ten_minutes_for_its_service_connection() {
    let mock = mock().await;
    let (_, token, query) = given(&mock);
    let answer = ask(&mock, &query).await;
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, JSON));
    let body = answer.json();
    let issued = text(&body, "oidcToken");
    let claims = claims(issued);
    assert_eq!(claims["iss"], "https://vstoken.dev.azure.com/7d9a1f6e-0000-4000-8000-000000000001");
    assert_eq!(claims["sub"], "sc://contoso/shop/production");
    assert_eq!(claims["aud"], "api://AzureADTokenExchange");
    let seconds = |name| claims[name].as_u64().unwrap();
    assert_eq!((seconds("exp") - seconds("iat"), seconds("iat") - seconds("nbf")), (600, 600));
    let expected = Counts { requests: 1, tokens: 1, ..Counts::default() };
    assert_eq!(mock.counters().of(Endpoint::AzurePipelines), expected);
    assert_eq!(mock.requests()[0].query[1].0, "serviceConnectionId");
    assert_log_is_without(&mock, &[issued, token.strip_prefix("Bearer ").unwrap()]);
}

#[tokio::test]
async fn without_a_connection_the_token_is_the_pipelines_and_an_audience_changes_nothing() {
    let mock = mock().await;
    let body = ask(&mock, &format!("{VERSION}&audience=other")).await.json();
    let claims = claims(text(&body, "oidcToken"));
    assert_eq!(claims["sub"], "p://contoso/shop/deploy");
    assert_eq!(claims["aud"], "api://AzureADTokenExchange");
}

#[tokio::test]
async fn a_connection_that_the_stage_does_not_name_is_refused_with_a_text_in_the_place_of_a_value() {
    let mock = mock().await;
    let id = "99999999-0000-4000-8000-000000000000";
    let answer = ask(&mock, &format!("{VERSION}&serviceConnectionId={id}")).await;
    let body = answer.json();
    let words = format!("There is no explicit reference to service connection {id} from current stage");
    assert_eq!(answer.status, 400);
    assert!(text(&body, "value").starts_with(&words), "{body}");
    assert_eq!(body["count"], text(&body, "value").len());
    assert_traced(&answer);
}

#[tokio::test]
async fn a_program_that_is_not_known_is_refused_and_a_browser_is_led_to_the_sign_in_page() {
    let mock = mock().await;
    let (path, _, query) = given(&mock);
    let target = format!("{path}{query}");
    let stranger = ("Authorization", "Bearer stranger");
    for (headers, words) in [
        (&[SUPPRESS, stranger][..], "TF400813: The user 'aaaaaaaa-"),
        (&[SUPPRESS], "TF400813: Resource not available"),
    ] {
        let answer = send(&mock, "POST", &target, headers, "").await.unwrap();
        let body = answer.json();
        assert_eq!((answer.status, &body["typeKey"]), (401, &json!("UnauthorizedRequestException")));
        assert!(text(&body, "message").starts_with(words), "{body}");
        assert!(answer.headers.contains_key("www-authenticate"));
        assert_traced(&answer);
    }
    let page = send(&mock, "POST", &target, &[stranger], "").await.unwrap();
    assert_eq!((page.status, page.headers["content-type"].as_str()), (203, HTML));
    let moved = send(&mock, "POST", &target, &[], "").await.unwrap();
    let location = moved.headers["location"].strip_prefix(mock.url()).expect("the mock itself");
    assert_eq!(moved.status, 302);
    assert!(location.starts_with("/_signin?realm="), "{location}");
    let followed = get(&mock, location, &[]).await;
    assert_eq!((followed.status, followed.headers["content-type"].as_str()), (200, HTML));
    assert_eq!(mock.counters().of(Endpoint::AzurePipelines).tokens, 0);
}

#[tokio::test]
async fn what_is_no_post_of_a_known_version_is_refused_in_the_words_of_azure_devops() {
    let mock = mock().await;
    let (path, token, query) = given(&mock);
    let headers = [SUPPRESS, ("Authorization", token.as_str())];
    let get = get(&mock, &format!("{path}?audience=x"), &headers).await;
    let words = "The requested resource does not support http method 'GET'.";
    assert_eq!((get.status, get.json()), (405, json!({ "count": 1, "value": { "Message": words } })));
    for (query, key) in
        [("", "VssVersionNotSpecifiedException"), ("?api-version=8.0", "VssVersionOutOfRangeException")]
    {
        let answer = ask(&mock, query).await;
        assert_eq!((answer.status, &answer.json()["typeKey"]), (400, &json!(key)));
    }
    let mut stream = TcpStream::connect(mock.url().strip_prefix("http://").unwrap()).await.unwrap();
    let bare = format!(
        "POST {path}{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {token}\r\n\r\n"
    );
    stream.write_all(bare.as_bytes()).await.unwrap();
    assert_eq!(receive(&mut stream).await.unwrap().status, 411, "without a length");
}

#[tokio::test]
async fn a_fault_has_the_form_of_azure_devops() {
    let mock = mock().await;
    let (_, _, query) = given(&mock);
    for (status, words) in [(401, "TF400813"), (400, "explicit reference"), (503, "unavailable")] {
        mock.fault(Fault::new(Endpoint::AzurePipelines, Answer::status(status)));
        let answer = ask(&mock, &query).await;
        assert_eq!(answer.status, status);
        assert!(answer.text().contains(words), "{}", answer.text());
        assert_traced(&answer);
    }
}

#[tokio::test]
async fn entra_takes_the_token_of_the_connection_that_the_app_trusts_and_not_the_pipelines() {
    let mock = secure::mock().await;
    let (path, (_, _, query)) = (token_path(&mock), given(&mock));
    let good = ask(&mock, &query).await.json();
    let answer = present(&mock, &path, PIPELINE, text(&good, "oidcToken")).await;
    assert_eq!(verified(&mock, &answer).appid, PIPELINE);
    let other = ask(&mock, VERSION).await.json();
    let answer = present(&mock, &path, PIPELINE, text(&other, "oidcToken")).await;
    assert_refused(&answer, 401, "invalid_client", 700_213);
}

#[tokio::test]
async fn a_connection_can_have_an_issuer_of_its_own_and_there_need_be_no_job() {
    let mut config = secure::config();
    let pipelines = config.azure_pipelines.as_mut().unwrap();
    pipelines.service_connections[0].issuer = Some("https://issuer.example".to_owned());
    let mock = Mock::start(config).await.unwrap();
    let body = ask(&mock, &given(&mock).2).await.json();
    assert_eq!(claims(text(&body, "oidcToken"))["iss"], "https://issuer.example");
    assert!(mock.app_env(Credential::AzurePipelines).is_empty(), "no app trusts it");
    let none = Mock::start(MockConfig { azure_pipelines: None, ..MockConfig::default() }).await.unwrap();
    let (path, ..) = given(&mock);
    let answer = send(&none, "POST", &path, &[], "").await.unwrap();
    assert_eq!((answer.status, none.env(Endpoint::AzurePipelines).len()), (404, 0));
    assert!(answer.text().contains("[azure-pipelines]"), "{}", answer.text());
}

#[track_caller]
fn assert_traced(answer: &Received) {
    assert_eq!(answer.headers["x-vss-e2eid"].len(), 36);
    assert!(answer.headers["x-msedge-ref"].starts_with("Ref A: "));
}

const JSON: &str = "application/json; charset=utf-8; api-version=7.1";
const HTML: &str = "text/html; charset=utf-8";
