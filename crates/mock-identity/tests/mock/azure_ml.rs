//! The identity endpoint of Azure Machine Learning.

use mock_identity::{Answer, Counts, Endpoint, Fault, Mock};

use crate::client::{Received, SYSTEM, VAULT, assert_log_is_without, get, mock, post, text, verified};

async fn ask(mock: &Mock, parameters: &str) -> Received {
    let target = format!("/msi/auth?api-version=2017-09-01&resource={VAULT}{parameters}");
    get(mock, &target, &[("secret", &mock.config().azure_ml.secret)]).await
}

#[tokio::test]
async fn azure_ml_answers_with_an_integer_expires_on() {
    let mock = mock().await;
    let body = ask(&mock, "").await.json();
    let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
    assert_eq!((claims.appid.as_str(), body["expires_on"].as_u64()), (SYSTEM, Some(claims.exp)));
    assert_eq!((text(&body, "resource"), text(&body, "token_type")), (VAULT, "Bearer"));
    assert_eq!(
        mock.counters().of(Endpoint::AzureMl),
        Counts { requests: 1, tokens: 1, refused: 0, faults: 0 }
    );
}

#[tokio::test]
async fn azure_ml_knows_clientid_alone_and_takes_an_empty_one_for_none() {
    let mock = mock().await;
    let reports = mock.config().identities[2].client_id.clone();
    for (parameter, appid) in [
        (format!("&clientid={reports}"), reports.as_str()),
        ("&clientid=".to_owned(), SYSTEM),
        (format!("&client_id={reports}"), SYSTEM),
    ] {
        let claims = verified(&mock, &ask(&mock, &parameter).await);
        assert_eq!(claims.appid, appid, "{parameter}");
    }
    assert_eq!(mock.requests()[0].query[2], ("clientid".to_owned(), reports));
}

#[tokio::test]
async fn azure_ml_refuses_in_plain_words_the_secret_that_it_was_shown_among_them() {
    let mock = mock().await;
    let secret = mock.config().azure_ml.secret.clone();
    let right = [("secret", secret.as_str())];
    let target = format!("/msi/auth?api-version=2017-09-01&resource={VAULT}");
    for (answer, status, words) in [
        (
            get(&mock, &target, &[("secret", "SENTINEL-2")]).await,
            401,
            "Invalid secret token header: SENTINEL-2.",
        ),
        (get(&mock, &target, &[]).await, 401, "Invalid secret token header: ."),
        (get(&mock, "/msi/auth?api-version=2019-08-01&resource=r", &right).await, 400, "2017-09-01"),
        (get(&mock, "/msi/auth?api-version=2017-09-01&resource=", &right).await, 400, "missing"),
        (ask(&mock, "&clientid=unknown").await, 400, "Token not found"),
        (post(&mock, &target, &right, "").await, 405, "Only GET"),
    ] {
        assert_eq!(answer.status, status);
        assert!(answer.text().contains(words), "{}", answer.text());
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    }
    assert_log_is_without(&mock, &[&secret, "SENTINEL-2"]);
}

#[tokio::test]
async fn azure_ml_is_found_by_its_environment_and_fails_in_its_own_words() {
    let mock = mock().await;
    let environment = mock.env(Endpoint::AzureMl);
    assert_eq!(environment[0], ("MSI_ENDPOINT", format!("{}/msi/auth", mock.url())));
    assert_eq!(environment[1], ("MSI_SECRET", mock.config().azure_ml.secret.clone()));
    mock.fault(Fault::new(Endpoint::AzureMl, Answer::status(500)));
    let broken = ask(&mock, "").await;
    assert_eq!((broken.status, broken.text()), (500, "Failed to acquire the token."));
}
