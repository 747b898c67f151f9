//! `AZURE_TOKEN_CREDENTIALS`: the selection of a credential, as in Azure's libraries.
//!
//! <https://learn.microsoft.com/azure/developer/python/sdk/authentication/credential-chains>

use super::Settings;
use super::variables::TOKEN_CREDENTIALS;
use crate::model::Error;

/// A credential class of Azure's libraries that works on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// An app registration with a secret or a certificate.
    Environment,
    /// An app registration that trusts the issuer of a token in a file.
    WorkloadIdentity,
    /// The managed identities of every platform.
    ManagedIdentity,
}

impl Credential {
    const ALL: [Self; 3] = [Self::Environment, Self::WorkloadIdentity, Self::ManagedIdentity];

    /// The name of the class, as `AZURE_TOKEN_CREDENTIALS` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Environment => "EnvironmentCredential",
            Self::WorkloadIdentity => "WorkloadIdentityCredential",
            Self::ManagedIdentity => "ManagedIdentityCredential",
        }
    }
}

/// The credentials that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    All,
    Only(Credential),
}

impl Selection {
    /// Parses the selection. As in Azure's libraries, case and surrounding white space do not matter.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a credential that is unknown or not available here.
    pub(crate) fn parse(settings: &Settings) -> Result<Self, Error> {
        let Some(text) = settings.get(TOKEN_CREDENTIALS) else { return Ok(Self::All) };
        let is_named = |name: &str| name.eq_ignore_ascii_case(text.trim());
        if is_named("prod") {
            return Ok(Self::All);
        }
        match Credential::ALL.into_iter().find(|credential| is_named(credential.name())) {
            Some(credential) => Ok(Self::Only(credential)),
            None => Err(refused(
                settings.name(TOKEN_CREDENTIALS),
                DEVELOPERS.into_iter().find(|developers| is_named(developers)),
            )),
        }
    }

    pub(crate) fn includes(self, credential: Credential) -> bool {
        self == Self::All || self == Self::Only(credential)
    }
}

fn refused(variable: &str, developers: Option<&str>) -> Error {
    let why = match developers {
        Some(name) => {
            format!("names {name}, which needs a developer's tools and is not available in a component")
        }
        None => "does not name a credential".to_owned(),
    };
    Error::misconfigured(
        format_args!("{variable} {why}"),
        "set it to `prod`, `EnvironmentCredential`, `WorkloadIdentityCredential` or `ManagedIdentityCredential`",
    )
}

const DEVELOPERS: [&str; 7] = [
    "dev",
    "AzureCliCredential",
    "AzureDeveloperCliCredential",
    "AzurePowerShellCredential",
    "InteractiveBrowserCredential",
    "VisualStudioCodeCredential",
    "VisualStudioCredential",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Selection, Error> {
        Selection::parse(&crate::tests::settings(&[(TOKEN_CREDENTIALS, text)]))
    }

    #[test]
    fn credentials_are_selected_by_name_in_any_case() {
        for (text, selection) in [
            ("", Selection::All),
            ("prod", Selection::All),
            (" PROD ", Selection::All),
            ("environmentcredential", Selection::Only(Credential::Environment)),
            ("WorkloadIdentityCredential", Selection::Only(Credential::WorkloadIdentity)),
            (" ManagedIdentityCredential ", Selection::Only(Credential::ManagedIdentity)),
        ] {
            assert_eq!(parse(text), Ok(selection), "{text}");
        }
    }

    #[test]
    fn a_developers_credential_is_refused_by_its_name_and_nonsense_without() {
        assert!(parse("azureclicredential").unwrap_err().to_string().contains("AzureCliCredential"));
        assert!(parse("dev").unwrap_err().to_string().contains("names dev"));
        let nonsense = parse("InvalidCredential").unwrap_err();
        assert_eq!(nonsense.kind(), "misconfigured");
        assert!(nonsense.to_string().contains("does not name a credential"));
        assert!(parse("SharedTokenCacheCredential").is_err());
    }
}
