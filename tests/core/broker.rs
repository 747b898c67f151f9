//! The broker on a fake host: a virtual clock, scripted answers, futures polled by hand, exact counts.
use std::time::Duration;

use token_broker::{
    Error, ExposeSecret as _, Host as _, Identity, RawRequest, SendError, SendErrorKind, SourceReport,
    Verdict,
};

use crate::fake::{START, Tasks, fault, json, json_with, token};
use crate::stage::*;

const APP_SERVICE: &[(&str, &str)] =
    &[("IDENTITY_ENDPOINT", "http://127.0.0.1:41741/msi/token"), ("IDENTITY_HEADER", "s3ntinel-header")];

// Freshness.

#[test]
fn a_fresh_token_is_answered_from_memory() {
    let (world, broker) = stage(&[], [token("T1", DAY)]);
    let grant = world.get(&broker, VAULT).unwrap();
    assert_eq!((grant.token.expires_on(), grant.token.refresh_on()), (START + DAY, Some(START + DAY / 2)));
    assert_eq!((grant.token.token_type(), grant.token.source()), ("Bearer", "imds"));
    world.advance_secs(DAY / 2 - 1);
    let again = world.get(&broker, "https://vault.azure.net").unwrap();
    assert_eq!((text(&again), again.refresh.is_some()), ("T1", false));
    assert_eq!(world.requests(), 1);
    assert_eq!((broker.stats().hits, broker.stats().misses), (1, 1));
}

#[test]
fn a_stale_token_is_answered_at_once_and_refreshed_by_exactly_one_caller() {
    let (world, broker) = holding(DAY, DAY / 2);
    let grants: Vec<_> = (0..5).map(|_| world.get(&broker, VAULT).unwrap()).collect();
    assert!(grants.iter().all(|grant| text(grant) == "T1"));
    assert_eq!(world.requests(), 1, "nobody has begun the refresh yet");
    let mut duties: Vec<_> = grants.into_iter().filter_map(|grant| grant.refresh).collect();
    assert_eq!(duties.len(), 1);
    world.script([token("T2", 2 * DAY)]);
    world.run(broker.refresh(duties.pop().unwrap()));
    assert_eq!(name(world.get(&broker, VAULT)), "T2");
    assert_eq!(world.requests(), 2);
    let stats = broker.stats();
    assert_eq!((stats.stale_hits, stats.refreshes, stats.fetches, stats.misses), (5, 1, 2, 1));
}

#[test]
fn a_dropped_refresh_ticket_goes_to_the_next_caller() {
    let (world, broker) = holding(DAY, DAY / 2);
    drop(world.get(&broker, VAULT).unwrap());
    assert!(world.get(&broker, VAULT).unwrap().refresh.is_some());
}

#[test]
fn a_failed_refresh_keeps_a_valid_token_and_pauses_for_half_a_minute() {
    let (world, broker) = holding(DAY, DAY / 2);
    let duty = world.duty(&broker);
    world.script([json(400, "{}")]);
    world.run(broker.refresh(duty));
    for _ in 0..4 {
        let grant = world.get(&broker, VAULT).unwrap();
        assert_eq!((text(&grant), grant.refresh.is_none()), ("T1", true));
    }
    world.advance_secs(29);
    assert!(world.get(&broker, VAULT).unwrap().refresh.is_none());
    world.advance_secs(1);
    assert!(world.get(&broker, VAULT).unwrap().refresh.is_some());
    assert_eq!(world.requests(), 2);
}

#[test]
fn an_expiring_token_is_replaced_before_it_is_answered() {
    let (world, broker) = holding(3600, 3300);
    world.script([token("T2", 7200)]);
    assert_eq!(name(world.get(&broker, VAULT)), "T2");
    assert_eq!(broker.stats().refreshes, 1);
}

