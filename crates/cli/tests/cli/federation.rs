//! Tokens for an app that trusts another platform, whose endpoint the mock plays.

use mock_identity::{Answer, Counts, Credential, Endpoint, Fault, Mock, MockConfig};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::harness::{Cli, VAULT, text};

const PLATFORMS: [(Credential<'static>, Endpoint); 3] = [
    (Credential::GithubActions, Endpoint::GithubActions),
    (Credential::AzurePipelines, Endpoint::AzurePipelines),
    (Credential::GcpMetadata, Endpoint::GcpMetadata),
];
const PIPELINE: &str = "77778888-bbbb-9999-cccc-0000dddd1111";

/// The command as a job or a machine of that platform has it, with an IMDS that none of them asks.
async fn command(credential: Credential<'_>) -> (Cli, NamedTempFile) {
    let config = MockConfig::default();
    let cli = Cli::at(MockConfig { listen_tls: Some(config.listen), ..config }).await;
    let roots = NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), cli.mock.ca_pem().unwrap()).unwrap();
    let environment = cli.mock.app_env(credential);
    assert!(environment.iter().any(|(name, _)| *name == "TOKEN_BROKER_ASSERTION"));
    let cli = cli.with_all(&environment).with("SSL_CERT_FILE", roots.path().to_str().unwrap());
    (cli.with("TOKEN_BROKER_BUDGET_MS", "5000"), roots)
}

