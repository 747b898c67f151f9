//! Leases with faults of the store, of the holder, or of the identity service.

use std::time::Duration;

use token_broker::{ExposeSecret as _, Host as _, SendErrorKind};

use crate::fake::{Tasks, World, fault, json, token};
use crate::stage::*;
use crate::store::Fault;

#[test]
fn garbage_instead_of_a_lease_blocks_no_instance() {
    let (world, store, [first, second]) = fleet([]);
    let (mut tasks, [_]) = begin(&world, [get(&first, VAULT)]);
    store.tamper(|value| value.reverse());
    let task = tasks.start(get(&second, VAULT));
    tasks.poll();
    assert_eq!((world.requests(), world.milliseconds()), (2, 0), "it asks at once");
    tasks.finish([token("T1", DAY), token("T2", DAY)]);
    assert_eq!(name(tasks.output(task).unwrap()), "T2");
    assert_eq!((second.stats().store_tampered, second.stats().lease_waits), (1, 0));
    assert!(world.log().contains(r#""entry":"token-broker-"#), "{}", world.log());
}

#[test]
fn garbage_that_always_comes_back_costs_a_bounded_delay() {
    let (world, store, [first, second]) = fleet([]);
    let (mut tasks, [_]) = begin(&world, [get(&first, VAULT)]);
    let garbage = store.entries().into_keys().map(|name| (name, vec![1; 99])).collect();
    let task = tasks.start(get(&second, VAULT));
    world.script([token("T1", DAY), token("T2", DAY)]);
    for _ in 0..40 {
        store.put_back(&garbage);
        tasks.poll();
        world.advance(Duration::from_millis(100));
    }
    assert!(tasks.output(task).is_some(), "{} ms", world.milliseconds());
}

#[test]
fn a_lease_that_is_unchanged_for_its_lifetime_has_expired_regardless_of_the_store() {
    let (world, store, [first, second]) = fleet([]);
    store.ails(Fault::Endless);
    let (mut tasks, [leader]) = begin(&world, [get(&first, VAULT)]);
    tasks.drop_task(leader);
    let waiter = tasks.start(get(&second, VAULT));
    tasks.finish([token("T", DAY), token("T2", DAY)]);
    assert_eq!(name(tasks.output(waiter).unwrap()), "T");
    assert!((5..=6).contains(&world.seconds()), "{} s", world.seconds());
    assert_eq!((world.requests(), second.stats().lease_takeovers), (2, 1));
}

#[test]
fn a_failure_that_the_store_does_not_remove_counts_for_one_minute_longer() {
    let (world, store, [first, second]) = fleet([throttled("300")]);
    store.ails(Fault::Endless);
    assert_eq!(world.error(&first, VAULT).kind(), "throttled");
    world.advance_secs(360);
    let error = world.error(&second, VAULT);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)), "{error}");
    world.advance_secs(1);
    world.script([token("T", DAY)]);
    assert_eq!(name(world.get(&second, VAULT)), "T");
    assert_eq!(world.requests(), 2);
}

#[test]
fn an_old_lease_or_failure_that_was_put_back_is_not_believed() {
    for (reply, kind) in [(None, "a lease"), (Some(throttled("100")), "a failure")] {
        let (world, store, [first]) = fleet([]);
        let (mut tasks, [leader]) = begin(&world, [get(&first, VAULT)]);
        tasks.serve(reply);
        let old = store.entries();
        tasks.drop_task(leader);
        world.advance_secs(3 * 3600);
        store.put_back(&old);
        let began = world.seconds();
        world.script([token("T", DAY)]);
        assert_eq!(name(world.get(&instance(&world, &store), VAULT)), "T", "{kind}");
        assert_eq!(world.seconds(), began, "{kind}: at once");
    }
}

