//! The protocol of 2017: App Service's with its own dates, and Azure Machine Learning's, which refuses in plain words.

use mock_identity::{Answer, Counts, DateForm, Endpoint, Fault, Mock, MockConfig};
use serde_json::json;

use crate::client::{Received, SYSTEM, VAULT, assert_log_is_without, get, mock, post, text, verified};

use Endpoint::{AppService2017, AzureMl};

fn path(endpoint: Endpoint) -> &'static str {
    if endpoint == AzureMl { "/msi/auth" } else { "/2017/msi/token" }
}

fn secret(mock: &Mock, endpoint: Endpoint) -> String {
    let config = mock.config();
    if endpoint == AzureMl { &config.azure_ml.secret } else { &config.app_service_2017.secret }.clone()
}

async fn ask(mock: &Mock, endpoint: Endpoint, parameters: &str) -> Received {
    let target = format!("{}?api-version=2017-09-01&resource={VAULT}{parameters}", path(endpoint));
    get(mock, &target, &[("secret", &secret(mock, endpoint))]).await
}

#[tokio::test]
async fn app_service_2017_writes_dates_as_its_platform_did() {
    for dates in [DateForm::Linux, DateForm::Windows] {
        let mut config = MockConfig::default();
        config.app_service_2017.dates = dates;
        let mock = Mock::start(config).await.unwrap();
        let answer = ask(&mock, AppService2017, "").await;
        assert_eq!((answer.status, verified(&mock, &answer).appid.as_str()), (200, SYSTEM));
        let body = answer.json();
        let expires_on = text(&body, "expires_on");
        match dates {
            DateForm::Linux => {
                let digits = expires_on.replace(|c: char| c.is_ascii_digit(), "#");
                assert_eq!(digits, "##/##/#### ##:##:## +##:##");
            }
            DateForm::Windows => {
                let rest = expires_on.trim_start_matches(|c: char| c.is_ascii_digit() || "/: ".contains(c));
                assert!(["AM +00:00", "PM +00:00"].contains(&rest), "{expires_on}");
            }
        }
        assert_eq!((text(&body, "resource"), text(&body, "token_type")), (VAULT, "Bearer"));
        assert_eq!(body.as_object().unwrap().len(), 4);
    }
}

#[tokio::test]
async fn azure_ml_answers_with_an_integer_expires_on() {
    let mock = mock().await;
    let answer = ask(&mock, AzureMl, "").await;
    let (body, claims) = (answer.json(), verified(&mock, &answer));
    assert_eq!((claims.appid.as_str(), body["expires_on"].as_u64()), (SYSTEM, Some(claims.exp)));
    assert_eq!((text(&body, "resource"), text(&body, "token_type")), (VAULT, "Bearer"));
    let counts = mock.counters().of(AzureMl);
    assert_eq!(counts, Counts { requests: 1, tokens: 1, refused: 0, faults: 0 });
}

#[tokio::test]
async fn both_know_clientid_alone_and_take_an_empty_one_for_none() {
    let mock = mock().await;
    let [orders, reports] = [1, 2].map(|nth| mock.config().identities[nth].client_id.clone());
    for (endpoint, id, unknown) in [
        (AppService2017, orders, "No MSI found for specified ClientId"),
        (AzureMl, reports, "Token not found"),
    ] {
        for (parameter, appid) in [
            (format!("&clientid={id}"), id.as_str()),
            (format!("&clientid={}", id.to_uppercase()), &id),
            ("&clientid=".to_owned(), SYSTEM),
            (format!("&client_id={id}"), SYSTEM),
        ] {
            let answer = ask(&mock, endpoint, &parameter).await;
            assert_eq!(verified(&mock, &answer).appid, appid, "{endpoint:?} {parameter}");
        }
        let refused = ask(&mock, endpoint, "&clientid=unknown").await;
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains(unknown), "{}", refused.text());
        let asked = mock.requests().into_iter().find(|request| request.endpoint == endpoint).unwrap();
        assert_eq!(asked.query[2], ("clientid".to_owned(), id));
    }
}

#[tokio::test]
async fn both_refuse_another_secret_version_audience_and_method() {
    for (endpoint, wrong, empty) in [
        (AppService2017, "secret header", "secret header"),
        (AzureMl, "Invalid secret token header: SENTINEL-1.", "Invalid secret token header: ."),
    ] {
        let mock = mock().await;
        let (path, secret) = (path(endpoint), secret(&mock, endpoint));
        let right = [("secret", secret.as_str())];
        let target = format!("{path}?api-version=2017-09-01&resource={VAULT}");
        for (target, header, status, words) in [
            (&*target, None, 401, empty),
            (&target, Some(("secret", "SENTINEL-1")), 401, wrong),
            (&target, Some(("x-identity-header", &*secret)), 401, empty),
            (&format!("{path}?api-version=2019-08-01&resource=r"), Some(right[0]), 400, "2017-09-01"),
            (&format!("{path}?resource=r"), Some(right[0]), 400, "api-version parameter is missing"),
            (&format!("{path}?api-version=2017-09-01"), Some(right[0]), 400, "resource parameter is missing"),
            (&format!("{path}?api-version=2017-09-01&resource="), Some(right[0]), 400, "missing"),
            (&format!("{path}?api-version=2017-09-01&resource=r"), Some(right[0]), 400, "AADSTS500011"),
        ] {
            assert_refused(&get(&mock, target, header.as_slice()).await, endpoint, status, words);
        }
        assert_refused(&post(&mock, &target, &right, "").await, endpoint, 405, "Only GET");
        let counts = mock.counters().of(endpoint);
        assert_eq!(counts, Counts { requests: 9, tokens: 0, refused: 9, faults: 0 });
        assert_log_is_without(&mock, &[&secret, "SENTINEL-1"]);
    }
}

fn assert_refused(answer: &Received, endpoint: Endpoint, status: u16, words: &str) {
    assert_eq!(answer.status, status);
    let message = message(answer, endpoint);
    assert!(message.contains(words), "{message}");
}

/// In JSON with capitals, or in plain text
fn message(answer: &Received, endpoint: Endpoint) -> String {
    if endpoint == AzureMl {
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        return answer.text().to_owned();
    }
    let body = answer.json();
    assert_eq!(body["StatusCode"], json!(answer.status));
    text(&body, "Message").to_owned()
}

#[tokio::test]
async fn both_are_found_by_their_environment_and_fail_in_their_own_words() {
    let mock = mock().await;
    for (endpoint, words) in [
        (AppService2017, "An unexpected error occured while fetching the AAD Token."),
        (AzureMl, "Failed to acquire the token."),
    ] {
        let environment = mock.env(endpoint);
        assert_eq!(environment[0], ("MSI_ENDPOINT", format!("{}{}", mock.url(), path(endpoint))));
        assert_eq!(environment[1], ("MSI_SECRET", secret(&mock, endpoint)));
        mock.fault(Fault::new(endpoint, Answer::status(500)));
        let broken = ask(&mock, endpoint, "").await;
        assert_eq!((broken.status, message(&broken, endpoint).as_str()), (500, words));
        assert_eq!(mock.counters().of(endpoint).faults, 1);
    }
}
