//! The page at `/`: how to point SDKs at the mock.

use std::{fmt::Write, path::Path};

use http::StatusCode;

use super::{
    Environment, app_service, arc, cloud_shell, container_group, entra, federation, imds, msi_2017,
    platform::Platform, reply::Reply, service_fabric,
};

pub(super) fn answer(platform: &Platform) -> Reply {
    Reply::text(StatusCode::OK, page(platform))
}

fn page(platform: &Platform) -> String {
    let (url, tenant) = (&platform.addresses.plain, &platform.config.tenant_id);
    let vault = platform.addresses.tls.as_ref().unwrap_or(url);
    format!(
        "A mock of Azure's identity platform. Its tokens are real RS256 JWTs that no service but this one trusts.

Managed identity of a virtual machine (IMDS), for the Azure SDKs of Python and JavaScript, MSAL, and token-broker:

{imds}
Managed identity of App Service, Functions and Container Apps, for every Azure SDK and token-broker:

{app_service}
App Service as of 2017:

{app_service_2017}
Azure Machine Learning:

{azure_ml}
Cloud Shell:

{cloud_shell}
A container group on Windows:

{container_group}
Azure Arc:

{arc}
Service Fabric:

{service_fabric}
Entra ID, an app with a secret (trust the authority of the TLS listener, see --tls-ca-out):

{secret}
Entra ID, an app with a certificate (curl {url}/admin/client-certificate > client.pem):

{certificate}
Entra ID, an app that trusts a Kubernetes cluster (curl {url}/admin/federated-token/{cluster_app} > token):

{federated}
Entra ID, an app that trusts a managed identity, for token-broker:

{managed_identity}
By hand:

    curl -H 'Metadata: true' '{url}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net'

Identities:

{identities}
Key vault:         {vault}/secrets/NAME
                   SDKs insist on https (--listen-tls) and must be told not to verify the challenge's resource.
OpenID:            {url}/{tenant}/.well-known/openid-configuration
Requests, counts:  {url}/admin/requests  {url}/admin/counters
Make it fail:      curl -d '{{\"endpoint\":\"imds\",\"answer\":{{\"status\":{{\"code\":503}}}}}}' {url}/admin/faults
",
        imds = exports(&imds::environment(platform)),
        app_service = exports(&app_service::environment(platform)),
        app_service_2017 = exports(&msi_2017::app_service_environment(platform)),
        azure_ml = exports(&msi_2017::azure_ml_environment(platform)),
        cloud_shell = exports(&cloud_shell::environment(platform)),
        container_group = exports(&container_group::environment(platform)),
        arc = if_any(arc::environment(platform), "[arc] in the configuration"),
        service_fabric = if_any(service_fabric::environment(platform), "[service-fabric] in the configuration"),
        secret = if_any(entra::of_secret(platform), ENTRA),
        certificate = if_any(entra::of_certificate(platform, Path::new("client.pem")), ENTRA),
        federated = if_any(entra::of_federated_token(platform, Path::new("token")), ENTRA),
        managed_identity = if_any(entra::managed_identity(platform), ENTRA),
        cluster_app = cluster_app(platform),
        identities = identities(platform),
    )
}

fn exports(environment: &[(&str, String)]) -> String {
    environment.iter().fold(String::new(), |mut lines, (name, value)| {
        let _ = writeln!(lines, "    export {name}={value}");
        lines
    })
}

fn if_any(environment: Option<Environment>, needed: &str) -> String {
    environment.map_or_else(|| format!("    (needs {needed})\n"), |environment| exports(&environment))
}

/// The app that the environment is for
fn cluster_app(platform: &Platform) -> &str {
    let mut apps = platform.config.apps.iter();
    apps.find(|app| federation::cluster_credential(platform, app).is_some()).map_or("APP", |app| &app.name)
}

fn identities(platform: &Platform) -> String {
    platform.config.identities.iter().fold(String::new(), |mut lines, identity| {
        let _ = writeln!(lines, "    {:<12} client id {}", identity.name, identity.client_id);
        lines
    })
}

const ENTRA: &str = "--listen-tls, and such an app in the configuration";
