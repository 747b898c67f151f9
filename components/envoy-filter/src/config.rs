//! The plugin's configuration: JSON, read once, with the field named in every refusal. `config.schema.json` describes it.
//!
//! What a platform puts into the environment may be left to it: a value that is not given is looked up there under
//! Azure's name, if the proxy passes it on (`environment_variables` of the VM's configuration). Secrets come from there
//! alone, since Envoy shows its configuration to whoever may ask its admin interface.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use token_broker::{Error, Failure, Identity, RawRequest, Settings, TokenRequest};

use crate::clusters::Clusters;
use crate::fields::{At, Fields, Wrong};
use crate::rules::{HeaderForm, Matches, Pattern, Rule};

/// What a plugin does.
pub(crate) struct Config {
    pub(crate) source: Source,
    pub(crate) rules: Vec<Rule>,
    pub(crate) manners: Manners,
}

/// What becomes of requests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Manners {
    /// Whether requests that no rule is for pass.
    pub(crate) passes_unmatched: bool,
    /// Whether requests for which there is no token go on without.
    pub(crate) forwards_failed: bool,
    /// Whether a header that is there already stays.
    pub(crate) keeps_header: bool,
    /// How long a request waits for its token.
    pub(crate) deadline: Duration,
}

/// The one identity source of a plugin.
#[derive(Default)]
pub(crate) struct Source {
    /// What the core calls its parts. Each must be ready.
    pub(crate) names: Vec<&'static str>,
    pub(crate) settings: Settings,
    pub(crate) clusters: Clusters,
    /// The fields that variables of the core were read from.
    fields: Vec<(&'static str, String)>,
}

impl Config {
    /// # Errors
    /// The field that cannot be used, and why.
    pub(crate) fn parse(json: &[u8], environment: Vec<(String, String)>) -> Result<Self, Wrong> {
        if json.is_empty() {
            return Err("the configuration is empty".to_owned());
        }
        if json.len() > MAX_BYTES {
            return Err(format!("the configuration has {} bytes; {MAX_BYTES} are allowed", json.len()));
        }
        let mut fields = Fields::parse(json)?;
        let (kind, value) = fields.required("source")?.fields()?.only(SOURCES)?;
        let mut source = Reader { environment, source: Source::default() }.read(&kind, value)?;
        for (field, variable) in LIMITS {
            if let Some(ms) = fields.optional(field).map(At::milliseconds).transpose()? {
                source.settings.set(variable, ms.to_string());
            }
        }
        if let Some(level) = fields.optional("log_level") {
            source.settings.set(LOG, level.one_of(LEVELS)?.to_owned());
        }
        let identity = fields.optional("identity").map(|at| identity(at, &source)).transpose()?;
        let rules = fields.required("rules")?;
        let config = Self {
            rules: read_rules(rules, identity.as_ref(), &mut source)?,
            manners: Manners::take(&mut fields)?,
            source,
        };
        fields.end()?;
        Ok(config)
    }
}

impl Manners {
    fn take(fields: &mut Fields) -> Result<Self, Wrong> {
        let mut choice =
            |name: &str, words| fields.optional(name).map_or(Ok(None), |at| at.one_of(words).map(Some));
        Ok(Self {
            passes_unmatched: choice("unmatched", [("pass", true), ("refuse", false)])?.unwrap_or(true),
            forwards_failed: choice("on_failure", [("refuse", false), ("forward", true)])?.unwrap_or(false),
            keeps_header: choice("existing_header", [("replace", false), ("keep", true)])?.unwrap_or(false),
            deadline: Duration::from_millis(
                fields.optional("deadline_ms").map_or(Ok(DEADLINE_MS), At::milliseconds)?,
            ),
        })
    }
}

impl Source {
    /// A refusal of the core, with fields in the place of the variables that they were.
    pub(crate) fn in_words_of_fields(&self, refusal: &str) -> String {
        let replaced = |text: String, (variable, field): &(&str, String)| text.replace(variable, field);
        self.fields.iter().fold(refusal.to_owned(), replaced)
    }

    /// An error as the operator of a proxy reads it: without the sources that this plugin has not.
    pub(crate) fn told(&self, error: &Error) -> String {
        let own = |failures: &[Failure]| {
            failures.iter().filter(|failure| self.names.contains(&&*failure.source)).cloned().collect()
        };
        match error {
            Error::Unavailable(failures) => {
                self.in_words_of_fields(&Error::Unavailable(own(failures)).to_string())
            }
            other => self.in_words_of_fields(&other.to_string()),
        }
    }

