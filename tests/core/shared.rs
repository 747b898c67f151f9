//! Several instances that share a store, and one identity service: exact counts.

use std::time::Duration;

use token_broker::{Identity, RawRequest};

use crate::fake::{json, token};
use crate::stage::*;
use crate::store::{Fault, LAG};

type Change = fn(&mut Vec<u8>);

const OLD_KEY: (&str, &str) = ("TOKEN_BROKER_STORE_KEY", "b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQgb2xkIG9sZCE=");
const APP: &Pairs =
    &[("AZURE_CLIENT_ID", "app"), ("AZURE_CLIENT_SECRET", "secret"), ("AZURE_TENANT_ID", "contoso.com"), KEY];

#[test]
fn a_later_instance_takes_the_token_of_the_first_one() {
    let (world, store, [first]) = fleet([token("T1", DAY)]);
    assert_eq!(name(world.get(&first, VAULT)), "T1");
    let before = store.operations();
    let later = instance(&world, &store);
    assert_eq!(name(world.get(&later, VAULT)), "T1");
    assert_eq!(store.operations() - before, 1, "a hit costs one look");
    assert_eq!(name(world.get(&later, VAULT)), "T1");
    assert_eq!(store.operations() - before, 1, "then memory has it");
    assert_eq!(world.requests(), 1);
    let (first, later) = (first.stats(), later.stats());
    assert_eq!((first.store_hits, first.store_misses, first.fetches), (0, 1, 1));
    assert_eq!((later.store_hits, later.store_misses, later.fetches), (1, 0, 0));
}

#[test]
fn a_cold_start_of_the_whole_fleet_is_one_request() {
    let (world, _, instances) = fleet::<200>([]);
    let mut tasks = crowd(&world, instances.iter().map(|instance| get(instance, VAULT)));
    assert_eq!(world.requests(), 1);
    tasks.finish([token("T1", DAY)]);
    let grants = tasks.outputs();
    assert_eq!(grants.len(), 200);
    assert!(grants.into_iter().all(|grant| name(grant) == "T1"));
    assert_eq!(world.requests(), 1);
    assert_eq!(instances.iter().map(|instance| instance.stats().lease_waits).sum::<u64>(), 199);
}

#[test]
fn a_waiter_looks_at_once_when_the_store_reports_a_change() {
    for tells in [true, false] {
        let (world, store, instances) = fleet::<3>([]);
        if tells {
            store.tell();
        }
        let mut tasks = crowd(&world, instances.iter().map(|instance| get(instance, VAULT)));
        tasks.serve([token("T1", DAY)]);
        assert_eq!(tasks.outputs().len(), if tells { 3 } else { 1 }, "the clock stands still");
        tasks.settle();
        assert_eq!(tasks.outputs().len(), if tells { 0 } else { 2 });
        assert_eq!(world.requests(), 1);
    }
}

#[test]
fn a_managed_identitys_token_that_entra_finds_stale_is_not_taken_from_the_store_again() {
    let (world, store, []) = fleet([]);
    let app: &[(&str, &str)] = &[
        ("TOKEN_BROKER_FEDERATED_CLIENT_ID", "app"),
        ("TOKEN_BROKER_FEDERATED_TENANT_ID", "customer.example"),
        KEY,
    ];
    let refusal =
        r#"{"error":"invalid_client","error_description":"AADSTS700024: too old","error_codes":[700024]}"#;
    world.script([token("MI-1", DAY), json(401, refusal), token("MI-2", DAY), token("T1", DAY)]);
    let instance = world.sharing(&store, app);
    assert_eq!(name(world.get(&instance, VAULT)), "T1");
    assert_eq!((world.requests(), world.sent(3).field("client_assertion")), (4, Some("MI-2")));
}

#[test]
fn names_and_values_in_the_store_reveal_nothing() {
    let (world, store, [first]) = fleet([token("the-secret-token", DAY)]);
    world.get(&first, VAULT).unwrap();
    let entries = store.entries();
    assert_eq!(entries.len(), 1, "the turn has ended");
    for (name, value) in entries {
        assert_eq!(name.len(), "token-broker-".len() + 64);
        let text = String::from_utf8_lossy(&value);
        assert!(["the-secret", "vault", "imds", "Bearer"].iter().all(|word| !text.contains(word)), "{text}");
    }
}

