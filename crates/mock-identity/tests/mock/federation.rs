//! Client assertions that somebody else has signed: a cluster, or this platform for a managed identity.

use std::time::Duration;

use mock_identity::{Credential, Endpoint, FederatedCredential, Mock};

use crate::{
    assertion::ASSERTION_TYPE,
    client::{self, METADATA, Received, VAULT, assert_log_is_without, get, text, verified},
    entra::{GRANT, SCOPE, SHOP, assert_refused},
    secure::{config, mock, post, token_path},
};

const WORKER: &str = "55556666-ffff-7777-aaaa-8888bbbb9999";
const PARTNER: &str = "66667777-aaaa-8888-bbbb-9999cccc0000";
pub(crate) const PIPELINE: &str = "77778888-bbbb-9999-cccc-0000dddd1111";
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) async fn present(mock: &Mock, path: &str, client_id: &str, assertion: &str) -> Received {
    let fields = [GRANT, ("client_id", client_id), ASSERTION_TYPE, ("client_assertion", assertion), SCOPE];
    post(mock, path, &fields).await
}

async fn present_for_worker(mock: &Mock, assertion: &str) -> Received {
    present(mock, &token_path(mock), WORKER, assertion).await
}

#[tokio::test]
async fn a_clusters_token_is_as_good_as_a_secret() {
    let mock = mock().await;
    let credential = mock.cluster_credential().unwrap();
    let assertion = mock.federated_token(credential, HOUR).unwrap();
    let claims = verified(&mock, &present_for_worker(&mock, &assertion).await);
    assert_eq!((claims.appid.as_str(), claims.appidacr.as_str()), (WORKER, "2"));
    assert_log_is_without(&mock, &[&assertion]);
}

#[tokio::test]
async fn issuer_subject_and_audience_are_compared_letter_by_letter() {
    let mock = mock().await;
    let good = mock.cluster_credential().unwrap().clone();
    for (credential, code) in [
        (FederatedCredential { issuer: format!("{}/", good.issuer), ..good.clone() }, 700_211),
        (FederatedCredential { issuer: good.issuer.to_uppercase(), ..good.clone() }, 700_211),
        (FederatedCredential { subject: good.subject.to_uppercase(), ..good.clone() }, 7_002_138),
        (
            FederatedCredential { subject: "system:serviceaccount:default:other".into(), ..good.clone() },
            700_213,
        ),
        (FederatedCredential { audience: format!("{}/", good.audience), ..good.clone() }, 700_212),
    ] {
        let assertion = mock.federated_token(&credential, HOUR).unwrap();
        let answer = present_for_worker(&mock, &assertion).await;
        assert_refused(&answer, 401, "invalid_client", code);
    }
    let assertion = mock.federated_token(&good, HOUR).unwrap();
    let elsewhere = present(&mock, &token_path(&mock), SHOP.1, &assertion).await;
    assert_refused(&elsewhere, 400, "invalid_request", 70_021);
}

#[tokio::test]
async fn a_clusters_token_that_is_expired_or_forged_is_refused() {
    let mock = mock().await;
    let credential = mock.cluster_credential().unwrap();
    let expired = mock.federated_token(credential, Duration::ZERO).unwrap();
    assert_refused(&present_for_worker(&mock, &expired).await, 401, "invalid_client", 700_024);
    let good = mock.federated_token(credential, HOUR).unwrap();
    let forged = format!("{}AAAA", good.strip_suffix(&good[good.len() - 4..]).unwrap());
    assert_refused(&present_for_worker(&mock, &forged).await, 401, "invalid_client", 700_027);
}

#[tokio::test]
async fn a_managed_identity_proves_an_app_of_another_tenant() {
    let mock = mock().await;
    let orders = mock.config().identities[1].client_id.clone();
    let path = format!("/{}/oauth2/v2.0/token", mock.config().other_tenant_ids[0]);
    let assertion = exchange_token(&mock, &orders, "api://AzureADTokenExchange").await;
    let claims = verified(&mock, &present(&mock, &path, PARTNER, &assertion).await);
    assert_eq!((claims.appid.as_str(), &claims.tid), (PARTNER, &mock.config().other_tenant_ids[0]));
    let china = exchange_token(&mock, &orders, "api://AzureADTokenExchangeChina").await;
    assert_refused(&present(&mock, &path, PARTNER, &china).await, 401, "invalid_client", 700_212);
    let reports = mock.config().identities[2].client_id.clone();
    let reports = exchange_token(&mock, &reports, "api://AzureADTokenExchange").await;
    assert_refused(&present(&mock, &path, PARTNER, &reports).await, 401, "invalid_client", 700_213);
    let ordinary = client::token(&mock, VAULT).await;
    assert_refused(&present(&mock, &path, PARTNER, &ordinary).await, 400, "invalid_request", 70_021);
}

#[tokio::test]
async fn the_environment_of_a_federated_app_names_the_identity_that_the_app_trusts_if_it_has_to() {
    let mut config = config();
    let partner = config.apps.iter_mut().find(|app| app.client_id == PARTNER).unwrap();
    partner.federated_credentials[0].subject = config.identities[0].object_id.clone();
    let system = Mock::start(config.clone()).await.unwrap();
    let environment = system.app_env(Credential::ManagedIdentity);
    assert!(environment.iter().all(|(name, _)| *name != "AZURE_CLIENT_ID"), "{environment:?}");
    config.identities.remove(0);
    let nobody = Mock::start(config).await.unwrap();
    assert!(nobody.app_env(Credential::ManagedIdentity).is_empty());
}

async fn exchange_token(mock: &Mock, client_id: &str, audience: &str) -> String {
    let target = format!(
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource={audience}&client_id={client_id}"
    );
    text(&get(mock, &target, &METADATA).await.json(), "access_token").to_owned()
}

#[tokio::test]
async fn both_kinds_of_federation_are_found_by_their_environments() {
    let mock = mock().await;
    let workload = mock.app_env(Credential::FederatedToken("token".as_ref()));
    assert_eq!(workload[2], ("AZURE_CLIENT_ID", WORKER.to_owned()));
    assert_eq!(workload[3], ("AZURE_FEDERATED_TOKEN_FILE", "token".to_owned()));
    let managed = mock.app_env(Credential::ManagedIdentity);
    assert_eq!(managed[0], mock.env(Endpoint::Imds)[0]);
    assert_eq!(managed[1], ("AZURE_AUTHORITY_HOST", mock.tls_url().unwrap().to_owned()));
    assert_eq!(managed[2], ("TOKEN_BROKER_FEDERATED_CLIENT_ID", PARTNER.to_owned()));
    assert_eq!(managed[3], ("TOKEN_BROKER_FEDERATED_TENANT_ID", mock.config().other_tenant_ids[0].clone()));
    assert_eq!(managed[4], ("AZURE_CLIENT_ID", mock.config().identities[1].client_id.clone()));
    let assertion = get(&mock, "/admin/federated-token/worker", &[]).await;
    assert_eq!(present_for_worker(&mock, assertion.text()).await.status, 200);
    assert_eq!(get(&mock, "/admin/federated-token/shop", &[]).await.status, 404);
}
