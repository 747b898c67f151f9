//! AKS identity bindings: the cluster's token proxy in the place of Entra.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use token_broker::SendErrorKind;

use crate::fake::{World, fault, json_with};
use crate::stage::*;
use crate::store::SharedStore;

/// The variables of a pod, and this host's word that it verifies the proxy.
const BOUND: &Pairs = &[
    ("AZURE_FEDERATED_TOKEN_FILE", "/tokens/azure"),
    ("AZURE_TENANT_ID", "tenant.example"),
    ("AZURE_CLIENT_ID", "app"),
    ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
    (PROXY, "https://127.0.0.1:8443/base/"),
    (SNI_NAME, "x.test"),
    (CA_FILE, "/ca/ca.crt"),
    (VERIFIED, "https://127.0.0.1:8443/base/"),
];

#[test]
fn the_proxy_is_asked_in_the_place_of_entra_once_and_with_the_same_form() {
    let (world, broker) = stage(BOUND, [entra("T1")]);
    world.file("/tokens/azure", JWT);
    let grant = world.get(&broker, VAULT).unwrap();
    assert_eq!((text(&grant), grant.token.source()), ("T1", "workload-identity"));
    let sent = world.sent(0);
    assert_eq!(
        (sent.method.as_str(), sent.url.as_str()),
        ("POST", "https://127.0.0.1:8443/base/tenant.example/oauth2/v2.0/token")
    );
    for (name, value) in [
        ("client_id", "app"),
        ("grant_type", "client_credentials"),
        ("scope", "https%3A%2F%2Fvault.azure.net%2F.default"),
        ("client_assertion_type", "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"),
        ("client_assertion", JWT),
    ] {
        assert_eq!(sent.field(name), Some(value), "{name}");
    }
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_region_of_entra_does_not_lead_past_the_proxy() {
    let (world, broker) =
        stage(&with(BOUND, &[("AZURE_REGIONAL_AUTHORITY_NAME", "westeurope")]), [entra("T1")]);
    world.file("/tokens/azure", JWT);
    world.get(&broker, VAULT).unwrap();
    assert!(world.sent(0).url.starts_with("https://127.0.0.1:8443/base/tenant.example/"));
}

#[test]
fn without_the_hosts_word_for_this_very_proxy_nothing_is_sent_anywhere() {
    for word in ["", "https://127.0.0.1:8443/base", "https://other.example", "true"] {
        let others: Vec<_> = BOUND.iter().copied().filter(|(name, _)| *name != VERIFIED).collect();
        let (world, broker) = stage(&with(&others, &[(VERIFIED, word)]), []);
        world.file("/tokens/azure", JWT);
        let error = world.error(&broker, VAULT);
        assert_eq!((error.kind(), world.requests()), ("misconfigured", 0), "{word}");
        let words = error.to_string();
        for part in [PROXY, "token-broker serve", "token-broker-host", "Envoy", "use-identity-binding"] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert!(!words.contains(VERIFIED), "the word is not the user's to give: {words}");
    }
}

#[test]
fn half_of_the_variables_two_authorities_and_other_urls_are_refused_by_name() {
    for (more, names) in [
        (&[(PROXY, "")][..], &[SNI_NAME, PROXY][..]),
        (&[(PROXY, ""), (SNI_NAME, "")], &[CA_FILE, PROXY]),
        (&[(PROXY, ""), (SNI_NAME, ""), (CA_FILE, ""), (CA_DATA, "PEM")], &[CA_DATA, PROXY]),
        (&[(CA_DATA, "s3ntinel-pem")], &[CA_FILE, CA_DATA]),
        (&[(SNI_NAME, "10.0.0.1")], &[SNI_NAME]),
        (&[(PROXY, "http://127.0.0.1:8443")], &[PROXY]),
        (&[(PROXY, "https://127.0.0.1:8443?")], &[PROXY]),
    ] {
        let changed = |name| more.iter().any(|(other, _)| *other == name);
        let kept: Vec<_> = BOUND.iter().copied().filter(|(name, _)| !changed(*name)).collect();
        let (world, broker) = stage(&[&kept, more].concat(), []);
        world.file("/tokens/azure", JWT);
        let error = world.error(&broker, VAULT);
        assert_eq!((error.kind(), world.requests()), ("misconfigured", 0), "{more:?}");
        let words = error.to_string();
        assert!(names.iter().all(|name| words.contains(name)), "{more:?}: {words}");
        assert!(!words.contains("s3ntinel"), "{words}");
    }
}

#[test]
fn another_certificate_is_not_retried_and_the_error_names_what_the_proxy_is_known_by() {
    let (world, broker) = stage(BOUND, [fault(SendErrorKind::Untrusted)]);
    world.file("/tokens/azure", JWT);
    let error = world.error(&broker, VAULT);
    assert_eq!((error.kind(), world.requests()), ("unavailable", 1));
    let words = error.to_string();
    for part in ["nothing was sent", SNI_NAME, "x.test", CA_FILE, "/ca/ca.crt"] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn a_refusal_of_the_proxys_own_leads_to_the_clusters_roles() {
    for body in ["forbidden", r#"{"kind":"Status","message":"forbidden","reason":"Forbidden","code":403}"#] {
        let answer = json_with(403, ("content-type", "text/plain"), body);
        let (world, broker) = stage(BOUND, [answer]);
        world.file("/tokens/azure", JWT);
        let error = world.error(&broker, VAULT);
        assert_eq!((error.kind(), world.requests()), ("rejected", 1));
        assert!(error.failures()[0].message.contains("forbidden"), "{error}");
        let remedy = error.remedy().unwrap();
        for part in ["ClusterRole", "use-managed-identity", "cid.wi.aks.azure.com", "resource app "] {
            assert!(remedy.contains(part), "{part}: {remedy}");
        }
    }
    let (world, broker) = stage(BOUND, [json_with(401, ("content-type", "text/plain"), "Unauthorized")]);
    world.file("/tokens/azure", JWT);
    let remedy = world.error(&broker, VAULT).remedy().unwrap().to_owned();
    assert!(remedy.contains("api://AKSIdentityBinding"), "{remedy}");
}

#[test]
fn an_error_of_entra_that_the_proxy_relays_has_entras_remedy() {
    let (world, broker) = stage(BOUND, [refusal(400, 700_016)]);
    world.file("/tokens/azure", JWT);
    let error = world.error(&broker, VAULT);
    assert!(error.remedy().unwrap().contains("az ad sp create --id app"), "{error}");
    let (world, broker) = stage(BOUND, [refusal(401, 700_212)]);
    world.file("/tokens/azure", &bound_token());
    let error = world.error(&broker, VAULT);
    assert!(error.remedy().unwrap().contains("az identity federated-credential list"), "{error}");
}

#[test]
fn a_redirect_of_the_proxy_is_an_answer_and_a_connection_that_is_lost_is_retried() {
    let redirect = json_with(307, ("location", "https://evil.example/base?assertion=x"), "");
    let (world, broker) = stage(BOUND, [redirect]);
    world.file("/tokens/azure", JWT);
    let error = world.error(&broker, VAULT);
    assert_eq!((error.kind(), world.requests()), ("protocol", 1));
    assert!(error.to_string().contains("is not followed"), "{error}");

    let (world, broker) = stage(BOUND, [fault(SendErrorKind::Broken), entra("T1")]);
    world.file("/tokens/azure", JWT);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");

    let hung_up = std::iter::repeat_with(|| fault(SendErrorKind::NotConnected)).take(50);
    let (world, broker) = stage(&with(BOUND, &[("TOKEN_BROKER_BUDGET_MS", "1000")]), hung_up);
    world.file("/tokens/azure", JWT);
    let error = world.error(&broker, VAULT);
    assert_eq!(error.kind(), "transient");
    assert!(
        error.remedy().unwrap().contains(PROXY) && !error.to_string().contains("azure.status"),
        "{error}"
    );
}

#[test]
fn a_token_for_the_proxy_that_entra_refuses_leads_to_identity_bindings() {
    for number in [70_021, 700_211, 700_212, 700_213] {
        let (world, broker) = stage(WORKLOAD, [refusal(401, number)]);
        world.file("/tokens/azure", &bound_token());
        let error = world.error(&broker, VAULT);
        assert_eq!(error.kind(), "rejected");
        let remedy = error.remedy().unwrap();
        for part in ["identity bindings", "azure.workload.identity/use-identity-binding: \"true\"", PROXY] {
            assert!(remedy.contains(part), "{part}: {remedy}");
        }
    }
    for (token, number) in [(JWT.to_owned(), 700_212), (bound_token(), 700_016)] {
        let (world, broker) = stage(WORKLOAD, [refusal(401, number)]);
        world.file("/tokens/azure", &token);
        let remedy = world.error(&broker, VAULT).remedy().unwrap().to_owned();
        assert!(!remedy.contains("identity bindings"), "{number}: {remedy}");
    }
}

#[test]
fn explain_shows_the_proxy_its_name_and_its_file_and_no_certificate() {
    let (_, broker) = stage(BOUND, []);
    let shown = report(&broker, "workload-identity");
    for part in ["https://127.0.0.1:8443/base", "x.test", SNI_NAME, "/ca/ca.crt", CA_FILE] {
        assert!(shown.reason.contains(part), "{part}: {}", shown.reason);
    }
    let request = shown.would_send.unwrap();
    assert!(
        request.starts_with("POST https://127.0.0.1:8443/base/tenant.example/oauth2/v2.0/token "),
        "{request}"
    );

    let kept: Vec<_> =
        BOUND.iter().copied().filter(|(name, _)| ![CA_FILE, SNI_NAME].contains(name)).collect();
    let (_, broker) = stage(&[&kept[..], &[(CA_DATA, "s3ntinel-pem")]].concat(), []);
    let shown = format!("{:?}", broker.explain());
    assert!(shown.contains(CA_DATA) && shown.contains("the name 127.0.0.1"), "{shown}");
    assert!(!shown.contains("s3ntinel"), "{shown}");
}

#[test]
fn clusters_that_bind_one_identity_share_its_tokens() {
    let world = World::new();
    world.script([entra("T1")]);
    world.file("/tokens/azure", JWT);
    let store = SharedStore::new(&world);
    let other: Vec<_> = BOUND
        .iter()
        .map(|&(name, value)| (name, if [PROXY, VERIFIED].contains(&name) { "https://other" } else { value }))
        .collect();
    let brokers = [BOUND, &other].map(|pairs| world.sharing(&store, &[pairs, &[KEY]].concat()));
    for broker in &brokers {
        assert_eq!(name(world.get(broker, VAULT)), "T1");
    }
    assert_eq!(world.requests(), 1);
}

/// A token as AKS projects it into a pod with identity bindings.
fn bound_token() -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"aud":["api://AKSIdentityBinding"]}"#))
}

const PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
const SNI_NAME: &str = "AZURE_KUBERNETES_SNI_NAME";
const CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
const CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";
const VERIFIED: &str = "TOKEN_BROKER_VERIFIED_TOKEN_PROXY";