#[test]
fn an_entry_that_cannot_be_decrypted_is_counted_and_logged_and_replaced() {
    let changes: [(&str, Change); 4] = [
        ("one bit is changed", |value| value[20] ^= 1),
        ("cut", |value| value.truncate(9)),
        ("empty", Vec::clear),
        ("of another version", |value| value[0] = 0),
    ];
    for (what, change) in changes {
        let (world, store, []) = fleet([token("T1", DAY), token("T2", DAY)]);
        world.get(&instance(&world, &store), VAULT).unwrap();
        store.tamper(change);
        let later = instance(&world, &store);
        assert_eq!(name(world.get(&later, VAULT)), "T2", "{what}");
        // Once in the first look, and once more before the fetch.
        assert_eq!(later.stats().store_tampered, 2, "{what}");
        assert!(world.log().contains("store entry cannot be decrypted, ignored"), "{what}");
        assert_eq!(name(world.get(&instance(&world, &store), VAULT)), "T2", "{what}: mended");
    }
}

#[test]
fn an_entry_that_was_moved_to_another_audience_is_not_taken() {
    let (world, store, [first]) = fleet([token("V", DAY), token("S", DAY), token("V2", DAY)]);
    world.get(&first, VAULT).unwrap();
    world.get(&first, STORAGE).unwrap();
    store.rotate();
    let later = instance(&world, &store);
    assert_eq!(name(world.get(&later, VAULT)), "V2");
    assert_eq!(later.stats().store_tampered, 2);
}

