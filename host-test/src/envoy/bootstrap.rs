//! Configurations of Envoy, put together from parts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What Envoy is started with
#[derive(Clone, Debug, Default)]
pub struct Bootstrap {
    /// Where requests come in
    pub listeners: Vec<Value>,
    /// Where they go
    pub clusters: Vec<Value>,
    /// What secret discovery finds
    pub secrets: Vec<Value>,
    /// More of the bootstrap, in place of what is there by default
    pub more: Vec<(&'static str, Value)>,
}

impl Bootstrap {
    /// One listener, `in`, that has these filters and sends everything to the cluster `app`
    pub fn with_filters(filters: &[Value], app: SocketAddr) -> Self {
        Self {
            listeners: vec![http_listener("in", filters, "app")],
            clusters: vec![cluster("app", app)],
            ..Self::default()
        }
    }

    /// The same with another cluster
    #[must_use]
    pub fn and_cluster(mut self, cluster: Value) -> Self {
        self.clusters.push(cluster);
        self
    }

    /// The same with another listener
    #[must_use]
    pub fn and_listener(mut self, listener: Value) -> Self {
        self.listeners.push(listener);
        self
    }

    /// As Envoy reads it
    pub fn to_json(&self) -> Value {
        let mut json = json!({
            "admin": { "address": at("127.0.0.1:0".parse().unwrap_or_else(|_| unreachable!())) },
            "bootstrap_extensions": [{
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
                },
            }],
            "stats_config": { "stats_tags": stats_tags() },
            "static_resources": {
                "listeners": self.listeners,
                "clusters": self.clusters,
                "secrets": self.secrets,
            },
        });
        for (name, value) in &self.more {
            json[*name] = value.clone();
        }
        json
    }
}

/// The labels of the filter's metrics
fn stats_tags() -> Value {
    json!([
        { "tag_name": "rule", "regex": r"^wasmcustom\.token_broker(\.rule\.([a-z0-9_-]+))\." },
        { "tag_name": "kind", "regex": r"^wasmcustom\.token_broker\.failures(\.([a-z_]+))$" },
    ])
}

/// A listener on a free port that speaks HTTP, has these filters, and sends everything to a cluster
pub fn http_listener(name: &str, filters: &[Value], cluster: &str) -> Value {
    let routes = json!([{ "name": "all", "match": { "prefix": "/" }, "route": { "cluster": cluster } }]);
    let address = at("127.0.0.1:0".parse().unwrap_or_else(|_| unreachable!()));
    json!({
        "name": name,
        "address": address,
        "filter_chains": [{ "filters": [connection_manager(name, filters, &routes)] }],
    })
}

/// A listener inside Envoy that answers with the content of a file, which it reads anew when the folder changes
pub fn token_file_listener(name: &str, file: &Path) -> Value {
    let folder = file.parent().unwrap_or(file);
    let body = json!({ "filename": file, "watched_directory": { "path": folder } });
    let routes = json!([{ "match": { "prefix": "/" }, "direct_response": { "status": 200, "body": body } }]);
    json!({
        "name": name,
        "internal_listener": {},
        "filter_chains": [{ "filters": [connection_manager(name, &[], &routes)] }],
    })
}

fn connection_manager(name: &str, filters: &[Value], routes: &Value) -> Value {
    let filters: Vec<Value> = filters.iter().cloned().chain([router()]).collect();
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "route_config": {
                "virtual_hosts": [{ "name": name, "domains": ["*"], "routes": routes }],
            },
            "http_filters": filters,
        },
    })
}

/// The filter that is last
pub fn router() -> Value {
    json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    })
}

/// A cluster of one endpoint
pub fn cluster(name: &str, address: SocketAddr) -> Value {
    cluster_of(name, &at(address))
}

/// A cluster of a listener inside Envoy
pub fn internal_cluster(name: &str, listener: &str) -> Value {
    cluster_of(name, &json!({ "envoy_internal_address": { "server_listener_name": listener } }))
}

fn cluster_of(name: &str, address: &Value) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
        },
    })
}

fn at(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}

/// The TLS of a cluster: whom it trusts
pub struct UpstreamTls<'a> {
    /// The certificate authority, as a file
    pub authority: &'a Path,
    /// The name that the certificate must have
    pub name: &'a str,
}

impl UpstreamTls<'_> {
    /// The cluster, with TLS
    #[must_use]
    pub fn on(&self, mut cluster: Value) -> Value {
        cluster["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": self.name,
                "common_tls_context": {
                    "validation_context": {
                        "trusted_ca": { "filename": self.authority },
                        "match_typed_subject_alt_names": [{ "san_type": "DNS", "matcher": { "exact": self.name } }],
                    },
                },
            },
        });
        cluster
    }
}

/// The cluster, with filters of its own, which requests pass on their way to it and at each try
#[must_use]
pub fn upstream_filters(mut cluster: Value, filters: &[Value]) -> Value {
    let codec = json!({
        "name": "envoy.filters.http.upstream_codec",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec" },
    });
    let filters: Vec<Value> = filters.iter().cloned().chain([codec]).collect();
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http_protocol_options": {} },
            "http_filters": filters,
        },
    });
    cluster
}

/// The filter with its configuration, in VMs of this id; `environment` is what they see of one
pub fn token_filter(vm_id: &str, configuration: &Value, environment: &[(&'static str, String)]) -> Value {
    let environment: serde_json::Map<String, Value> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({
        "name": "envoy.filters.http.wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "token-filter",
                "root_id": "token-filter",
                "failure_policy": "FAIL_RELOAD",
                "reload_config": { "backoff": { "base_interval": "0.2s" } },
                "configuration": { "@type": "type.googleapis.com/google.protobuf.Struct", "value": configuration },
                "vm_config": {
                    "vm_id": vm_id,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": module() } },
                    "environment_variables": { "key_values": environment },
                },
            },
        },
    })
}

/// What `cargo xtask build` makes of the filter
pub(super) fn module() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components/token-filter.wasm")
}
