//! The component of `examples/key-vault` against vaults that answer as they are told.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test has files")]

#[path = "key_vault/stage.rs"]
mod stage;

use stage::{Asked, FRESH, HELD, Stage, TENANT, challenge, lacking};

const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1726077595"}}}"#;
const ENCODED: &str =
    "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzI2MDc3NTk1In19fQ==";

fn asked(resource: &str, claims: Option<&str>) -> Asked {
    Asked {
        scope: format!("{resource}/.default"),
        tenant: Some(TENANT.into()),
        claims: claims.map(str::to_owned),
        cae: true,
    }
}

#[tokio::test]
async fn a_vault_of_any_cloud_says_which_token_it_takes_before_it_is_shown_one() {
    for (vault, resource) in [
        ("https://my.vault.azure.net", "https://vault.azure.net"),
        ("https://my.vault.azure.cn", "https://vault.azure.cn"),
        ("https://my.vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net"),
        ("https://MY.managedhsm.azure.net:443", "https://managedhsm.azure.net"),
        ("http://127.0.0.1:8080", "https://vault.azure.net"),
    ] {
        let seen = Stage::new(vault, &[&challenge(resource)]).play().await;
        assert!(seen.found_secret, "{vault}: {}", seen.output);
        assert_eq!(seen.presented, [None, Some(HELD)], "{vault}");
        assert_eq!(seen.asked, [asked(resource, None)], "{vault}");
        assert!(seen.forgotten.is_empty());
    }
}

#[tokio::test]
async fn no_token_is_asked_for_a_vault_that_names_what_is_not_its_own() {
    for (vault, service, resource) in [
        ("https://my.vault.azure.net", "my.vault.azure.net", "https://graph.microsoft.com"),
        ("https://my.vault.azure.net", "my.vault.azure.net", "https://managedhsm.azure.net"),
        ("https://my.vault.azure.net:8443", "my.vault.azure.net:8443", "https://vault.azure.net"),
        ("https://my.vault.azure.net.example.com", "azure.net.example.com", "https://vault.azure.net"),
        ("http://127.0.0.1:8080", "loopback.vault.azure.net", "https://graph.microsoft.com"),
    ] {
        let seen = Stage::new(vault, &[&challenge(resource)]).play().await;
        assert!(!seen.found_secret);
        assert_eq!((seen.presented.as_slice(), seen.asked.as_slice()), (&[None][..], &[][..]), "{vault}");
        assert!(seen.output.contains(service) && seen.output.contains(resource), "{}", seen.output);
    }
}

#[tokio::test]
async fn no_token_is_asked_for_where_nothing_says_which() {
    let foreign = format!(
        r#"Bearer authorization="http://login.example/{TENANT}", resource="https://vault.azure.net""#
    );
    for challenge in ["", "Basic realm=x", foreign.as_str()] {
        let seen = Stage::new(VAULT, &[challenge]).play().await;
        assert!(!seen.found_secret && seen.output.contains("challenge"), "{}", seen.output);
        assert_eq!((seen.presented.as_slice(), seen.asked.as_slice()), (&[None][..], &[][..]), "{challenge}");
    }
}

#[tokio::test]
async fn missing_claims_are_asked_for_once() {
    let first = challenge("https://vault.azure.net");
    let seen = Stage::new(VAULT, &[&first, &lacking(ENCODED)]).play().await;
    assert!(seen.found_secret, "{}", seen.output);
    assert_eq!(seen.presented, [None, Some(HELD), Some(FRESH)]);
    let both = [asked("https://vault.azure.net", None), asked("https://vault.azure.net", Some(CLAIMS))];
    assert_eq!(seen.asked, both);
    assert!(seen.forgotten.is_empty());

    let seen = Stage::new(VAULT, &[&first, &lacking(ENCODED), &lacking(ENCODED)]).play().await;
    assert!(!seen.found_secret && seen.output.contains("401"), "{}", seen.output);
    assert_eq!(seen.presented, [None, Some(HELD), Some(FRESH)]);
    assert_eq!(seen.asked, both);
}

#[tokio::test]
async fn claims_that_cannot_be_decoded_end_it() {
    let first = challenge("https://vault.azure.net");
    let seen = Stage::new(VAULT, &[&first, &lacking("not base64")]).play().await;
    assert!(!seen.found_secret && seen.output.contains("claims"), "{}", seen.output);
    assert_eq!((seen.presented.len(), seen.asked.len(), seen.forgotten.len()), (2, 1, 0));
}

#[tokio::test]
async fn a_token_that_is_refused_without_a_word_of_claims_is_forgotten_and_replaced_once() {
    let plain = challenge("https://vault.azure.net");
    let seen = Stage::new(VAULT, &[&plain, &plain]).play().await;
    assert!(seen.found_secret, "{}", seen.output);
    assert_eq!(seen.presented, [None, Some(HELD), Some(FRESH)]);
    assert_eq!(seen.forgotten, ["https://vault.azure.net/.default"]);

    let seen = Stage::new(VAULT, &[&plain, &plain, &plain]).play().await;
    assert!(!seen.found_secret && seen.output.contains("401"), "{}", seen.output);
    assert_eq!((seen.presented.len(), seen.asked.len(), seen.forgotten.len()), (3, 2, 1));
    assert!(!seen.output.contains(HELD) && !seen.output.contains(FRESH), "{}", seen.output);
}

const VAULT: &str = "https://my.vault.azure.net";
