//! The rate limit in front of each endpoint.

use std::time::Duration;

use token_broker::{Identity, RawRequest};

use crate::fake::{json, token};
use crate::stage::*;

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
    let mut tasks = crowd(&world, (0..100).map(|n| ask(&broker, different(n))));
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
    let mut tasks = crowd(&world, (0..20).map(|n| ask(&broker, different(3 * n + 2))));
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
    assert_eq!(world.requests(), 40, "the bucket has 20, for those that missed their turn and the new ones");
}

#[test]
fn the_tenants_and_users_of_an_app_share_the_rate_limit_of_their_authority() {
    let answers = (0..150).map(|_| json(200, r#"{"access_token":"T","expires_in":3600}"#));
    let (world, broker) = stage(&with(SECRET, &[("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "*")]), answers);
    let call = |n: usize| {
        let tenant_id = n.is_multiple_of(2).then(|| format!("t{n}.example"));
        let user_assertion = (!n.is_multiple_of(2)).then(|| format!("user-{n}").into());
        ask(&broker, RawRequest { tenant_id, user_assertion, ..raw(VAULT) })
    };
    crowd(&world, (0..150).map(call)).settle();
    let expected: Vec<u128> = [0; 100].into_iter().chain((1..=50).map(|n| n * 20)).collect();
    assert_eq!(world.moments(), expected);
}
