//! The order of the sources, and the sources that are passed over.

use std::time::Duration;

use token_broker::{Identity, SendErrorKind, Verdict};

use crate::fake::{Reply, fault, json, json_with, token};
use crate::stage::*;

#[test]
fn a_page_in_the_place_of_imds_is_another_cloud_unless_it_asks_to_be_left_alone() {
    for (status, outcome) in
        [(401, "unavailable"), (404, "unavailable"), (429, "throttled"), (502, "transient")]
    {
        let page = || json_with(status, ("content-type", "text/html"), "<html></html>");
        let (world, broker) = stage(&[], (0..4).map(|_| page()));
        assert_eq!(kind(world.get(&broker, VAULT)), outcome, "{status}");
    }
}

#[test]
fn an_app_declines_another_identity() {
    let (world, broker) = stage(SECRET, [token("MI", DAY)]);
    assert_eq!(name(world.ask(&broker, vault_for(Identity::SystemAssigned))), "MI");
    assert!(world.sent(0).url.starts_with("http://169.254.169.254/"));
}

#[test]
fn a_throttled_or_failing_app_is_never_replaced_by_the_machines_identity() {
    for (reply, kind) in [
        (json_with(429, ("retry-after", "3600"), "{}"), "throttled"),
        (refusal(400, 700_016), "rejected"),
        (json(200, "{}"), "protocol"),
    ] {
        let (world, broker) = stage(SECRET, [reply, token("MI", DAY)]);
        assert_eq!(world.error(&broker, VAULT).kind(), kind);
        assert_eq!(world.requests(), 1, "{kind}");
    }
}

#[test]
fn a_source_that_was_passed_over_has_not_failed() {
    let (world, broker) = stage(SECRET, []);
    let arc = || report(&broker, "azure-arc");
    assert!(arc().reason.contains("/opt/azcmagent/bin/himds"), "{:?}", arc());
    world.script([entra("APP"), token("MI", DAY)]);
    world.get(&broker, VAULT).unwrap();
    world.ask(&broker, vault_for(Identity::SystemAssigned)).unwrap();
    for report in [report(&broker, "client-secret"), arc()] {
        assert_eq!((report.verdict, report.last_failure), (Verdict::Ready, None), "{}", report.source);
    }
    assert_eq!(report(&broker, "imds").verdict, Verdict::Used);
}

#[test]
fn the_absence_of_imds_is_cached_for_all_scopes() {
    let (world, broker) = stage(&[], [fault(SendErrorKind::NotConnected), token("T1", DAY)]);
    for scope in [VAULT, STORAGE] {
        assert_eq!(world.error(&broker, scope).kind(), "unavailable");
    }
    assert_eq!(world.requests(), 1);
    world.advance(Duration::from_millis(10_001));
    world.get(&broker, STORAGE).unwrap();
}

#[test]
fn forgetting_ends_the_cached_absence_of_imds() {
    let (world, broker) = stage(&[], [fault(SendErrorKind::NotConnected), token("T1", DAY)]);
    assert!(world.get(&broker, VAULT).is_err());
    broker.forget(VAULT);
    assert!(world.get(&broker, VAULT).is_ok());
}

#[test]
fn only_selected_sources_are_tried_and_checked() {
    let everything = [WORKLOAD, &SECRET[..1], &MSI[..1]].concat();
    for (selected, source) in [
        ("EnvironmentCredential", "client-secret"),
        ("workloadidentitycredential", "workload-identity"),
        (" ManagedIdentityCredential ", "imds"),
    ] {
        let pairs = with(&everything[..4], &[("AZURE_TOKEN_CREDENTIALS", selected)]);
        let (world, broker) = stage(&pairs, [token("T1", DAY)]);
        world.file("/tokens/azure", JWT);
        assert_eq!(world.get(&broker, VAULT).unwrap().token.source(), source);
    }
    // The faults of an excluded source do not matter.
    let pairs =
        with(SECRET, &[("MSI_SECRET", "alone"), ("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")]);
    let (world, broker) = stage(&pairs, [entra("T1")]);
    assert!(world.get(&broker, VAULT).is_ok());
    assert_eq!(report(&broker, "azure-ml").reason, "AZURE_TOKEN_CREDENTIALS excludes it");
}

#[test]
fn a_selection_without_a_source_names_the_missing_variables() {
    let (world, broker) = stage(&[("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")], []);
    let error = world.error(&broker, VAULT);
    let sources: Vec<_> = error.failures().iter().map(|failure| failure.source.as_ref()).collect();
    assert_eq!((error.kind(), sources), ("unavailable", vec!["client-secret", "client-certificate"]));
}

#[test]
fn an_incomplete_answer_is_retried_with_every_source_and_then_a_transient_error() {
    let cloud_shell: &Pairs = &[("MSI_ENDPOINT", "http://localhost:50342/oauth2/token")];
    let fabric = with(FABRIC, &[PIN]);
    let app_service = [("IDENTITY_ENDPOINT", "http://127.0.0.1:4/msi/token"), ("IDENTITY_HEADER", "h")];
    for source in [SECRET, WORKLOAD, ARC, MSI, cloud_shell, &fabric, &app_service, &[]] {
        for incomplete in [
            || json(200, ""),
            || json(200, r#"{"access_token":"T1","expires_"#),
            || fault(SendErrorKind::Truncated),
        ] {
            let (world, broker) = stage(source, []);
            world.file(KEY_FILE, "the-key");
            world.file("/tokens/azure", JWT);
            let is_arc = source == ARC;
            let tries = |reply: fn() -> Reply, count: usize| {
                (0..count).flat_map(move |_| is_arc.then(|| challenge(KEY_FILE)).into_iter().chain([reply()]))
            };
            world.script(tries(incomplete, 4));
            let error = world.error(&broker, VAULT);
            let requests = if is_arc { 8 } else { 4 };
            assert_eq!((error.kind(), world.requests()), ("transient", requests), "{error}");
            assert!(error.remedy().unwrap().contains("closed the connection early"), "{error}");
            world.advance_secs(10);
            world.script(tries(incomplete, 1).chain(tries(|| token("T1", DAY), 1)));
            assert_eq!(name(world.get(&broker, VAULT)), "T1");
        }
    }
}
