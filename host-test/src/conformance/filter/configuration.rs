//! The filter's configuration for a case, and the reasons why some cases have none.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::case::{Ask, Case, ErrorKind, Fault, Identity, Step, StoreCondition};
use super::super::content::Text;

/// A rule: everything that a case asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    scope: String,
    identity: Identity,
    tenant_id: Option<String>,
}

impl Rule {
    pub(super) fn of(ask: &Ask) -> Self {
        Self {
            scope: ask.scopes.first().cloned().unwrap_or_default(),
            identity: ask.identity.clone(),
            tenant_id: ask.tenant_id.clone(),
        }
    }

    pub(super) fn of_scope(scope: &str) -> Self {
        Self { scope: scope.to_owned(), identity: Identity::Default, tenant_id: None }
    }

    /// The rule in the filter's configuration. It applies to requests to the host of its number.
    pub(super) fn to_json(&self, nth: usize) -> Value {
        let mut rule = json!({ "name": nth.to_string(), "authority": host(nth), "scope": self.scope });
        match &self.identity {
            Identity::Default => {}
            Identity::SystemAssigned => rule["identity"] = json!("system_assigned"),
            Identity::ClientId(id) => rule["identity"] = json!({ "client_id": id }),
            Identity::ObjectId(id) => rule["identity"] = json!({ "object_id": id }),
            Identity::ResourceId(id) => rule["identity"] = json!({ "resource_id": id }),
        }
        if let Some(tenant) = &self.tenant_id {
            rule["tenant_id"] = json!(tenant);
        }
        rule
    }
}

/// The host of the requests that a rule applies to.
pub(super) fn host(nth: usize) -> String {
    format!("rule-{nth}.example")
}

pub(super) fn rules_of(case: &Case) -> Vec<Rule> {
    let mut rules = Vec::new();
    let asked = case.steps.iter().filter_map(|step| step.ask.as_ref()).map(Rule::of);
    let peeked = case.steps.iter().filter_map(|step| step.peek.as_deref()).map(Rule::of_scope);
    for rule in asked.chain(peeked) {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

/// The configuration without rules: the source that the environment selects, and limits.
pub(super) fn without_rules(env: &BTreeMap<String, Text>) -> Value {
    let mut configuration = json!({
        "source": source(env).unwrap_or_else(|| json!({ "imds": { "cluster": MANAGED } })),
        // The waits of a case are those of the core.
        "deadline_ms": 600_000,
    });
    for (field, variable) in LIMITS {
        if let Some(number) = value(env, variable) {
            configuration[field] = json!(number.parse::<u64>().ok());
        }
    }
    if let Some(level) = value(env, LOG) {
        configuration["log_level"] = json!(level);
    }
    configuration
}

/// None if the environment selects several sources.
fn source(env: &BTreeMap<String, Text>) -> Option<Value> {
    let is_set = |names: &[&str]| names.iter().any(|name| value(env, name).is_some());
    let names_endpoint = is_set(&["IDENTITY_ENDPOINT", "IDENTITY_HEADER"]);
    let name = if names_endpoint { "app_service" } else { "imds" };
    let managed = json!({ name: { "cluster": MANAGED } });
    let app = json!({ "cluster": ENTRA });
    let workload = json!({ "cluster": ENTRA, "token_cluster": TOKEN });
    let federated = json!({ "cluster": ENTRA, "managed_identity": managed });
    let is_federated = is_set(&["TOKEN_BROKER_FEDERATED_CLIENT_ID", "TOKEN_BROKER_FEDERATED_TENANT_ID"]);
    let issuer = issuer(env);
    let has_issuer = issuer.is_some();
    let assertion = json!({ "cluster": ENTRA, "issuer": issuer });
    let found = [
        (has_issuer, json!({ "federated_assertion": assertion })),
        (is_federated, json!({ "federated_identity": federated })),
        (is_set(&["AZURE_CLIENT_SECRET"]), json!({ "client_secret": app })),
        (is_set(&["AZURE_FEDERATED_TOKEN_FILE"]), json!({ "workload_identity": workload })),
        (names_endpoint && !is_federated, managed.clone()),
    ];
    let mut found = found.into_iter().filter(|(is_set, _)| *is_set).map(|(_, source)| source);
    match (found.next(), found.next()) {
        (None, _) => Some(managed),
        (Some(source), None) => Some(source),
        (Some(_), Some(_)) => None,
    }
}

/// The issuer of the assertion, whose values come from the environment.
fn issuer(env: &BTreeMap<String, Text>) -> Option<Value> {
    let platform = value(env, "TOKEN_BROKER_ASSERTION")?.replace('-', "_");
    Some(json!({ platform: { "cluster": MANAGED } }))
}

/// True for a source of tokens of any app registration that trusts its assertion.
fn is_of_any_app(source: &Value) -> bool {
    ["workload_identity", "federated_assertion"].iter().any(|name| source.get(name).is_some())
}

/// The credential class of Azure's libraries that matches the source.
fn credential(source: &Value) -> &'static str {
    match source {
        _ if source.get("client_secret").is_some() => "EnvironmentCredential",
        _ if is_of_any_app(source) => "WorkloadIdentityCredential",
        _ => "ManagedIdentityCredential",
    }
}

pub(super) fn cannot_play(case: &Case) -> Option<&'static str> {
    let environments = || case.steps.iter().filter_map(|step| step.set_env.as_ref()).chain([&case.env]);
    let of_environment = || environments().find_map(of_environment);
    let keys: BTreeSet<_> = environments().filter_map(|env| value(env, "TOKEN_BROKER_STORE_KEY")).collect();
    let has_odd_keys = keys.len() > 1 || keys.iter().any(|key| key.len() != KEY_LENGTH);
    let of_keys = || has_odd_keys.then_some("keys of a store: the VMs of a proxy generate one");
    let all_files = case.steps.iter().filter_map(|step| step.set_files.as_ref()).chain([&case.files]);
    if all_files.into_iter().flat_map(BTreeMap::keys).any(|path| path.starts_with(ARC)) {
        return Some(REFUSED);
    }
    of_environment().or_else(of_keys).or_else(|| case.steps.iter().find_map(|step| of_step(step, &case.env)))
}