#[test]
fn an_instance_finds_its_lease_although_add_seemed_to_fail() {
    let (world, store, []) = fleet([token("T", DAY)]);
    store.ails(Fault::Mute);
    let first = instance(&world, &store);
    assert_eq!(name(world.get(&first, VAULT)), "T");
    assert!(world.milliseconds() <= 1600, "{} ms", world.milliseconds());
    let stats = first.stats();
    assert_eq!((world.requests(), stats.lease_waits, stats.lease_takeovers), (1, 0, 0));
}

/// The calls of two instances, the first of which was suspended for so long that the second has the lease.
fn overtaken<'a>(world: &World, first: &'a Instance, second: &'a Instance) -> Tasks<'a, Outcome> {
    let (mut tasks, [_]) = begin(world, [get(first, VAULT)]);
    let second = tasks.start(get(second, VAULT));
    for _ in 0..60 {
        tasks.poll_only(second);
        world.advance(Duration::from_millis(100));
    }
    assert_eq!(world.requests(), 2, "the second has taken over");
    tasks
}

#[test]
fn a_suspended_instance_does_not_replace_anothers_failure_by_its_lease() {
    let (world, store, [first, second]) = fleet([]);
    let mut tasks = overtaken(&world, &first, &second);
    world.script([throttled("600")]);
    tasks.poll_only(1);
    assert_eq!(tasks.output(1).unwrap().unwrap_err().kind(), "throttled");
    // The first resumes with a pending response.
    for _ in 0..30 {
        tasks.poll_only(0);
        world.advance(Duration::from_millis(100));
    }
    let later = world.get(&instance(&world, &store), VAULT);
    assert_eq!((later.unwrap_err().kind(), world.requests()), ("throttled", 2));
}

