//! Failures: how long each is the answer, and which are tried again.

use std::time::Duration;

use token_broker::{Host as _, SendErrorKind, Verdict};

use crate::fake::{Reply, fault, json, json_with, token};
use crate::stage::*;

#[test]
fn a_failure_is_the_answer_for_its_time_and_then_forgotten() {
    for (reply, kind_of_failure, rest_ms) in [
        (json(400, "{}"), "rejected", 10_000),
        (json(400, NO_IDENTITY), "unavailable", 10_000),
        (json(200, "{}"), "protocol", 1000),
        (json_with(429, ("retry-after", "3000"), "{}"), "throttled", 3_000_000),
        (json_with(503, ("retry-after", "3000"), "{}"), "throttled", 3_000_000),
    ] {
        let (world, broker) = stage(&[], [reply, token("T1", DAY)]);
        assert_eq!(kind(world.get(&broker, VAULT)), kind_of_failure);
        world.advance(Duration::from_millis(rest_ms - 1));
        assert_eq!(kind(world.get(&broker, VAULT)), kind_of_failure);
        assert_eq!(world.requests(), 1, "{kind_of_failure}");
        world.advance(Duration::from_millis(1));
        world.script([token("T1", DAY)]);
        assert_eq!(kind(world.get(&broker, VAULT)), "a token", "{kind_of_failure}");
    }
}

#[test]
fn a_failure_of_one_key_is_not_the_answer_for_another() {
    let (world, broker) = stage(&[], [json(400, "{}"), token("T1", DAY)]);
    assert_eq!(kind(world.get(&broker, VAULT)), "rejected");
    assert_eq!(kind(world.get(&broker, STORAGE)), "a token");
}

#[test]
fn a_busy_imds_is_retried_with_growing_waits() {
    for status in [404, 408, 429, 500, 502, 503, 504, 599] {
        let (world, broker) =
            stage(&[], [json(status, "{}"), json(status, "{}"), json(status, "{}"), token("T1", DAY)]);
        assert_eq!(kind(world.get(&broker, VAULT)), "a token", "{status}");
        assert_eq!(world.moments(), [0, 1000, 3000, 7000], "{status}");
    }
}

#[test]
fn a_retry_is_for_one_fetch_only() {
    let (world, broker) = stage(&[], []);
    for total in [4, 8, 12] {
        world.script((0..4).map(|_| json(500, "{}")));
        let error = world.error(&broker, VAULT);
        assert_eq!((error.kind(), error.failures()[0].status), ("transient", Some(500)));
        assert_eq!(world.requests(), total);
        world.advance_secs(1);
    }
}

#[test]
fn an_imds_that_is_being_upgraded_is_waited_for_and_an_app_service_is_not() {
    let (world, broker) = stage(&[], (0..5).map(|_| json(410, "{}")).chain([token("T1", DAY)]));
    assert_eq!(kind(world.get(&broker, VAULT)), "a token");
    assert_eq!(world.moments().last(), Some(&70_000));

    let (world, broker) = stage(APP_SERVICE, (0..4).map(|_| json(410, "{}")));
    assert_eq!(kind(world.get(&broker, VAULT)), "transient");
    assert_eq!(world.moments(), [0, 1000, 3000, 7000]);
}

#[test]
fn throttling_without_a_word_of_when_ends_as_throttled_with_a_wait() {
    let answer = r#"{"error":"invalid_request","error_description":"Temporarily throttled"}"#;
    let (world, broker) = stage(&[], (0..4).map(|_| json(429, answer)));
    let error = world.error(&broker, VAULT);
    assert_eq!((error.kind(), error.retry_after()), ("throttled", Some(Duration::from_secs(5))));
    assert!(error.to_string().contains("Temporarily throttled"), "{error}");
}

