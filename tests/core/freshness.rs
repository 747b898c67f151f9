//! Held tokens: fresh, stale, expiring, forgotten, and replaced because of claims.

use std::time::Duration;

use token_broker::{ExposeSecret as _, RawRequest, SendErrorKind};

use crate::fake::{START, fault, json, json_with, token};
use crate::stage::*;

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
    let mut tickets: Vec<_> = grants.into_iter().filter_map(|grant| grant.refresh).collect();
    assert_eq!(tickets.len(), 1);
    world.script([token("T2", 2 * DAY)]);
    world.run(broker.refresh(tickets.pop().unwrap()));
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
    let ticket = world.ticket(&broker);
    world.script([json(400, "{}")]);
    world.run(broker.refresh(ticket));
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
    let absolute = format!(r#"{{"access_token":"T1","expires_on":{}}}"#, START + 10_800);
    for reply in [
        json(200, r#"{"access_token":"T1","expires_in":10800}"#),
        json_with(200, ("date", "Thu, 09 Oct 2025 08:53:20 GMT"), &absolute),
    ] {
        let (world, broker) = stage(&[], []);
        let (mut tasks, [task]) = begin(&world, [get(&broker, VAULT)]);
        world.advance_secs(7200);
        tasks.serve([reply]);
        assert_eq!(tasks.output(task).unwrap().unwrap().token.expires_on(), START + 10_800);
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
