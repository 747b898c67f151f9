//! The scenes in which tests begin, and the calls that they make.

use std::borrow::Borrow;
use std::future::Future;

use secrecy::ExposeSecret as _;
use token_broker::{Broker, Error, Grant, Identity, RawRequest, RefreshTicket, Store, TokenRequest};

use crate::fake::{NoStore, Reply, Tasks, World, token};
use crate::store::SharedStore;

pub(crate) const VAULT: &str = "https://vault.azure.net/.default";
pub(crate) const STORAGE: &str = "https://storage.azure.com/.default";
pub(crate) const DAY: u64 = 86_400;
pub(crate) const KEY: (&str, &str) =
    ("TOKEN_BROKER_STORE_KEY", "bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldyE=");

pub(crate) type Pairs = [(&'static str, &'static str)];
pub(crate) type TestBroker = Broker<World, NoStore>;
pub(crate) type Instance = Broker<World, SharedStore>;
pub(crate) type Outcome = Result<Grant, Error>;

/// A broker, and the answers to its first requests.
pub(crate) fn stage(
    environment: &[(&str, &str)],
    answers: impl IntoIterator<Item = Reply>,
) -> (World, TestBroker) {
    let world = World::new();
    world.script(answers);
    let broker = world.broker(environment);
    (world, broker)
}

/// A broker that fetched the token T1 for the vault `age` seconds ago, with a lifetime of `life` seconds.
pub(crate) fn holding(life: u64, age: u64) -> (World, TestBroker) {
    let (world, broker) = stage(&[], [token("T1", life)]);
    world.get(&broker, VAULT).unwrap();
    world.advance_secs(age);
    (world, broker)
}

/// Instances that share a store, with different random numbers, and the answers to their first requests.
pub(crate) fn fleet<const N: usize>(
    answers: impl IntoIterator<Item = Reply>,
) -> (World, SharedStore, [Instance; N]) {
    let world = World::new();
    world.vary_random();
    world.script(answers);
    let store = SharedStore::new(&world);
    let instances = std::array::from_fn(|_| instance(&world, &store));
    (world, store, instances)
}

pub(crate) fn instance(world: &World, store: &SharedStore) -> Instance {
    world.sharing(store, &[KEY])
}

pub(crate) async fn get<S: Store + Clone>(broker: &Broker<World, S>, scope: &str) -> Outcome {
    broker.token_for_scope(scope).await
}

pub(crate) async fn ask<S: Store + Clone>(broker: &Broker<World, S>, raw: RawRequest) -> Outcome {
    broker.token(&TokenRequest::parse(raw)?).await
}

/// Calls that have begun, and the number of each.
pub(crate) fn begin<'a, const N: usize, T>(
    world: &World,
    calls: [impl Future<Output = T> + 'a; N],
) -> (Tasks<'a, T>, [usize; N]) {
    let mut tasks = Tasks::new(world);
    let numbers = calls.map(|call| tasks.start(call));
    tasks.poll();
    (tasks, numbers)
}

/// Many calls that have begun.
pub(crate) fn crowd<'a, T>(
    world: &World,
    calls: impl IntoIterator<Item = impl Future<Output = T> + 'a>,
) -> Tasks<'a, T> {
    let mut tasks = Tasks::new(world);
    calls.into_iter().for_each(|call| _ = tasks.start(call));
    tasks.poll();
    tasks
}

impl World {
    pub(crate) fn get<S: Store + Clone>(&self, broker: &Broker<Self, S>, scope: &str) -> Outcome {
        self.run(get(broker, scope))
    }

    pub(crate) fn ask<S: Store + Clone>(&self, broker: &Broker<Self, S>, raw: RawRequest) -> Outcome {
        self.run(ask(broker, raw))
    }

    /// The error of a call that fails.
    pub(crate) fn error<S: Store + Clone>(&self, broker: &Broker<Self, S>, scope: &str) -> Error {
        self.get(broker, scope).unwrap_err()
    }

    /// The duty to refresh the token for the vault.
    pub(crate) fn duty<S: Store + Clone>(&self, broker: &Broker<Self, S>) -> RefreshTicket {
        self.get(broker, VAULT).unwrap().refresh.expect("the duty to refresh")
    }
}

pub(crate) fn raw(scope: &str) -> RawRequest {
    RawRequest { scopes: vec![scope.to_owned()], ..RawRequest::default() }
}

/// A request for the vault.
pub(crate) fn vault_for(identity: Identity) -> RawRequest {
    RawRequest { identity, ..raw(VAULT) }
}

pub(crate) fn client(id: &str) -> Identity {
    Identity::client_id(id).unwrap()
}

/// The token of a grant.
pub(crate) fn text(grant: &Grant) -> &str {
    grant.token.secret().expose_secret()
}

/// The token of a successful call.
pub(crate) fn name(outcome: Outcome) -> String {
    text(&outcome.unwrap()).to_owned()
}

pub(crate) fn kind(outcome: impl Borrow<Outcome>) -> &'static str {
    outcome.borrow().as_ref().map_or_else(Error::kind, |_| "a token")
}
