//! Which of Azure's endpoints a path belongs to.

use serde::{Deserialize, Serialize};

/// A service that the mock plays: its requests are logged and counted, and can be told to fail
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// The instance metadata service of a virtual machine: `/metadata/identity/oauth2/token`
    Imds,
    /// The identity endpoint of App Service, Functions and Container Apps: `/msi/token`
    AppService,
    /// OpenID configuration and signing keys of the tenant
    OpenId,
    /// A vault: `/secrets/NAME`
    KeyVault,
    /// No service that the mock knows
    Unknown,
}

impl Endpoint {
    /// All of them
    pub const ALL: [Self; 5] = [Self::Imds, Self::AppService, Self::OpenId, Self::KeyVault, Self::Unknown];

    pub(super) fn of(path: &str) -> Self {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        match segments.as_slice() {
            ["metadata", "identity", "oauth2", "token"] => Self::Imds,
            ["msi", "token"] => Self::AppService,
            ["secrets", ..] => Self::KeyVault,
            [_, ".well-known", "openid-configuration"]
            | [_, "v2.0", ".well-known", "openid-configuration"]
            | [_, "discovery", "keys"]
            | [_, "discovery", "v2.0", "keys"] => Self::OpenId,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_slash_does_not_change_the_endpoint() {
        for (path, endpoint) in [
            ("/metadata/identity/oauth2/token/", Endpoint::Imds),
            ("/msi/token/", Endpoint::AppService),
            ("/secrets/MySecret/", Endpoint::KeyVault),
            ("/t/v2.0/.well-known/openid-configuration", Endpoint::OpenId),
            ("/metadata/instance", Endpoint::Unknown),
        ] {
            assert_eq!(Endpoint::of(path), endpoint, "{path}");
            assert_eq!(Endpoint::of(path.trim_end_matches('/')), endpoint, "{path}");
        }
    }
}
