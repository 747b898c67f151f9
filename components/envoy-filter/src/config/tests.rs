use serde_json::{Value, json};
use token_broker::{Broker, Error, Failure};

use super::*;
use crate::abi::Root;
use crate::host::Proxy;
use crate::random::RandomBits;
use crate::rules::HeaderTemplate;
use crate::store::{ProxyStore, Wakeups};

#[test]
fn the_schema_and_the_parser_agree_on_what_is_right() {
    let schema = schema();
    for good in good() {
        assert_eq!(schema.validate(&good).err().map(|error| error.to_string()), None, "{good}");
        assert_eq!(refusal(&good), None, "{good}");
    }
}

#[test]
fn the_schema_and_the_parser_agree_on_what_is_wrong_and_the_parser_names_the_field() {
    let schema = schema();
    for (change, words) in wrong() {
        let bad = changed(&change);
        assert!(!schema.is_valid(&bad), "{bad}");
        let refusal = refusal(&bad).unwrap_or_else(|| panic!("{bad} is accepted"));
        assert!(refusal.contains(words) && refusal.contains("; fix: "), "{words}: {refusal}");
    }
}

#[test]
fn values_that_contradict_each_other_are_refused_by_the_parser_alone() {
    let secret =
        json!({ "client_secret": { "cluster": "entra", "tenant_id": "t.example", "client_id": "c" } });
    let workload = json!({ "workload_identity": { "cluster": "entra", "token_cluster": "sa", "tenant_id": "t.example" } });
    let rule = |name: &str, value: Value| {
        let mut rule = json!({ "scope": "https://a.example" });
        rule[name] = value;
        json!([rule])
    };
    for (change, words) in [
        (
            json!({ "rules": [{ "name": "a", "scope": "x" }, { "name": "a", "scope": "y" }] }),
            "rules[1].name is that of another rule",
        ),
        (json!({ "rules": rule("tenant_id", json!("contoso.com")) }), "rules[0].tenant_id cannot be chosen"),
        (
            json!({ "source": secret, "identity": "system_assigned" }),
            "identity cannot be chosen: the source is an app",
        ),
        (
            json!({ "source": secret, "identity": { "client_id": "a" } }),
            "identity cannot be chosen: the source is one app",
        ),
        (
            json!({ "source": { "workload_identity": { "cluster": "a", "token_cluster": "b", "client_id": "c" } } }),
            "source.workload_identity.tenant_id is missing",
        ),
        (
            json!({ "source": workload, "rules": [{ "scope": "x", "identity": { "client_id": "c" }, "tenant_id": "a b" }] }),
            "rules[0].tenant_id: the tenant id has the character",
        ),
        (json!({ "source": workload }), "rules[0].identity is missing, and the source has no client_id"),
        (json!({ "source": workload, "identity": { "object_id": "a" } }), "name it by its client_id"),
        (
            json!({ "rules": rule("header", json!({ "name": "Host" })) }),
            "rules[0].header.name is a header that controls where",
        ),
        (json!({ "rules": rule("authority", json!("a.example:443")) }), "rules[0].authority has a port"),
        (json!({ "identity": { "client_id": "a b" } }), "identity.client_id"),
        (
            json!({ "rules": rule("header", json!({ "name": "x", "prefix": "a\nb" })) }),
            "rules[0].header.prefix has a character",
        ),
        (
            json!({ "source": { "imds": { "cluster": "imds", "endpoint": "http://10.0.0.1" } } }),
            "source.imds.endpoint names the private address 10.0.0.1",
        ),
        (
            json!({ "source": { "client_secret": { "cluster": "entra", "client_id": "a", "tenant_id": "b.example" } } }),
            "AZURE_CLIENT_SECRET",
        ),
        (
            federated(&json!({ "github": { "cluster": "a" } })),
            "ACTIONS_ID_TOKEN_REQUEST_URL is not set; fix: ",
        ),
        (
            federated(&json!({ "github": { "cluster": "a", "url": "http://ci.example" } })),
            "source.federated_assertion.issuer.github.url",
        ),
        (
            federated(&json!({ "gcp": { "cluster": "a", "host": "10.0.0.1" } })),
            "source.federated_assertion.issuer.gcp.host",
        ),
        (
            federated(
                &json!({ "url": { "cluster": "a", "url": "https://ci.example", "headers": "A: $NOWHERE" } }),
            ),
            "source.federated_assertion.issuer.url.headers names NOWHERE, which is not set",
        ),
        (
            json!({ "source": { "app_service": { "cluster": "here" } } }),
            "IDENTITY_HEADER is set and IDENTITY_ENDPOINT is not; fix: ",
        ),
    ] {
        let bad = changed(&change);
        assert!(schema().is_valid(&bad), "{bad}");
        let refusal = refusal(&bad).unwrap_or_else(|| panic!("{bad} is accepted"));
        assert!(refusal.contains(words) && refusal.contains("; fix: "), "{words}: {refusal}");
    }
}