fn of_environment(env: &BTreeMap<String, Text>) -> Option<&'static str> {
    let is_set = |names: &[&str]| names.iter().any(|name| value(env, name).is_some());
    if is_set(&OTHER_SOURCES) || value(env, "TOKEN_BROKER_ASSERTION") == Some("variable") {
        return Some(REFUSED);
    }
    if is_set(&POLICY) {
        return Some(RULES);
    }
    if is_set(&["TOKEN_BROKER_VERIFIED_TOKEN_PROXY"]) {
        return Some("a verified token proxy: a field of the filter's configuration, tested there");
    }
    let is_number = |name: &&str| value(env, name).is_none_or(|text| matches!(text.parse(), Ok(1..=MAX_MS)));
    let is_level = value(env, LOG).is_none_or(|level| LEVELS.contains(&level));
    if !is_level || !LIMITS.iter().map(|(_, variable)| variable).all(is_number) {
        return Some("an invalid limit or level: fields of the filter's configuration, tested there");
    }
    if value(env, "AZURE_REGIONAL_AUTHORITY_NAME") == Some("TryAutoDetect") {
        return Some("a region that is to be detected: the filter refuses its configuration");
    }
    let Some(source) = source(env) else { return Some(SEVERAL) };
    if is_of_any_app(&source) && !is_set(&["AZURE_TENANT_ID"]) {
        return Some("an incomplete source: the filter refuses its configuration");
    }
    let chosen = value(env, CREDENTIALS);
    chosen
        .is_some_and(|name| name != credential(&source))
        .then_some("a choice among sources: the filter has one")
}

