//! The identity source of a plugin.
//!
//! A value that the configuration leaves out is looked up in the environment under Azure's name, if the proxy passes it on
//! (`environment_variables` of the VM's configuration). Secrets come from the environment alone: Envoy's admin interface
//! shows the configuration.

use http::Uri;
use token_broker::{Error, Failure, Identity, Settings, VARIABLES};

use super::fields::{ConfigError, FieldValue, Fields};
use crate::clusters::Clusters;

/// The one identity source of a plugin.
#[derive(Default)]
pub(crate) struct SourceConfig {
    /// The core's names of its parts. Each must be ready.
    pub(crate) names: Vec<&'static str>,
    pub(crate) settings: Settings,
    pub(crate) clusters: Clusters,
    pub(crate) fields: FieldNames,
}

/// The variables of the core that were set, and the fields that set them.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldNames(Vec<(&'static str, String)>);

impl FieldNames {
    /// A text of the core, with the names of fields in the place of the variables that they set.
    pub(crate) fn in_place_of_variables(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (variable, field)| text.replace(variable, field))
    }
}

impl SourceConfig {
    /// Reads the field `source`. `environment` is the fallback for values that it leaves out.
    ///
    /// # Errors
    /// The field that cannot be used, and why.
    pub(super) fn read(value: FieldValue, environment: Vec<(String, String)>) -> Result<Self, ConfigError> {
        let (kind, value) = value.fields()?.only(SOURCES)?;
        let mut source = Self::default();
        // Unknown names alone: the core refuses a misspelled variable of the broker, which would have no effect.
        for (name, value) in &environment {
            if VARIABLES.iter().all(|variable| variable.name != name) {
                source.settings.set(name, value.clone());
            }
        }
        SourceReader { environment, source }.read(&kind, value)
    }

    /// An error for the operator of the proxy: with the names of fields, and without the sources that the plugin does not use.
    pub(crate) fn translated(&self, error: &Error) -> Error {
        let text = |text: &String| self.fields.in_place_of_variables(text);
        let failure = |failure: &Failure| Failure {
            message: text(&failure.message),
            remedy: failure.remedy.as_ref().map(text),
            ..failure.clone()
        };
        let is_own = |failure: &&Failure| self.names.contains(&&*failure.source);
        match error {
            Error::InvalidRequest(why) => Error::InvalidRequest(text(why)),
            Error::Misconfigured(why) => Error::Misconfigured(text(why)),
            Error::Denied(why) => Error::Denied(text(why)),
            Error::Unavailable(all) => Error::Unavailable(all.iter().filter(is_own).map(failure).collect()),
            Error::Rejected(why) => Error::Rejected(failure(why)),
            Error::Throttled(why) => Error::Throttled(failure(why)),
            Error::Transient(why) => Error::Transient(failure(why)),
            Error::Protocol(why) => Error::Protocol(failure(why)),
            Error::Other(why) => Error::Other(text(why)),
        }
    }

    /// True for a source of tokens of managed identities.
    pub(super) fn is_of_managed_identity(&self) -> bool {
        self.names.iter().all(|name| [IMDS, APP_SERVICE].contains(name))
    }

    /// True for a source of tokens of any app registration that trusts its assertion.
    pub(super) fn is_of_any_app(&self) -> bool {
        self.names == [WORKLOAD_IDENTITY]
    }

    /// True if requests that name no identity have one.
    pub(super) fn has_default(&self) -> bool {
        self.is_of_managed_identity() || !self.is_of_any_app() || self.settings.is_set(CLIENT_ID)
    }

    /// Makes the identity of a rule the default where the source has none, so that the core reports the source as ready. No
    /// request uses this default: each rule then names its own identity.
    pub(super) fn default_to(&mut self, identity: &Identity) {
        if let Some(id) = identity.id().filter(|_| !self.has_default()) {
            self.settings.set(CLIENT_ID, id.as_str().to_owned());
        }
    }