#[test]
fn sources_that_cannot_work_in_a_proxy_are_refused_with_the_reason() {
    for (source, words) in [
        ("azure_arc", "names anew each time"),
        ("client_certificate", "no key file can be read"),
        ("service_fabric", "thumbprint"),
        ("azure_ml", "not for proxies"),
        ("cloud_shell", "not for proxies"),
        ("gcp", "use one of imds, app_service"),
    ] {
        let refusal = refusal(&changed(&json!({ "source": { source: {} } }))).unwrap();
        assert!(refusal.starts_with(&format!("source.{source} ")) && refusal.contains(words), "{refusal}");
        assert!(refusal.contains("; fix: "), "{refusal}");
    }
}

#[test]
fn bytes_that_are_not_a_configuration_are_refused() {
    let deep = "[".repeat(100_000);
    let huge = format!("{{\"rules\":\"{}\"}}", "x".repeat(1 << 20));
    for (bytes, words) in [
        (&b""[..], "is empty"),
        (b"{", "is not JSON"),
        (b"[]", "the configuration is not an object"),
        (b"5", "the configuration is not an object"),
        (b"\xff\xfe", "is not JSON"),
        (b"\n\x05", "is not JSON"),
        (deep.as_bytes(), "is not JSON"),
        (huge.as_bytes(), "shorten it to 262144"),
    ] {
        let refusal = PluginConfig::parse(bytes, Vec::new()).err().unwrap();
        assert!(refusal.contains(words) && refusal.contains("; fix: "), "{words}: {refusal}");
    }
}

#[test]
fn fields_win_over_the_environment_which_fills_what_is_left_out() {
    let source =
        json!({ "source": { "client_secret": { "cluster": "entra", "client_id": "of-the-field" } } });
    let environment = [
        ("AZURE_CLIENT_ID", "of-the-variable"),
        ("AZURE_TENANT_ID", "t.example"),
        ("AZURE_CLIENT_SECRET", "s"),
    ];
    let sends = would_send(&changed(&source), &environment);
    assert_eq!(sends.len(), 1);
    assert!(
        sends[0].starts_with("POST https://login.microsoftonline.com/t.example/oauth2/v2.0/token"),
        "{sends:?}"
    );
    assert!(sends[0].contains("client_id=of-the-field"), "{sends:?}");
}