#[test]
fn identities_users_tenants_and_deployments_never_share() {
    let (world, store, []) = fleet([]);
    let user = |assertion: &str| Some(assertion.to_owned().into());
    let requests: Vec<(&[(&str, &str)], RawRequest)> = vec![
        (&[KEY], raw(VAULT)),
        (&[KEY], vault_for(Identity::SystemAssigned)),
        (&[KEY], vault_for(client("one"))),
        (&[KEY], vault_for(Identity::object_id("one").unwrap())),
        (&[KEY, ("AZURE_CLIENT_ID", "two")], raw(VAULT)),
        (APP, raw(VAULT)),
        (APP, RawRequest { enable_cae: true, ..raw(VAULT) }),
        (APP, RawRequest { user_assertion: user("alice"), ..raw(VAULT) }),
        (APP, RawRequest { user_assertion: user("bob"), ..raw(VAULT) }),
    ];
    let answer = |n: usize| {
        json(200, &format!(r#"{{"access_token":"T{n}","token_type":"Bearer","expires_in":"{DAY}"}}"#))
    };
    world.script((0..requests.len()).map(answer));
    for round in 0..2 {
        for (n, (environment, raw)) in requests.iter().enumerate() {
            let instance = world.sharing(&store, environment);
            assert_eq!(name(world.ask(&instance, raw.clone())), format!("T{n}"), "round {round}");
        }
    }
    assert_eq!(world.requests(), requests.len());
}

#[test]
fn a_leader_that_dies_is_replaced_when_its_lease_ends() {
    let (world, _, [first, second]) = fleet([]);
    let (mut tasks, [leader, waiter]) = begin(&world, [get(&first, VAULT), get(&second, VAULT)]);
    assert_eq!(world.requests(), 1);
    tasks.drop_task(leader);
    tasks.finish([token("T", DAY), token("T2", DAY)]);
    assert_eq!(name(tasks.output(waiter).unwrap()), "T");
    assert!(world.seconds() <= 6, "{} s", world.seconds());
    let stats = second.stats();
    assert_eq!((stats.lease_waits, stats.lease_takeovers, world.requests()), (1, 1, 2));
}

#[test]
fn a_fetch_that_takes_long_keeps_its_turn() {
    let (world, _, instances) = fleet::<3>([]);
    let mut tasks = crowd(&world, instances.iter().map(|instance| get(instance, VAULT)));
    for _ in 0..300 {
        tasks.poll();
        world.advance(Duration::from_millis(100));
    }
    assert_eq!(world.requests(), 1, "half a minute later it is still the first one's turn");
    tasks.finish([token("T", DAY)]);
    assert!(tasks.outputs().into_iter().all(|grant| name(grant) == "T"));
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_token_that_ends_by_a_clock_that_is_set_while_the_store_takes_it_is_not_returned() {
    let (world, store, [first]) = fleet([]);
    let (mut tasks, [leader]) = begin(&world, [get(&first, VAULT)]);
    store.ails(Fault::Silent);
    tasks.serve([token("T", 3600), token("T2", DAY)]);
    assert!(tasks.output(leader).is_none(), "it waits for the store");
    world.advance_secs(4000);
    tasks.settle();
    assert_eq!(name(tasks.output(leader).unwrap()), "T2");
}

#[test]
fn a_wait_for_another_instance_ends_in_an_error_with_the_calls_time() {
    let (world, store, []) = fleet([]);
    let (first, second) =
        (instance(&world, &store), world.sharing(&store, &[KEY, ("TOKEN_BROKER_BUDGET_MS", "2000")]));
    let (mut tasks, [_, waiter]) = begin(&world, [get(&first, VAULT), get(&second, VAULT)]);
    for _ in 0..30 {
        tasks.poll();
        world.advance(Duration::from_millis(100));
    }
    let error = tasks.output(waiter).unwrap().unwrap_err();
    assert_eq!(error.kind(), "transient");
    assert!(error.to_string().contains("timed out waiting for the instance 000000000000"), "{error}");
}

#[test]
fn a_throttled_fleet_sends_what_the_endpoint_asked_for_and_no_more() {
    let (world, store, []) = fleet([throttled("600"), token("T", DAY)]);
    let mut requests = Vec::new();
    for _ in 0..20 {
        let error = world.error(&instance(&world, &store), VAULT);
        assert_eq!(error.kind(), "throttled");
        assert!(error.retry_after().unwrap() <= Duration::from_secs(600));
        requests.push(world.requests());
        world.advance_secs(29);
    }
    assert!(requests.iter().all(|requests| *requests == 1), "{requests:?}");
    world.advance_secs(30);
    assert_eq!(name(world.get(&instance(&world, &store), VAULT)), "T");
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_lease_that_is_put_while_the_fetch_fails_does_not_hide_the_failure() {
    let (world, store, [first]) = fleet([]);
    let (mut tasks, [leader]) = begin(&world, [get(&first, VAULT)]);
    store.ails(Fault::Lagging);
    world.advance(Duration::from_secs(1));
    tasks.poll();
    store.ails(Fault::None);
    world.advance(LAG / 2);
    tasks.finish([throttled("600"), token("T", DAY)]);
    assert_eq!(tasks.output(leader).unwrap().unwrap_err().kind(), "throttled");
    world.advance_secs(60);
    assert_eq!(world.error(&instance(&world, &store), VAULT).kind(), "throttled");
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_refresh_is_done_by_one_and_the_others_take_it() {
    let (world, _, instances) = fleet::<20>([token("T1", DAY), token("T2", DAY + DAY / 2)]);
    for instance in &instances {
        world.get(instance, VAULT).unwrap();
    }
    world.advance_secs(DAY / 2);
    for instance in &instances {
        let grant = world.get(instance, VAULT).unwrap();
        assert_eq!(text(&grant), "T1", "served while it is refreshed");
        world.run(instance.refresh(grant.refresh.expect("the ticket of a refresh")));
    }
    assert_eq!(world.requests(), 2);
    assert!(instances.iter().all(|instance| name(world.get(instance, VAULT)) == "T2"));
    assert_eq!(instances.iter().map(|instance| instance.stats().fetches).sum::<u64>(), 2);
}

#[test]
fn a_day_of_steady_use_makes_no_more_requests_than_the_refresh_rule_needs() {
    let (world, store, []) = fleet([]);
    let audiences: Vec<String> = (0..10).map(|n| format!("https://a{n}.example/.default")).collect();
    let mut instances: Vec<Instance> = (0..20).map(|_| instance(&world, &store)).collect();
    world.script((0..400).map(|n| json(200, &format!(r#"{{"access_token":"T{n}","expires_in":"3600"}}"#))));
    for minute in 0..24 * 60 {
        // Every quarter of an hour an instance is replaced by a new one.
        if minute % 15 == 0 {
            instances[(minute / 15) % 20] = instance(&world, &store);
        }
        for instance in &instances {
            for audience in &audiences {
                let grant = world.get(instance, audience).unwrap();
                if let Some(ticket) = grant.refresh {
                    world.run(instance.refresh(ticket));
                }
            }
        }
        world.advance_secs(60);
    }
    // An hour's token is refreshed five minutes before its end, and up to a tenth of these 55 minutes earlier.
    let (most, fewest) = (10 * (DAY / 2970 + 1), 10 * (DAY / 3300));
    let requests = world.requests() as u64;
    assert!((fewest..=most).contains(&requests), "{requests} requests, {fewest} to {most} are needed");
}

#[test]
fn a_call_during_another_instances_refresh_is_answered_at_once() {
    let (world, _, [first, second]) = fleet([token("T1", DAY)]);
    world.get(&first, VAULT).unwrap();
    world.get(&second, VAULT).unwrap();
    world.advance_secs(DAY / 2);
    let (mut tasks, [_]) = begin(&world, [first.refresh(world.ticket(&first))]);
    let other = tasks.start(second.refresh(world.ticket(&second)));
    tasks.poll();
    assert!(tasks.output(other).is_some(), "it does not wait");
    assert_eq!(world.requests(), 2);
    assert!(world.get(&second, VAULT).unwrap().refresh.is_none(), "and does not try again at once");
}

#[test]
fn a_short_lived_instance_refreshes_a_shared_token_when_it_is_due() {
    let (world, store, []) = fleet([token("T1", DAY), token("T2", 2 * DAY)]);
    world.get(&instance(&world, &store), VAULT).unwrap();
    world.advance_secs(DAY / 2 + 1);
    let later = instance(&world, &store);
    let grant = world.get(&later, VAULT).unwrap();
    assert_eq!(text(&grant), "T1");
    world.run(later.refresh(grant.refresh.expect("the ticket of a refresh")));
    assert_eq!(name(world.get(&instance(&world, &store), VAULT)), "T2");
}

#[test]
fn a_token_that_expires_soon_is_replaced_and_used_if_that_fails() {
    let (world, _, [first]) = fleet([token("T1", DAY)]);
    world.get(&first, VAULT).unwrap();
    world.advance_secs(DAY - 200);
    world.script([json(400, r#"{"error":"invalid_request"}"#)]);
    assert_eq!(name(world.get(&first, VAULT)), "T1");
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_shared_token_that_expires_soon_is_used_if_the_fetch_fails() {
    let (world, store, []) = fleet([token("T1", DAY)]);
    world.get(&instance(&world, &store), VAULT).unwrap();
    world.advance_secs(DAY - 200);
    world.script([json(400, r#"{"error":"invalid_request"}"#)]);
    for _ in 0..2 {
        assert_eq!(name(world.get(&instance(&world, &store), VAULT)), "T1");
        assert_eq!(world.requests(), 2, "the failure is shared too");
    }
}

#[test]
fn a_token_that_a_service_refused_is_not_taken_from_the_store_again() {
    let (world, _, [first, second]) = fleet([token("T1", DAY), token("T2", DAY)]);
    for instance in [&first, &second] {
        assert_eq!(name(world.get(instance, VAULT)), "T1");
        instance.forget(VAULT);
    }
    assert_eq!(name(world.get(&first, VAULT)), "T2");
    assert_eq!(name(world.get(&second, VAULT)), "T2", "one fetch for all who forgot");
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_token_with_claims_is_fetched_at_once_and_shared_without_them() {
    let (world, store, []) = fleet([]);
    let answer = |n: u32| json(200, &format!(r#"{{"access_token":"T{n}","expires_in":"{DAY}"}}"#));
    world.script([answer(1), answer(2)]);
    let (first, second) = (world.sharing(&store, APP), world.sharing(&store, APP));
    let request = |claims: Option<&str>| {
        let claims = claims.map(str::to_owned);
        RawRequest { claims, enable_cae: true, ..raw(VAULT) }
    };
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
    assert_eq!(name(world.ask(&first, request(None))), "T1");
    assert_eq!(name(world.ask(&first, request(Some(claims)))), "T2");
    assert_eq!(name(world.ask(&second, request(None))), "T2");
    assert_eq!(world.requests(), 2);
}

#[test]
fn while_keys_are_changed_both_are_read_and_the_new_one_is_written() {
    let (world, store, []) = fleet([]);
    let both = format!("{},{}", KEY.1, OLD_KEY.1);
    let both: &[(&str, &str)] = &[(KEY.0, &both)];
    world.script([token("T1", DAY), token("T2", DAY)]);
    assert_eq!(name(world.get(&world.sharing(&store, &[OLD_KEY]), VAULT)), "T1");
    let changing = world.sharing(&store, both);
    assert_eq!(name(world.get(&changing, VAULT)), "T1", "sealed with the old key");
    changing.forget(VAULT);
    assert_eq!(name(world.get(&changing, VAULT)), "T2");
    assert_eq!(name(world.get(&world.sharing(&store, &[KEY]), VAULT)), "T2", "sealed with the new key");
    assert_eq!(world.requests(), 2);
    assert_eq!(changing.stats().store_tampered, 0);
}

#[test]
fn the_rate_limit_of_an_instance_is_not_a_shared_failure() {
    let (world, store, []) = fleet([]);
    let eager = world.sharing(&store, &[KEY, ("TOKEN_BROKER_BUDGET_MS", "1000")]);
    let scopes: Vec<_> = (0..30).map(|n| format!("https://a{n}.example/.default")).collect();
    let mut tasks = crowd(&world, scopes.iter().map(|scope| get(&eager, scope)));
    let errors = tasks.outputs();
    assert!(!errors.is_empty() && errors.iter().all(|result| result.as_ref().unwrap_err().is_transient()));
    tasks.finish((0..100).map(|n| token(&format!("T{n}"), DAY)));
    let calm = instance(&world, &store);
    assert!(scopes.iter().all(|scope| world.get(&calm, scope).is_ok()));
}
