//! The vault: its challenge, the tokens that it takes, and its secrets.

use std::time::Duration;

use mock_identity::{Mock, MockConfig};
use tokio::time::Instant;

use crate::{
    client::{SECRET, VAULT, get, mock, send, text, token},
    entra, secure,
};

#[tokio::test]
async fn the_vault_challenges_and_takes_only_a_good_token_of_its_own_audience() {
    let mock = mock().await;
    let challenge = get(&mock, SECRET, &[]).await;
    assert_eq!(challenge.status, 401);
    assert_eq!(
        challenge.headers["www-authenticate"],
        "Bearer authorization=\"https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee\", \
         resource=\"https://vault.azure.net\""
    );
    let good = token(&mock, VAULT).await;
    let foreign = token(&mock, "https://storage.azure.com").await;
    let forged = format!("{}AAAA", good.strip_suffix(&good[good.len() - 4..]).unwrap());
    let audience =
        "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://storage.azure.com.";
    for (token, words) in [
        (foreign, audience),
        (forged, "Error validating token"),
        ("no token".to_owned(), "Error validating token"),
    ] {
        let answer = get(&mock, SECRET, &[("Authorization", &format!("Bearer {token}"))]).await;
        assert_eq!(answer.status, 401);
        assert!(answer.text().contains(words), "{}", answer.text());
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    let body = get(&mock, SECRET, &[("Authorization", &format!("Bearer {good}"))]).await.json();
    assert_eq!(body["value"], "the secret of the mock vault");
    assert!(text(&body, "id").starts_with(&format!("{}/secrets/MySecret/", mock.url())));
}

#[tokio::test]
async fn the_vault_takes_no_token_of_another_tenant() {
    let mock = secure::mock().await;
    let bearer_at = async |path: &str| {
        let body =
            secure::post(&mock, path, &[entra::GRANT, entra::SHOP, entra::SECRET, entra::SCOPE]).await.json();
        format!("Bearer {}", text(&body, "access_token"))
    };
    let own = bearer_at(&secure::token_path(&mock)).await;
    assert_eq!(get(&mock, SECRET, &[("Authorization", &own)]).await.status, 200);
    let foreign = bearer_at("/adfs/oauth2/token").await;
    let answer = get(&mock, SECRET, &[("Authorization", &foreign)]).await;
    assert_eq!(answer.status, 401);
    let words = "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/, \
                 found http://adfs.mock.example/adfs/services/trust.";
    assert!(answer.text().contains(words), "{}", answer.text());
}

#[tokio::test]
async fn the_vault_finds_versions_and_says_what_is_missing() {
    let mock = mock().await;
    let bearer = format!("Bearer {}", token(&mock, VAULT).await);
    for (target, status, words) in [
        ("/secrets/mysecret/00000000000000000000000000000001?api-version=7.6", 200, "the secret of"),
        ("/secrets/MySecret/00000000000000000000000000000002?api-version=7.6", 404, "SecretNotFound"),
        ("/secrets/Other?api-version=7.6", 404, "SecretNotFound"),
        ("/secrets/MySecret", 400, "api-version"),
        ("/secrets?api-version=7.6", 404, "only reads secrets by name"),
    ] {
        let answer = get(&mock, target, &[("Authorization", &bearer)]).await;
        assert_eq!(answer.status, status, "{target}");
        assert!(answer.text().contains(words), "{}", answer.text());
    }
    let put = send(&mock, "PUT", SECRET, &[("Authorization", &bearer)], "{}").await.unwrap();
    assert_eq!(put.status, 405);
}

#[tokio::test]
async fn the_vault_refuses_a_token_that_has_expired() {
    let mut config = MockConfig::default();
    config.imds.token_lifetime_seconds = 1.try_into().unwrap();
    let mock = Mock::start(config).await.unwrap();
    let bearer = format!("Bearer {}", token(&mock, VAULT).await);
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = get(&mock, SECRET, &[("Authorization", &bearer)]).await;
        if answer.status == 401 {
            assert!(answer.text().contains("[TokenExpired]"), "{}", answer.text());
            break;
        }
        assert!(Instant::now() < deadline, "the token never expired");
        tick.tick().await;
    }
}
