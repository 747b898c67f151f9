//! The page at `/`: how to point SDKs at the mock.

use crate::{
    endpoints, federation,
    identity::Identity,
    platform::Platform,
    spec::{Environment, Setup},
};

pub(crate) fn text(platform: &Platform) -> String {
    let (url, tenant) = (&platform.addresses.plain, &platform.config.tenant_id);
    let vault = platform.addresses.tls.as_ref().unwrap_or(url);
    let setups: String =
        endpoints::ALL.iter().flat_map(|spec| spec.setups).map(|it| setup(platform, it)).collect();
    format!(
        "A mock of Azure's identity platform. Its tokens are real RS256 JWTs, signed with a public key: no real service accepts them.

{setups}By hand:

    curl -H 'Metadata: true' '{url}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net'

Identities:

{identities}
Key vault:         {vault}/secrets/NAME
                   SDKs insist on https (--listen-tls); switch off their check of the challenge's resource.
OpenID:            {url}/{tenant}/.well-known/openid-configuration
Requests, counts:  {url}/admin/requests  {url}/admin/counters
Make it fail:      curl -d '{{\"endpoint\":\"imds\",\"answer\":{{\"status\":{{\"code\":503}}}}}}' {url}/admin/faults
",
        identities = identities(platform),
    )
}

fn setup(platform: &Platform, setup: &Setup) -> String {
    let title = setup.title.replace("URL", &platform.addresses.plain).replace("APP", cluster_app(platform));
    let environment = (setup.environment)(platform);
    let lines =
        if environment.is_empty() { format!("    (needs {})\n", setup.needs) } else { exports(&environment) };
    format!("{title}:\n\n{lines}\n")
}

fn exports(environment: &Environment) -> String {
    environment.iter().map(|(name, value)| format!("    export {name}={value}\n")).collect()
}

/// The app of [`Credential::FederatedToken`](crate::Credential::FederatedToken)
fn cluster_app(platform: &Platform) -> &str {
    let mut apps = platform.config.apps.iter();
    apps.find(|app| federation::cluster_credential(platform, app).is_some()).map_or("NAME", |app| &app.name)
}

fn identities(platform: &Platform) -> String {
    let line = |it: &Identity| format!("    {:<12} client id {}\n", it.name, it.client_id);
    platform.config.identities.iter().map(line).collect()
}
