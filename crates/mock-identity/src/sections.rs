//! The configuration of each endpoint.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// The instance metadata service
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImdsConfig {
    /// The lifetime of its tokens
    pub token_lifetime_seconds: NonZeroU64,
    /// The most requests a second, above which it answers 429; without a limit if left out; a real machine has five
    pub requests_per_second: Option<NonZeroU32>,
    /// Whether its answers have the form of before 2024, with an empty `refresh_token` and without `client_id`, which container
    /// groups and the proxies of clusters still send
    #[serde(default)]
    pub older_form: bool,
}

/// The identity endpoint of App Service, Functions and Container Apps
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AppServiceConfig {
    /// The lifetime of its tokens
    pub token_lifetime_seconds: NonZeroU64,
    /// The required value of the header `X-IDENTITY-HEADER`
    pub identity_header: String,
    /// The platform, each of which has its own form of errors
    #[serde(default)]
    pub host: AppServiceHost,
}

/// A platform that speaks App Service's protocol
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppServiceHost {
    /// App Service and Functions
    #[default]
    AppService,
    /// Container Apps: errors without a reason
    ContainerApps,
    /// Automation: one field, `Message`, and no version in the request
    Automation,
}

/// The identity endpoint of App Service, version 2017-09-01
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AppService2017Config {
    /// The lifetime of its tokens
    pub token_lifetime_seconds: NonZeroU64,
    /// The required value of the header `secret`
    pub secret: String,
    /// How it writes `expires_on`
    pub dates: DateForm,
}

/// How App Service wrote dates in 2017
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DateForm {
    /// `06/20/2019 02:57:58 +00:00`
    Linux,
    /// `1/16/2020 5:24:12 AM +00:00`
    Windows,
}

/// The identity endpoint of Azure Machine Learning
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AzureMlConfig {
    /// The lifetime of its tokens
    pub token_lifetime_seconds: NonZeroU64,
    /// The required value of the header `secret`
    pub secret: String,
}

/// The token endpoint of Cloud Shell
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CloudShellConfig {
    /// The lifetime of its tokens
    pub token_lifetime_seconds: NonZeroU64,
}

/// The identity endpoint of a container group on Windows
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ContainerGroupConfig {
    /// The lifetime of its tokens
    #[serde(default = "a_day")]
    pub token_lifetime_seconds: NonZeroU64,
    /// The required value of the header `secret`
    pub secret: String,
}

/// The agent of Azure Arc
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ArcConfig {
    /// The lifetime of its tokens
    pub token_lifetime_seconds: NonZeroU64,
    /// The folder of its key files; clients insist on the default
    pub key_directory: PathBuf,
    /// Whether it knows user-assigned identities; an agent that does not answers for the system-assigned one
    pub user_assigned: bool,
}

/// The token service of Service Fabric
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServiceFabricConfig {
    /// Its address, with TLS and a certificate of its own
    pub listen: SocketAddr,
    /// The lifetime of its tokens
    #[serde(default = "a_day")]
    pub token_lifetime_seconds: NonZeroU64,
    /// The required value of the header `Secret`
    pub secret: String,
}

/// The token endpoint of a job of GitHub Actions that has `permissions: id-token: write`
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GithubActionsConfig {
    /// The lifetime of its tokens
    pub token_lifetime_seconds: NonZeroU64,
    /// The bearer token of the job: `ACTIONS_ID_TOKEN_REQUEST_TOKEN`
    pub request_token: String,
    /// The repository, with its owner: `owner/name`
    pub repository: String,
    /// `sub` of its tokens
    pub subject: String,
}

/// The token endpoint of a job of Azure Pipelines
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AzurePipelinesConfig {
    /// The lifetime of its tokens
    pub token_lifetime_seconds: NonZeroU64,
    /// The bearer token of the job: `SYSTEM_ACCESSTOKEN`
    pub access_token: String,
    /// `iss` of its tokens
    pub issuer: String,
    /// `sub` of the token for a request without a service connection
    pub subject: String,
    /// The service connections that the job may use since its stage names them
    #[serde(default)]
    pub service_connections: Vec<ServiceConnection>,
}

/// A service connection of Azure Pipelines
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServiceConnection {
    /// Its id: `AZURESUBSCRIPTION_SERVICE_CONNECTION_ID`
    pub id: String,
    /// `iss` of its tokens, if it is not that of the others
    pub issuer: Option<String>,
    /// `sub` of its tokens
    pub subject: String,
}

/// The metadata server of Google Cloud, as far as it issues identity tokens
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GcpMetadataConfig {
    /// The lifetime of its tokens
    pub token_lifetime_seconds: NonZeroU64,
    /// The email of the machine's service account
    pub service_account: String,
    /// The numeric id of the service account: `sub` of its tokens
    pub service_account_id: String,
}

/// The token proxy of an AKS cluster with identity bindings
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TokenProxyConfig {
    /// Its address, with TLS and an authority of its own
    pub listen: SocketAddr,
    /// The name by which clients must address it (SNI)
    pub sni_name: String,
    /// The name in its certificate, if it is another one by mistake
    pub certificate_name: Option<String>,
    /// The issuer of the pods' tokens
    pub issuer: String,
    /// The service accounts that the cluster's roles let use identities
    pub accounts: Vec<BoundAccount>,
}

/// A service account, and the user-assigned identities that it may use
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BoundAccount {
    /// `sub` of its tokens
    pub subject: String,
    /// The client ids of the identities
    pub client_ids: Vec<String>,
}

/// Entra ID's token endpoint
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EntraConfig {
    /// The lifetime of its tokens
    pub token_lifetime_seconds: NonZeroU64,
    /// The `refresh_in` of its answers, if they have one
    pub refresh_in_seconds: Option<NonZeroU64>,
}

/// The vault
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VaultConfig {
    /// The audience that it requires, and names in its challenge
    pub audience: String,
    /// Its secrets by name
    pub secrets: BTreeMap<String, String>,
}

impl ArcConfig {
    /// An agent with its keys in `key_directory`, and the defaults
    pub fn with_keys_in(key_directory: &Path) -> Self {
        Self { token_lifetime_seconds: a_day(), key_directory: key_directory.to_owned(), user_assigned: true }
    }
}

impl Default for ArcConfig {
    fn default() -> Self {
        Self::with_keys_in(Path::new("/var/opt/azcmagent/tokens"))
    }
}

impl Default for ContainerGroupConfig {
    fn default() -> Self {
        Self { token_lifetime_seconds: a_day(), secret: "2f6b1d7e-53a0-4c19-8f4e-9a0c1e7d3b52".to_owned() }
    }
}

/// One service account, for the identity `orders` of the default configuration
impl Default for TokenProxyConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            sni_name: "9c1f2e7ab04d4f6f8a3b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d".to_owned(),
            certificate_name: None,
            issuer: "https://cluster.example/oidc".to_owned(),
            accounts: vec![BoundAccount {
                subject: "system:serviceaccount:default:orders".to_owned(),
                client_ids: vec!["11112222-bbbb-3333-cccc-4444dddd5555".to_owned()],
            }],
        }
    }
}

impl Default for ServiceFabricConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            token_lifetime_seconds: a_day(),
            secret: "f7a4c1d0-6c2b-4d0e-9b1f-6d5f7f0f4a11".to_owned(),
        }
    }
}

const fn a_day() -> NonZeroU64 {
    NonZeroU64::new(86_400).expect("not zero")
}