#[test]
fn every_try_is_bounded_by_its_timeout_and_all_of_them_by_the_budget() {
    let limits = [("TOKEN_BROKER_TIMEOUT_MS", "3000"), ("TOKEN_BROKER_BUDGET_MS", "4000")];
    let answers = (0..4).map(|_| fault(SendErrorKind::TimedOut));
    let (world, broker) = stage(&with(APP_SERVICE, &limits), answers);
    assert_eq!(kind(world.get(&broker, VAULT)), "transient");
    assert_eq!(world.moments(), [0, 1000, 3000]);
    let limits: Vec<_> = (0..3).map(|nth| world.sent(nth).limits.total.as_millis()).collect();
    assert_eq!(limits, [3000, 3000, 1000]);
}

#[test]
fn a_machine_without_imds_learns_it_from_one_connection_attempt_of_a_second() {
    let (world, broker) = stage(&[], [fault(SendErrorKind::NotConnected)]);
    let error = world.error(&broker, VAULT);
    assert_eq!(error.kind(), "unavailable");
    assert_eq!(error.failures().last().unwrap().source, "imds");
    assert_eq!((world.requests(), world.sent(0).limits.connect), (1, Duration::from_secs(1)));
    assert!(error.remedy().is_some());
}

#[test]
fn without_a_source_one_line_names_the_missing_variables_of_each() {
    let (world, broker) = stage(&[], [fault(SendErrorKind::NotConnected)]);
    let line = world.error(&broker, VAULT).to_string();
    assert!(!line.contains('\n'));
    for part in [
        "client-secret: AZURE_CLIENT_SECRET, AZURE_CLIENT_ID and AZURE_TENANT_ID are not set | ",
        "workload-identity: AZURE_FEDERATED_TOKEN_FILE and AZURE_TENANT_ID are not set | ",
        "app-service: IDENTITY_ENDPOINT and IDENTITY_HEADER are not set | ",
        "cloud-shell: MSI_ENDPOINT is not set | ",
        "azure-arc: there is no file /opt/azcmagent/bin/himds",
        "imds: asked ",
    ] {
        assert_eq!(line.matches(part).count(), 1, "{part}: {line}");
    }
}

#[test]
fn where_a_source_answers_only_its_answer_counts() {
    let (world, broker) = stage(&[], [json(400, NO_IDENTITY)]);
    let error = world.error(&broker, VAULT);
    let sources: Vec<_> = error.failures().iter().map(|failure| failure.source.as_ref()).collect();
    assert_eq!((error.kind(), sources), ("unavailable", vec!["azure-arc", "imds"]));
}

#[test]
fn with_a_selection_the_error_names_the_missing_variables_and_a_remedy() {
    let (world, broker) = stage(&[("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential")], []);
    let error = world.error(&broker, VAULT);
    assert_eq!(
        error.to_string(),
        "unavailable: federated-assertion: TOKEN_BROKER_ASSERTION and AZURE_TENANT_ID are not set | workload-identity: \
         AZURE_FEDERATED_TOKEN_FILE and AZURE_TENANT_ID are not set; fix: set the variables of this platform's source; `token-broker explain` shows those of all sources"
    );
}

#[test]
fn an_imds_that_has_answered_or_was_selected_is_worth_retries() {
    let (world, broker) = holding(DAY, 0);
    world.script((0..4).map(|_| fault(SendErrorKind::NotConnected)));
    assert_eq!(kind(world.get(&broker, STORAGE)), "transient");
    assert_eq!(world.requests(), 5);

    let (world, broker) = stage(
        &[("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")],
        (0..3).map(|_| fault(SendErrorKind::NotConnected)).chain([token("T1", DAY)]),
    );
    assert_eq!(kind(world.get(&broker, VAULT)), "a token");
}

#[test]
fn an_imds_that_goes_away_while_it_is_asked_is_waited_for() {
    let (world, broker) = stage(&[], [json(410, "{}"), fault(SendErrorKind::NotConnected), token("T1", DAY)]);
    assert_eq!(kind(world.get(&broker, VAULT)), "a token");

    let (world, broker) = stage(&[], [fault(SendErrorKind::TimedOut), fault(SendErrorKind::NotConnected)]);
    assert_eq!(kind(world.get(&broker, VAULT)), "unavailable", "silence is no sign of IMDS");
}

