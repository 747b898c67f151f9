//! Tests for implementations of this crate's traits.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::join_all;
use token_broker::StoreError;

use crate::store::Store;

/// Check everything that [`Store`] demands. The store must be empty; the check needs a tokio runtime and takes less than a
/// second with most stores.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use token_broker_host::{MemoryStore, test_kit};
///
/// test_kit::check_store(&MemoryStore::default()).await;
/// # }
/// ```
///
/// # Panics
/// The store breaks a rule. The message names the operation.
pub async fn check_store(store: &dyn Store) {
    values_are_kept_and_replaced(store).await;
    values_are_removed_by_their_owner(store).await;
    one_of_many_callers_wins(store).await;
    values_end(store).await;
    a_former_owner_removes_nothing(store).await;
}

async fn values_are_kept_and_replaced(store: &dyn Store) {
    let key = "token-broker-test-kept";
    expect("get of a missing key", store.get(key).await, None);
    expect("add to a missing key", store.add(key, vec![0, 255], MINUTE).await, true);
    expect("add to a present key", store.add(key, vec![2], MINUTE).await, false);
    expect("get after add", store.get(key).await, Some(vec![0, 255]));
    expect("set of a present key", store.set(key, vec![3; LARGE], MINUTE).await, ());
    expect("get after set", store.get(key).await, Some(vec![3; LARGE]));
}

async fn values_are_removed_by_their_owner(store: &dyn Store) {
    let key = "token-broker-test-removed";
    expect("add", store.add(key, vec![1], MINUTE).await, true);
    expect("delete of another value", store.delete(key, &[2]).await, ());
    expect("get after a delete of another value", store.get(key).await, Some(vec![1]));
    expect("delete", store.delete(key, &[1]).await, ());
    expect("get after delete", store.get(key).await, None);
    expect("delete of a missing key", store.delete(key, &[1]).await, ());
    expect("add after delete", store.add(key, vec![3], MINUTE).await, true);
}

async fn one_of_many_callers_wins(store: &dyn Store) {
    let calls = (0..16).map(|caller| store.add("token-broker-test-won", vec![caller], MINUTE));
    let won = join_all(calls).await.into_iter().filter(|outcome| *outcome == Ok(true)).count();
    assert_eq!(won, 1, "add by many callers at once");
}

async fn values_end(store: &dyn Store) {
    expect("set", store.set("token-broker-test-ended-set", vec![1], SHORT).await, ());
    wait_for_the_end(store, "token-broker-test-ended-set").await;
    expect("add", store.add("token-broker-test-ended-add", vec![1], SHORT).await, true);
    wait_for_the_end(store, "token-broker-test-ended-add").await;
}

async fn a_former_owner_removes_nothing(store: &dyn Store) {
    let key = "token-broker-test-former";
    expect("add", store.add(key, vec![1], SHORT).await, true);
    wait_for_the_end(store, key).await;
    expect("set after the end", store.set(key, vec![2], MINUTE).await, ());
    expect("delete by the former owner", store.delete(key, &[1]).await, ());
    expect("get after a delete by the former owner", store.get(key).await, Some(vec![2]));
}

/// Returns when a value has ended.
async fn wait_for_the_end(store: &dyn Store, key: &str) {
    for _ in 0..MAX_POLLS {
        tokio::time::sleep(SHORT).await;
        if store.add(key, vec![2], Duration::ZERO).await == Ok(true) {
            return;
        }
    }
    panic!("the value of {key} is still there long after its time is over");
}

fn expect<T: Debug + PartialEq>(operation: &str, outcome: Result<T, StoreError>, expected: T) {
    assert_eq!(outcome, Ok(expected), "{operation}");
}

const MINUTE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);
const MAX_POLLS: usize = 500;
/// More than a sealed token with many groups in it.
const LARGE: usize = 16 * 1024;
