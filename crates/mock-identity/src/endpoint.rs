//! The names of the endpoints, in faults, logs and counters.

use serde::{Deserialize, Serialize};

/// A service that the mock plays: its requests are logged and counted, and can be told to fail
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// The instance metadata service of a virtual machine: `/metadata/identity/oauth2/token`
    Imds,
    /// The identity endpoint of App Service, Functions and Container Apps: `/msi/token`
    AppService,
    /// The same of version 2017-09-01: `/2017/msi/token`
    #[serde(rename = "app-service-2017")]
    AppService2017,
    /// The identity endpoint of Azure Machine Learning: `/msi/auth`
    AzureMl,
    /// The token endpoint of Cloud Shell: `/oauth2/token`
    CloudShell,
    /// A container group on Windows: `/container-group/metadata/identity/oauth2/token`
    ContainerGroup,
    /// The agent of Azure Arc: `/arc/metadata/identity/oauth2/token`
    Arc,
    /// The token service of Service Fabric: `/metadata/identity/oauth2/token` on its own listener
    ServiceFabric,
    /// The token endpoint of a job of GitHub Actions: `/NUMBER//idtoken/RUN/JOB`
    GithubActions,
    /// The token endpoint of a job of Azure Pipelines: `/ORGANIZATION/PROJECT/_apis/distributedtask/…/oidctoken`
    AzurePipelines,
    /// The metadata server of Google Cloud: `/` and `/computeMetadata/v1/instance/service-accounts/ACCOUNT/identity`, with a
    /// header
    GcpMetadata,
    /// The token proxy of an AKS cluster: `/token-proxy/TENANT/oauth2/v2.0/token` on its own listener
    TokenProxy,
    /// The token endpoint of Entra ID and of AD FS, with TLS: `/TENANT/oauth2/v2.0/token` and `/adfs/oauth2/token`
    Entra,
    /// OpenID configuration and signing keys of the tenants, and instance discovery
    OpenId,
    /// A vault: `/secrets/NAME`
    KeyVault,
    /// Every other path
    Unknown,
}