#[test]
fn a_suspended_instance_does_not_replace_anothers_lease_by_its_failure() {
    let (world, _, [first, second, third]) = fleet([]);
    let mut tasks = overtaken(&world, &first, &second);
    world.script([throttled("600")]);
    tasks.poll_only(0);
    assert_eq!(tasks.output(0).unwrap().unwrap_err().kind(), "throttled");
    let waiter = tasks.start(get(&third, VAULT));
    tasks.poll_only(waiter);
    tasks.finish([token("T", DAY)]);
    assert_eq!(name(tasks.output(waiter).unwrap()), "T", "the second's");
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_store_that_forgot_the_lease_is_given_it_again() {
    let (world, store, [first, second]) = fleet([]);
    let (mut tasks, [_]) = begin(&world, [get(&first, VAULT)]);
    store.ails(Fault::Forgetful);
    store.tamper(Vec::clear);
    store.ails(Fault::None);
    world.advance_secs(6);
    tasks.poll();
    let waiter = tasks.start(get(&second, VAULT));
    tasks.poll();
    assert_eq!((world.requests(), second.stats().lease_waits), (1, 1));
    tasks.finish([token("T", DAY)]);
    assert_eq!(name(tasks.output(waiter).unwrap()), "T");
}

#[test]
fn a_waiter_takes_a_short_lived_token_if_it_has_waited_for_it() {
    let (world, _, instances) = fleet::<20>([]);
    let mut tasks = crowd(&world, instances.iter().map(|instance| get(instance, VAULT)));
    tasks.finish([token("brief", 240)]);
    let grants = tasks.outputs();
    assert_eq!((grants.len(), world.requests()), (20, 1));
    assert!(grants.into_iter().all(|grant| name(grant) == "brief"));
}

#[test]
fn a_failure_made_by_ones_own_haste_is_not_the_fleets() {
    let (world, store, []) = fleet([]);
    let hasty = world.sharing(&store, &[KEY, ("TOKEN_BROKER_BUDGET_MS", "1000")]);
    world.script([fault(SendErrorKind::TimedOut)]);
    assert_eq!(world.error(&hasty, VAULT).kind(), "transient");
    world.script([token("T", DAY)]);
    assert_eq!(name(world.get(&instance(&world, &store), VAULT)), "T");
}

#[test]
fn a_refusal_of_one_machine_is_everybodys_for_a_second_and_entras_for_as_long_as_it_is_remembered() {
    let app: &[(&str, &str)] =
        &[("AZURE_CLIENT_ID", "app"), ("AZURE_CLIENT_SECRET", "s"), ("AZURE_TENANT_ID", "t.example"), KEY];
    for (environment, seconds) in [(&[KEY][..], 1), (app, 10)] {
        let (world, store, []) = fleet([]);
        let call = || world.get(&world.sharing(&store, environment), VAULT);
        world.script([json(400, r#"{"error":"invalid_request","error_description":"no"}"#)]);
        assert_eq!(call().unwrap_err().kind(), "rejected");
        world.advance(Duration::from_millis(seconds * 1000 - 1));
        assert_eq!((call().unwrap_err().kind(), world.requests()), ("rejected", 1));
        world.advance(Duration::from_millis(1));
        world.script([json(200, r#"{"access_token":"T","token_type":"Bearer","expires_in":"86400"}"#)]);
        assert_eq!(name(call()), "T");
    }
}

#[test]
fn the_failure_of_another_instance_is_cached_for_its_remaining_cooldown() {
    let (world, store, []) = fleet([throttled("100")]);
    world.error(&instance(&world, &store), VAULT);
    world.advance_secs(90);
    let later = instance(&world, &store);
    assert_eq!(world.error(&later, VAULT).retry_after(), Some(Duration::from_secs(10)));
    world.advance_secs(10);
    world.script([token("T", DAY)]);
    assert_eq!(name(world.get(&later, VAULT)), "T");
}

#[test]
fn an_instance_that_was_throttled_without_the_store_takes_a_later_token_from_it() {
    let (world, store, [first, second]) = fleet([throttled("300")]);
    store.ails(Fault::Forbidden);
    world.error(&first, VAULT);
    store.ails(Fault::None);
    world.advance_secs(10);
    world.script([token("T", DAY)]);
    assert_eq!(name(world.get(&second, VAULT)), "T");
    assert_eq!(name(world.get(&first, VAULT)), "T", "although the service wants 290 s more of rest from it");
    assert_eq!(world.requests(), 2);
}

#[test]
fn an_instance_looks_into_the_store_every_five_seconds_during_a_cooldown() {
    let (world, store, [instance]) = fleet([throttled("300")]);
    world.error(&instance, VAULT);
    let before = store.operations();
    for second in 1..=20 {
        world.advance_secs(1);
        let error = world.error(&instance, VAULT);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(300 - second)));
    }
    assert_eq!((store.operations() - before, world.requests()), (4, 1));
}

#[test]
fn a_refused_token_is_removed_from_the_store_too() {
    let (world, store, [first, later]) = fleet([token("T1", DAY), token("T2", DAY)]);
    world.get(&first, VAULT).unwrap();
    first.forget(VAULT);
    world.run(first.forget_shared(VAULT));
    assert_eq!(name(world.get(&later, VAULT)), "T2", "although the first never asked again");
    world.run(first.forget_shared(VAULT));
    let third = instance(&world, &store);
    assert_eq!(name(world.get(&third, VAULT)), "T2", "it is not the one that was refused");
}

#[test]
fn a_service_that_refuses_every_token_costs_one_fetch_in_half_a_minute_though_each_request_has_its_own_instance()
 {
    let (world, store, [first]) = fleet((1..=9).map(|n| token(&format!("T{n}"), DAY)));
    world.get(&first, VAULT).unwrap();
    let refuse = || {
        let fresh = instance(&world, &store);
        world.get(&fresh, VAULT).unwrap();
        if fresh.forget(VAULT) {
            world.run(fresh.forget_shared(VAULT));
        }
        name(world.get(&fresh, VAULT))
    };
    for second in 0..30 {
        assert_eq!((refuse(), world.requests()), ("T2".to_owned(), 2), "{second} s");
        world.advance_secs(1);
    }
    assert_eq!((refuse(), world.requests()), ("T3".to_owned(), 3));
    world.advance_secs(600);
    assert_eq!((refuse(), world.requests()), ("T4".to_owned(), 4));
}

#[test]
fn another_instance_that_fetches_after_a_refusal_knows_of_it() {
    let (world, store, [first, other]) = fleet([token("T1", DAY), token("T2", DAY), token("T3", DAY)]);
    world.get(&first, VAULT).unwrap();
    first.forget(VAULT);
    world.run(first.forget_shared(VAULT));
    assert_eq!(name(world.get(&other, VAULT)), "T2");
    let third = instance(&world, &store);
    assert_eq!(name(world.get(&third, VAULT)), "T2");
    assert!(!other.forget(VAULT) && !third.forget(VAULT), "it is new");
    world.advance_secs(31);
    assert!(other.forget(VAULT));
    world.run(other.forget_shared(VAULT));
    assert_eq!(name(world.get(&third, VAULT)), "T2", "in its memory");
    assert!(third.forget(VAULT));
}

#[test]
fn a_store_that_hangs_delays_a_refusal_once_whatever_the_number_of_tokens() {
    let (world, store, [instance]) = fleet((0..5).map(|n| token(&format!("T{n}"), DAY)));
    for tenant in 0..5 {
        let id = format!("{tenant}1112222-bbbb-3333-cccc-4444dddd5555");
        world.ask(&instance, vault_for(client(&id))).unwrap();
    }
    assert_eq!(world.requests(), 5);
    store.ails(Fault::Silent);
    let began = world.milliseconds();
    assert!(instance.forget(VAULT));
    world.run(instance.forget_shared(VAULT));
    assert_eq!(world.milliseconds() - began, 500);
}

#[test]
fn a_token_that_was_refused_before_the_store_had_it_is_not_given_to_the_next_caller() {
    let (world, store, [instance]) = fleet([token("T1", DAY), token("T2", DAY)]);
    store.ails(Fault::Lagging);
    let (mut tasks, [first]) = begin(&world, [get(&instance, VAULT)]);
    assert!(tasks.output(first).is_none(), "it waits for the store");
    assert_eq!(instance.peek(VAULT).unwrap().secret().expose_secret(), "T1");
    assert!(instance.forget(VAULT));
    let next = tasks.start(get(&instance, VAULT));
    tasks.settle();
    assert_eq!(name(tasks.output(first).unwrap()), "T1", "its call began before");
    assert_eq!(name(tasks.output(next).unwrap()), "T2");
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_token_that_was_refused_during_its_publication_is_not_given_to_the_next_caller() {
    let (world, store, [instance]) = fleet([token("T1", DAY), token("T2", DAY)]);
    store.ails(Fault::Lagging);
    let (mut tasks, [first]) = begin(&world, [get(&instance, VAULT)]);
    tasks.drop_task(first);
    assert!(instance.forget(VAULT));
    assert_eq!(name(world.get(&instance, VAULT)), "T2");
}

#[test]
fn the_log_names_the_instance_that_fetches_and_the_one_that_failed() {
    let (world, store, []) = fleet([]);
    let debug = ("TOKEN_BROKER_LOG", "debug");
    let (first, second) = (instance(&world, &store), world.sharing(&store, &[KEY, debug]));
    // The first random number is 0, which is no name.
    let _ = world.random();
    let (mut tasks, [_, _]) = begin(&world, [get(&first, VAULT), get(&second, VAULT)]);
    tasks.finish([throttled("600")]);
    let log = world.log();
    let holder = |event: &str| {
        let line = log.lines().find(|line| line.contains(event)).unwrap_or_else(|| panic!("{log}"));
        line.split_once(r#""instance":""#).unwrap().1[..12].to_owned()
    };
    assert_eq!(holder("another instance is fetching"), holder("another instance could not fetch a token"));
}