    fn is_of_managed_identity(&self) -> bool {
        self.clusters.entra.is_none()
    }

    fn is_of_any_app(&self) -> bool {
        self.names == [WORKLOAD_IDENTITY]
    }
}

/// What a source is made of while it is read.
struct Reader {
    environment: Vec<(String, String)>,
    source: Source,
}

impl Reader {
    fn read(mut self, kind: &str, value: At) -> Result<Source, Wrong> {
        let path = value.path.clone();
        match kind {
            "imds" | "app_service" => {
                self.select("ManagedIdentityCredential");
                self.managed_identity(kind, value)?;
            }
            "workload_identity" => self.workload_identity(value)?,
            "client_secret" => self.client_secret(value)?,
            "federated_identity" => self.federated_identity(value)?,
            other => return Err(format!("{path} {}", impossible(other))),
        }
        Ok(self.source)
    }

    fn managed_identity(&mut self, kind: &str, value: At) -> Result<(), Wrong> {
        let (path, mut fields) = (value.path.clone(), value.fields()?);
        let cluster = fields.text("cluster")?;
        let (name, variable) = match kind {
            "imds" => (IMDS, IMDS_HOST),
            "app_service" => (APP_SERVICE, IDENTITY_ENDPOINT),
            other => return Err(format!("{path} {}", impossible(other))),
        };
        let endpoint = self.value(&mut fields, "endpoint", variable)?;
        let endpoint = endpoint.unwrap_or_else(|| DEFAULT_IMDS.to_owned());
        let url = endpoint.parse::<Uri>().map_err(|_| format!("{path}.endpoint is not a URL"))?;
        if name == APP_SERVICE {
            self.inherit(IDENTITY_HEADER);
        }
        self.inherit(CLIENT_ID);
        self.source.fields.push((CLIENT_ID, "identity".to_owned()));
        self.source.clusters.managed_identity = Some((url, cluster));
        self.source.names.push(name);
        fields.end()
    }

    fn workload_identity(&mut self, value: At) -> Result<(), Wrong> {
        let mut fields = value.fields()?;
        let token = fields.text("token_cluster")?;
        self.select("WorkloadIdentityCredential");
        self.app(&mut fields, (TENANT_ID, CLIENT_ID))?;
        // The cluster serves one file, whatever its name is.
        self.source.settings.set(TOKEN_FILE, token.clone());
        self.source.fields.push((TOKEN_FILE, fields.path_of("token_cluster")));
        self.source.clusters.token_file = Some((token.clone(), token));
        self.source.names.push(WORKLOAD_IDENTITY);
        fields.end()
    }

    fn client_secret(&mut self, value: At) -> Result<(), Wrong> {
        let mut fields = value.fields()?;
        self.select("EnvironmentCredential");
        self.app(&mut fields, (TENANT_ID, CLIENT_ID))?;
        self.inherit(CLIENT_SECRET);
        self.source.names.push("client-secret");
        fields.end()
    }

    fn federated_identity(&mut self, value: At) -> Result<(), Wrong> {
        let mut fields = value.fields()?;
        self.select("ManagedIdentityCredential");
        self.app(&mut fields, (FEDERATED_TENANT_ID, FEDERATED_CLIENT_ID))?;
        let (kind, managed) = fields.required("managed_identity")?.fields()?.only("imds, app_service")?;
        self.managed_identity(&kind, managed)?;
        self.source.names.push("federated-identity");
        fields.end()
    }

    /// What every app registration has.
    fn app(
        &mut self,
        fields: &mut Fields,
        (tenant, client): (&'static str, &'static str),
    ) -> Result<(), Wrong> {
        self.source.clusters.entra = Some(fields.text("cluster")?);
        self.value(fields, "tenant_id", tenant)?;
        self.value(fields, "client_id", client)?;
        self.value(fields, "authority", AUTHORITY_HOST)?;
        Ok(())
    }

    /// Leave all other sources out.
    fn select(&mut self, credential: &str) {
        self.source.settings.set(CREDENTIALS, credential.to_owned());
    }

