//! Which of Azure's endpoints a path belongs to.

use serde::{Deserialize, Serialize};

use super::door::Door;

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
    /// The token endpoint of Entra ID and of AD FS, with TLS: `/TENANT/oauth2/v2.0/token` and `/adfs/oauth2/token`
    Entra,
    /// OpenID configuration and signing keys of the tenants, and instance discovery
    OpenId,
    /// A vault: `/secrets/NAME`
    KeyVault,
    /// No service that the mock knows
    Unknown,
}

impl Endpoint {
    /// All of them
    pub const ALL: [Self; 12] = [
        Self::Imds,
        Self::AppService,
        Self::AppService2017,
        Self::AzureMl,
        Self::CloudShell,
        Self::ContainerGroup,
        Self::Arc,
        Self::ServiceFabric,
        Self::Entra,
        Self::OpenId,
        Self::KeyVault,
        Self::Unknown,
    ];

    /// Whether it has no answer but 404 to a request in chunks, as login.microsoftonline.com (envoyproxy/envoy#20179)
    pub(super) fn refuses_chunks(self) -> bool {
        matches!(self, Self::Entra | Self::OpenId | Self::CloudShell)
    }

    pub(super) fn of(path: &str, door: Door) -> Self {
        match (door, segments(path).as_slice()) {
            (Door::Pinned, ["metadata", "identity", "oauth2", "token"]) => Self::ServiceFabric,
            // Service Fabric's listener has nothing else.
            (Door::Pinned, _) => Self::Unknown,
            // A client secret must not travel without TLS.
            (Door::Tls, [_, "oauth2", "v2.0", "token"] | ["adfs", "oauth2", "token"]) => Self::Entra,
            (_, ["metadata", "identity", "oauth2", "token"]) => Self::Imds,
            (_, ["container-group", "metadata", "identity", "oauth2", "token"]) => Self::ContainerGroup,
            (_, ["arc", "metadata", "identity", "oauth2", "token"]) => Self::Arc,
            (_, ["msi", "token"]) => Self::AppService,
            (_, ["2017", "msi", "token"]) => Self::AppService2017,
            (_, ["msi", "auth"]) => Self::AzureMl,
            (_, ["oauth2", "token"]) => Self::CloudShell,
            (_, ["secrets", ..]) => Self::KeyVault,
            (
                _,
                [_, ".well-known", "openid-configuration"]
                | [_, "v2.0", ".well-known", "openid-configuration"]
                | [_, "discovery", "keys"]
                | [_, "discovery", "v2.0", "keys"]
                | ["common", "discovery", "instance"],
            ) => Self::OpenId,
            _ => Self::Unknown,
        }
    }
}

/// The segments of a path, without a slash at its end; an empty one between two slashes is a segment, as for Azure
pub(super) fn segments(path: &str) -> Vec<&str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() { Vec::new() } else { path.split('/').collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_slash_does_not_change_the_endpoint() {
        for (path, endpoint) in [
            ("/metadata/identity/oauth2/token/", Endpoint::Imds),
            ("/arc/metadata/identity/oauth2/token/", Endpoint::Arc),
            ("/container-group/metadata/identity/oauth2/token/", Endpoint::ContainerGroup),
            ("/msi/token/", Endpoint::AppService),
            ("/2017/msi/token/", Endpoint::AppService2017),
            ("/msi/auth/", Endpoint::AzureMl),
            ("/oauth2/token/", Endpoint::CloudShell),
            ("/t/oauth2/v2.0/token/", Endpoint::Entra),
            ("/adfs/oauth2/token/", Endpoint::Entra),
            ("/secrets/MySecret/", Endpoint::KeyVault),
            ("/t/v2.0/.well-known/openid-configuration", Endpoint::OpenId),
            ("/common/discovery/instance/", Endpoint::OpenId),
            ("/metadata/instance", Endpoint::Unknown),
        ] {
            assert_eq!(Endpoint::of(path, Door::Tls), endpoint, "{path}");
            assert_eq!(Endpoint::of(path.trim_end_matches('/'), Door::Tls), endpoint, "{path}");
        }
    }

    #[test]
    fn a_slash_too_many_is_another_path() {
        for path in [
            "//metadata/identity/oauth2/token",
            "/metadata//identity/oauth2/token",
            "/msi/token//",
            "//t/oauth2/v2.0/token",
            "//",
        ] {
            assert_eq!(Endpoint::of(path, Door::Tls), Endpoint::Unknown, "{path}");
        }
        assert!(segments("/").is_empty() && segments("").is_empty());
    }

    #[test]
    fn what_is_behind_a_path_depends_on_the_listener() {
        for (door, path, endpoint) in [
            (Door::Plain, "/t/oauth2/v2.0/token", Endpoint::Unknown),
            (Door::Plain, "/adfs/oauth2/token", Endpoint::Unknown),
            (Door::Plain, "/metadata/identity/oauth2/token", Endpoint::Imds),
            (Door::Pinned, "/metadata/identity/oauth2/token", Endpoint::ServiceFabric),
            (Door::Pinned, "/msi/token", Endpoint::Unknown),
        ] {
            assert_eq!(Endpoint::of(path, door), endpoint, "{door:?} {path}");
        }
    }
}
