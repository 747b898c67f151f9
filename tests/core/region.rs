//! The region of Entra's endpoint, where it is to be detected.

use token_broker::SendErrorKind;

use crate::fake::{fault, json, token};
use crate::stage::*;

const AUTOMATIC: &[(&str, &str)] = &[("AZURE_REGIONAL_AUTHORITY_NAME", "TryAutoDetect")];
const GLOBAL: &str = "https://login.microsoftonline.com/tenant.example/oauth2/v2.0/token";

#[test]
fn imds_is_asked_once_for_the_region_whose_endpoint_then_answers() {
    let (world, broker) =
        stage(&with(SECRET, AUTOMATIC), [json(200, "westeurope\n"), entra("T1"), entra("T2")]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert_eq!(name(world.get(&broker, STORAGE)), "T2");
    let asked = world.sent(0);
    assert_eq!(asked.method, "GET");
    assert_eq!(
        asked.url,
        "http://169.254.169.254/metadata/instance/compute/location?api-version=2020-06-01&format=text"
    );
    assert_eq!(asked.headers["metadata"], "true");
    for nth in [1, 2] {
        let url = "https://westeurope.login.microsoft.com/tenant.example/oauth2/v2.0/token";
        assert_eq!(world.sent(nth).url, url);
    }
    assert_eq!(world.requests(), 3);
}

#[test]
fn without_a_region_the_global_endpoint_answers_and_nobody_is_asked_again() {
    for answer in [
        fault(SendErrorKind::NotConnected),
        fault(SendErrorKind::TimedOut),
        json(404, "{}"),
        json(429, "{}"),
        json(302, ""),
        json(200, ""),
        json(200, "<html>sign in</html>"),
        json(200, "evil.example/"),
        json(200, "West Europe"),
    ] {
        let (world, broker) = stage(&with(SECRET, AUTOMATIC), [answer, entra("T1"), entra("T2")]);
        assert_eq!(name(world.get(&broker, VAULT)), "T1");
        assert_eq!(name(world.get(&broker, STORAGE)), "T2");
        assert_eq!((world.sent(1).url.as_str(), world.sent(2).url.as_str()), (GLOBAL, GLOBAL));
        assert_eq!(world.requests(), 3);
    }
}

#[test]
fn the_region_of_the_platform_needs_no_request() {
    let settings = with(SECRET, &[AUTOMATIC[0], ("REGION_NAME", "West Europe")]);
    let (world, broker) = stage(&settings, [entra("T1")]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert!(
        world.sent(0).url.starts_with("https://westeurope.login.microsoft.com/"),
        "{}",
        world.sent(0).url
    );
}

#[test]
fn the_region_is_asked_of_a_local_endpoint_only_and_of_none_without_an_app() {
    let elsewhere =
        with(SECRET, &[AUTOMATIC[0], ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://evil.example")]);
    let (world, broker) = stage(&elsewhere, []);
    let line = world.error(&broker, VAULT).to_string();
    assert!(line.starts_with("misconfigured: AZURE_POD_IDENTITY_AUTHORITY_HOST"), "{line}");
    let (world, broker) = stage(AUTOMATIC, [token("T1", DAY)]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert_eq!(world.requests(), 1);
}
