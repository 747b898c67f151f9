//! Google Cloud: google-auth with `token-broker serve`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use host_test::endpoint::Program;
use mock_identity::{Endpoint, Mock};
use serde_json::{Value, json};
use test_support::sdk::{self, Sdk};

use crate::stage::{AUDIENCE, Run, Watch, example, platform};
use crate::sts::Sts;

#[tokio::test(flavor = "multi_thread")]
async fn four_refreshes_of_google_auth_are_one_request_to_imds() {
    let mock = Arc::new(platform(86_400).await);
    let (sts, endpoint, run) = (Sts::google(&mock).await, serve(&mock).await, Run::new());
    let got = refresh(&run.example("google.json", &at(&endpoint, &sts)), "4").await;
    let tokens = got["tokens"].as_array().unwrap();
    assert!(
        tokens.len() == 4 && tokens.iter().all(|token| token.as_str().unwrap().starts_with("ya29.")),
        "{got}"
    );
    let proofs = sts.sent("subject_token");
    assert!(proofs.len() == 4 && proofs.iter().all(|proof| *proof == proofs[0]), "not one token");
    mock.verify(&proofs[0], AUDIENCE).unwrap();
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn google_auth_takes_the_token_from_a_file_as_well() {
    let mock = Arc::new(platform(86_400).await);
    let (sts, run) = (Sts::google(&mock).await, Run::new());
    let _watch = Watch::start(&mock, AUDIENCE, &run.path("google"), ",format=json").await;
    let mut config: Value = serde_json::from_str(&example("google.json")).unwrap();
    let format = config["credential_source"]["format"].take();
    config["credential_source"] = json!({ "file": run.path("google"), "format": format });
    config["token_url"] = format!("{}/v1/token", sts.url()).into();
    fs::write(run.path("google.json"), config.to_string()).unwrap();
    let got = refresh(&run.path("google.json"), "2").await;
    assert_eq!(got["tokens"].as_array().unwrap().len(), 2, "{got}");
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_the_file_is_told() {
    let mock = Arc::new(platform(86_400).await);
    let (sts, endpoint, run) = (Sts::google(&mock).await, serve(&mock).await, Run::new());
    for (right, wrong, told) in [
        // The answer of the endpoint, in its words.
        (r#""Metadata": "True""#, r#""Accept": "*/*""#, "bad_request_102"),
        // The whole JSON goes out, and only Google notices.
        (
            r#""type": "json", "subject_token_field_name": "access_token""#,
            r#""type": "text""#,
            "invalid_grant",
        ),
        (r#""access_token""#, r#""token""#, "key 'token'"),
    ] {
        let replacements = [&at(&endpoint, &sts)[..], &[(right, wrong)]].concat();
        let got = refresh(&run.example("google.json", &replacements), "1").await;
        let error = got["error"].as_str().unwrap_or_default();
        assert!(error.contains(told), "{got}");
    }
}

async fn serve(mock: &Mock) -> Program {
    Program::token_broker(&mock.env(Endpoint::Imds), None).await.unwrap()
}

/// The example's addresses, and where the two are in this test.
fn at<'a>(endpoint: &'a Program, sts: &Sts) -> [(&'static str, &'a str); 2] {
    [("http://127.0.0.1:4141", endpoint.url()), ("https://sts.googleapis.com", sts.url().leak())]
}

async fn refresh(file: &Path, times: &str) -> Value {
    let mut script = Sdk::Python.script("google_refresh");
    sdk::run(script.arg(file).arg(times)).await.unwrap()
}
