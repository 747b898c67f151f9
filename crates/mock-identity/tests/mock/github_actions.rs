//! The token endpoint of a job of GitHub Actions, and what Entra ID makes of its tokens.

use std::time::Duration;

use mock_identity::{Answer, Counts, Credential, Endpoint, Fault, Mock, MockConfig};

use crate::{
    client::{Received, assert_log_is_without, claims, get, mock, send, text, verified},
    entra::{SHOP, assert_refused},
    federation::{PIPELINE, present},
    secure::{self, token_path},
};

const EXCHANGE: &str = "&audience=api%3A%2F%2FAzureADTokenExchange";

/// The path and query that the job is given, and the header with its token
fn given(mock: &Mock) -> (String, (&'static str, String)) {
    let [(_, url), (_, token)] = mock.env(Endpoint::GithubActions).try_into().unwrap();
    let origin = mock.tls_url().unwrap_or_else(|| mock.url());
    (url.strip_prefix(origin).unwrap().to_owned(), ("Authorization", format!("bearer {token}")))
}

async fn ask(mock: &Mock, more: &str) -> Received {
    let (target, (name, value)) = given(mock);
    get(mock, &format!("{target}{more}"), &[(name, &value)]).await
}

#[tokio::test]
async fn a_job_gets_a_token_of_five_minutes_for_the_audience_it_asks_for() {
    let mock = mock().await;
    let answer = ask(&mock, EXCHANGE).await;
    let body = answer.json();
    let token = text(&body, "value");
    assert_eq!((answer.status, &body["count"]), (200, &token.len().into()));
    let claims = claims(token);
    assert_eq!(claims["iss"], "https://token.actions.githubusercontent.com");
    assert_eq!(claims["sub"], mock.config().github_actions.as_ref().unwrap().subject);
    assert_eq!(claims["aud"], "api://AzureADTokenExchange");
    let seconds = |name| claims[name].as_u64().unwrap();
    assert_eq!((seconds("exp") - seconds("iat"), seconds("iat") - seconds("nbf")), (300, 600));
    let expected = Counts { requests: 1, tokens: 1, ..Counts::default() };
    assert_eq!(mock.counters().of(Endpoint::GithubActions), expected);
    assert_log_is_without(&mock, &[token, &given(&mock).1.1]);
}

#[tokio::test]
async fn without_an_audience_it_is_the_url_of_the_owner() {
    let mock = mock().await;
    for more in ["", "&audience="] {
        let body = ask(&mock, more).await.json();
        assert_eq!(claims(text(&body, "value"))["aud"], "https://github.com/contoso");
    }
}

#[tokio::test]
async fn what_github_refuses_is_refused_in_its_form() {
    let mock = mock().await;
    let (target, (name, value)) = given(&mock);
    let bearer = [(name, value.as_str())];
    let stranger = [(name, "Bearer stranger")];
    let basic = [(name, "Basic c3RyYW5nZXI=")];
    let without_version = target.split('?').next().unwrap();
    let other_audience = format!("{target}&audience=https%3A%2F%2Fgithub.com%2Fapps%2Fx");
    for (method, target, headers, status, words) in [
        ("POST", target.as_str(), &bearer[..], 405, "method"),
        ("GET", &target, &[], 401, "missing"),
        ("GET", &target, &basic, 401, "missing"),
        ("GET", &target, &stranger, 401, "signature"),
        ("GET", without_version, &bearer, 400, "api-version"),
        (
            "GET",
            &other_audience,
            &bearer,
            400,
            "Can't issue ID_TOKEN for audience 'https://github.com/apps/x'",
        ),
    ] {
        let answer = send(&mock, method, target, headers, "").await.unwrap();
        let body = answer.json();
        assert_eq!((answer.status, &body["statusCode"]), (status, &status.into()), "{method} {target}");
        assert_eq!(body["source"], "actions-run-service");
        assert!(text(&body, "errorMessage").contains(words), "{body}");
    }
    assert_eq!(mock.counters().of(Endpoint::GithubActions).tokens, 0);
}

#[tokio::test]
async fn a_client_that_loses_the_double_slash_finds_nothing() {
    let mock = mock().await;
    let (target, (name, value)) = given(&mock);
    assert!(target.contains("//idtoken/"), "{target}");
    let answer = get(&mock, &target.replace("//", "/"), &[(name, &value)]).await;
    assert_eq!((answer.status, mock.counters().of(Endpoint::Unknown).requests), (404, 1));
}

#[tokio::test]
async fn a_job_that_has_not_started_is_told_so_as_often_as_a_fault_wants() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::GithubActions, Answer::status(403)));
    let early = ask(&mock, EXCHANGE).await;
    assert_eq!(early.status, 403);
    assert_eq!(early.json()["errorMessage"], "Can't issue ID_TOKEN for job in 'Pending' state");
    assert_eq!(ask(&mock, EXCHANGE).await.status, 200);
}

#[tokio::test]
async fn entra_takes_the_jobs_token_for_the_app_that_trusts_the_job_and_its_audience() {
    let mock = secure::mock().await;
    let path = token_path(&mock);
    let good = ask(&mock, EXCHANGE).await.json();
    let answer = present(&mock, &path, PIPELINE, text(&good, "value")).await;
    assert_eq!(verified(&mock, &answer).appid, PIPELINE);
    let default = ask(&mock, "").await.json();
    let answer = present(&mock, &path, PIPELINE, text(&default, "value")).await;
    assert_refused(&answer, 401, "invalid_client", 700_212);
    mock.fault(Fault::new(Endpoint::GithubActions, Answer::WrongIdentity));
    let other = ask(&mock, EXCHANGE).await.json();
    let answer = present(&mock, &path, PIPELINE, text(&other, "value")).await;
    assert_refused(&answer, 401, "invalid_client", 700_213);
}

#[tokio::test]
async fn entra_takes_the_jobs_token_for_no_other_app_and_not_after_its_end() {
    let mock = secure::mock().await;
    let path = token_path(&mock);
    let good = ask(&mock, EXCHANGE).await.json();
    let elsewhere = present(&mock, &path, SHOP.1, text(&good, "value")).await;
    assert_refused(&elsewhere, 400, "invalid_request", 70_021);
    let app = mock.config().apps.iter().find(|app| app.client_id == PIPELINE).unwrap();
    let ended = mock.federated_token(&app.federated_credentials[0], Duration::ZERO).unwrap();
    assert_refused(&present(&mock, &path, PIPELINE, &ended).await, 401, "invalid_client", 700_024);
}

#[tokio::test]
async fn without_the_section_there_is_no_job_and_no_environment_of_one() {
    let config = MockConfig { github_actions: None, ..secure::config() };
    let mock = Mock::start(config).await.unwrap();
    assert!(mock.env(Endpoint::GithubActions).is_empty());
    assert!(mock.app_env(Credential::GithubActions).is_empty());
    let answer = get(&mock, "/63//idtoken/run/job?api-version=2.0", &[]).await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("[github-actions]"), "{}", answer.text());
}