fn counts(mock: &Mock, endpoint: Endpoint) -> (u64, u64) {
    let Counts { requests, tokens, .. } = mock.counters().of(endpoint);
    (requests, tokens)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_platform_gets_a_token_by_one_request_to_it_and_one_to_entra() {
    for (credential, endpoint) in PLATFORMS {
        let (cli, _roots) = command(credential).await;
        let output = cli.get(&["--output", "json"]).await;
        assert_eq!(output.status.code(), Some(0), "{credential:?}: {}", text(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["source"], "federated-assertion", "{answer}");
        let token = text(&cli.get(&["--output", "token"]).await.stdout);
        let claims = cli.mock.verify(token.trim(), "https://vault.azure.net").unwrap();
        assert_eq!(claims.appid, PIPELINE);
        assert_eq!(counts(&cli.mock, endpoint), (2, 2), "{credential:?}: one of each call");
        assert_eq!(counts(&cli.mock, Endpoint::Entra), (2, 2));
        assert_eq!(cli.mock.requests().len(), 4, "nobody else is asked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_the_request_to_the_platform_and_sends_it_when_it_is_told_to_try() {
    for ((credential, endpoint), shown) in PLATFORMS.into_iter().zip([
        "GET URL/63//idtoken/3f0d7e43-0000-4000-8000-000000000001/16e10cd4-0000-5000-8000-000000000002?api-version=2.0&audience=api%3A%2F%2FAzureADTokenExchange",
        "POST URL/contoso/590cfd2a-0000-4000-8000-000000000001/_apis/distributedtask/hubs/build/plans/2e011469-0000-4000-8000-000000000002/jobs/5ee5fa9b-0000-4000-8000-000000000003/oidctoken?api-version=7.1&serviceConnectionId=c0ffee00-1111-4222-8333-444455556666",
        "GET URL/computeMetadata/v1/instance/service-accounts/default/identity?audience=api%3A%2F%2FAzureADTokenExchange",
    ]) {
        let (cli, _roots) = command(credential).await;
        let url = if endpoint == Endpoint::GcpMetadata { cli.mock.url() } else { cli.mock.tls_url().unwrap() };
        let output = cli.run(&["explain"]).await;
        let report = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        for part in [&shown.replace("URL", url), "federated-assertion: ready", "assertion-issuer: ready"] {
            assert!(report.contains(part), "{part} is not in {report}");
        }
        assert_eq!(cli.mock.requests().len(), 0);
        let output = cli.run(&["explain", "--try", "--scope", VAULT]).await;
        let tried = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(tried.contains("federated-assertion: used"), "{tried}");
        assert_eq!((cli.mock.requests().len(), counts(&cli.mock, endpoint)), (2, (1, 1)));
        for secret in ["a-request-token-of-github", "an-access-token-of-azure-devops", "eyJ"] {
            assert!(!report.contains(secret) && !tried.contains(secret), "{secret}: {report} {tried}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_platform_refuses_is_told_in_its_words_with_what_to_do() {
    for (credential, variable, value, words) in [
        (
            Credential::GithubActions,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
            "s3ntinel",
            ["token signature is invalid", "id-token: write"],
        ),
        (
            Credential::GithubActions,
            "TOKEN_BROKER_ASSERTION_AUDIENCE",
            "https://github.com/fabrikam",
            ["Can't issue ID_TOKEN for audience", "TOKEN_BROKER_ASSERTION_AUDIENCE"],
        ),
        (
            Credential::AzurePipelines,
            "SYSTEM_ACCESSTOKEN",
            "s3ntinel",
            ["TF400813: The user 'aaaaaaaa-", "SYSTEM_ACCESSTOKEN: $(System.AccessToken)"],
        ),
        (
            Credential::AzurePipelines,
            "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
            "99999999-0000-4000-8000-000000000000",
            [
                "There is no explicit reference to service connection 99999999",
                "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
            ],
        ),
    ] {
        let (cli, _roots) = command(credential).await;
        let (code, line) = cli.with(variable, value).refusal().await;
        assert_eq!(code, 6, "{line}");
        assert!(words.iter().all(|words| line.contains(words)) && line.contains("; fix: "), "{line}");
        assert!(!line.contains("s3ntinel"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preset_of_another_platform_is_told_by_the_method_that_it_refuses() {
    let (cli, _roots) = command(Credential::AzurePipelines).await;
    let of_pipelines = cli.mock.env(Endpoint::AzurePipelines);
    let cli = cli
        .with("TOKEN_BROKER_ASSERTION", "github")
        .with("ACTIONS_ID_TOKEN_REQUEST_URL", &of_pipelines[0].1)
        .with("ACTIONS_ID_TOKEN_REQUEST_TOKEN", &of_pipelines[1].1);
    let (code, line) = cli.refusal().await;
    assert!(code == 6 && line.contains("405") && line.contains("POST"), "{code} {line}");
    assert!(line.contains("does not support http method 'GET'"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_not_started_and_an_issuer_that_is_busy_are_asked_again() {
    for (answer, endpoint, credential) in [
        (Answer::status(403), Endpoint::GithubActions, Credential::GithubActions),
        (Answer::retry_after(429, "1"), Endpoint::GithubActions, Credential::GithubActions),
        (Answer::status(503), Endpoint::AzurePipelines, Credential::AzurePipelines),
        (Answer::status(503), Endpoint::GcpMetadata, Credential::GcpMetadata),
    ] {
        let (cli, _roots) = command(credential).await;
        cli.mock.fault(Fault::new(endpoint, answer));
        let output = cli.get(&[]).await;
        assert_eq!(output.status.code(), Some(0), "{endpoint:?}: {}", text(&output.stderr));
        assert_eq!((counts(&cli.mock, endpoint), counts(&cli.mock, Endpoint::Entra)), ((2, 1), (1, 1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_token_never_goes_to_entra() {
    for answer in [
        Answer::Html,
        Answer::Garbage,
        Answer::Empty,
        Answer::Redirect("https://127.0.0.1:9/".to_owned()),
        Answer::Oversize,
    ] {
        let (cli, _roots) = command(Credential::AzurePipelines).await;
        cli.mock.fault(Fault::new(Endpoint::AzurePipelines, answer.clone()));
        let (code, line) = cli.refusal().await;
        assert_eq!(code, 9, "{answer:?}: {line}");
        assert_eq!(counts(&cli.mock, Endpoint::Entra), (0, 0), "{answer:?}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entras_word_that_no_credential_fits_is_told_with_the_subject() {
    let (cli, _roots) = command(Credential::GithubActions).await;
    cli.mock.fault(Fault::new(Endpoint::GithubActions, Answer::WrongIdentity));
    let (code, line) = cli.refusal().await;
    assert!(code == 6 && line.contains("AADSTS700213") && line.contains("another-subject"), "{code} {line}");
}
