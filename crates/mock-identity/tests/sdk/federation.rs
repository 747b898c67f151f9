//! Tokens for an app that trusts a job of Azure Pipelines, as each SDK asks for them

use mock_identity::{Answer, Counts, Credential, Endpoint, Environment, Fault, Mock};

use super::{ARM, answered, assert_error, entra::assert_app, get_token, mock_with_tls, refused};
use crate::ASSERTIONS_A_TOKEN;

const CREDENTIAL: [&str; 2] = ["azure-pipelines", ARM];

/// The environment of the job with another value of a variable
fn job_with(mock: &Mock, name: &str, value: &str) -> Environment {
    let mut environment = mock.app_env(Credential::AzurePipelines);
    environment.iter_mut().find(|(held, _)| *held == name).unwrap().1 = value.to_owned();
    environment
}

#[tokio::test]
async fn azure_pipelines_credential_gets_a_token_by_the_service_connection_of_the_job() {
    let mock = mock_with_tls().await;
    let seen = get_token(&mock, mock.app_env(Credential::AzurePipelines), &CREDENTIAL).await;
    assert_app(&mock, &seen, "pipeline");
    assert_eq!(mock.counters().of(Endpoint::AzurePipelines), answered(ASSERTIONS_A_TOKEN));
    let request = &mock.requests()[0];
    assert_eq!((request.method.as_str(), request.headers["content-length"].as_str()), ("POST", "0"));
    assert_eq!(request.headers["x-tfs-fedauthredirect"], "Suppress");
}

#[tokio::test]
async fn azure_pipelines_credential_hears_why_it_is_refused_in_the_words_of_azure_devops() {
    let mock = mock_with_tls().await;
    for (name, value, words) in [
        ("SYSTEM_ACCESSTOKEN", "stranger", "TF400813: The user 'aaaaaaaa-"),
        (
            "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
            "99999999-0000-4000-8000-000000000000",
            "There is no explicit reference to service connection",
        ),
    ] {
        mock.reset();
        let seen = get_token(&mock, job_with(&mock, name, value), &CREDENTIAL).await;
        assert_error(&seen, "failed", words);
        assert_eq!(mock.counters().of(Endpoint::AzurePipelines), refused(1));
        assert_eq!(mock.counters().of(Endpoint::Entra), Counts::default());
    }
}

#[tokio::test]
async fn azure_pipelines_credential_hears_of_entra_that_no_credential_of_the_app_fits() {
    let mock = mock_with_tls().await;
    mock.fault(Fault::new(Endpoint::AzurePipelines, Answer::WrongIdentity).times(ASSERTIONS_A_TOKEN));
    let seen = get_token(&mock, mock.app_env(Credential::AzurePipelines), &CREDENTIAL).await;
    assert_error(&seen, "failed", "AADSTS700213");
}
