//! The identity source of a plugin.
//!
//! A value that the configuration leaves out is looked up in the environment under Azure's name, if the proxy passes it on
//! (`environment_variables` of the VM's configuration). Secrets come from the environment alone: Envoy's admin interface
//! shows the configuration.

use http::Uri;
use token_broker::source_names::{
    APP_SERVICE, ASSERTION_ISSUER, CLIENT_SECRET as CLIENT_SECRET_SOURCE, FEDERATED_ASSERTION,
    FEDERATED_IDENTITY, IMDS, WORKLOAD_IDENTITY,
};
use token_broker::variables::{
    ADDITIONAL_TENANTS, ALLOWED_ENDPOINT, ASSERTION, ASSERTION_AUDIENCE, ASSERTION_FIELD, ASSERTION_HEADERS,
    ASSERTION_METHOD, ASSERTION_URL, AUTHORITY_HOST, CLIENT_ID, CLIENT_SECRET, FEDERATED_CLIENT_ID,
    FEDERATED_TENANT_ID, FEDERATED_TOKEN_FILE, GCP_HOST, GCP_NAME, GITHUB_TOKEN, GITHUB_URL,
    IDENTITY_ENDPOINT, IDENTITY_HEADER, KUBERNETES_CA_DATA, KUBERNETES_CA_FILE, KUBERNETES_SNI_NAME,
    KUBERNETES_TOKEN_PROXY, PIPELINES_CONNECTION, PIPELINES_TOKEN, PIPELINES_URL, POD_IDENTITY_HOST,
    REGIONAL_AUTHORITY, TENANT_ID, TOKEN_CREDENTIALS, VERIFIED_TOKEN_PROXY,
};
use token_broker::{Credential, Error, IMDS_URL, Identity, Settings, VARIABLES};

use super::fields::{ConfigError, FieldValue, Fields, mistake};
use crate::clusters::Clusters;

/// The one identity source of a plugin.
#[derive(Default)]
pub(crate) struct SourceConfig {
    /// The core's names of its parts. Each must be ready.
    pub(crate) names: Vec<&'static str>,
    pub(crate) settings: Settings,
    pub(crate) clusters: Clusters,
}

impl SourceConfig {
    /// Reads the field `source`. `environment` is the fallback for values that it leaves out.
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

    /// An error without the failures of the sources that the plugin does not use.
    pub(crate) fn own(&self, error: Error) -> Error {
        match error {
            Error::Unavailable(mut failures) => {
                failures.retain(|failure| self.names.contains(&&*failure.source));
                Error::Unavailable(failures)
            }
            other => other,
        }
    }

    /// True for a source of tokens of managed identities.
    pub(super) fn is_of_managed_identity(&self) -> bool {
        self.names.iter().all(|name| [IMDS, APP_SERVICE].contains(name))
    }

    /// True for a source of tokens of any app registration that trusts its assertion.
    pub(super) fn is_of_any_app(&self) -> bool {
        self.names
            .iter()
            .all(|name| [WORKLOAD_IDENTITY, FEDERATED_ASSERTION, ASSERTION_ISSUER].contains(name))
    }

    /// True if requests that name no identity have one.
    pub(super) fn has_default(&self) -> bool {
        self.is_of_managed_identity() || !self.is_of_any_app() || self.settings.is_set(CLIENT_ID)
    }

    /// Makes the identity of a rule the default where the source has none, so that the core reports the source as ready. No
    /// request uses this default: each rule then names its own identity.
    pub(super) fn default_to(&mut self, identity: &Identity) {
        if let Some(id) = identity.id().filter(|_| !self.has_default()) {
            self.settings.set_from("rules[0].identity", CLIENT_ID, id.as_str().to_owned());
        }
    }

