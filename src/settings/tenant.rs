//! The tenant of a token: the configured one, or another one that the deployment allows.

use super::Settings;
use super::variables::{ADDITIONAL_TENANTS, DISABLE_MULTITENANT};
use crate::model::{Error, is_guid, is_tenant_char};

/// Parses the tenant of a variable to lower case.
///
/// # Errors
/// [`Error::Misconfigured`] that names the variable and the accepted form.
pub(crate) fn parse(variable: &str, text: &str) -> Result<String, Error> {
    let tenant = text.to_ascii_lowercase();
    match flaw(&tenant) {
        None => Ok(tenant),
        Some(why) => Err(Error::misconfigured(format_args!("{variable} {why}"), FORM)),
    }
}

/// The reason why a text, in lower case, is not the tenant of an application, as the end of a sentence.
fn flaw(tenant: &str) -> Option<&'static str> {
    if OF_USERS.contains(&tenant) {
        return Some("is a placeholder for the sign-in of users, not the tenant of an application");
    }
    if tenant.len() > MAX_TENANT || !tenant.chars().all(is_tenant_char) {
        return Some("is not a tenant");
    }
    let is_domain = tenant.contains('.') && tenant.split('.').all(|label| !label.is_empty());
    match tenant == ADFS || is_domain || is_guid(tenant) {
        true => None,
        false => Some("is neither a GUID, of 8-4-4-4-12 hexadecimal digits, nor a domain"),
    }
}

/// The other tenants that a request may name.
#[derive(Clone, Debug)]
pub(crate) enum Tenants {
    /// These tenants only.
    Only(Vec<String>),
    All,
    /// The tenant of a request is ignored.
    Ignored,
}

impl Tenants {
    /// The tenants of the settings.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for an invalid tenant or switch.
    pub(crate) fn detect(settings: &Settings) -> Result<Self, Error> {
        if settings.is_on(DISABLE_MULTITENANT)? {
            return Ok(Self::Ignored);
        }
        let list = settings.get(ADDITIONAL_TENANTS).unwrap_or_default();
        let list: Vec<_> = list.split(';').map(str::trim).filter(|entry| !entry.is_empty()).collect();
        if list.contains(&"*") {
            return Ok(Self::All);
        }
        let variable = settings.name(ADDITIONAL_TENANTS);
        let tenants: Result<_, _> = list.into_iter().map(|entry| parse(variable, entry)).collect();
        tenants.map(Self::Only)
    }

    /// The tenant to use instead of the app registration's `own` tenant, if the request names another one.
    ///
    /// A managed identity has no `own` tenant here, and ignores that of the request, as in Azure's libraries.
    ///
    /// # Errors
    /// [`Error::Denied`] for a tenant that is not allowed, [`Error::InvalidRequest`] for a text that is not the tenant
    /// of an application.
    pub(crate) fn resolve(
        &self,
        requested: Option<&str>,
        own: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let (Some(own), Some(requested)) = (own, requested) else { return Ok(None) };
        // An AD FS has no tenants.
        if own == requested || own == ADFS {
            return Ok(None);
        }
        let is_allowed = match self {
            Self::Ignored => return Ok(None),
            Self::All => true,
            Self::Only(list) => list.iter().any(|tenant| tenant == requested),
        };
        match flaw(requested) {
            _ if !is_allowed => Err(denied(requested)),
            Some(why) => Err(Error::invalid_request(format_args!("the tenant id {why}"), FORM)),
            None => Ok(Some(requested.to_owned())),
        }
    }
}

fn denied(tenant: &str) -> Error {
    Error::denied(
        format_args!("the tenant {tenant} is not the configured one"),
        format_args!("add it to {ADDITIONAL_TENANTS}"),
    )
}

/// The tenant name that selects an AD FS.
pub(crate) const ADFS: &str = "adfs";

/// Placeholders for the sign-in of users: <https://learn.microsoft.com/entra/identity-platform/v2-protocols#endpoints>
const OF_USERS: [&str; 3] = ["common", "organizations", "consumers"];

const FORM: &str = "use the directory's id, as `az account show --query tenantId` prints it, one of its domains, or `adfs` \
                    for an AD FS";

