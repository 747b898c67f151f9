//! Tokens and refusals, by the endpoints that know every kind of id: the instance metadata service and App Service

use mock_identity::{Counts, Endpoint};

use super::{
    ARM, ARM_RESOURCE, NOBODY, answered, assert_error, assert_token_of, get_token, identity, ids, managed,
    mock, query, refused,
};
use crate::WRONG_HEADER;

/// Each with the query that an SDK begins with, its name for a resource id, and its words for an unknown identity
const ENDPOINTS: [(Endpoint, &str, &str, &str); 2] = [
    (Endpoint::Imds, "api-version=2018-02-01", "msi_res_id", "Identity not found"),
    (
        Endpoint::AppService,
        "api-version=2019-08-01",
        "mi_res_id",
        "No User Assigned or Delegated Managed Identity found",
    ),
];

#[tokio::test]
async fn managed_identity_credential_gets_the_system_assigned_identity() {
    for (endpoint, version, ..) in ENDPOINTS {
        let mock = mock().await;
        let seen = managed(&mock, endpoint, &[]).await;
        assert_token_of(&seen, identity(&mock, "system"));
        assert_eq!(mock.counters().of(endpoint), answered(1));
        assert_eq!(query(&mock), format!("{version}&resource={ARM_RESOURCE}"));
        if endpoint == Endpoint::AppService {
            assert_eq!(mock.counters().of(Endpoint::Imds), Counts::default());
            assert_eq!(mock.requests()[0].headers["x-identity-header"], "(not shown)");
        }
    }
}

#[tokio::test]
async fn managed_identity_credential_gets_a_user_assigned_identity_by_each_id() {
    for (endpoint, version, resource_id, _) in ENDPOINTS {
        let mock = mock().await;
        let orders = identity(&mock, "orders");
        for (kind, id, parameter) in ids(orders, resource_id) {
            mock.reset();
            let seen = managed(&mock, endpoint, &[kind, id]).await;
            assert_token_of(&seen, orders);
            assert_eq!(mock.counters().of(endpoint), answered(1));
            assert_eq!(query(&mock), format!("{version}&resource={ARM_RESOURCE}&{parameter}={id}"));
        }
    }
}

#[tokio::test]
async fn default_azure_credential_gets_both_kinds_of_identity() {
    for (endpoint, ..) in ENDPOINTS {
        let mock = mock().await;
        let seen = get_token(&mock, mock.env(endpoint), &["default", ARM]).await;
        assert_token_of(&seen, identity(&mock, "system"));
        let reports = identity(&mock, "reports");
        let arguments = ["default", ARM, "client_id", &reports.client_id];
        assert_token_of(&get_token(&mock, mock.env(endpoint), &arguments).await, reports);
        assert_eq!(mock.counters().of(endpoint), answered(2));
    }
}

#[tokio::test]
async fn an_unknown_identity_is_refused_in_the_words_of_the_endpoint() {
    for (endpoint, _, _, words) in ENDPOINTS {
        let mock = mock().await;
        let seen = managed(&mock, endpoint, &["client_id", NOBODY]).await;
        assert_error(&seen, "unavailable", words);
        if endpoint == Endpoint::Imds {
            assert_error(&seen, "unavailable", "invalid_request");
        }
        assert_eq!(mock.counters().of(endpoint), refused(1));
    }
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
