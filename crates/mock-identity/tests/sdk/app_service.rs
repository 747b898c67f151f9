//! Tokens and refusals, by App Service

use mock_identity::{Counts, Endpoint};

use super::{
    ARM, ARM_RESOURCE, NOBODY, answered, assert_error, assert_token_of, get_token, identity, ids, mock,
    query, refused,
};
use crate::WRONG_HEADER;

#[tokio::test]
async fn managed_identity_credential_gets_the_system_assigned_identity() {
    let mock = mock().await;
    let seen = get_token(&mock, mock.env(Endpoint::AppService), &["managed-identity", ARM]).await;
    assert_token_of(&seen, identity(&mock, "system"));
    assert_eq!(mock.counters().of(Endpoint::AppService), answered(1));
    assert_eq!(mock.counters().of(Endpoint::Imds), Counts::default());
    assert_eq!(mock.requests()[0].headers["x-identity-header"], "(not shown)");
}

#[tokio::test]
async fn managed_identity_credential_gets_a_user_assigned_identity_by_each_id() {
    let mock = mock().await;
    let orders = identity(&mock, "orders");
    for (kind, id, parameter) in ids(orders, "mi_res_id") {
        mock.reset();
        let seen =
            get_token(&mock, mock.env(Endpoint::AppService), &["managed-identity", ARM, kind, id]).await;
        assert_token_of(&seen, orders);
        assert_eq!(mock.counters().of(Endpoint::AppService), answered(1));
        assert_eq!(query(&mock), format!("api-version=2019-08-01&resource={ARM_RESOURCE}&{parameter}={id}"));
    }
}

#[tokio::test]
async fn default_azure_credential_gets_both_kinds_of_identity() {
    let mock = mock().await;
    let seen = get_token(&mock, mock.env(Endpoint::AppService), &["default", ARM]).await;
    assert_token_of(&seen, identity(&mock, "system"));
    let reports = identity(&mock, "reports");
    let seen =
        get_token(&mock, mock.env(Endpoint::AppService), &["default", ARM, "client_id", &reports.client_id])
            .await;
    assert_token_of(&seen, reports);
    assert_eq!(mock.counters().of(Endpoint::AppService), answered(2));
}

#[tokio::test]
async fn a_wrong_identity_header_is_refused() {
    let mock = mock().await;
    let mut env = mock.env(Endpoint::AppService);
    env[1].1 = "wrong".to_owned();
    let seen = get_token(&mock, env, &["managed-identity", ARM]).await;
    assert_error(&seen, "unavailable", WRONG_HEADER);
    assert_eq!(mock.counters().of(Endpoint::AppService), refused(1));
}

#[tokio::test]
async fn an_unknown_identity_is_refused_in_the_words_of_app_service() {
    let mock = mock().await;
    let seen =
        get_token(&mock, mock.env(Endpoint::AppService), &["managed-identity", ARM, "client_id", NOBODY])
            .await;
    assert_error(&seen, "unavailable", "No User Assigned or Delegated Managed Identity found");
    assert_eq!(mock.counters().of(Endpoint::AppService), refused(1));
}