#[test]
fn an_expiring_token_is_answered_when_no_other_can_be_had_until_it_ends() {
    let (world, broker) = holding(3600, 3400);
    world.script([json(400, "{}")]);
    for _ in 0..4 {
        assert_eq!(name(world.get(&broker, VAULT)), "T1");
    }
    assert_eq!(world.requests(), 2);
    world.advance_secs(199);
    world.script([json(400, "{}")]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    world.advance_secs(1);
    assert_eq!(kind(world.get(&broker, VAULT)), "rejected");
    assert_eq!(world.requests(), 3, "the last failure is ten seconds old at most");
}

#[test]
fn a_waiter_that_comes_late_to_an_ended_token_asks_again() {
    let (world, broker) = stage(&[], []);
    let (mut tasks, [leader, waiter]) = begin(&world, [get(&broker, VAULT), get(&broker, VAULT)]);
    world.script([token("T1", 400)]);
    tasks.poll_only(leader);
    world.advance_secs(500);
    tasks.serve([token("T2", 1000)]);
    assert_eq!(name(tasks.output(waiter).unwrap()), "T2");
}

#[test]
fn a_response_that_was_read_late_does_not_extend_the_lifetime_of_its_token() {
    for (reply, ends) in [
        (json(200, r#"{"access_token":"T1","expires_in":10800}"#), START + 10_800),
        (
            json_with(
                200,
                ("date", "Thu, 09 Oct 2025 08:53:20 GMT"),
                &format!(r#"{{"access_token":"T1","expires_on":{}}}"#, START + 10_800),
            ),
            START + 10_800,
        ),
    ] {
        let (world, broker) = stage(&[], []);
        let (mut tasks, [task]) = begin(&world, [get(&broker, VAULT)]);
        world.advance_secs(7200);
        tasks.serve([reply]);
        assert_eq!(tasks.output(task).unwrap().unwrap().token.expires_on(), ends);
    }
}

#[test]
fn callers_of_an_expiring_token_share_one_failing_fetch_and_keep_the_token() {
    let (world, broker) = holding(3600, 3400);
    let mut tasks = crowd(&world, (0..10).map(|_| get(&broker, VAULT)));
    tasks.serve([json(400, "{}")]);
    assert!(tasks.outputs().into_iter().all(|grant| name(grant) == "T1"));
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_token_of_less_than_five_minutes_is_returned_and_replaced_each_time() {
    let (world, broker) = stage(&[], [token("T1", 200), token("T2", 210)]);
    let grant = world.get(&broker, VAULT).unwrap();
    assert_eq!((text(&grant), grant.token.refresh_on()), ("T1", None));
    assert_eq!(name(world.get(&broker, VAULT)), "T2");
}

#[test]
fn jitter_makes_a_token_stale_earlier_by_at_most_a_tenth() {
    for (random, early) in [(0, 0), (u64::MAX / 2, 2159), (u64::MAX, 4319)] {
        let (world, broker) = stage(&[], [token("T1", DAY)]);
        world.set_random(random);
        world.get(&broker, VAULT).unwrap();
        world.advance_secs(DAY / 2 - early - 1);
        assert!(world.get(&broker, VAULT).unwrap().refresh.is_none(), "{random}");
        world.advance_secs(1);
        let grant = world.get(&broker, VAULT).unwrap();
        assert!(grant.refresh.is_some(), "{random}");
        assert_eq!(grant.token.refresh_on(), Some(START + DAY / 2), "what is told has no jitter");
    }
}

#[test]
fn a_wrong_clock_is_corrected_by_the_date_of_the_answer() {
    let (world, broker) = stage(&[], []);
    // Our clock says START, the server's is two hours behind.
    let body = format!(r#"{{"access_token":"T1","expires_on":{}}}"#, START - 7200 + 3600);
    world.script([json_with(200, ("date", "Thu, 09 Oct 2025 06:53:20 GMT"), &body)]);
    assert_eq!(world.get(&broker, VAULT).unwrap().token.expires_on(), START + 3600);
}

#[test]
fn a_clock_that_was_set_back_does_not_revive_an_old_token() {
    let (world, broker) = stage(&[], [token("T1", DAY), token("T2", DAY)]);
    world.get(&broker, VAULT).unwrap();
    world.set_clock(Duration::from_secs(START - 3600));
    assert!(broker.peek(VAULT).is_none());
    assert_eq!(name(world.get(&broker, VAULT)), "T2");
}

// Peek, forget, claims.

#[test]
fn a_peek_answers_only_what_is_fresh_and_starts_nothing() {
    let (world, broker) = stage(&[], []);
    assert!(broker.peek(VAULT).is_none() && broker.peek("not a scope").is_none());
    world.script([token("T1", DAY)]);
    world.get(&broker, VAULT).unwrap();
    assert_eq!(broker.peek(VAULT).unwrap().secret().expose_secret(), "T1");
    assert!(broker.peek(STORAGE).is_none());
    world.advance_secs(DAY / 2);
    assert!(broker.peek(VAULT).is_none());
    assert_eq!(world.requests(), 1);
    assert_eq!((broker.stats().requests, broker.stats().hits), (2, 1));
}

#[test]
fn a_forgotten_token_is_fetched_again_for_every_identity() {
    let (world, broker) = stage(&[], []);
    let user = || vault_for(client("aaa"));
    world.script([token("T1", DAY), token("T2", DAY), token("T3", DAY), token("T4", DAY), token("T5", DAY)]);
    world.get(&broker, VAULT).unwrap();
    world.ask(&broker, user()).unwrap();
    world.get(&broker, STORAGE).unwrap();
    broker.forget("https://vault.azure.net");
    broker.forget("not a scope");
    assert!(broker.peek(VAULT).is_none() && broker.peek(STORAGE).is_some());
    assert_eq!(name(world.get(&broker, VAULT)), "T4");
    assert_eq!(name(world.ask(&broker, user())), "T5");
}

#[test]
fn a_consumer_that_forgets_every_token_gets_one_new_one_in_half_a_minute() {
    let (world, broker) = stage(&[], (1..=3).map(|n| token(&format!("T{n}"), DAY)));
    for (second, held) in [(0, "T1"), (0, "T2"), (0, "T2"), (29, "T2"), (30, "T2"), (30, "T3"), (59, "T3")] {
        world.set_clock(Duration::from_secs(START + second));
        assert_eq!(name(world.get(&broker, VAULT)), held, "after {second} s");
        broker.forget(VAULT);
    }
    assert_eq!(world.requests(), 3);
}

#[test]
fn a_consumer_that_forgets_every_failure_makes_one_more_request_in_half_a_minute() {
    let (world, broker) = stage(&[], (0..2).map(|_| fault(SendErrorKind::NotConnected)));
    for _ in 0..100 {
        assert_eq!(kind(world.get(&broker, VAULT)), "unavailable");
        broker.forget(VAULT);
    }
    assert_eq!(world.requests(), 2);
}

// The rate limit in front of each endpoint.

/// Requests for tokens that differ in their scope, identity and claims.
fn different(n: usize) -> RawRequest {
    let claims = n.is_multiple_of(3).then(|| format!(r#"{{"n":{n}}}"#));
    let identity =
        if n % 3 == 1 { Identity::client_id(&format!("id-{n}")).unwrap() } else { Identity::Default };
    let scope = if n % 3 == 2 { format!("https://s{n}.example") } else { VAULT.to_owned() };
    RawRequest { claims, identity, ..raw(&scope) }
}

#[test]
fn different_questions_share_the_rate_limit_of_their_endpoint() {
    let (world, broker) = stage(APP_SERVICE, (0..100).map(|n| token(&format!("T{n}"), DAY)));
    let mut tasks = Tasks::new(&world);
    (0..100).for_each(|n| _ = tasks.start(ask(&broker, different(n))));
    tasks.settle();
    assert!(tasks.outputs().into_iter().all(|outcome| kind(outcome) == "a token"));
    let expected: Vec<u128> = [0; 20].into_iter().chain((1..=80).map(|n| n * 200)).collect();
    assert_eq!(world.moments(), expected);
    assert_eq!(broker.stats().budget_waits, 80);
}

#[test]
fn a_wait_for_the_rate_limit_without_time_for_a_try_is_throttled_at_once_with_its_retry_after() {
    let (world, broker) = stage(&[("TOKEN_BROKER_BUDGET_MS", "2000")], []);
    let mut tasks = crowd(&world, (0..30).map(|n| ask(&broker, different(n))));
    let refused = tasks.outputs();
    assert_eq!(refused.len(), 6, "four have a turn that leaves them a second");
    for outcome in refused {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), ("throttled", Some(Duration::from_secs(1))));
        assert!(error.to_string().contains("its rate limit for 169.254.169.254"), "{error}");
    }
}

#[test]
fn tries_that_fail_take_turns_like_all_others() {
    let (world, broker) = stage(APP_SERVICE, (0..100).map(|_| json(500, "{}")));
    let mut tasks = Tasks::new(&world);
    (0..20).for_each(|n| _ = tasks.start(ask(&broker, different(3 * n + 2))));
    tasks.settle();
    let moments = world.moments();
    assert_eq!(moments.len(), 80);
    for second in 1..20 {
        let so_far = moments.iter().filter(|moment| **moment < 1000 * second).count();
        assert!(so_far <= 20 + 5 * second as usize, "{so_far} requests in {second} s");
    }
}

#[test]
fn a_wait_for_the_rate_limit_that_ended_late_is_repeated() {
    let (world, broker) = stage(APP_SERVICE, []);
    let scopes: Vec<_> = (0..60).map(|n| format!("https://s{n}.example")).collect();
    let call = |scopes: &[String]| drop(crowd(&world, scopes.iter().map(|scope| get(&broker, scope))));
    call(&scopes[..40]);
    assert_eq!(world.requests(), 20);
    world.advance_secs(8);
    call(&scopes);
    assert_eq!(
        world.requests(),
        40,
        "as many as the bucket has, of those that missed their turn and the new ones"
    );
}

#[test]
fn the_tenants_and_users_of_an_app_share_the_rate_limit_of_their_authority() {
    let (world, broker) = stage(
        &[
            ("AZURE_CLIENT_ID", "app"),
            ("AZURE_TENANT_ID", "tenant.example"),
            ("AZURE_CLIENT_SECRET", "s3cret"),
            ("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "*"),
        ],
        [],
    );
    let body = r#"{"access_token":"T","expires_in":3600}"#;
    world.script((0..150).map(|_| json(200, body)));
    let mut tasks = Tasks::new(&world);
    for n in 0..150_usize {
        let tenant_id = n.is_multiple_of(2).then(|| format!("t{n}.example"));
        let user_assertion = (!n.is_multiple_of(2)).then(|| format!("user-{n}").into());
        let request = RawRequest { tenant_id, user_assertion, ..raw(VAULT) };
        tasks.start(ask(&broker, request));
    }
    tasks.settle();
    let expected: Vec<u128> = [0; 100].into_iter().chain((1..=50).map(|n| n * 20)).collect();
    assert_eq!(world.moments(), expected);
}

#[test]
fn forgetting_ends_a_cooldown_unless_the_service_asked_for_it() {
    let (world, broker) =
        stage(&[], [json(400, "{}"), token("T1", DAY), json_with(429, ("retry-after", "3000"), "{}")]);
    assert_eq!(kind(world.get(&broker, VAULT)), "rejected");
    broker.forget(VAULT);
    assert_eq!(kind(world.get(&broker, VAULT)), "a token");
    broker.forget(VAULT);
    assert_eq!(kind(world.get(&broker, VAULT)), "throttled");
    broker.forget(VAULT);
    assert_eq!(kind(world.get(&broker, VAULT)), "throttled");
    assert_eq!(world.requests(), 3);
}

#[test]
fn claims_bypass_memory_and_their_token_replaces_the_one_without() {
    let (world, broker) = stage(&[], []);
    let with_claims = || RawRequest { claims: Some(r#"{"a":1}"#.to_owned()), ..raw(VAULT) };
    world.script([token("T1", DAY), token("T2", DAY), token("T3", DAY)]);
    world.get(&broker, VAULT).unwrap();
    assert_eq!(name(world.ask(&broker, with_claims())), "T2");
    assert_eq!(name(world.get(&broker, VAULT)), "T2");
    assert_eq!(name(world.ask(&broker, with_claims())), "T3");
    assert_eq!(world.sent(0).url, world.sent(1).url);
}

#[test]
fn claims_that_cannot_be_met_do_not_fall_back_to_the_refused_token() {
    let (world, broker) = stage(&[], [token("T1", DAY), json(400, "{}")]);
    world.get(&broker, VAULT).unwrap();
    let with_claims = RawRequest { claims: Some("{}".to_owned()), ..raw(VAULT) };
    assert_eq!(kind(world.ask(&broker, with_claims)), "rejected");
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
}

// Failures and retries.

#[test]
fn a_failure_is_the_answer_for_its_time_and_then_forgotten() {
    for (reply, kind_of_failure, rest_ms) in [
        (json(400, "{}"), "rejected", 10_000),
        (
            json(400, r#"{"error":"invalid_request","error_description":"Identity not found"}"#),
            "unavailable",
            10_000,
        ),
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
    let (world, broker) = stage(
        &[],
        (0..4)
            .map(|_| json(429, r#"{"error":"invalid_request","error_description":"Temporarily throttled"}"#)),
    );
    let error = world.error(&broker, VAULT);
    assert_eq!((error.kind(), error.retry_after()), ("throttled", Some(Duration::from_secs(5))));
    assert!(error.to_string().contains("Temporarily throttled"), "{error}");
}

#[test]
fn every_try_is_bounded_by_its_timeout_and_all_of_them_by_the_budget() {
    let (world, broker) = stage(
        &[
            ("TOKEN_BROKER_TIMEOUT_MS", "3000"),
            ("TOKEN_BROKER_BUDGET_MS", "4000"),
            APP_SERVICE[0],
            APP_SERVICE[1],
        ],
        (0..4).map(|_| fault(SendErrorKind::TimedOut)),
    );
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
    let (world, broker) =
        stage(&[], [json(400, r#"{"error":"invalid_request","error_description":"Identity not found"}"#)]);
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
        "unavailable: workload-identity: AZURE_FEDERATED_TOKEN_FILE and AZURE_TENANT_ID are not set; fix: set the \
         variables of this platform's source; `token-broker explain` shows those of all sources"
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
    let duty = world.duty(&broker);
    // Later tries would begin after 5 seconds, 15 and 30.
    world.script((0..6).map(|_| json(410, "{}")));
    let began = world.now();
    world.run(broker.refresh_briefly(duty));
    assert_eq!((world.requests(), world.now() - began), (3, Duration::from_secs(5)));
    let grant = world.get(&broker, VAULT).unwrap();
    assert_eq!((text(&grant), grant.refresh.is_none()), ("T1", true), "and rests like any that failed");
}

#[test]
fn a_failed_refresh_pauses_after_every_kind_of_failure() {
    let (world, broker) = stage(&[], [token("T1", DAY), fault(SendErrorKind::Forbidden)]);
    world.get(&broker, VAULT).unwrap();
    world.advance_secs(DAY / 2);
    let duty = world.duty(&broker);
    world.run(broker.refresh(duty));
    assert!(world.get(&broker, VAULT).unwrap().refresh.is_none());
    assert_eq!(imds(&broker).verdict, Verdict::Failed);
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
    ] {
        let (world, broker) = stage(APP_SERVICE, (0..4).map(|_| fault(fault_kind)));
        assert_eq!(kind(world.get(&broker, VAULT)), outcome, "{fault_kind:?}");
        assert_eq!(world.requests(), requests, "{fault_kind:?}");
    }
}

#[test]
fn a_failing_app_service_never_falls_through_to_imds() {
    for reply in [
        json(500, "{}"),
        json(401, "{}"),
        json(429, "{}"),
        json(200, "<html>"),
        fault(SendErrorKind::NotConnected),
    ] {
        let (world, broker) = stage(APP_SERVICE, []);
        let replies: Vec<_> =
            (0..4).map(|_| reply.as_ref().map_or_else(|error| Err(error.clone()), copy)).collect();
        world.script(replies);
        assert_ne!(kind(world.get(&broker, VAULT)), "a token");
        for nth in 0..world.requests() {
            assert!(world.sent(nth).url.starts_with("http://127.0.0.1:41741/"), "{}", world.sent(nth).url);
        }
    }
}

fn copy(response: &http::Response<token_broker::Body>) -> crate::fake::Reply {
    json(response.status().as_u16(), std::str::from_utf8(response.body().expose_secret()).unwrap())
}

// Identities and sources.

#[test]
fn each_source_names_identities_in_its_own_way() {
    let identities = || {
        [
            Identity::SystemAssigned,
            client("C-1"),
            Identity::object_id("o-1").unwrap(),
            Identity::resource_id("/subscriptions/s").unwrap(),
        ]
    };
    for (environment, start, names) in [
        (
            &[][..],
            "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net",
            ["", "&client_id=C-1", "&object_id=o-1", "&msi_res_id=%2Fsubscriptions%2Fs"],
        ),
        (
            APP_SERVICE,
            "http://127.0.0.1:41741/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net",
            ["", "&client_id=C-1", "&object_id=o-1", "&mi_res_id=%2Fsubscriptions%2Fs"],
        ),
    ] {
        let (world, broker) = stage(environment, []);
        for (nth, (identity, end)) in identities().into_iter().zip(names).enumerate() {
            world.script([token("T", DAY)]);
            world.ask(&broker, vault_for(identity)).unwrap();
            assert_eq!(world.sent(nth).url, format!("{start}{end}"));
            assert_eq!(world.sent(nth).headers["metadata"], "true");
        }
    }
}

#[test]
fn the_identity_header_goes_to_app_service_alone_and_marked_as_secret() {
    let (world, broker) = stage(APP_SERVICE, [token("T1", DAY)]);
    world.get(&broker, VAULT).unwrap();
    let header = &world.sent(0).headers["x-identity-header"];
    assert!(header == "s3ntinel-header" && header.is_sensitive());

    let (world, broker) = stage(&[APP_SERVICE[1]], []);
    assert_eq!(kind(world.get(&broker, VAULT)), "misconfigured");
    assert_eq!(world.requests(), 0);
}

#[test]
fn every_request_has_a_unique_id_that_the_error_repeats() {
    let (world, broker) = stage(&[], []);
    world.set_random(7);
    world.script([json(400, "{}")]);
    let error = world.error(&broker, VAULT);
    let id = world.sent(0).headers["x-ms-client-request-id"].to_str().unwrap().to_owned();
    assert_eq!(id, "00000000-0000-4007-8000-000000000007");
    assert_eq!(error.failures().last().unwrap().correlation_id, Some(id));
}

#[test]
fn the_default_identity_is_the_one_that_the_environment_names() {
    let (world, broker) = stage(&[("AZURE_CLIENT_ID", "env-id")], [token("T1", DAY), token("T2", DAY)]);
    world.get(&broker, VAULT).unwrap();
    world.ask(&broker, vault_for(Identity::SystemAssigned)).unwrap();
    assert!(world.sent(0).url.ends_with("&client_id=env-id"), "{}", world.sent(0).url);
    assert!(!world.sent(1).url.contains("client_id"), "{}", world.sent(1).url);
    world.ask(&broker, vault_for(client("ENV-ID"))).unwrap();
    assert_eq!(world.requests(), 2, "the same identity shares its token however it is named");
}

#[test]
fn a_missing_identity_is_unavailable_only_if_none_was_named() {
    let not_found = || json(400, r#"{"error":"invalid_request","error_description":"Identity not found"}"#);
    let (world, broker) = stage(&[], [not_found(), not_found()]);
    let error = world.error(&broker, VAULT);
    assert_eq!(error.kind(), "unavailable");
    assert!(error.remedy().unwrap().contains("az vm identity assign"), "{error}");
    let named = vault_for(client("nobody"));
    let error = world.ask(&broker, named).unwrap_err();
    assert_eq!(error.kind(), "rejected");
    let line = error.to_string();
    for part in [
        "Identity not found",
        "nobody",
        "https://vault.azure.net",
        "169.254.169.254",
        "az vm identity assign",
    ] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
}

#[test]
fn the_token_of_another_identity_is_refused_and_not_held() {
    let (world, broker) = stage(&[], []);
    // {"appid":"somebody-else"}
    world.script([token("e30.eyJhcHBpZCI6InNvbWVib2R5LWVsc2UifQ.c2ln", DAY), token("T2", DAY)]);
    let named = || vault_for(client("me"));
    let error = world.ask(&broker, named()).unwrap_err();
    assert_eq!(error.kind(), "protocol");
    assert!(error.to_string().contains("appid") && !error.to_string().contains("eyJ"), "{error}");
    world.advance_secs(1);
    assert_eq!(name(world.ask(&broker, named())), "T2");
}

// Configuration and policy.

#[test]
fn a_request_against_the_policy_is_denied_and_nothing_is_sent() {
    let (world, broker) =
        stage(&[("TOKEN_BROKER_ALLOWED_SCOPES", VAULT), ("TOKEN_BROKER_ALLOWED_IDENTITIES", "aaa")], []);
    assert_eq!(kind(world.get(&broker, VAULT)), "denied");
    assert_eq!(kind(world.ask(&broker, RawRequest { identity: client("aaa"), ..raw(STORAGE) })), "denied");
    assert_eq!(world.requests(), 0);
    world.script([token("T1", DAY)]);
    assert_eq!(kind(world.ask(&broker, vault_for(client("AAA")))), "a token");
    assert!(broker.peek(VAULT).is_none(), "a peek is for the default identity, which is not allowed");
}

#[test]
fn an_invalid_configuration_is_reported_by_every_call_and_by_explain() {
    for environment in [
        &[("TOKEN_BROKER_TIMEOUT_MS", "soon")][..],
        &[("IDENTITY_ENDPOINT", "http://127.0.0.1/msi")],
        &[("IDENTITY_HEADER", "h")],
        &[("IDENTITY_ENDPOINT", "http://evil.example/msi"), ("IDENTITY_HEADER", "h")],
        &[("IDENTITY_ENDPOINT", "http://127.0.0.1@evil.example/msi"), ("IDENTITY_HEADER", "h")],
        &[("IDENTITY_ENDPOINT", "http://127.0.0.1/msi"), ("IDENTITY_HEADER", "a\nb")],
        &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://10.0.0.5")],
        &[APP_SERVICE[0], APP_SERVICE[1], ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://10.0.0.5")],
    ] {
        let (world, broker) = stage(environment, []);
        for _ in 0..2 {
            let error = world.error(&broker, VAULT);
            assert_eq!(error.kind(), "misconfigured", "{environment:?}");
            assert!(environment.iter().any(|(name, _)| error.to_string().contains(name)), "{error}");
        }
        assert!(
            broker.explain().iter().any(|report| report.verdict == Verdict::Misconfigured),
            "{environment:?}"
        );
        assert_eq!((world.requests(), broker.stats().fetches), (0, 0));
    }
}

#[test]
fn a_user_cannot_be_stood_for_by_a_managed_identity() {
    let (world, broker) = stage(&[], []);
    let on_behalf = RawRequest { user_assertion: Some("jwt".into()), ..raw(VAULT) };
    assert_eq!(kind(world.ask(&broker, on_behalf)), "invalid-request");
    assert_eq!(world.requests(), 0);
}

#[test]
fn explain_shows_the_request_and_then_its_result() {
    let (world, broker) = stage(&[("AZURE_CLIENT_ID", "env-id")], []);
    let reports = broker.explain();
    let names: Vec<_> = reports.iter().map(|report| report.source).collect();
    assert_eq!(
        names,
        [
            "federated-identity",
            "client-secret",
            "client-certificate",
            "workload-identity",
            "service-fabric",
            "container-instances",
            "app-service",
            "azure-ml",
            "cloud-shell",
            "azure-arc",
            "imds"
        ]
    );
    assert!(reports[..9].iter().all(|report| report.verdict == Verdict::NotConfigured));
    assert_eq!(reports[1].reason, "AZURE_CLIENT_SECRET and AZURE_TENANT_ID are not set");
    let report = imds(&broker);
    assert_eq!(report.verdict, Verdict::Ready);
    assert_eq!(
        report.would_send.as_deref(),
        Some(
            "GET http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=AUDIENCE&client_id=env-id"
        )
    );
    assert!(report.variables.contains(&("AZURE_CLIENT_ID", true)));
    world.script([token("T1", DAY), json(400, "{}")]);
    world.get(&broker, VAULT).unwrap();
    assert_eq!(imds(&broker).verdict, Verdict::Used);
    assert_eq!(kind(world.get(&broker, STORAGE)), "rejected");
    assert_eq!(imds(&broker).verdict, Verdict::Failed);
    assert_eq!(imds(&broker).last_failure.unwrap().status, Some(400));
}

fn imds(broker: &TestBroker) -> SourceReport {
    broker.explain().pop().unwrap()
}

// Secrets.

#[test]
fn no_secret_is_seen_in_any_log_error_report_or_debug() {
    const SENTINELS: [&str; 4] = ["s3ntinel-header", "s3ntinel-token", "eyJhbGciOi", "s3ntinel-hea"];
    let echo = "you sent s3ntinel-header and may have eyJhbGciOiJub25lIn0.eyJhIjoxfQ.";
    for reply in [
        token("s3ntinel-token", DAY),
        token("s3ntinel-token", 0),
        json(200, r#"{"access_token":"s3ntinel-token","expires_on":"never"}"#),
        json(200, r#"{"access_token":"s3ntinel-token""#),
        json(400, &format!(r#"{{"error":"s3ntinel-header","error_description":"{echo}"}}"#)),
        json(401, &format!(r#"{{"statusCode":401,"message":"{echo}","correlationId":"s3ntinel-header"}}"#)),
        json(400, r#"{"error":"e","error_description":"s3ntinel-token","access_token":"s3ntinel-token"}"#),
        json_with(
            500,
            ("x-ms-request-id", "s3ntinel-header"),
            &format!(r#"{{"error":{{"message":"{echo}"}}}}"#),
        ),
        json(400, &format!("raw {echo}")),
        json(400, &format!(r#"{{"error":"e","error_description":"{}s3ntinel-header"}}"#, "x".repeat(490))),
        json_with(400, ("content-type", "s3ntinel-header/eyJhbGciOi"), "raw"),
        // {"aud":"s3ntinel-header"}
        token("e30.eyJhdWQiOiJzM250aW5lbC1oZWFkZXIifQ.s3ntinel-token", DAY),
        Err(SendError { kind: SendErrorKind::Forbidden, detail: echo.to_owned() }),
        Err(SendError { kind: SendErrorKind::Truncated, detail: echo.to_owned() }),
    ] {
        let (world, broker) =
            stage(&[APP_SERVICE[0], APP_SERVICE[1], ("TOKEN_BROKER_LOG", "debug")], [reply]);
        world.script((0..3).map(|_| json(400, "{}")));
        let outcome = world.get(&broker, VAULT);
        let shown = outcome.as_ref().map_or_else(Error::to_string, |_| String::new());
        let everything =
            format!("{outcome:?} {shown} {:?} {:?} {}", broker.explain(), broker.stats(), world.log());
        assert!(!world.log().is_empty());
        for sentinel in SENTINELS {
            assert!(!everything.contains(sentinel), "{sentinel} is in: {everything}");
        }
    }
}
