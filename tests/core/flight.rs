//! Single-flight: a fetch belongs to the broker, not to a caller.

use std::time::Duration;

use crate::fake::{START, Tasks, World, fault, json, token};
use crate::stage::*;

/// A call that is dropped while its fetch waits for a response or for the next try.
fn give_up(world: &World, broker: &TestBroker, scope: &str) {
    let (mut tasks, [caller]) = begin(world, [get(broker, scope)]);
    assert!(tasks.output(caller).is_none());
}

// One fetch, shared.

#[test]
fn all_who_want_the_same_token_share_one_fetch() {
    let (world, broker) = stage(&[], []);
    let mut tasks = crowd(&world, (0..100).map(|_| get(&broker, VAULT)));
    assert_eq!(world.requests(), 1);
    tasks.serve([token("T1", DAY)]);
    let grants = tasks.outputs();
    assert_eq!(grants.len(), 100);
    assert!(grants.into_iter().all(|grant| name(grant) == "T1"));
    assert_eq!(world.requests(), 1);
    let stats = broker.stats();
    assert_eq!((stats.requests, stats.fetches, stats.misses, stats.waiters), (100, 1, 100, 99));
}

#[test]
fn all_who_wait_share_its_failure() {
    let (world, broker) = stage(&[], []);
    let mut tasks = crowd(&world, (0..10).map(|_| get(&broker, VAULT)));
    tasks.serve([json(403, r#"{"error":"forbidden","error_description":"no"}"#)]);
    let errors: Vec<_> = tasks.outputs().into_iter().map(Result::unwrap_err).collect();
    assert_eq!(errors.len(), 10);
    assert!(errors.iter().all(|error| error == &errors[0] && error.kind() == "rejected"));
    assert_eq!(world.requests(), 1);
}

// Independent keys.

#[test]
fn a_slow_key_does_not_block_another() {
    let (world, broker) = stage(&[], [token("warm", DAY)]);
    world.get(&broker, STORAGE).unwrap();
    let (mut tasks, [slow]) = begin(&world, [get(&broker, VAULT)]);
    let quick = tasks.start(get(&broker, STORAGE));
    let other = tasks.start(get(&broker, "https://graph.microsoft.com"));
    tasks.poll();
    assert_eq!(name(tasks.output(quick).unwrap()), "warm");
    assert!(tasks.output(slow).is_none() && tasks.output(other).is_none());
    assert_eq!(world.requests(), 3);
}

// Dropped callers.

#[test]
fn a_fetch_continues_with_the_next_waiter_when_its_caller_is_dropped() {
    let (world, broker) = stage(&[], []);
    let mut tasks = crowd(&world, (0..6).map(|_| get(&broker, VAULT)));
    for gone in 0..3 {
        tasks.drop_task(gone);
        tasks.poll();
    }
    tasks.serve([token("T1", DAY)]);
    assert_eq!(tasks.outputs().into_iter().filter(Result::is_ok).count(), 3);
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_fetch_continues_with_the_next_waiter_when_its_caller_is_dropped_between_two_tries() {
    let (world, broker) = stage(&[], [json(500, "{}")]);
    let (mut tasks, [first, second]) = begin(&world, [get(&broker, VAULT), get(&broker, VAULT)]);
    tasks.drop_task(first);
    tasks.finish([token("T1", DAY)]);
    assert_eq!(name(tasks.output(second).unwrap()), "T1");
    assert_eq!((world.moments(), broker.stats().fetches), (vec![0, 1000], 1));
}

#[test]
fn a_dropped_waiter_does_not_affect_others() {
    let (world, broker) = stage(&[], []);
    let (mut tasks, [_, waiter, _]) =
        begin(&world, [get(&broker, VAULT), get(&broker, VAULT), get(&broker, VAULT)]);
    tasks.drop_task(waiter);
    tasks.serve([token("T1", DAY)]);
    assert_eq!((tasks.outputs().len(), world.requests()), (2, 1));
}

#[test]
fn an_assertion_continues_for_another_app_when_the_app_that_began_it_is_dropped() {
    let (world, broker) = stage(FEDERATED, []);
    let (mut tasks, [first, second]) = begin(&world, [get(&broker, VAULT), get(&broker, STORAGE)]);
    assert_eq!(world.requests(), 1, "one proof for both");
    tasks.drop_task(first);
    tasks.poll();
    tasks.serve([token("proof", DAY), token("T1", DAY)]);
    assert_eq!(name(tasks.output(second).unwrap()), "T1");
    assert_eq!(world.requests(), 2);
    world.script([token("T2", DAY)]);
    assert_eq!(name(world.get(&broker, VAULT)), "T2");
    assert_eq!(world.requests(), 3, "the call that was given up has its proof, too");
}

#[test]
fn waiters_for_an_overdue_assertion_continue_when_the_app_that_polls_it_is_dropped() {
    let (world, broker) = stage(FEDERATED, []);
    give_up(&world, &broker, VAULT);
    let (mut tasks, [first]) = begin(&world, [get(&broker, STORAGE)]);
    world.advance_secs(11);
    tasks.drop_task(first);
    let second = tasks.start(get(&broker, STORAGE));
    tasks.poll_only(second);
    let third = tasks.start(get(&broker, VAULT));
    tasks.poll_only(third);
    assert_eq!(world.requests(), 1, "both wait for the proof of the first");
    tasks.drop_task(second);
    tasks.serve([token("proof", DAY), token("T1", DAY)]);
    assert_eq!(name(tasks.output(third).unwrap()), "T1");
}

// Resumption by the next caller.

#[test]
fn a_fetch_that_all_gave_up_is_resumed_by_the_next_caller() {
    let (world, broker) = stage(&[], []);
    (0..1000).for_each(|_| give_up(&world, &broker, VAULT));
    assert_eq!(world.requests(), 1);
    world.script([token("T1", DAY)]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert_eq!((world.requests(), broker.stats().fetches), (1, 1));
}

#[test]
fn the_result_is_kept_regardless_of_the_caller_that_polls() {
    let (world, broker) = holding(DAY, DAY / 2);
    let ticket = world.ticket(&broker);
    let (mut tasks, [refresh]) = begin(&world, [broker.refresh(ticket)]);
    tasks.drop_task(refresh);
    let ticket = world.ticket(&broker);
    assert!(world.get(&broker, VAULT).unwrap().refresh.is_none(), "and nobody besides");
    world.script([token("T2", 2 * DAY)]);
    world.run(broker.refresh(ticket));
    assert_eq!(name(world.get(&broker, VAULT)), "T2");
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_refresh_that_was_not_begun_has_its_whole_time_when_it_begins() {
    let (world, broker) = holding(DAY, DAY / 2);
    let ticket = world.ticket(&broker);
    world.advance_secs(89);
    world.script([token("T2", 2 * DAY)]);
    world.run(broker.refresh(ticket));
    assert_eq!(world.sent(1).limits.total, Duration::from_secs(10));
    assert_eq!(name(world.get(&broker, VAULT)), "T2");
}

// Limits of a fetch.

#[test]
fn a_fetch_that_is_waited_for_ends_at_its_own_deadline() {
    let (world, broker) = stage(&[("TOKEN_BROKER_BUDGET_MS", "4000")], []);
    let (mut tasks, [first, second]) = begin(&world, [get(&broker, VAULT), get(&broker, VAULT)]);
    tasks.drop_task(first);
    tasks.finish((0..4).map(|_| json(500, "{}")));
    assert_eq!(kind(tasks.output(second).unwrap()), "transient");
    assert_eq!(world.moments(), [0, 1000, 3000]);
}

#[test]
fn an_idle_request_past_its_limit_is_repeated() {
    for (alone_for, requests) in [(Duration::from_millis(9999), 1), (Duration::from_secs(10), 2)] {
        let (world, broker) = stage(&[], []);
        give_up(&world, &broker, VAULT);
        world.advance(alone_for);
        world.script([token("T1", DAY)]);
        assert_eq!(name(world.get(&broker, VAULT)), "T1");
        assert_eq!((world.requests(), broker.stats().fetches), (requests, requests as u64), "{alone_for:?}");
    }
}

#[test]
fn an_idle_fetch_past_its_deadline_is_replaced() {
    let (world, broker) = stage(&[], [json(500, "{}")]);
    give_up(&world, &broker, VAULT);
    world.advance_secs(90);
    world.script((0..3).map(|_| json(500, "{}")).chain([token("T1", DAY)]));
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert_eq!((world.requests(), broker.stats().fetches), (5, 2));
    assert_eq!(broker.stats().failures, [], "what was dropped has not failed");
}

#[test]
fn more_fetches_than_the_broker_takes_on_are_refused_and_not_queued() {
    let (world, broker) = stage(&[], []);
    let scopes: Vec<_> = (0..300).map(|n| format!("https://made.up/{n}")).collect();
    let mut tasks = crowd(&world, scopes.iter().map(|scope| get(&broker, scope)));
    let outcomes = tasks.outputs();
    assert_eq!((outcomes.len(), broker.stats().fetches), (44, 256));
    assert!(outcomes.into_iter().all(|outcome| kind(outcome) == "throttled"));
}

#[test]
fn fetches_without_waiters_do_not_exclude_others() {
    let (world, broker) = stage(&[], []);
    (0..300).for_each(|n| give_up(&world, &broker, &format!("https://made.up/{n}")));
    let (mut tasks, [caller]) = begin(&world, [get(&broker, VAULT)]);
    assert!(tasks.output(caller).is_none(), "it is being served");
}

#[test]
fn fetches_end_with_the_broker() {
    let (world, broker) = stage(&[], []);
    let clones = world.clones();
    give_up(&world, &broker, VAULT);
    drop(broker);
    assert_eq!(world.clones(), clones - 1);
}

// Callers with a valid token.

#[test]
fn a_call_in_a_tokens_last_seconds_gets_it_after_half_of_them_when_the_fetch_hangs() {
    for (left, waited_ms) in [(1, 500), (3, 1500), (4, 2000), (299, 2000)] {
        let (world, broker) = holding(3600, 3600 - left);
        let (mut tasks, [caller]) = begin(&world, [get(&broker, VAULT)]);
        world.advance(Duration::from_millis(waited_ms - 1));
        tasks.poll();
        assert!(tasks.output(caller).is_none(), "{left}");
        world.advance(Duration::from_millis(1));
        tasks.poll();
        assert_eq!(name(tasks.output(caller).unwrap()), "T1", "{left}");
    }
}

#[test]
fn a_call_in_a_tokens_last_seconds_gets_it_when_the_tries_of_the_fetch_would_outlive_it() {
    let (world, broker) = holding(3600, 3596);
    world.script((0..4).map(|_| json(500, "{}")));
    let (mut tasks, [caller]) = begin(&world, [get(&broker, VAULT)]);
    for _ in 0..2 {
        world.advance_secs(1);
        tasks.poll();
    }
    assert_eq!(name(tasks.output(caller).unwrap()), "T1");
    assert_eq!(world.requests(), 3, "the second try failed in the meantime");
}

#[test]
fn the_fetch_that_a_caller_did_not_wait_out_goes_on_as_a_refresh() {
    let (world, broker) = holding(3600, 3400);
    world.script([json(500, "{}"), json(500, "{}")]);
    let ticket = world.ticket(&broker);
    world.script([token("T2", 7200)]);
    world.run(broker.refresh(ticket));
    assert_eq!(name(world.get(&broker, VAULT)), "T2");
    assert_eq!((world.requests(), broker.stats().fetches), (4, 2));
}

#[test]
fn only_the_first_callers_of_an_expiring_token_wait_for_a_renewal_that_hangs() {
    let (world, broker) = holding(3600, 3400);
    let ticket = world.ticket(&broker);
    drop(ticket);
    let mut tasks = Tasks::new(&world);
    for _ in 0..3 {
        let caller = tasks.start(get(&broker, VAULT));
        tasks.poll();
        assert_eq!(name(tasks.output(caller).unwrap()), "T1");
    }
    world.advance_secs(30);
    let caller = tasks.start(get(&broker, VAULT));
    tasks.poll();
    assert!(tasks.output(caller).is_none(), "half a minute later one waits again");
    assert_eq!(world.requests(), 3, "for a new fetch: the old one was left alone for too long");
}

#[test]
fn an_unused_refresh_ticket_blocks_no_caller() {
    let (world, broker) = holding(60, 0);
    let (mut tasks, [first, second]) = begin(&world, [get(&broker, VAULT), get(&broker, VAULT)]);
    world.advance_secs(2);
    tasks.poll_only(first);
    let _untaken = tasks.output(first).unwrap().unwrap().refresh.expect("the held token with a refresh");
    tasks.serve([token("T2", DAY)]);
    assert_eq!(name(tasks.output(second).unwrap()), "T2");
}

#[test]
fn a_refresh_that_is_taken_up_after_another_fetch_has_begun_is_over() {
    let (world, broker) = holding(60, 0);
    let (mut tasks, [first]) = begin(&world, [get(&broker, VAULT)]);
    world.advance_secs(2);
    tasks.poll();
    let ticket = tasks.output(first).unwrap().unwrap().refresh.unwrap();
    world.advance_secs(31);
    let second = tasks.start(get(&broker, VAULT));
    tasks.poll();
    assert_eq!(world.requests(), 3, "the request that was left alone is past its limit");
    world.run(broker.refresh(ticket));
    tasks.serve([token("T2", DAY)]);
    assert_eq!(name(tasks.output(second).unwrap()), "T2");
    assert_eq!(world.requests(), 3);
}

#[test]
fn an_assertion_continues_when_the_refresh_that_polls_it_is_dropped() {
    let (world, broker) = stage(FEDERATED, [token("proof", 5), token("T1", 60)]);
    world.get(&broker, VAULT).unwrap();
    world.advance_secs(6);
    let (mut tasks, [first, second]) = begin(&world, [get(&broker, VAULT), get(&broker, STORAGE)]);
    world.advance_secs(2);
    tasks.poll();
    let _untaken = tasks.output(first).unwrap().unwrap().refresh.expect("the held token with a refresh");
    tasks.serve([token("proof-2", DAY), token("T2", DAY)]);
    assert_eq!(name(tasks.output(second).unwrap()), "T2");
}

#[test]
fn a_refresh_for_which_no_task_can_go_on_is_not_waited_for_twice() {
    let (world, broker) = holding(3600, 3400);
    let ticket = world.ticket(&broker);
    let began = world.milliseconds();
    world.run(broker.refresh_briefly(ticket));
    assert_eq!(world.milliseconds(), began);
}

#[test]
fn a_token_that_ended_while_its_renewal_was_tried_is_not_returned() {
    let (world, broker) = holding(3600, 3598);
    let (mut tasks, [caller]) = begin(&world, [get(&broker, VAULT)]);
    // The caller was not woken in time.
    world.set_clock(Duration::from_secs(START + 3600));
    tasks.finish([json(400, "{}")]);
    assert_eq!(kind(tasks.output(caller).unwrap()), "rejected");
    assert!(broker.peek(VAULT).is_none());
}

#[test]
fn the_pause_after_a_failed_refresh_ends_with_the_token() {
    let (world, broker) = holding(3600, 3590);
    world.script([fault(token_broker::SendErrorKind::Untrusted)]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    world.advance_secs(9);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert_eq!(world.requests(), 2);
    world.advance_secs(1);
    world.script([token("T2", 7200)]);
    assert_eq!(name(world.get(&broker, VAULT)), "T2");
}