fn of_step(step: &Step, env: &BTreeMap<String, Text>) -> Option<&'static str> {
    if step.forget.is_some() {
        return Some("a forgotten token: no service tells the filter that it refused one");
    }
    if step.store_condition == Some(StoreCondition::Hanging) {
        return Some("a store that does not answer: the shared data of VMs always does");
    }
    if step.store_condition == Some(StoreCondition::Denied) {
        return Some("a store that denies access: the shared data of VMs never does");
    }
    let faults: Vec<_> = step.http.iter().filter_map(|exchange| exchange.reply.fault).collect();
    if faults.contains(&Fault::Untrusted) {
        return Some("an untrusted certificate: Envoy does not report it");
    }
    if step.then.iter().flatten().any(|then| then.error == Some(ErrorKind::Denied)) {
        return Some(RULES);
    }
    let source = source(env).unwrap_or_default();
    let federated = source.get("federated_identity").and_then(|federated| federated.get("managed_identity"));
    let is_gcp = value(env, "TOKEN_BROKER_ASSERTION") == Some("gcp");
    let is_imds = is_gcp || federated.unwrap_or(&source).get("imds").is_some();
    let is_absent = faults.iter().any(|fault| matches!(fault, Fault::Refused | Fault::BlackHole));
    if is_imds && is_absent && value(env, CREDENTIALS).is_none() {
        return Some("an IMDS that may be absent: the filter's configuration says that it is there");
    }
    step.ask.as_ref().and_then(|ask| of_ask(ask, &source, env))
}

fn of_ask(ask: &Ask, source: &Value, env: &BTreeMap<String, Text>) -> Option<&'static str> {
    if ask.claims.is_some() || ask.enable_cae || ask.user_assertion.is_some() {
        return Some("claims or a user assertion: a rule has none");
    }
    if ask.scopes.len() != 1 {
        return Some("no scope or several: a rule has one");
    }
    let is_managed = ["imds", "app_service"].iter().any(|name| source.get(name).is_some());
    if is_managed && ask.tenant_id.is_some() {
        return Some("a tenant of a managed identity: the filter refuses its configuration");
    }
    let is_of_app = match &ask.identity {
        Identity::Default => !is_of_any_app(source) || value(env, "AZURE_CLIENT_ID").is_some(),
        Identity::ClientId(_) => is_of_any_app(source),
        Identity::SystemAssigned | Identity::ObjectId(_) | Identity::ResourceId(_) => false,
    };
    (!is_managed && !is_of_app).then_some(SEVERAL)
}

pub(super) fn value<'a>(env: &'a BTreeMap<String, Text>, name: &str) -> Option<&'a str> {
    env.get(name).map(|Text(value)| value.as_str()).filter(|value| !value.is_empty())
}

/// The clusters of the proxy.
pub(super) const MANAGED: &str = "managed-identity";
pub(super) const ENTRA: &str = "entra";
pub(super) const TOKEN: &str = "token";

const REFUSED: &str = "a source that the filter does not support";
const RULES: &str = "a policy: the filter's rules replace it";
const ARC: &str = "/opt/azcmagent/";
const SEVERAL: &str = "several sources: the filter has one";
const OTHER_SOURCES: [&str; 6] = [
    "MSI_ENDPOINT",
    "MSI_SECRET",
    "IDENTITY_SERVER_THUMBPRINT",
    "IMDS_ENDPOINT",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
];
const POLICY: [&str; 4] = [
    "TOKEN_BROKER_ALLOWED_SCOPES",
    "TOKEN_BROKER_ALLOWED_IDENTITIES",
    "AZURE_ADDITIONALLY_ALLOWED_TENANTS",
    "AZURE_IDENTITY_DISABLE_MULTITENANTAUTH",
];
const LIMITS: [(&str, &str); 2] =
    [("timeout_ms", "TOKEN_BROKER_TIMEOUT_MS"), ("budget_ms", "TOKEN_BROKER_BUDGET_MS")];
const MAX_MS: u64 = 600_000;
const LOG: &str = "TOKEN_BROKER_LOG";
const LEVELS: [&str; 5] = ["off", "error", "warn", "info", "debug"];
const CREDENTIALS: &str = "AZURE_TOKEN_CREDENTIALS";
/// 32 bytes in base64.
const KEY_LENGTH: usize = 44;