    /// The value of a variable, from its field or else from the environment.
    fn value(
        &mut self,
        fields: &mut Fields,
        field: &str,
        variable: &'static str,
    ) -> Result<Option<String>, Wrong> {
        let Some(at) = fields.optional(field) else {
            self.inherit(variable);
            return Ok(self.of_environment(variable));
        };
        let text = at.text()?;
        self.source.fields.push((variable, fields.path_of(field)));
        self.source.settings.set(variable, text.clone());
        Ok(Some(text))
    }

    fn inherit(&mut self, variable: &str) {
        if let Some(value) = self.of_environment(variable) {
            self.source.settings.set(variable, value);
        }
    }

    fn of_environment(&self, variable: &str) -> Option<String> {
        let found = self.environment.iter().find(|(name, value)| name == variable && !value.is_empty());
        found.map(|(_, value)| value.clone())
    }
}

/// Why there is no source of that name.
fn impossible(kind: &str) -> String {
    let why = match kind {
        "azure_arc" => {
            "cannot work in a proxy: Arc's agent insists on the content of a file that it names anew each time; run \
             `token-broker serve` on the machine, and configure that as `imds`"
        }
        "client_certificate" => {
            "cannot work in a proxy, where no key file can be read: use `workload_identity` or `client_secret`"
        }
        "service_fabric" => {
            "cannot work in a proxy, which does not know the endpoint by its SHA-1 thumbprint"
        }
        "azure_ml" | "cloud_shell" => "is not for proxies: use the identity of the machine or the pod",
        _ => return format!("is not a source that is known here; there are {SOURCES}"),
    };
    why.to_owned()
}

fn read_rules(at: At, default: Option<&Identity>, source: &mut Source) -> Result<Vec<Rule>, Wrong> {
    let path = at.path.clone();
    let (mut rules, mut tenants) = (Vec::<Rule>::new(), Vec::new());
    for (nth, at) in (1..).zip(at.list()?) {
        let path = at.path.clone();
        let rule = rule(at.fields()?, nth, default, source, &mut tenants)?;
        if rules.iter().any(|other| other.name == rule.name) {
            return Err(format!("{path}.name is that of another rule"));
        }
        rules.push(rule);
    }
    if rules.is_empty() || rules.len() > MAX_RULES {
        return Err(format!("{path} must have 1 to {MAX_RULES} rules"));
    }
    source.settings.set(ADDITIONAL_TENANTS, tenants.join(";"));
    Ok(rules)
}

fn rule(
    mut fields: Fields,
    nth: usize,
    default: Option<&Identity>,
    source: &Source,
    tenants: &mut Vec<String>,
) -> Result<Rule, Wrong> {
    let name = fields.optional("name").map_or_else(|| Ok(nth.to_string()), name)?;
    let matches = Matches {
        authority: pattern(&mut fields, "authority", Pattern::of_authority)?,
        route: pattern(&mut fields, "route", Pattern::of_name)?,
        cluster: pattern(&mut fields, "cluster", Pattern::of_name)?,
    };
    let own = fields.optional("identity").map(|at| identity(at, source)).transpose()?;
    let tenant_id = match fields.optional("tenant_id") {
        Some(at) if source.is_of_managed_identity() => {
            return Err(format!("{} cannot be chosen: a managed identity has one tenant", at.path));
        }
        tenant => tenant.map(At::text).transpose()?,
    };
    tenants.extend(tenant_id.clone());
    let header = fields.optional("header").map_or_else(|| Ok(HeaderForm::bearer()), header)?;
    let path = fields.path_of("scope");
    let request = TokenRequest::parse(RawRequest {
        scopes: vec![fields.text("scope")?],
        identity: own.or_else(|| default.cloned()).unwrap_or_default(),
        tenant_id,
        ..RawRequest::default()
    });
    fields.end()?;
    let request = request.map_err(|error| format!("{path}: {error}"))?;
    Ok(Rule::new(name, matches, request, header))
}

/// Part of the names of metrics.
fn name(at: At) -> Result<String, Wrong> {
    let (path, text) = (at.path.clone(), at.text()?);
    let is_name =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if text.len() <= MAX_NAME && text.bytes().all(is_name) {
        return Ok(text);
    }
    Err(format!("{path} must have 1 to {MAX_NAME} small letters, digits, `_` and `-`"))
}

fn pattern(
    fields: &mut Fields,
    field: &str,
    read: fn(&str) -> Result<Pattern, &'static str>,
) -> Result<Option<Pattern>, Wrong> {
    let Some(at) = fields.optional(field) else { return Ok(None) };
    let (path, text) = (at.path.clone(), at.text()?);
    read(&text).map(Some).map_err(|why| format!("{path} {why}"))
}

fn header(at: At) -> Result<HeaderForm, Wrong> {
    let mut fields = at.fields()?;
    let (path, name) = (fields.path_of("name"), fields.text("name")?);
    let parsed = HeaderName::try_from(&name).map_err(|_| format!("{path} is not the name of a header"))?;
    if FRAMING.contains(&parsed.as_str()) {
        return Err(format!("{path} is a header that says where a message goes or ends"));
    }
    let path = fields.path_of("prefix");
    let prefix = fields.optional("prefix").map_or_else(|| Ok(String::new()), At::text)?;
    if HeaderValue::try_from(&prefix).is_err() {
        return Err(format!("{path} has a character that no header can carry"));
    }
    fields.end()?;
    Ok(HeaderForm { name: parsed.as_str().to_owned(), prefix })
}

/// An identity that the source can have.
fn identity(at: At, source: &Source) -> Result<Identity, Wrong> {
    let path = at.path.clone();
    let refuse = |why: &str| Err(format!("{path} cannot be chosen: {why}"));
    if at.is_text() {
        at.one_of([("system_assigned", ())])?;
        return match source.is_of_managed_identity() {
            true => Ok(Identity::SystemAssigned),
            false => refuse("the source is an app registration"),
        };
    }
    let (kind, at) =
        at.fields()?.only("client_id, object_id, resource_id; or be the text `system_assigned`")?;
    let (path_of_id, id) = (at.path.clone(), at.text()?);
    let identity = match &*kind {
        "client_id" if source.is_of_managed_identity() || source.is_of_any_app() => Identity::client_id(&id),
        "object_id" if source.is_of_managed_identity() => Identity::object_id(&id),
        "resource_id" if source.is_of_managed_identity() => Identity::resource_id(&id),
        "object_id" | "resource_id" if source.is_of_any_app() => {
            return refuse("an app registration is known by its client_id");
        }
        "client_id" | "object_id" | "resource_id" => {
            return refuse("the source is the app registration that it names, and no other");
        }
        _ => return Err(format!("{path_of_id} is none of client_id, object_id, resource_id")),
    };
    identity.map_err(|error| format!("{path_of_id}: {error}"))
}

const SOURCES: &str = "imds, app_service, workload_identity, client_secret, federated_identity";
const IMDS: &str = "imds";
const APP_SERVICE: &str = "app-service";
const WORKLOAD_IDENTITY: &str = "workload-identity";
const DEFAULT_IMDS: &str = "http://169.254.169.254";

const LIMITS: [(&str, &str); 2] =
    [("timeout_ms", "TOKEN_BROKER_TIMEOUT_MS"), ("budget_ms", "TOKEN_BROKER_BUDGET_MS")];
const LEVELS: [(&str, &str); 5] =
    [("off", "off"), ("error", "error"), ("warn", "warn"), ("info", "info"), ("debug", "debug")];

const LOG: &str = "TOKEN_BROKER_LOG";
const CREDENTIALS: &str = "AZURE_TOKEN_CREDENTIALS";
const IMDS_HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";
const IDENTITY_HEADER: &str = "IDENTITY_HEADER";
const TENANT_ID: &str = "AZURE_TENANT_ID";
const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
const ADDITIONAL_TENANTS: &str = "AZURE_ADDITIONALLY_ALLOWED_TENANTS";
const FEDERATED_TENANT_ID: &str = "TOKEN_BROKER_FEDERATED_TENANT_ID";
const FEDERATED_CLIENT_ID: &str = "TOKEN_BROKER_FEDERATED_CLIENT_ID";

/// Headers by which a request is routed and cut.
const FRAMING: [&str; 8] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive"];

/// Less than Envoy's own limit for a whole request.
const DEADLINE_MS: u64 = 10_000;
const MAX_BYTES: usize = 256 * 1024;
const MAX_RULES: usize = 256;
const MAX_NAME: usize = 64;
