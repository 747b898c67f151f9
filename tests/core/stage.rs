//! The scenes in which tests begin, and the calls that they make.

use std::future::Future;

use token_broker::{
    Broker, Error, ExposeSecret as _, Grant, Identity, RawRequest, RefreshTicket, SourceReport, Store,
    TokenRequest,
};

use crate::fake::{NoStore, Reply, Tasks, World, json, json_with, token};
use crate::store::SharedStore;

pub(crate) const VAULT: &str = "https://vault.azure.net/.default";
pub(crate) const STORAGE: &str = "https://storage.azure.com/.default";
pub(crate) const DAY: u64 = 86_400;
pub(crate) const KEY: (&str, &str) =
    ("TOKEN_BROKER_STORE_KEY", "bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldyE=");

pub(crate) const APP_SERVICE: &Pairs =
    &[("IDENTITY_ENDPOINT", "http://127.0.0.1:41741/msi/token"), ("IDENTITY_HEADER", "s3ntinel-header")];
pub(crate) const WORKLOAD: &Pairs = &[
    ("AZURE_FEDERATED_TOKEN_FILE", "/tokens/azure"),
    ("AZURE_TENANT_ID", "tenant.example"),
    ("AZURE_CLIENT_ID", "app"),
];
pub(crate) const SECRET: &Pairs = &[
    ("AZURE_CLIENT_SECRET", "s3cret & more"),
    ("AZURE_TENANT_ID", "tenant.example"),
    ("AZURE_CLIENT_ID", "app"),
];
pub(crate) const CERTIFICATE: &Pairs = &[
    ("AZURE_CLIENT_CERTIFICATE_PATH", "/app.pem"),
    ("AZURE_TENANT_ID", "tenant.example"),
    ("AZURE_CLIENT_ID", "app"),
];
pub(crate) const FEDERATED: &Pairs =
    &[("TOKEN_BROKER_FEDERATED_CLIENT_ID", "app"), ("TOKEN_BROKER_FEDERATED_TENANT_ID", "customer.example")];
pub(crate) const ARC: &Pairs = &[
    ("IDENTITY_ENDPOINT", "http://localhost:40342/metadata/identity/oauth2/token"),
    ("IMDS_ENDPOINT", "http://localhost:40342"),
];
pub(crate) const FABRIC: &Pairs = &[
    ("IDENTITY_ENDPOINT", "https://10.0.0.4:2377/metadata/identity/oauth2/token"),
    ("IDENTITY_HEADER", "fabric-secret"),
    ("IDENTITY_SERVER_THUMBPRINT", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
];
pub(crate) const PIN: (&str, &str) =
    ("TOKEN_BROKER_PINNED_THUMBPRINT", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
pub(crate) const MSI: &Pairs =
    &[("MSI_ENDPOINT", "http://localhost:50342/oauth2/token"), ("MSI_SECRET", "msi-secret")];
/// A token of another issuer.
pub(crate) const JWT: &str = "e30.e30.c2ln";
pub(crate) const KEY_FILE: &str = "/var/opt/azcmagent/tokens/1.key";

/// The answer of IMDS on a machine without an identity.
pub(crate) const NO_IDENTITY: &str =
    r#"{"error":"invalid_request","error_description":"Identity not found"}"#;

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

    /// The ticket to refresh the token for the vault.
    pub(crate) fn ticket<S: Store + Clone>(&self, broker: &Broker<Self, S>) -> RefreshTicket {
        self.get(broker, VAULT).unwrap().refresh.expect("the ticket of a refresh")
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

pub(crate) fn kind(outcome: Outcome) -> &'static str {
    outcome.map_or_else(|error| error.kind(), |_| "a token")
}

pub(crate) fn with(pairs: &Pairs, more: &Pairs) -> Vec<(&'static str, &'static str)> {
    [pairs, more].concat()
}

/// A token response of Entra.
pub(crate) fn entra(name: &str) -> Reply {
    let body = r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"NAME"}"#;
    json(200, &body.replace("NAME", name))
}

/// An error response of Entra.
pub(crate) fn refusal(status: u16, code: u32) -> Reply {
    let body = serde_json::json!({
        "error": "invalid_client",
        "error_description": format!("AADSTS{code}: it cannot be. Trace ID: t Correlation ID: c Timestamp: x"),
        "error_codes": [code],
        "timestamp": "2026-01-02 03:04:05Z",
        "correlation_id": "11111111-2222-3333-4444-555555555555",
    });
    json(status, &body.to_string())
}

/// The answer of a service that asks for a rest.
pub(crate) fn throttled(seconds: &str) -> Reply {
    json_with(429, ("retry-after", seconds), r#"{"error":"too_many_requests"}"#)
}

pub(crate) fn report(broker: &TestBroker, source: &str) -> SourceReport {
    broker.explain().into_iter().find(|report| report.source == source).unwrap()
}

/// The answer of Arc's agent that names its key file.
pub(crate) fn challenge(realm: &str) -> Reply {
    json_with(401, ("www-authenticate", &format!("Basic realm={realm}")), "{}")
}