const MAX_TENANT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::settings;

    fn tenants(pairs: &[(&str, &str)]) -> Result<Tenants, Error> {
        Tenants::detect(&settings(pairs))
    }

    fn resolved(pairs: &[(&str, &str)], own: &str, requested: &str) -> Result<Option<String>, Error> {
        tenants(pairs).unwrap().resolve(Some(requested), Some(own))
    }

    const OWN: &str = "own.example";
    const OTHER: &str = "other.example";

    #[test]
    fn a_tenant_is_an_id_or_a_domain_or_an_ad_fs() {
        for (text, tenant) in [
            ("72F988BF-86f1-41af-91ab-2d7cd011db47", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
            ("Contoso.onmicrosoft.com", "contoso.onmicrosoft.com"),
            ("contoso.com", "contoso.com"),
            ("ADFS", "adfs"),
        ] {
            assert_eq!(parse("AZURE_TENANT_ID", text).as_deref(), Ok(tenant));
        }
    }

    #[test]
    fn an_impossible_tenant_is_refused_by_the_name_of_the_variable() {
        for (expected, texts) in [
            ("users", &["common", "Organizations", "consumers"][..]),
            ("GUID", &["72f988bf-86f1-41af-91ab-2d7cd011db4", "72f988bf-86f1-41af-91ab-2d7cd011db477"]),
            ("GUID", &["72f988bf-86f1-41af-91ab2d7cd011db47", "72f988bf86f141af91ab2d7cd011db47"]),
            ("GUID", &["72f988bg-86f1-41af-91ab-2d7cd011db47", "contoso"]),
            ("domain", &[".", "..", "contoso.", ".com", "contoso..com"]),
            ("not a tenant", &["my tenant", "my_tenant.com", "/", "\\", "\"'", "a/../b.c", "\u{e4}.de"]),
        ] {
            for text in texts {
                let error = parse("AZURE_TENANT_ID", text).unwrap_err();
                let words = error.to_string();
                assert_eq!(error.kind(), "misconfigured");
                assert!(words.contains("AZURE_TENANT_ID") && words.contains(expected), "{text}: {words}");
            }
        }
        assert!(parse("AZURE_TENANT_ID", &format!("{}.com", "x".repeat(MAX_TENANT))).is_err());
    }

    #[test]
    fn the_own_tenant_is_no_other_one() {
        assert_eq!(resolved(&[], OWN, OWN), Ok(None));
        assert_eq!(resolved(&[], ADFS, OTHER), Ok(None));
        let tenants = tenants(&[]).unwrap();
        assert_eq!(tenants.resolve(None, Some(OWN)), Ok(None));
        assert_eq!(tenants.resolve(Some(OTHER), None), Ok(None), "managed identities take no tenant");
    }

    #[test]
    fn another_tenant_is_refused_unless_it_is_listed() {
        let error = resolved(&[], OWN, OTHER).unwrap_err();
        assert_eq!(error.kind(), "denied");
        assert!(error.to_string().contains(ADDITIONAL_TENANTS), "{error}");
        for list in [OTHER, "a.example; Other.example ;", "*", "a.example;*"] {
            let pairs = [(ADDITIONAL_TENANTS, list)];
            assert_eq!(resolved(&pairs, OWN, OTHER), Ok(Some(OTHER.to_owned())), "{list}");
        }
        for list in ["a b", "common", "contoso", "72f988bf-86f1-41af-91ab-2d7cd011db4"] {
            assert!(tenants(&[(ADDITIONAL_TENANTS, list)]).is_err(), "{list}");
        }
    }

    #[test]
    fn a_request_for_a_tenant_that_no_application_has_is_invalid_even_where_all_are_allowed() {
        let all = [(ADDITIONAL_TENANTS, "*")];
        for tenant in ["common", "consumers", "contoso", "72f988bf-86f1-41af-91ab-2d7cd011db4"] {
            assert_eq!(resolved(&all, OWN, tenant).unwrap_err().kind(), "invalid-request", "{tenant}");
            assert_eq!(resolved(&[], OWN, tenant).unwrap_err().kind(), "denied", "{tenant}");
        }
    }

    #[test]
    fn where_other_tenants_are_switched_off_they_are_left_out() {
        for switch in ["true", "1", "True"] {
            let pairs = [(DISABLE_MULTITENANT, switch), (ADDITIONAL_TENANTS, "*")];
            assert_eq!(resolved(&pairs, OWN, OTHER), Ok(None));
        }
    }
}
