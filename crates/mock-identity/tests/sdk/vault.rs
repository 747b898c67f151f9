//! The client of Key Vault

use mock_identity::Endpoint;

use super::{answered, mock_with_tls, script::get_secret};

#[tokio::test]
async fn the_secret_client_answers_the_challenge_and_reads_the_secret() {
    let mock = mock_with_tls().await;
    let seen = get_secret(&mock, "MySecret").await;
    assert_eq!((&seen["name"], &seen["value"]), (&"MySecret".into(), &"the secret of the mock vault".into()));
    assert_eq!(mock.counters().of(Endpoint::Imds), answered(1));
    let vault = mock.counters().of(Endpoint::KeyVault);
    assert_eq!((vault.requests, vault.refused), (2, 1), "a challenge, then the secret");
}

#[tokio::test]
async fn the_secret_client_hears_that_there_is_no_such_secret() {
    let mock = mock_with_tls().await;
    let seen = get_secret(&mock, "Other").await;
    assert_eq!((&seen["error"], &seen["status"]), (&"SecretNotFound".into(), &404.into()));
}
