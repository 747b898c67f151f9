//! The directory that is asked for a token: the deployment's own, or another one that it allows.

use crate::config::{ADDITIONAL_TENANTS, DISABLE_MULTITENANT, Settings};
use crate::error::Error;

/// Letters, digits, `.` and `-` are what azure-identity accepts.
pub(crate) fn is_tenant_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-')
}

/// Nothing, or what moves a request to another path of its host (RFC 3986, 5.2.4).
pub(crate) fn is_only_dots(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'.')
}

/// The tenant that a variable names, in lower case.
///
/// # Errors
/// [`Error::Misconfigured`] that names the variable and the accepted form.
pub(crate) fn parse(variable: &str, text: &str) -> Result<String, Error> {
    if text.len() > MAX_TENANT || is_only_dots(text) || !text.chars().all(is_tenant_char) {
        return Err(Error::Misconfigured(format!(
            "{variable} is not a tenant; it must be the directory's id or one of its domains, \
             as `az account show --query tenantId` prints it"
        )));
    }
    Ok(text.to_ascii_lowercase())
}

/// The other tenants that a request may name.
#[derive(Clone, Debug)]
pub(crate) enum Tenants {
    /// These, and no other.
    Only(Vec<String>),
    All,
    /// Another tenant is taken for the deployment's own.
    Ignored,
}

impl Tenants {
    /// # Errors
    /// [`Error::Misconfigured`] that names the variable.
    pub(crate) fn detect(settings: &Settings) -> Result<Self, Error> {
        if settings.is_on(DISABLE_MULTITENANT)? {
            return Ok(Self::Ignored);
        }
        let list = settings.get(ADDITIONAL_TENANTS).unwrap_or_default();
        let list: Vec<_> = list.split(';').map(str::trim).filter(|entry| !entry.is_empty()).collect();
        if list.contains(&"*") {
            return Ok(Self::All);
        }
        let tenants: Result<_, _> = list.into_iter().map(|entry| parse(ADDITIONAL_TENANTS, entry)).collect();
        tenants.map(Self::Only)
    }

    /// Which other tenant than its own to ask an app registration in, if any.
    ///
    /// Without an `own` one it is a managed identity that is asked, which takes no other: for it the request's tenant is
    /// left out, as all of Azure's libraries do.
    ///
    /// # Errors
    /// [`Error::Denied`] that names the setting which would allow the tenant.
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
            Self::Only(list) => own == "organizations" || list.iter().any(|tenant| tenant == requested),
        };
        if is_allowed { Ok(Some(requested.to_owned())) } else { Err(denied(requested)) }
    }
}

fn denied(tenant: &str) -> Error {
    Error::Denied(format!(
        "the tenant {tenant} is not the one that is configured; whoever deploys this can add it to \
         {ADDITIONAL_TENANTS}"
    ))
}

/// The tenant that stands for an AD FS.
pub(crate) const ADFS: &str = "adfs";

const MAX_TENANT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants(pairs: &[(&str, &str)]) -> Result<Tenants, Error> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Tenants::detect(&Settings::from_pairs(pairs))
    }

    fn resolved(pairs: &[(&str, &str)], own: &str, requested: &str) -> Result<Option<String>, Error> {
        tenants(pairs).unwrap().resolve(Some(requested), Some(own))
    }

    #[test]
    fn a_tenant_is_an_id_or_a_domain() {
        for text in ["8f1d-2", "contoso.onmicrosoft.com", "organizations", "common", "ADFS"] {
            assert!(parse("AZURE_TENANT_ID", text).is_ok(), "{text}");
        }
        for text in [".", "..", "my tenant", "my_tenant", "/", "\\", "\"'", "a/../b", "ä"] {
            let error = parse("AZURE_TENANT_ID", text).unwrap_err();
            assert_eq!(error.kind(), "misconfigured");
            assert!(error.to_string().contains("AZURE_TENANT_ID"), "{text}");
        }
    }

    #[test]
    fn the_own_tenant_is_no_other_one() {
        assert_eq!(resolved(&[], "own", "own"), Ok(None));
        assert_eq!(resolved(&[], ADFS, "other"), Ok(None));
        let tenants = tenants(&[]).unwrap();
        assert_eq!(tenants.resolve(None, Some("own")), Ok(None));
        assert_eq!(tenants.resolve(Some("other"), None), Ok(None), "managed identities take no tenant");
    }

    #[test]
    fn another_tenant_is_refused_unless_it_is_listed() {
        let error = resolved(&[], "own", "other").unwrap_err();
        assert_eq!(error.kind(), "denied");
        assert!(error.to_string().contains(ADDITIONAL_TENANTS), "{error}");
        for list in ["other", "a; Other ;", "*", "a;*"] {
            let pairs = [(ADDITIONAL_TENANTS, list)];
            assert_eq!(resolved(&pairs, "own", "other"), Ok(Some("other".to_owned())), "{list}");
        }
        assert!(resolved(&[], "organizations", "other").unwrap().is_some());
        assert!(tenants(&[(ADDITIONAL_TENANTS, "a b")]).is_err());
    }

    #[test]
    fn where_other_tenants_are_switched_off_they_are_left_out() {
        for switch in ["true", "1", "True"] {
            let pairs = [(DISABLE_MULTITENANT, switch), (ADDITIONAL_TENANTS, "*")];
            assert_eq!(resolved(&pairs, "own", "other"), Ok(None));
        }
    }
}