    /// Allows the tenants of rules.
    pub(super) fn allow_tenants(&mut self, tenants: &[String]) {
        self.settings.set(ADDITIONAL_TENANTS, tenants.join(";"));
    }
}

/// A source while it is read.
struct SourceReader {
    environment: Vec<(String, String)>,
    source: SourceConfig,
}

impl SourceReader {
    fn read(mut self, kind: &str, value: FieldValue) -> Result<SourceConfig, ConfigError> {
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

    fn managed_identity(&mut self, kind: &str, value: FieldValue) -> Result<(), ConfigError> {
        let (path, mut fields) = (value.path.clone(), value.fields()?);
        let cluster = fields.text("cluster")?;
        let (name, variable) = match kind {
            "imds" => (IMDS, IMDS_HOST),
            "app_service" => (APP_SERVICE, IDENTITY_ENDPOINT),
            other => return Err(format!("{path} {}", impossible(other))),
        };
        let endpoint = self.value(&mut fields, "endpoint", variable)?;
        let endpoint = endpoint.unwrap_or_else(|| DEFAULT_IMDS.to_owned());
        let url = endpoint.parse::<Uri>().map_err(|_| {
            self.source.fields.in_place_of_variables(&format!("{path}: {variable} is not a URL"))
        })?;
        if name == APP_SERVICE {
            self.inherit(IDENTITY_HEADER);
        }
        self.inherit(CLIENT_ID);
        self.inherit(ALLOWED_ENDPOINT);
        self.source.clusters.managed_identity = Some((url, cluster));
        self.source.names.push(name);
        fields.end()
    }

    fn workload_identity(&mut self, value: FieldValue) -> Result<(), ConfigError> {
        let mut fields = value.fields()?;
        let token = fields.text("token_cluster")?;
        self.select("WorkloadIdentityCredential");
        self.app(&mut fields, (TENANT_ID, CLIENT_ID))?;
        if !self.source.settings.is_set(TENANT_ID) {
            return Err(format!("{} is missing, and so is {TENANT_ID}", fields.path_of("tenant_id")));
        }
        // The cluster serves this one file, so its name can be any.
        self.source.settings.set(TOKEN_FILE, token.clone());
        self.source.fields.0.push((TOKEN_FILE, fields.path_of("token_cluster")));
        self.source.clusters.token_file = Some((token.clone(), token));
        self.source.names.push(WORKLOAD_IDENTITY);
        fields.end()
    }

    fn client_secret(&mut self, value: FieldValue) -> Result<(), ConfigError> {
        let mut fields = value.fields()?;
        self.select("EnvironmentCredential");
        self.app(&mut fields, (TENANT_ID, CLIENT_ID))?;
        self.inherit(CLIENT_SECRET);
        self.source.names.push("client-secret");
        fields.end()
    }

    fn federated_identity(&mut self, value: FieldValue) -> Result<(), ConfigError> {
        let mut fields = value.fields()?;
        self.select("ManagedIdentityCredential");
        self.app(&mut fields, (FEDERATED_TENANT_ID, FEDERATED_CLIENT_ID))?;
        let (kind, managed) = fields.required("managed_identity")?.fields()?.only("imds, app_service")?;
        self.managed_identity(&kind, managed)?;
        self.source.names.push("federated-identity");
        fields.end()
    }

    /// Reads the fields that all app registrations have.
    fn app(
        &mut self,
        fields: &mut Fields,
        (tenant, client): (&'static str, &'static str),
    ) -> Result<(), ConfigError> {
        self.source.clusters.entra = Some(fields.text("cluster")?);
        self.value(fields, "tenant_id", tenant)?;
        self.value(fields, "client_id", client)?;
        self.value(fields, "authority", AUTHORITY_HOST)?;
        self.value(fields, "region", REGION)?;
        // The core refuses these, and tells why.
        KUBERNETES_PROXY.into_iter().for_each(|variable| self.inherit(variable));
        Ok(())
    }

    /// Leaves all other sources out.
    fn select(&mut self, credential: &str) {
        self.source.settings.set(CREDENTIALS, credential.to_owned());
    }

    /// Sets a variable from its field, else from the environment; its value.
    fn value(
        &mut self,
        fields: &mut Fields,
        field: &str,
        variable: &'static str,
    ) -> Result<Option<String>, ConfigError> {
        let Some(at) = fields.optional(field) else {
            self.inherit(variable);
            return Ok(self.of_environment(variable));
        };
        let text = at.text()?;
        self.source.fields.0.push((variable, fields.path_of(field)));
        self.source.settings.set(variable, text.clone());
        Ok(Some(text))
    }

    /// Sets a variable from the environment.
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

/// The reason why there is no source of that name, as the end of a sentence.
fn impossible(kind: &str) -> String {
    let why = match kind {
        "azure_arc" => {
            "cannot work in a proxy: Arc's agent asks for the content of a file that it names anew each time; fix: run \
             `token-broker serve` on the machine, and configure that as `imds`"
        }
        "client_certificate" => {
            "cannot work in a proxy, where no key file can be read; fix: use `workload_identity` or `client_secret`"
        }
        "service_fabric" => {
            "cannot work in a proxy, which does not know the endpoint by its SHA-1 thumbprint"
        }
        "azure_ml" | "cloud_shell" => "is not for proxies; fix: use the identity of the machine or the pod",
        _ => return format!("is not a source; there are {SOURCES}"),
    };
    why.to_owned()
}

const SOURCES: &str = "imds, app_service, workload_identity, client_secret, federated_identity";
const IMDS: &str = "imds";
const APP_SERVICE: &str = "app-service";
const WORKLOAD_IDENTITY: &str = "workload-identity";
const DEFAULT_IMDS: &str = "http://169.254.169.254";

const CREDENTIALS: &str = "AZURE_TOKEN_CREDENTIALS";
const IMDS_HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";
const ALLOWED_ENDPOINT: &str = "TOKEN_BROKER_ALLOWED_ENDPOINT";
const IDENTITY_HEADER: &str = "IDENTITY_HEADER";
const TENANT_ID: &str = "AZURE_TENANT_ID";
const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
const REGION: &str = "AZURE_REGIONAL_AUTHORITY_NAME";
const KUBERNETES_PROXY: [&str; 4] = [
    "AZURE_KUBERNETES_TOKEN_PROXY",
    "AZURE_KUBERNETES_SNI_NAME",
    "AZURE_KUBERNETES_CA_FILE",
    "AZURE_KUBERNETES_CA_DATA",
];
const ADDITIONAL_TENANTS: &str = "AZURE_ADDITIONALLY_ALLOWED_TENANTS";
const FEDERATED_TENANT_ID: &str = "TOKEN_BROKER_FEDERATED_TENANT_ID";
const FEDERATED_CLIENT_ID: &str = "TOKEN_BROKER_FEDERATED_CLIENT_ID";

#[cfg(test)]
pub(super) const VARIABLES_SET: [&str; 19] = [
    ALLOWED_ENDPOINT,
    REGION,
    KUBERNETES_PROXY[0],
    KUBERNETES_PROXY[1],
    KUBERNETES_PROXY[2],
    KUBERNETES_PROXY[3],
    CREDENTIALS,
    IMDS_HOST,
    IDENTITY_ENDPOINT,
    IDENTITY_HEADER,
    TENANT_ID,
    CLIENT_ID,
    CLIENT_SECRET,
    TOKEN_FILE,
    AUTHORITY_HOST,
    ADDITIONAL_TENANTS,
    FEDERATED_TENANT_ID,
    FEDERATED_CLIENT_ID,
    "TOKEN_BROKER_STORE_KEY",
];
