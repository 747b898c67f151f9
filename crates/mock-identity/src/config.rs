//! The configuration: identities, audiences, endpoints, apps, users, vault and first faults.

use std::{net::SocketAddr, path::Path};

use anyhow::{Result, anyhow, bail, ensure};
use serde::Deserialize;

use crate::{
    app::{App, User},
    claims::ADFS,
    fault::Fault,
    identity::{IdKind, Identity, IdentityKind, Selector},
    sections::{
        AppService2017Config, AppServiceConfig, ArcConfig, AzureMlConfig, AzurePipelinesConfig,
        CloudShellConfig, ContainerGroupConfig, EntraConfig, GcpMetadataConfig, GithubActionsConfig,
        ImdsConfig, ServiceFabricConfig, TokenProxyConfig, VaultConfig,
    },
};

/// The configuration; the default is the file `mock-identity.toml` of this crate
///
/// Without `Debug`, since it holds secrets.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MockConfig {
    /// The address to listen on; port 0 takes a free one
    pub listen: SocketAddr,
    /// A second address, for clients that must send tokens to another address than the one they get them from
    pub also_listen: Option<SocketAddr>,
    /// The address to listen on with TLS
    pub listen_tls: Option<SocketAddr>,
    /// The tenant of all identities and users
    pub tenant_id: String,
    /// Other tenants, for apps
    #[serde(default)]
    pub other_tenant_ids: Vec<String>,
    /// The audiences that tokens are issued for
    pub audiences: Vec<String>,
    /// The instance metadata service
    pub imds: ImdsConfig,
    /// The identity endpoint of App Service
    pub app_service: AppServiceConfig,
    /// The same of version 2017-09-01
    pub app_service_2017: AppService2017Config,
    /// The identity endpoint of Azure Machine Learning
    pub azure_ml: AzureMlConfig,
    /// The token endpoint of Cloud Shell
    pub cloud_shell: CloudShellConfig,
    /// The identity endpoint of a container group on Windows
    #[serde(default)]
    pub container_group: ContainerGroupConfig,
    /// The agent of Azure Arc, if there is one
    pub arc: Option<ArcConfig>,
    /// The token service of Service Fabric, if there is one
    pub service_fabric: Option<ServiceFabricConfig>,
    /// The token endpoint of a job of GitHub Actions, if there is one
    pub github_actions: Option<GithubActionsConfig>,
    /// The token endpoint of a job of Azure Pipelines, if there is one
    pub azure_pipelines: Option<AzurePipelinesConfig>,
    /// The metadata server of Google Cloud, if there is one
    pub gcp_metadata: Option<GcpMetadataConfig>,
    /// The token proxy of an AKS cluster, if there is one
    pub token_proxy: Option<TokenProxyConfig>,
    /// The token endpoint of Entra ID
    pub entra: EntraConfig,
    /// The managed identities of the pretended machine
    pub identities: Vec<Identity>,
    /// The app registrations
    #[serde(default)]
    pub apps: Vec<App>,
    /// The users of the directory; Cloud Shell belongs to the first
    #[serde(default)]
    pub users: Vec<User>,
    /// The vault
    pub vault: VaultConfig,
    /// The faults to play from the start
    #[serde(default)]
    pub faults: Vec<Fault>,
}

impl MockConfig {
    /// The text of the default configuration, to copy and change
    pub const DEFAULT_TOML: &str = include_str!("../mock-identity.toml");

    /// The certificate of the default configuration's app `billing`, and its key, as PEM
    ///
    /// Not a secret: like the signing key, no real service trusts it.
    pub const CLIENT_CERTIFICATE_PEM: &str = include_str!("client-certificate.pem");

    /// The default configuration, at two free addresses: one to get tokens from, one for the services that take them
    pub fn at_two_addresses() -> Self {
        Self { also_listen: Some(([127, 0, 0, 1], 0).into()), ..Self::default() }
    }