#[test]
fn a_refresh_for_which_a_caller_waits_takes_no_longer_than_one_try() {
    let (world, broker) = holding(DAY, DAY / 2);
    let ticket = world.ticket(&broker);
    // Later tries would begin after 5 seconds, 15 and 30.
    world.script((0..6).map(|_| json(410, "{}")));
    let began = world.now();
    world.run(broker.refresh_briefly(ticket));
    assert_eq!((world.requests(), world.now() - began), (3, Duration::from_secs(5)));
    let grant = world.get(&broker, VAULT).unwrap();
    assert_eq!((text(&grant), grant.refresh.is_none()), ("T1", true), "and rests like any that failed");
}

#[test]
fn a_failed_refresh_pauses_after_every_kind_of_failure() {
    let (world, broker) = holding(DAY, DAY / 2);
    world.script([fault(SendErrorKind::Forbidden)]);
    let ticket = world.ticket(&broker);
    world.run(broker.refresh(ticket));
    assert!(world.get(&broker, VAULT).unwrap().refresh.is_none());
    assert_eq!(report(&broker, "imds").verdict, Verdict::Failed);
}

#[test]
fn transport_faults_are_distinguished() {
    for (fault_kind, outcome, requests) in [
        (SendErrorKind::TimedOut, "transient", 4),
        (SendErrorKind::Broken, "transient", 4),
        (SendErrorKind::NotConnected, "transient", 4),
        (SendErrorKind::Untrusted, "protocol", 1),
        (SendErrorKind::Truncated, "transient", 4),
        (SendErrorKind::TooLarge, "protocol", 1),
        (SendErrorKind::Forbidden, "misconfigured", 1),
        (SendErrorKind::Unsendable, "other", 1),
        (SendErrorKind::Unconfigured, "misconfigured", 1),
    ] {
        let (world, broker) = stage(APP_SERVICE, (0..4).map(|_| fault(fault_kind)));
        assert_eq!(kind(world.get(&broker, VAULT)), outcome, "{fault_kind:?}");
        assert_eq!(world.requests(), requests, "{fault_kind:?}");
    }
}

#[test]
fn a_failing_app_service_never_falls_through_to_imds() {
    let answers: [fn() -> Reply; 5] = [
        || json(500, "{}"),
        || json(401, "{}"),
        || json(429, "{}"),
        || json(200, "<html>"),
        || fault(SendErrorKind::NotConnected),
    ];
    for answer in answers {
        let (world, broker) = stage(APP_SERVICE, (0..4).map(|_| answer()));
        assert_ne!(kind(world.get(&broker, VAULT)), "a token");
        for nth in 0..world.requests() {
            assert!(world.sent(nth).url.starts_with("http://127.0.0.1:41741/"), "{}", world.sent(nth).url);
        }
    }
}

#[test]
fn a_proxy_that_the_host_does_not_use_is_named_where_https_gets_no_connection() {
    let hint = |settings: &[(&str, &str)]| {
        let (world, broker) = stage(settings, (0..4).map(|_| fault(SendErrorKind::NotConnected)));
        world.error(&broker, VAULT).to_string()
    };
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let line = hint(&with(SECRET, &[(variable, "http://u:sentinel@proxy.corp")]));
        assert!(
            line.contains(&format!("{variable} is set, and the host")) && !line.contains("sentinel"),
            "{line}"
        );
        let local = hint(&with(APP_SERVICE, &[(variable, "http://proxy.corp")]));
        assert!(!local.contains("_PROXY") && !local.contains("_proxy"), "{local}");
    }
    for none in [&with(SECRET, &[("HTTPS_PROXY", "")]), &with(SECRET, &[("HTTP_PROXY", "http://proxy.corp")])]
    {
        assert!(!hint(none).contains("PROXY"));
    }
}
