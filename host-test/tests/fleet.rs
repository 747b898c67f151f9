//! A fleet for real: processes full of broker instances, one Redis, and a platform that answers five requests a second.
#![allow(clippy::disallowed_methods, reason = "tests of programs start them")]

#[path = "fleet/store.rs"]
mod store;

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use host_test::fleet::{Got, Process, Redis};
use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};
use tokio::sync::{Mutex, MutexGuard};

const VAULT: &str = "https://vault.azure.net";
const PROCESSES: usize = 8;
const INSTANCES: usize = 50;
/// One fleet at a time: each is as large as the machine bears.
static MACHINE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_start_of_four_hundred_instances_is_one_request() {
    let (_alone, mock, redis, mut fleet) = start(platform().await).await;
    let got = ask(&mut fleet).await;
    assert_all_served(&mock, &got);
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
    let names = redis.names().await.unwrap();
    assert!(names.len() == 1 && names[0].starts_with("token-broker-"), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_and_started_again_costs_requests_but_no_token() {
    let (_alone, mock, mut redis, mut fleet) = start(platform().await).await;
    redis.kill().await.unwrap();
    let (got, restarted) = tokio::join!(ask(&mut fleet), redis.restart());
    restarted.unwrap();
    assert_all_served(&mock, &got);
    // A machine so busy that Redis is not back within a second has some that go on without it.
    assert!(mock.counters().of(Endpoint::Imds).tokens <= PROCESSES as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_the_lease_during_the_fetch_costs_one_request_more() {
    let (_alone, mock, mut redis, mut fleet) = start(platform().await).await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_secs(2)));
    let loses = async {
        until(async || mock.counters().of(Endpoint::Imds).requests == 1).await;
        redis.kill().await.unwrap();
        redis.restart().await.unwrap();
    };
    let (got, ()) = tokio::join!(ask(&mut fleet), loses);
    assert_all_served(&mock, &got);
    let requests = mock.counters().of(Endpoint::Imds).requests;
    // The instance that fetches renews its lease each second: others come between it and the loss, or do not.
    assert!((1..=2).contains(&requests), "{requests}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_gone_each_instance_serves_itself() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let (_alone, mock, mut redis, mut fleet) = start(mock).await;
    redis.kill().await.unwrap();
    let got = ask(&mut fleet).await;
    assert_all_served(&mock, &got);
    assert_eq!(mock.counters().of(Endpoint::Imds).tokens, (PROCESSES * INSTANCES) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_process_that_fetches_is_killed_another_one_takes_over() {
    let (_alone, mock, _redis, mut fleet) = start(platform().await).await;
    // The first request is not answered before its sender is dead.
    mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_secs(30)));
    let mut first = fleet.remove(0);
    first.ask(VAULT).await.unwrap();
    until(async || mock.counters().of(Endpoint::Imds).requests == 1).await;
    let (got, killed) = tokio::join!(ask(&mut fleet), first.kill());
    killed.unwrap();
    assert_all_served(&mock, &got);
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 2);
    assert_eq!(got.iter().map(|got| got.lease_takeovers).sum::<u64>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_throttles_is_asked_by_one_for_all() {
    let (_alone, mock, _redis, mut fleet) = start(platform().await).await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::retry_after(429, "2")));
    let got = ask(&mut fleet).await;
    assert_all_served(&mock, &got);
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_throttles_for_longer_than_a_call_may_take_is_asked_by_one_for_all() {
    let (_alone, mock, _redis, mut fleet) = start(platform().await).await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::retry_after(429, "300")));
    let got = ask(&mut fleet).await;
    assert_eq!(got.len(), PROCESSES * INSTANCES);
    let is_throttled = |error: &String| error.starts_with("throttled: imds");
    assert!(got.iter().all(|got| got.error.as_ref().is_some_and(is_throttled)));
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_redis_a_machine_is_served_as_far_as_its_endpoint_allows_and_the_rest_is_told_when_to_come()
{
    let (_alone, mock, mut redis, mut machine) = start(platform().await).await;
    machine.truncate(1);
    redis.kill().await.unwrap();
    let got = ask(&mut machine).await;
    let told: Vec<&str> = got.iter().filter_map(|got| got.error.as_deref()).collect();
    let is_told = |told: &&str| told.starts_with("throttled: imds") && told.contains("try again in");
    assert!(told.iter().all(is_told), "{told:?}");
    let served = mock.counters().of(Endpoint::Imds).tokens as usize;
    assert_eq!(served + told.len(), INSTANCES);
    assert!(served >= 5, "{served}");
}

async fn platform() -> Mock {
    let mut config = MockConfig::default();
    config.imds.requests_per_second = NonZeroU32::new(5);
    Mock::start(config).await.unwrap()
}

/// The only fleet of the machine: its platform, its Redis and its processes.
async fn start(mock: Mock) -> (MutexGuard<'static, ()>, Mock, Redis, Vec<Process>) {
    let alone = MACHINE.lock().await;
    let redis = Redis::start().await.unwrap();
    let (environment, url) = (mock.env(Endpoint::Imds), redis.url());
    let processes = (0..PROCESSES).map(|_| Process::start(environment.clone(), Some(&url), INSTANCES));
    let processes = join_all(processes).await.into_iter().map(Result::unwrap).collect();
    (alone, mock, redis, processes)
}

/// What every instance of every process gets when all are asked at once.
async fn ask(fleet: &mut [Process]) -> Vec<Got> {
    join_all(fleet.iter_mut().map(async |process| {
        process.ask(VAULT).await.unwrap();
        process.answers().await.unwrap()
    }))
    .await
    .concat()
}

#[track_caller]
fn assert_all_served(mock: &Mock, got: &[Got]) {
    assert!(got.len() >= INSTANCES);
    for got in got {
        let token = got.token.as_deref().unwrap_or_else(|| panic!("{:?}", got.error));
        mock.verify(token, VAULT).unwrap();
    }
}

async fn until(condition: impl AsyncFn() -> bool) {
    for _ in 0..1000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not come");
}