    /// Read a configuration
    ///
    /// # Errors
    /// When the file cannot be read or a setting is wrong, unknown or missing.
    pub fn from_file(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            anyhow!("cannot read {name}: {error}; fix: name a file that this user can read")
        })?;
        let config: Self = toml::from_str(&text)
            .map_err(|error| anyhow!("cannot use {name}: {}; {CONFIG_FIX}", on_one_line(&error, &text)))?;
        config.check().map_err(|error| anyhow!("cannot use {name}: {error:#}; {CONFIG_FIX}"))?;
        Ok(config)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let of_system = self.identities.iter().filter(|i| i.kind == IdentityKind::SystemAssigned).count();
        ensure!(of_system <= 1, "{of_system} identities are system-assigned: Azure has at most one");
        for (index, identity) in self.identities.iter().enumerate() {
            let twin = self.identities.iter().take(index).find(|other| shares_an_id(identity, other));
            if let Some(twin) = twin {
                bail!("identities {} and {} have an id in common", twin.name, identity.name);
            }
        }
        self.check_apps()?;
        if let Some(arc) = &self.arc {
            let directory = &arc.key_directory;
            ensure!(directory.is_absolute(), "arc.key-directory {} is not absolute", directory.display());
        }
        Ok(())
    }

    fn check_apps(&self) -> Result<()> {
        for (index, app) in self.apps.iter().enumerate() {
            app.check()?;
            if let Some(tenant) = app.tenant_ids.iter().find(|id| !self.knows_tenant(id)) {
                bail!("app {} is in {tenant}, which is none of the configured tenants", app.name);
            }
            if let Some(twin) = self.apps.iter().take(index).find(|other| other.shares_an_id(app)) {
                bail!("apps {} and {} have a name or an id in common", twin.name, app.name);
            }
        }
        Ok(())
    }

    /// All directories, and the AD FS
    pub(crate) fn tenant_ids(&self) -> impl Iterator<Item = &str> {
        let entra = std::iter::once(&self.tenant_id).chain(&self.other_tenant_ids);
        entra.map(String::as_str).chain(std::iter::once(ADFS))
    }

    pub(crate) fn knows_tenant(&self, id: &str) -> bool {
        self.tenant_ids().any(|known| known.eq_ignore_ascii_case(id))
    }

    /// The app with this id, if it is in this tenant
    pub(crate) fn app(&self, client_id: &str, tenant_id: &str) -> Option<&App> {
        self.apps.iter().find(|app| app.client_id.eq_ignore_ascii_case(client_id) && app.is_in(tenant_id))
    }

    /// Whether tokens can be asked for this audience
    pub(crate) fn knows_audience(&self, audience: &str) -> bool {
        self.audiences.iter().any(|pattern| audience_matches(pattern, audience))
    }

    pub(crate) fn system_assigned(&self) -> Option<&Identity> {
        self.identities.iter().find(|identity| identity.kind == IdentityKind::SystemAssigned)
    }

    pub(crate) fn user_assigned(&self) -> impl Iterator<Item = &Identity> {
        self.identities.iter().filter(|identity| identity.kind == IdentityKind::UserAssigned)
    }

    /// The user-assigned identity with this id
    pub(crate) fn selected(&self, selector: Selector<'_>) -> Option<&Identity> {
        self.user_assigned().find(|identity| selector.matches(identity))
    }
}

impl Default for MockConfig {
    fn default() -> Self {
        // A unit test reads the same text, so this cannot fail in a build that passes its tests.
        toml::from_str(Self::DEFAULT_TOML).expect("the default configuration is valid")
    }
}

/// Whether two spellings mean the same audience: Entra ID takes either with or without a slash at the end
pub(crate) fn same_audience(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

fn audience_matches(pattern: &str, audience: &str) -> bool {
    let Some((scheme, domain)) = pattern.split_once("*.") else {
        return same_audience(pattern, audience);
    };
    audience
        .strip_prefix(scheme)
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(label, rest)| !label.is_empty() && !label.contains('/') && same_audience(rest, domain))
}

fn shares_an_id(one: &Identity, other: &Identity) -> bool {
    let shared = |kind| Selector { kind, id: one.id(kind) }.matches(other);
    one.name == other.name || [IdKind::Client, IdKind::Object, IdKind::Resource].into_iter().any(shared)
}

/// The line and the reason; the error itself draws the place below them.
fn on_one_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, error.message().replace('\n', ", "))
}

const CONFIG_FIX: &str = "fix: correct it; `mock-identity --print-config` prints a complete example";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_configuration_is_valid_and_has_one_system_and_two_user_assigned_identities() {
        let config = MockConfig::default();
        config.check().unwrap();
        assert!(config.system_assigned().is_some());
        assert_eq!(config.user_assigned().count(), 2);
    }

    #[test]
    fn audiences_match_with_or_without_a_slash_and_by_first_label() {
        let config = MockConfig::default();
        for known in
            ["https://vault.azure.net", "https://vault.azure.net/", "https://shop.blob.core.windows.net"]
        {
            assert!(config.knows_audience(known), "{known}");
        }
        for unknown in
            ["", "https://example.org", "https://.blob.core.windows.net", "https://a.b.blob.core.windows.net"]
        {
            assert!(!config.knows_audience(unknown), "{unknown}");
        }
    }

    #[test]
    fn identities_that_share_an_id_are_refused_by_name() {
        let mut config = MockConfig::default();
        config.identities[2].client_id = config.identities[1].client_id.to_uppercase();
        let error = config.check().unwrap_err().to_string();
        assert_eq!(error, "identities orders and reports have an id in common");
    }

    #[test]
    fn an_app_of_an_unknown_tenant_or_with_a_broken_certificate_is_refused_by_name() {
        let mut config = MockConfig::default();
        config.apps[0].tenant_ids = vec!["elsewhere".to_owned()];
        let error = config.check().unwrap_err().to_string();
        assert_eq!(error, "app shop is in elsewhere, which is none of the configured tenants");
        let mut config = MockConfig::default();
        config.apps[0].certificates = vec!["no PEM".to_owned()];
        assert_eq!(config.check().unwrap_err().to_string(), "app shop: a certificate is no PEM");
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        let text = format!("speed = 3\n{}", MockConfig::DEFAULT_TOML);
        let error = toml::from_str::<MockConfig>(&text).err().expect("an error").to_string();
        assert!(error.contains("speed"), "{error}");
    }
}
