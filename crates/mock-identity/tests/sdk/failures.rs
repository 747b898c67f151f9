//! When the endpoint fails, or something else answers in its place

use mock_identity::{Answer, Counts, Endpoint, Fault};

use super::{assert_error, assert_token_of, identity, managed, mock};
use crate::IN_PLACE_OF_IMDS;

#[tokio::test]
async fn one_failure_of_imds_of_any_transient_kind_is_retried() {
    for answer in [
        Answer::status(404),
        Answer::status(410),
        Answer::status(500),
        Answer::retry_after(429, "1"),
        Answer::Reset,
    ] {
        let mock = mock().await;
        mock.fault(Fault::new(Endpoint::Imds, answer.clone()));
        let seen = managed(&mock, Endpoint::Imds, &[]).await;
        assert_token_of(&seen, identity(&mock, "system"));
        let counts = mock.counters().of(Endpoint::Imds);
        assert_eq!((counts.requests, counts.tokens, counts.faults), (2, 1, 1), "{answer:?}");
    }
}

#[tokio::test]
async fn one_failure_of_app_service_is_retried() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::AppService, Answer::status(500)));
    let seen = managed(&mock, Endpoint::AppService, &[]).await;
    assert_token_of(&seen, identity(&mock, "system"));
    let counts = mock.counters().of(Endpoint::AppService);
    assert_eq!(counts, Counts { requests: 2, tokens: 1, refused: 1, faults: 1 });
}

#[tokio::test]
async fn something_else_in_the_place_of_imds_is_not_taken_for_it() {
    let docker =
        "connecting to 169.254.169.254:80: A socket operation was attempted to an unreachable network";
    let answers = [Answer::body(403, "text/plain", docker), Answer::Html, Answer::Garbage];
    for (answer, (kind, words)) in answers.into_iter().zip(IN_PLACE_OF_IMDS) {
        let mock = mock().await;
        mock.fault(Fault::new(Endpoint::Imds, answer.clone()).forever());
        let seen = managed(&mock, Endpoint::Imds, &[]).await;
        assert_error(&seen, kind, words);
        assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1, "{answer:?}");
    }
}

#[tokio::test]
async fn the_sdk_does_not_notice_another_identitys_token() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::WrongIdentity));
    let orders = identity(&mock, "orders").client_id.clone();
    let seen = managed(&mock, Endpoint::Imds, &["client_id", &orders]).await;
    assert_token_of(&seen, identity(&mock, "system"));
}
