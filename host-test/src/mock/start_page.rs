//! The page at `/`: how to point SDKs at the mock.

use std::fmt::Write;

use http::StatusCode;

use super::{app_service, imds, platform::Platform, reply::Reply};

pub(super) fn answer(platform: &Platform) -> Reply {
    Reply::text(StatusCode::OK, page(platform))
}

fn page(platform: &Platform) -> String {
    let (url, tenant) = (&platform.url, &platform.config.tenant_id);
    let vault = platform.tls_url.as_ref().unwrap_or(url);
    format!(
        "A mock of Azure's identity platform. Its tokens are real RS256 JWTs that no service but this one trusts.

Managed identity of a virtual machine (IMDS), for the Azure SDKs of Python and JavaScript, MSAL, and token-broker:

{imds}
Managed identity of App Service, Functions and Container Apps, for every Azure SDK and token-broker:

{app_service}
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
        identities = identities(platform),
    )
}

fn exports(environment: &[(&str, String)]) -> String {
    environment.iter().fold(String::new(), |mut lines, (name, value)| {
        let _ = writeln!(lines, "    export {name}={value}");
        lines
    })
}

fn identities(platform: &Platform) -> String {
    platform.config.identities.iter().fold(String::new(), |mut lines, identity| {
        let _ = writeln!(lines, "    {:<12} client id {}", identity.name, identity.client_id);
        lines
    })
}