#[test]
fn the_clusters_token_proxy_is_asked_by_its_field_and_refused_by_the_variables_of_the_pod() {
    let bound = [
        ("AZURE_KUBERNETES_TOKEN_PROXY", "https://kubernetes.default.svc"),
        ("AZURE_KUBERNETES_SNI_NAME", "x.test"),
        ("AZURE_KUBERNETES_CA_FILE", "/ca.crt"),
        ("TOKEN_BROKER_VERIFIED_TOKEN_PROXY", "https://kubernetes.default.svc"),
    ];
    let workload = |proxy: Option<&str>| {
        let mut source =
            json!({ "cluster": "proxy", "token_cluster": "sa", "tenant_id": "t.example", "client_id": "c" });
        proxy.inspect(|proxy| source["token_proxy"] = json!(proxy));
        changed(&json!({ "source": { "workload_identity": source } }))
    };
    let sends = would_send(&workload(Some("https://kubernetes.default.svc/base/")), &bound);
    let start = "POST https://kubernetes.default.svc/base/t.example/oauth2/v2.0/token ";
    assert!(sends.len() == 1 && sends[0].starts_with(start), "{sends:?}");
    let refusal = refusal_with(&workload(None), &bound).unwrap();
    assert!(refusal.contains("in Envoy, the field `token_proxy`"), "{refusal}");
}

#[test]
fn variables_of_other_sources_are_ignored() {
    let environment = [
        ("AZURE_CLIENT_SECRET", "s"),
        ("AZURE_TENANT_ID", "t.example"),
        ("IDENTITY_ENDPOINT", "x"),
        ("MSI_ENDPOINT", "y"),
    ];
    assert_eq!(refusal_with(&changed(&json!({})), &environment), None);
}

#[test]
fn a_mistaken_name_with_the_brokers_prefix_is_refused_with_the_nearest_one() {
    let text = refusal_with(&changed(&json!({})), &[("TOKEN_BROKER_STORE_KYE", "x")]).unwrap();
    assert!(text.contains("TOKEN_BROKER_STORE_KYE") && text.contains("TOKEN_BROKER_STORE_KEY"), "{text}");
    let of_kubernetes =
        [("TOKEN_BROKER_SERVICE_HOST", "10.0.0.1"), ("TOKEN_BROKER_PORT", "tcp://10.0.0.1:80")];
    assert_eq!(refusal_with(&changed(&json!({})), &of_kubernetes), None);
}

#[test]
fn the_cluster_of_imds_is_for_the_address_that_the_core_asks() {
    let config = parse(&changed(&json!({})), &[]).unwrap();
    let asks = would_send(&changed(&json!({})), &[]);
    let url = asks[asks.len() - 1].strip_prefix("GET ").unwrap().parse().unwrap();
    assert_eq!(config.source.clusters.for_url(&url), Some("imds"));
    assert_eq!(config.source.clusters.for_url(&"http://169.254.169.253/".parse().unwrap()), None);
}

#[test]
fn each_request_of_a_federated_app_goes_to_its_own_cluster() {
    let github = json!({ "github": { "cluster": "issuer", "url": "https://ci.example/t" } });
    let google = json!({ "gcp": { "cluster": "issuer", "host": "metadata.google.internal" } });
    for issuer in [github, google] {
        let configuration = changed(&federated(&issuer));
        let config = parse(&configuration, &PLATFORM).unwrap();
        let sends = would_send(&configuration, &PLATFORM);
        let clusters = sends.iter().map(|request| {
            let url = request.split(' ').nth(1).unwrap().parse().unwrap();
            config.source.clusters.for_url(&url).unwrap()
        });
        assert_eq!(clusters.collect::<Vec<_>>(), ["entra", "issuer"], "{sends:?}");
        assert_eq!(config.source.clusters.for_url(&"http://ci.example/".parse().unwrap()), None);
    }
}

#[test]
fn errors_name_the_fields_that_set_what_is_wrong() {
    let workload = |field: &str, value: &str| {
        let mut source = json!({ "cluster": "entra", "token_cluster": "sa", "tenant_id": "contoso.com", "client_id": "c" });
        source[field] = json!(value);
        json!({ "source": { "workload_identity": source } })
    };
    for (change, field) in [
        (workload("tenant_id", "common"), "source.workload_identity.tenant_id"),
        (workload("client_id", "a b"), "source.workload_identity.client_id"),
        (workload("authority", "http://a.example"), "source.workload_identity.authority"),
        (workload("region", "true"), "source.workload_identity.region"),
        (workload("region", "TryAutoDetect"), "source.workload_identity.region"),
        (workload("token_proxy", "http://kubernetes.default.svc"), "source.workload_identity.token_proxy"),
        (workload("token_proxy", "https://kubernetes.default.svc?"), "source.workload_identity.token_proxy"),
        (json!({ "source": { "imds": { "cluster": "a", "endpoint": "x" } } }), "source.imds.endpoint"),
        (json!({ "log_level": "trace" }), "log_level"),
    ] {
        let refusal = refusal(&changed(&change)).unwrap();
        assert!(refusal.contains(&format!("misconfigured: {field} ")), "{field}: {refusal}");
    }
}

