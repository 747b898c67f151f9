//! Instances whose store is down, slow or empty, and fetches that have lost their lease.

use std::time::Duration;

use token_broker::SendErrorKind;

use crate::fake::{Reply, World, fault, json, token};
use crate::stage::*;
use crate::store::{Fault, SharedStore};

#[test]
fn a_store_that_is_down_costs_a_second_and_then_nothing_for_a_while() {
    // Beyond the second, the instances spread their requests over another one.
    for (fault, longest) in [(Fault::Down, 2500), (Fault::Silent, 3000), (Fault::Forbidden, 0)] {
        let (world, store, []) = fleet([]);
        store.ails(fault);
        world.script([token("V", DAY), token("S", DAY)]);
        let first = instance(&world, &store);
        assert_eq!(name(world.get(&first, VAULT)), "V");
        assert!(world.milliseconds() <= longest, "{fault:?}: {} ms", world.milliseconds());
        let (before, operations) = (world.milliseconds(), store.operations());
        assert_eq!(name(world.get(&first, STORAGE)), "S");
        assert_eq!((world.milliseconds(), store.operations()), (before, operations), "{fault:?}: left alone");
        assert!(first.stats().store_errors >= 1, "{fault:?}");
        assert!(world.log().contains("store unavailable, continuing without it"), "{fault:?}");
    }
}

#[test]
fn a_store_that_lies_costs_requests_and_a_bounded_delay_and_never_a_wrong_token() {
    for (fault, requests, longest, said) in [
        (Fault::Hasty, 1, 0, ""),
        (Fault::Endless, 1, 0, ""),
        (Fault::Denying, 1, 20, ""),
        (Fault::Overwriting, 1, 0, ""),
        (Fault::Refusing, 3, 9000, "refuses the lease although there is none"),
        (Fault::Forgetful, 3, 0, ""),
        (Fault::Full, 3, 6000, "no space left"),
        (Fault::ReadOnly, 3, 0, "read-only"),
        (Fault::Foreign, 3, 3000, "cannot be decrypted"),
    ] {
        let (world, store, instances) = fleet::<3>([]);
        store.ails(fault);
        world.script((0..3).map(|_| token("T", DAY)));
        for instance in &instances {
            assert_eq!(name(world.get(instance, VAULT)), "T", "{fault:?}");
        }
        assert_eq!(world.requests(), requests, "{fault:?}");
        assert!(world.milliseconds() <= longest, "{fault:?}: {} ms", world.milliseconds());
        assert!(world.log().contains(said), "{fault:?}: {}", world.log());
    }
}

/// On WASI 0.2 the broker cannot end an operation.
#[test]
fn a_store_that_blocks_the_instance_until_it_fails_is_given_up_after_one_operation() {
    let (world, store, [instance]) = fleet([token("T", DAY)]);
    store.ails(Fault::Blocking);
    assert_eq!(name(world.get(&instance, VAULT)), "T");
    assert!(world.seconds() < 60, "{} s", world.seconds());
    assert_eq!(store.operations(), 1);
}

#[test]
fn a_refresh_within_a_call_that_fails_is_not_repeated_by_the_next_instance_at_once() {
    let (world, store, [first]) = fleet([token("T", 7200)]);
    world.get(&first, VAULT).unwrap();
    world.advance_secs(3700);
    store.ails(Fault::Sluggish);
    let refresh = || {
        let fresh = instance(&world, &store);
        let ticket = world.ticket(&fresh);
        world.run(fresh.refresh_briefly(ticket));
        world.requests()
    };
    world.script((0..8).map(|_| fault(SendErrorKind::TimedOut)));
    let requests = refresh();
    assert!(requests > 1, "it was not tried");
    assert_eq!(refresh(), requests, "the failure was not shared");
}

