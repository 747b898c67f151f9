//! The artefacts and the guests.

use super::Artefact;
use super::Part::{self, Guest, Made, Module};

/// The packages that compile for WebAssembly only
pub(crate) const GUESTS: &[&str] = &[
    "adapter-none",
    "adapter-none-sync",
    "adapter-spin",
    "adapter-spin3",
    "adapter-wasmcloud",
    "broker",
    "broker-sync",
    "consumer",
    "egress",
    "endpoint",
    "guest-http",
    "injector",
    "key-vault",
    "operator",
    "sidecar",
    "spin-consumer",
    "spin-sender",
    "spinkube",
    "sql",
    "storage",
    "wasmcloud",
];

/// The package that is built for hosts without components
pub(crate) const MODULE: &str = "envoy-filter";

/// In the order in which they are built
pub(crate) const ARTEFACTS: &[Artefact] = &[
    guest("token-broker-core", "broker")
        .exports(BROKER)
        .shipped("Azure tokens for components, with store and settings left to the host"),
    plugged("token-broker", Made("token-broker-core"), &[Guest("adapter-none")])
        .exports(BROKER)
        .at_most(770_000)
        .shipped("Azure tokens for components, on any host with WASI 0.3"),
    plugged("token-broker-spin", Made("token-broker-core"), &[Guest("adapter-spin")])
        .exports(BROKER)
        .at_most(875_000)
        .shipped("Azure tokens for components, on Spin"),
    plugged("token-broker-wasmcloud", Made("token-broker-core"), &[Guest("adapter-wasmcloud")])
        .exports(BROKER)
        .at_most(855_000)
        .shipped("Azure tokens for components, on wasmCloud"),
    guest("token-broker-sync-core", "broker-sync")
        .exports("broker-sync")
        .shipped("Azure tokens for components on WASI 0.2, with store and settings left to the host"),
    plugged("token-broker-sync", Made("token-broker-sync-core"), &[Guest("adapter-none-sync")])
        .exports("broker-sync")
        .at_most(715_000)
        .shipped("Azure tokens for components, on hosts with WASI 0.2"),
    plugged("token-broker-spin3", Made("token-broker-sync-core"), &[Guest("adapter-spin3")])
        .exports("broker-sync")
        .at_most(795_000)
        .shipped("Azure tokens for components, on Spin 3.6 and SpinKube"),
    guest("endpoint", "endpoint")
        .shipped("An identity endpoint for Azure's SDKs, on a host that has Azure tokens"),
    plugged("token-endpoint", Made("endpoint"), &[Made("token-broker")])
        .at_most(1_010_000)
        .shipped("An identity endpoint for Azure's SDKs"),
    plugged("token-endpoint-core", Made("endpoint"), &[Made("token-broker-core")])
        .shipped("An identity endpoint for Azure's SDKs, with store and settings left to the host"),
    plugged("token-injector", Guest("injector"), &[Made("token-broker"), Guest("adapter-none")])
        .at_most(1_100_000)
        .shipped("Puts Azure tokens on the requests of a component that has none"),
    plugged("token-injector-spin", Guest("injector"), &[Made("token-broker-spin"), Guest("adapter-spin")])
        .at_most(1_310_000)
        .shipped("Puts Azure tokens on the requests of a component that has none, on Spin"),
    plugged("token-filter", Module(MODULE), &[])
        .at_most(610_000)
        .shipped("Azure tokens for requests that pass Envoy, a proxy-wasm module"),
    guest("key-vault", "key-vault"),
    guest("sidecar", "sidecar"),
    guest("sql", "sql"),
    guest("storage", "storage"),
    guest("consumer", "consumer"),
    plugged("consumer-composed", Made("consumer"), &[Made("token-broker")]),
    guest("spin-consumer", "spin-consumer"),
    plugged("spin-consumer-composed", Made("spin-consumer"), &[Made("token-broker")]),
    plugged("spin-sender", Guest("spin-sender"), &[Made("token-injector-spin")]),
    guest("spinkube", "spinkube"),
    plugged("spinkube-composed", Made("spinkube"), &[Made("token-broker-spin3")]),
    guest("wasmcloud", "wasmcloud"),
    plugged("wasmcloud-composed", Made("wasmcloud"), &[Made("token-broker-wasmcloud")]),
    plugged("spin-plain", Made("wasmcloud"), &[Made("token-broker-spin")]),
    plugged("sender-composed", Guest("spin-sender"), &[Made("token-injector")]),
    guest("operator", "operator"),
    guest("egress", "egress"),
    plugged("egress-composed", Made("egress"), &[Made("token-injector")]),
    plugged("egress-spin", Made("egress"), &[Made("token-injector-spin")]),
];

const fn guest(name: &'static str, package: &'static str) -> Artefact {
    plugged(name, Guest(package), &[])
}

const fn plugged(name: &'static str, socket: Part, plugs: &'static [Part]) -> Artefact {
    Artefact { name, socket, plugs, world: None, limit: None, about: None }
}

impl Artefact {
    const fn exports(self, world: &'static str) -> Self {
        Self { world: Some(world), ..self }
    }

    const fn shipped(self, about: &'static str) -> Self {
        Self { about: Some(about), ..self }
    }

    const fn at_most(self, bytes: usize) -> Self {
        Self { limit: Some(bytes), ..self }
    }
}

/// The world of the brokers on WASI 0.3
const BROKER: &str = "broker";