    pub(super) fn allow_tenants(&mut self, tenants: &[String]) {
        self.settings.set_from("rules[].tenant_id", ADDITIONAL_TENANTS, tenants.join(";"));
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
                self.select(Credential::ManagedIdentity);
                self.managed_identity(kind, value)?;
            }
            "workload_identity" => self.workload_identity(value)?,
            "federated_assertion" => self.federated_assertion(value)?,
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
            "imds" => (IMDS, POD_IDENTITY_HOST),
            "app_service" => (APP_SERVICE, IDENTITY_ENDPOINT),
            other => return Err(format!("{path} {}", impossible(other))),
        };
        self.value(&mut fields, "endpoint", variable)?;
        // The core refuses what is not a URL.
        let endpoint = self.source.settings.get(variable).unwrap_or(IMDS_URL).parse();
        if name == APP_SERVICE {
            self.inherit(IDENTITY_HEADER);
        }
        self.inherit(CLIENT_ID);
        self.inherit(ALLOWED_ENDPOINT);
        self.source.clusters.endpoint = Some((endpoint.unwrap_or_default(), cluster));
        self.source.names.push(name);
        fields.end()
    }

    fn workload_identity(&mut self, value: FieldValue) -> Result<(), ConfigError> {
        let mut fields = value.fields()?;
        let token = fields.text("token_cluster")?;
        self.select(Credential::WorkloadIdentity);
        self.app(&mut fields, (TENANT_ID, CLIENT_ID))?;
        if !self.source.settings.is_set(TENANT_ID) {
            return Err(mistake(
                format_args!("{} is missing, and so is {TENANT_ID}", fields.path_of("tenant_id")),
                "set one of them",
            ));
        }
        // The cluster serves this one file, so its name can be any.
        let place = fields.path_of("token_cluster");
        self.source.settings.set_from(&place, FEDERATED_TOKEN_FILE, token.clone());
        self.source.clusters.token_file = Some((token.clone(), token));
        self.token_proxy(&mut fields)?;
        self.source.names.push(WORKLOAD_IDENTITY);
        fields.end()
    }

    fn client_secret(&mut self, value: FieldValue) -> Result<(), ConfigError> {
        let mut fields = value.fields()?;
        self.select(Credential::Environment);
        self.app(&mut fields, (TENANT_ID, CLIENT_ID))?;
        self.inherit(CLIENT_SECRET);
        self.source.names.push(CLIENT_SECRET_SOURCE);
        fields.end()
    }

    fn federated_identity(&mut self, value: FieldValue) -> Result<(), ConfigError> {
        let mut fields = value.fields()?;
        self.select(Credential::ManagedIdentity);
        self.app(&mut fields, (FEDERATED_TENANT_ID, FEDERATED_CLIENT_ID))?;
        let (kind, managed) = fields.required("managed_identity")?.fields()?.only("imds, app_service")?;
        self.managed_identity(&kind, managed)?;
        self.source.names.push(FEDERATED_IDENTITY);
        fields.end()
    }

    fn federated_assertion(&mut self, value: FieldValue) -> Result<(), ConfigError> {
        let mut fields = value.fields()?;
        self.select(Credential::WorkloadIdentity);
        self.app(&mut fields, (TENANT_ID, CLIENT_ID))?;
        let (platform, issuer) = fields.required("issuer")?.fields()?.only(ISSUERS)?;
        self.issuer(&platform, issuer)?;
        self.source.names.extend([FEDERATED_ASSERTION, ASSERTION_ISSUER]);
        fields.end()
    }

    /// Reads the issuer of the assertion: its cluster, and the fields of its platform.
    fn issuer(&mut self, platform: &str, value: FieldValue) -> Result<(), ConfigError> {
        let (name, others): (_, &[(&str, &'static str)]) = match platform {
            "github" => ("github", &[("url", GITHUB_URL), ("audience", ASSERTION_AUDIENCE)]),
            "azure_pipelines" => (
                "azure-pipelines",
                &[("url", PIPELINES_URL), ("service_connection_id", PIPELINES_CONNECTION)],
            ),
            "gcp" => ("gcp", &[("host", GCP_HOST), ("audience", ASSERTION_AUDIENCE)]),
            "url" => (
                "url",
                &[
                    ("url", ASSERTION_URL),
                    ("audience", ASSERTION_AUDIENCE),
                    ("method", ASSERTION_METHOD),
                    ("headers", ASSERTION_HEADERS),
                    ("field", ASSERTION_FIELD),
                ],
            ),
            _ => {
                return Err(mistake(
                    format_args!("{} is not an issuer", value.path),
                    format_args!("use one of {ISSUERS}"),
                ));
            }
        };
        self.source.settings.set_from(&value.path, ASSERTION, name.to_owned());
        let mut fields = value.fields()?;
        let cluster = fields.text("cluster")?;
        for (field, variable) in others {
            self.value(&mut fields, field, variable)?;
        }
        [GITHUB_TOKEN, PIPELINES_TOKEN].into_iter().for_each(|variable| self.inherit(variable));
        self.source.settings.named_variables().iter().for_each(|variable| self.inherit(variable));
        self.source.clusters.endpoint = Some((self.issuer_url(), cluster));
        fields.end()
    }

    /// The URL of the issuer. The core refuses an invalid one.
    fn issuer_url(&self) -> Uri {
        let settings = &self.source.settings;
        let url = [GITHUB_URL, PIPELINES_URL, ASSERTION_URL].into_iter().find_map(|name| settings.get(name));
        // The core asks the address, not the name.
        let host = settings.get(GCP_HOST).filter(|host| !host.eq_ignore_ascii_case(GCP_NAME));
        match (url, host) {
            (Some(url), _) => url.parse(),
            (None, Some(host)) => format!("http://{host}").parse(),
            (None, None) => IMDS_URL.parse(),
        }
        .unwrap_or_default()
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
        self.value(fields, "region", REGIONAL_AUTHORITY)?;
        if self.source.settings.detects_region() {
            // The cluster has the host of one region as its SNI.
            let form = "the region to whose endpoint `cluster` leads";
            let why = "cannot be detected in a proxy";
            return Err(self.source.settings.refused(REGIONAL_AUTHORITY, why, form).to_string());
        }
        Ok(())
    }

    /// Reads the URL of the cluster's token proxy, to which `cluster` leads instead of to Entra. The configuration is this
    /// host's word that it is verified: the name and the authorities of its certificate are those of the Envoy cluster.
    fn token_proxy(&mut self, fields: &mut Fields) -> Result<(), ConfigError> {
        let Some(value) = fields.optional("token_proxy") else {
            // The core refuses these, and tells why.
            [KUBERNETES_TOKEN_PROXY, KUBERNETES_SNI_NAME, KUBERNETES_CA_FILE, KUBERNETES_CA_DATA]
                .into_iter()
                .for_each(|variable| self.inherit(variable));
            return Ok(());
        };
        let (place, url) = (value.path.clone(), value.text()?);
        for variable in [KUBERNETES_TOKEN_PROXY, VERIFIED_TOKEN_PROXY] {
            self.source.settings.set_from(&place, variable, url.clone());
        }
        Ok(())
    }

    /// Leaves all other sources out.
    fn select(&mut self, credential: Credential) {
        self.source.settings.set(TOKEN_CREDENTIALS, credential.name().to_owned());
    }

    /// Sets a variable from its field, else from the environment.
    fn value(&mut self, fields: &mut Fields, field: &str, variable: &'static str) -> Result<(), ConfigError> {
        match fields.optional(field) {
            None => self.inherit(variable),
            Some(value) => {
                let place = value.path.clone();
                self.source.settings.set_from(&place, variable, value.text()?);
            }
        }
        Ok(())
    }

    /// Sets a variable from the environment.
    fn inherit(&mut self, variable: &str) {
        if let Some((_, value)) = self.environment.iter().find(|(name, _)| name == variable) {
            self.source.settings.set(variable, value.clone());
        }
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
            "cannot work in a proxy, which does not know the endpoint by its SHA-1 thumbprint; fix: run the broker in the \
             application"
        }
        "azure_ml" | "cloud_shell" => "is not for proxies; fix: use the identity of the machine or the pod",
        _ => return format!("is not a source; fix: use one of {SOURCES}"),
    };
    why.to_owned()
}

const SOURCES: &str =
    "imds, app_service, workload_identity, federated_assertion, client_secret, federated_identity";
const ISSUERS: &str = "github, azure_pipelines, gcp, url";
