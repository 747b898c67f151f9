//! The variables that point a program at the token endpoint, for each credential of an app.

use std::path::Path;

use super::super::{azure_pipelines, gcp_metadata, github_actions, imds};
use crate::{app::App, federation, identity::IdentityKind, platform::Platform, spec::Environment};

/// How an app of the configuration proves itself to Entra ID
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential<'a> {
    /// By a client secret
    Secret,
    /// By its certificate, which with its key is in this file; [`MockConfig::CLIENT_CERTIFICATE_PEM`] is the one of the
    /// default configuration
    ///
    /// [`MockConfig::CLIENT_CERTIFICATE_PEM`]: crate::MockConfig::CLIENT_CERTIFICATE_PEM
    Certificate(&'a Path),
    /// By a token of another issuer in this file; [`Mock::federated_token`] makes one
    ///
    /// [`Mock::federated_token`]: crate::Mock::federated_token
    FederatedToken(&'a Path),
    /// By a token of a managed identity, which IMDS issues
    ManagedIdentity,
    /// By a token of the job of GitHub Actions, whose endpoint issues it
    GithubActions,
    /// By a token of the job of Azure Pipelines for its first service connection, which its endpoint issues
    AzurePipelines,
    /// By a token of the machine of Google Cloud, which its metadata server issues
    GcpMetadata,
}

/// For the first app that has this credential; empty without such an app or the TLS listener
pub(crate) fn environment(platform: &Platform, credential: Credential<'_>) -> Environment {
    let apps = &mut platform.config.apps.iter();
    match credential {
        Credential::Secret => apps.find_map(|app| {
            let good = app.secrets.iter().find(|secret| !secret.expired)?;
            Some((app, ("AZURE_CLIENT_SECRET", good.value.clone())))
        }),
        Credential::Certificate(file) => apps
            .find(|app| !app.certificates.is_empty())
            .map(|app| (app, ("AZURE_CLIENT_CERTIFICATE_PATH", file.display().to_string()))),
        Credential::FederatedToken(file) => apps
            .find(|app| federation::cluster_credential(platform, app).is_some())
            .map(|app| (app, ("AZURE_FEDERATED_TOKEN_FILE", file.display().to_string()))),
        Credential::ManagedIdentity => return of_managed_identity(platform).unwrap_or_default(),
        Credential::GithubActions => {
            let issued = (github_actions::trusted(platform), github_actions::environment(platform));
            return of_other_platform(platform, "github", issued).unwrap_or_default();
        }
        Credential::AzurePipelines => {
            let issued = (azure_pipelines::trusted(platform), azure_pipelines::environment(platform));
            return of_other_platform(platform, "azure-pipelines", issued).unwrap_or_default();
        }
        Credential::GcpMetadata => {
            let issued = (gcp_metadata::trusted(platform), gcp_metadata::environment(platform));
            return of_other_platform(platform, "gcp", issued).unwrap_or_default();
        }
    }
    .and_then(|(app, credential)| of_app(platform, app, credential))
    .unwrap_or_default()
}

fn of_app(platform: &Platform, app: &App, credential: (&'static str, String)) -> Option<Environment> {
    Some(vec![
        ("AZURE_AUTHORITY_HOST", platform.addresses.tls.clone()?),
        ("AZURE_TENANT_ID", app.tenant_ids.first()?.clone()),
        ("AZURE_CLIENT_ID", app.client_id.clone()),
        credential,
    ])
}

/// Of the first app that trusts the issuer and the subject, with token-broker's name of the platform
fn of_other_platform(
    platform: &Platform,
    name: &str,
    (trusted, variables): (Option<(&str, &str)>, Environment),
) -> Option<Environment> {
    let (issuer, subject) = trusted?;
    let app = federation::app_that_trusts(platform, issuer, subject)?;
    let mut environment = of_app(platform, app, ("TOKEN_BROKER_ASSERTION", name.to_owned()))?;
    environment.extend(variables);
    Some(environment)
}

fn of_managed_identity(platform: &Platform) -> Option<Environment> {
    let mut apps = platform.config.apps.iter();
    let (app, identity) = apps.find_map(|app| Some((app, federation::trusted_identity(platform, app)?)))?;
    let mut environment = imds::environment(platform);
    environment.extend([
        ("AZURE_AUTHORITY_HOST", platform.addresses.tls.clone()?),
        ("TOKEN_BROKER_FEDERATED_CLIENT_ID", app.client_id.clone()),
        ("TOKEN_BROKER_FEDERATED_TENANT_ID", app.tenant_ids.first()?.clone()),
    ]);
    if identity.kind == IdentityKind::UserAssigned {
        environment.push(("AZURE_CLIENT_ID", identity.client_id.clone()));
    }
    Some(environment)
}