#[test]
fn errors_leave_out_the_sources_that_are_not_configured() {
    let config = parse(&changed(&json!({})), &[]).unwrap();
    let failure = |source: &'static str| Failure::new(source, "");
    let (own, other) = (|| failure("imds"), || failure("workload-identity"));
    let told = config.source.own(Error::Unavailable(vec![other(), own()]));
    assert_eq!(told, Error::Unavailable(vec![own()]));
    for error in [Error::Rejected(own()), Error::Other("x".to_owned())] {
        assert_eq!(config.source.own(error.clone()), error);
    }
}

#[test]
fn by_default_requests_without_a_token_are_refused_and_headers_replaced() {
    let config = parse(&changed(&json!({})), &[]).unwrap();
    let behavior = Behavior {
        passes_unmatched: true,
        forwards_failed: false,
        keeps_header: false,
        deadline: Duration::from_secs(10),
    };
    assert_eq!(config.behavior, behavior);
    assert_eq!((config.rules[0].name.as_str(), &config.rules[0].header), ("1", &HeaderTemplate::bearer()));
}

/// The smallest configuration.
fn smallest() -> Value {
    json!({ "source": { "imds": { "cluster": "imds" } }, "rules": [{ "scope": "https://vault.azure.net" }] })
}

/// An app registration that trusts an issuer.
fn federated(issuer: &Value) -> Value {
    json!({ "source": { "federated_assertion": { "cluster": "entra", "tenant_id": "t.example", "client_id": "c", "issuer": issuer } } })
}

/// The same with other fields at its top.
fn changed(change: &Value) -> Value {
    let mut configuration = smallest();
    for (name, value) in change.as_object().unwrap() {
        configuration[name] = value.clone();
    }
    configuration
}

fn good() -> Vec<Value> {
    let changes = [
        json!({}),
        json!({ "source": { "imds": { "cluster": "imds", "endpoint": "http://127.0.0.1:8080" } } }),
        json!({ "source": { "app_service": { "cluster": "here", "endpoint": "http://127.0.0.1:42356/msi/token" } } }),
        json!({
            "source": { "workload_identity": { "cluster": "entra", "token_cluster": "sa", "tenant_id": "t.example", "client_id": "c", "authority": "https://login.microsoftonline.us" } },
            "rules": [{ "scope": "https://vault.azure.net", "identity": { "client_id": "other" }, "tenant_id": "contoso.com" }],
        }),
        json!({ "source": { "workload_identity": { "cluster": "proxy", "token_cluster": "sa", "tenant_id": "t.example", "client_id": "c", "token_proxy": "https://kubernetes.default.svc" } } }),
        json!({ "source": { "client_secret": { "cluster": "entra", "tenant_id": "t.example", "client_id": "c" } } }),
        json!({ "source": { "federated_identity": { "cluster": "entra", "tenant_id": "t.example", "client_id": "c", "managed_identity": { "imds": { "cluster": "imds" } } } } }),
        json!({
            "source": { "workload_identity": { "cluster": "entra", "token_cluster": "sa", "tenant_id": "t.example" } },
            "rules": [{ "scope": "https://vault.azure.net", "identity": { "client_id": "each" } }],
        }),
        federated(
            &json!({ "github": { "cluster": "github", "url": "https://ci.example/token?a=b", "audience": "c" } }),
        ),
        federated(
            &json!({ "azure_pipelines": { "cluster": "devops", "url": "https://dev.example", "service_connection_id": "s" } }),
        ),
        federated(&json!({ "gcp": { "cluster": "metadata", "host": "127.0.0.1:8080" } })),
        federated(
            &json!({ "url": { "cluster": "ci", "url": "https://ci.example", "method": "POST", "headers": "Authorization: Bearer $AZURE_CLIENT_SECRET", "field": "token" } }),
        ),
        json!({ "identity": "system_assigned" }),
        json!({ "identity": { "client_id": "11112222-bbbb-3333-cccc-4444dddd5555" } }),
        json!({ "identity": { "resource_id": "/subscriptions/a/resourceGroups/é/x" } }),
        json!({ "rules": [
            { "name": "vault", "authority": "*.vault.azure.net", "scope": "https://vault.azure.net/.default" },
            { "name": "storage_2", "route": "blob-*", "scope": "https://storage.azure.com", "identity": { "object_id": "o" } },
            { "name": "rest-3", "cluster": "*", "scope": "api://mine", "header": { "name": "X-Token", "prefix": "Token " } },
        ] }),
        json!({ "unmatched": "refuse", "on_failure": "forward", "existing_header": "keep", "log_level": "off" }),
        json!({ "deadline_ms": 1, "timeout_ms": 600_000, "budget_ms": 600_000 }),
    ];
    changes.iter().map(changed).collect()
}