#[test]
fn a_store_that_comes_back_within_a_second_is_waited_for() {
    let (world, store, []) = fleet([token("T1", DAY)]);
    world.get(&instance(&world, &store), VAULT).unwrap();
    store.ails(Fault::Down);
    let later = instance(&world, &store);
    let (mut tasks, [task]) = begin(&world, [get(&later, VAULT)]);
    for _ in 0..8 {
        tasks.poll();
        world.advance(Duration::from_millis(100));
    }
    store.ails(Fault::None);
    tasks.settle();
    assert_eq!(name(tasks.output(task).unwrap()), "T1");
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_fetch_that_is_left_alone_before_it_asks_looks_into_the_store_again() {
    let (world, store, [first, second]) = fleet([]);
    store.ails(Fault::Silent);
    let (mut tasks, [gone]) = begin(&world, [get(&first, VAULT)]);
    tasks.drop_task(gone);
    store.ails(Fault::None);
    world.script([token("T1", DAY)]);
    assert_eq!(name(world.get(&second, VAULT)), "T1");
    assert_eq!(name(world.get(&first, VAULT)), "T1");
    assert_eq!((world.requests(), first.stats().store_errors), (1, 0));
}

/// An instance whose only caller was dropped and whose lease has expired, and another one that then fetched T1.
fn overtaken(world: &World, store: &SharedStore, replies: impl IntoIterator<Item = Reply>) -> Instance {
    let (first, second) = (instance(world, store), instance(world, store));
    world.script(replies);
    let (mut tasks, [gone]) = begin(world, [get(&first, VAULT)]);
    tasks.drop_task(gone);
    world.advance_secs(6);
    world.script([token("T1", DAY)]);
    assert_eq!(name(world.get(&second, VAULT)), "T1");
    drop(tasks);
    first
}

#[test]
fn an_idle_fetch_that_has_lost_its_lease_takes_the_token_of_another_instance() {
    for (between_tries, requests) in [(true, 2), (false, 2)] {
        let (world, store, []) = fleet([]);
        let first = overtaken(&world, &store, between_tries.then(|| json(500, "{}")));
        world.script((0..4).map(|_| json(429, "{}")));
        assert_eq!(name(world.get(&first, VAULT)), "T1");
        assert_eq!((world.requests(), first.stats().store_hits), (requests, 1), "{between_tries}");
        assert_eq!(first.stats().failures, [], "what was dropped has not failed");
        assert_eq!(store.entries().len(), 1, "the token, and no lease");
    }
}

#[test]
fn a_fetch_that_fails_without_a_lease_takes_the_token_of_another_instance() {
    // So is one that is due for a refresh, and it does not end the cooldown of the failure.
    for (life, hits) in [(DAY, 1), (200, 0)] {
        let (world, store, [first, second]) = fleet((0..3).map(|_| json(500, "{}")));
        store.ails(Fault::Down);
        let (mut tasks, [alone]) = begin(&world, [get(&first, VAULT)]);
        while world.requests() < 3 {
            world.advance(Duration::from_millis(100));
            tasks.poll();
        }
        store.ails(Fault::None);
        world.script([token("T1", life)]);
        let other = tasks.start(get(&second, VAULT));
        tasks.poll();
        assert_eq!(name(tasks.output(other).unwrap()), "T1");
        tasks.finish([json(500, "{}")]);
        assert_eq!(name(tasks.output(alone).unwrap()), "T1");
        assert_eq!((world.requests(), first.stats().store_hits), (5, hits));
        assert_eq!(name(world.get(&first, VAULT)), "T1", "its own failure is no answer");
        assert_eq!(world.requests(), 5);
    }
}

#[test]
fn without_the_store_an_instance_asks_ten_times_and_then_once_a_second() {
    let (world, store, []) = fleet((0..14).map(|n| token(&format!("T{n}"), DAY)));
    store.ails(Fault::Down);
    let alone = instance(&world, &store);
    for n in 0..14 {
        world.get(&alone, &format!("https://a{n}.example/.default")).unwrap();
    }
    let moments = world.moments();
    assert_eq!(moments.iter().filter(|moment| **moment < 1000).count(), 10, "{moments:?}");
    assert!(moments[13] >= 3000, "{moments:?}");
    assert!(alone.stats().budget_waits >= 3);
}

#[test]
fn a_store_that_loses_everything_changes_nothing_but_the_number_of_fetches() {
    let (world, store, []) = fleet((0..5).map(|n| token(&format!("T{n}"), DAY)));
    store.ails(Fault::Forgetful);
    for n in 0..5 {
        assert_eq!(name(world.get(&instance(&world, &store), VAULT)), format!("T{n}"));
    }
}
