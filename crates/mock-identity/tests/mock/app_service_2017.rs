//! App Service's identity endpoint of 2017: its own header, parameter and dates.

use mock_identity::{Answer, Counts, DateForm, Endpoint, Fault, Mock, MockConfig};
use serde_json::json;

use crate::client::{Received, SYSTEM, VAULT, assert_log_is_without, get, mock, post, text, verified};

async fn ask(mock: &Mock, parameters: &str) -> Received {
    let target = format!("/2017/msi/token?api-version=2017-09-01&resource={VAULT}{parameters}");
    get(mock, &target, &[("secret", &mock.config().app_service_2017.secret)]).await
}

#[tokio::test]
async fn app_service_2017_writes_dates_as_its_platform_did() {
    for dates in [DateForm::Linux, DateForm::Windows] {
        let mut config = MockConfig::default();
        config.app_service_2017.dates = dates;
        let mock = Mock::start(config).await.unwrap();
        let answer = ask(&mock, "").await;
        assert_eq!(answer.status, 200);
        let body = answer.json();
        assert_eq!(mock.verify(text(&body, "access_token"), VAULT).unwrap().appid, SYSTEM);
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
async fn app_service_2017_knows_clientid_alone() {
    let mock = mock().await;
    let orders = mock.config().identities[1].client_id.clone();
    for (parameter, appid) in [
        (format!("&clientid={orders}"), orders.as_str()),
        (format!("&clientid={}", orders.to_uppercase()), &orders),
        ("&clientid=".to_owned(), SYSTEM),
        (format!("&client_id={orders}"), SYSTEM),
    ] {
        let claims = verified(&mock, &ask(&mock, &parameter).await);
        assert_eq!(claims.appid, appid, "{parameter}");
    }
    let unknown = ask(&mock, "&clientid=unknown").await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("No MSI found for specified ClientId"), "{}", unknown.text());
}

#[tokio::test]
async fn app_service_2017_refuses_another_secret_version_audience_and_method() {
    let mock = mock().await;
    let secret = mock.config().app_service_2017.secret.clone();
    let right = [("secret", secret.as_str())];
    let target = format!("/2017/msi/token?api-version=2017-09-01&resource={VAULT}");
    for (answer, status, words) in [
        (get(&mock, &target, &[]).await, 401, "secret header"),
        (get(&mock, &target, &[("secret", "SENTINEL-1")]).await, 401, "secret header"),
        (get(&mock, &target, &[("x-identity-header", &secret)]).await, 401, "secret header"),
        (get(&mock, "/2017/msi/token?api-version=2019-08-01&resource=r", &right).await, 400, "2017-09-01"),
        (get(&mock, "/2017/msi/token?resource=r", &right).await, 400, "api-version parameter is missing"),
        (
            get(&mock, "/2017/msi/token?api-version=2017-09-01", &right).await,
            400,
            "resource parameter is missing",
        ),
        (get(&mock, "/2017/msi/token?api-version=2017-09-01&resource=r", &right).await, 400, "AADSTS500011"),
        (post(&mock, &target, &right, "").await, 405, "Only GET"),
    ] {
        let body = answer.json();
        assert_eq!((answer.status, &body["StatusCode"]), (status, &json!(status)));
        assert!(text(&body, "Message").contains(words), "{body}");
    }
    let counts = mock.counters().of(Endpoint::AppService2017);
    assert_eq!(counts, Counts { requests: 8, tokens: 0, refused: 8, faults: 0 });
    assert_log_is_without(&mock, &[&secret, "SENTINEL-1"]);
}

#[tokio::test]
async fn app_service_2017_is_found_by_its_environment_and_fails_in_its_own_words() {
    let mock = mock().await;
    let environment = mock.env(Endpoint::AppService2017);
    assert_eq!(environment[0], ("MSI_ENDPOINT", format!("{}/2017/msi/token", mock.url())));
    assert_eq!(environment[1], ("MSI_SECRET", mock.config().app_service_2017.secret.clone()));
    mock.fault(Fault::new(Endpoint::AppService2017, Answer::status(500)));
    let broken = ask(&mock, "").await;
    assert_eq!(broken.json()["Message"], "An unexpected error occured while fetching the AAD Token.");
    assert_eq!(mock.counters().of(Endpoint::AppService2017).faults, 1);
}