fn wrong() -> Vec<(Value, &'static str)> {
    let of_rule = |name: &str, value: Value| {
        let mut rule = json!({ "scope": "https://a.example" });
        rule[name] = value;
        json!({ "rules": [rule] })
    };
    vec![
        (json!({ "sauce": {} }), "sauce is not a field"),
        (json!({ "source": {} }), "source has not exactly one field"),
        (json!({ "source": "imds" }), "source is not an object"),
        (
            json!({ "source": { "imds": { "cluster": "a" }, "app_service": { "cluster": "b" } } }),
            "source has not exactly one",
        ),
        (json!({ "source": { "imds": {} } }), "source.imds.cluster is missing"),
        (json!({ "source": { "imds": { "cluster": "" } } }), "source.imds.cluster is not a text"),
        (json!({ "source": { "imds": { "cluster": 5 } } }), "source.imds.cluster is not a text"),
        (json!({ "source": { "imds": { "cluster": "a", "url": "b" } } }), "source.imds.url is not a field"),
        (
            json!({ "source": { "workload_identity": { "cluster": "a" } } }),
            "source.workload_identity.token_cluster is missing",
        ),
        (
            json!({ "source": { "client_secret": { "cluster": "a", "secret": "s" } } }),
            "source.client_secret.secret is not a field",
        ),
        (
            json!({ "source": { "federated_identity": { "cluster": "a" } } }),
            "source.federated_identity.managed_identity is missing",
        ),
        (
            json!({ "source": { "federated_identity": { "cluster": "a", "managed_identity": { "client_secret": {} } } } }),
            "source.federated_identity.managed_identity.client_secret",
        ),
        (federated(&json!({})), "source.federated_assertion.issuer has not exactly one"),
        (federated(&json!({ "github": {} })), "source.federated_assertion.issuer.github.cluster is missing"),
        (
            federated(&json!({ "gitlab": { "cluster": "a" } })),
            "source.federated_assertion.issuer.gitlab is not an issuer",
        ),
        (
            federated(&json!({ "gcp": { "cluster": "a", "url": "b" } })),
            "source.federated_assertion.issuer.gcp.url is not a field",
        ),
        (
            json!({ "identity": "user_assigned" }),
            "identity has an unknown value; fix: set it to one of `system_assigned`",
        ),
        (json!({ "identity": {} }), "identity has not exactly one field"),
        (json!({ "identity": { "name": "a" } }), "identity.name is not a kind of id; fix: use client_id"),
        (json!({ "identity": 5 }), "identity is not an object"),
        (json!({ "rules": [] }), "rules has 0 rules; fix: write 1 to 256"),
        (json!({ "rules": {} }), "rules is not a list"),
        (json!({ "rules": vec![json!({ "scope": "a" }); 257] }), "rules has 257 rules; fix: write 1 to 256"),
        (json!({ "rules": [{}] }), "rules[0].scope is missing"),
        (json!({ "rules": ["a"] }), "rules[0] is not an object"),
        (json!({ "rules": [{ "scope": "a b" }] }), "rules[0].scope"),
        (json!({ "rules": [{ "scope": "a".repeat(2049) }] }), "rules[0].scope"),
        (of_rule("nmae", json!("a")), "rules[0].nmae is not a field"),
        (of_rule("name", json!("A b")), "rules[0].name is not the name"),
        (of_rule("authority", json!("a.*.example")), "rules[0].authority is not the name of a host"),
        (of_rule("route", json!("*a")), "rules[0].route has a `*` that is not at its end"),
        (of_rule("cluster", json!(["a"])), "rules[0].cluster is not a text"),
        (of_rule("header", json!({})), "rules[0].header.name is missing"),
        (of_rule("header", json!({ "name": "a b" })), "rules[0].header.name is not the name of a header"),
        (of_rule("header", json!({ "name": "a", "suffix": "b" })), "rules[0].header.suffix is not a field"),
        (
            json!({ "unmatched": "deny" }),
            "unmatched has an unknown value; fix: set it to one of `pass`, `refuse`",
        ),
        (json!({ "on_failure": true }), "on_failure has an unknown value"),
        (json!({ "existing_header": "append" }), "existing_header has an unknown value"),
        (json!({ "deadline_ms": 0 }), "deadline_ms is not a number of milliseconds"),
        (json!({ "timeout_ms": 600_001 }), "timeout_ms is not a number of milliseconds"),
        (json!({ "budget_ms": "10s" }), "budget_ms is not a number of milliseconds"),
        (json!({ "deadline_ms": 1.5 }), "deadline_ms is not a number of milliseconds"),
        (json!({ "log_level": "trace" }), "log_level is not a log level"),
    ]
}

fn schema() -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(include_str!("../../config.schema.json")).unwrap())
        .unwrap()
}

fn parse(configuration: &Value, environment: &[(&str, &str)]) -> Result<PluginConfig, ConfigError> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    PluginConfig::parse(configuration.to_string().as_bytes(), environment.collect())
}

/// The environment of a platform, so that a configuration has the one mistake under test.
const PLATFORM: [(&str, &str); 4] = [
    ("IDENTITY_HEADER", "h"),
    ("AZURE_CLIENT_SECRET", "s"),
    ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t"),
    ("SYSTEM_ACCESSTOKEN", "t"),
];

fn refusal(configuration: &Value) -> Option<ConfigError> {
    let is_about_the_environment = configuration.to_string().contains(r#""tenant_id":"b.example""#);
    refusal_with(configuration, if is_about_the_environment { &[] } else { &PLATFORM })
}

fn refusal_with(configuration: &Value, environment: &[(&str, &str)]) -> Option<ConfigError> {
    let config = match parse(configuration, environment) {
        Ok(config) => config,
        Err(error) => return Some(error),
    };
    crate::plugin::check(&broker(&config), &config.source).err()
}

fn would_send(configuration: &Value, environment: &[(&str, &str)]) -> Vec<String> {
    let config = parse(configuration, environment).unwrap();
    let reports = broker(&config).explain().into_iter();
    reports
        .filter(|report| config.source.names.contains(&report.source))
        .filter_map(|report| report.would_send)
        .collect()
}

fn broker(config: &PluginConfig) -> Broker<Proxy, ProxyStore> {
    let store = ProxyStore { namespace: String::new(), wakeups: Wakeups::default() };
    Broker::new(
        Proxy::new(Root(1), Default::default(), RandomBits::new([0; 32])),
        store,
        &config.source.settings,
    )
}
