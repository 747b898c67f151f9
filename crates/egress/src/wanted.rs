//! The other token that a service asks for when it refuses one, as far as it may choose.

use token_broker::{Error, Scope};

use crate::challenge::Challenge;
use crate::rules::Rule;
use crate::target::Target;

/// The token that a service wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its scope: the rule's, or another one in whose domain the service is; none if the service names none.
    pub scope: Option<String>,
    /// Whose directory is to give it; none if the service does not say.
    pub tenant: Option<String>,
    /// The claims that it must have, as JSON; none if it lacks none.
    pub claims: Option<String>,
}

impl Rule {
    /// The token that a service asks for with a challenge. None if it gets no tokens.
    ///
    /// The deployer has said that the service gets tokens of the rule's scope. Tokens of another one it gets only if it is in
    /// that one's domain, as [`Challenge::scope_for`] checks: any server could otherwise name any scope.
    ///
    /// # Errors
    /// [`Error::Protocol`] if the challenge names a scope that is not the service's own, or cannot be read.
    pub fn wanted(&self, target: &Target, challenge: &Challenge) -> Result<Option<Wanted>, Error> {
        let (Some(scope), Some(service)) = (self.scope(), target.authority()) else { return Ok(None) };
        let named = if challenge.names_scope() { Some(challenge.unverified_scope()?) } else { None };
        let scope = match named {
            Some(named) if is_same(&named, scope) => Some(scope.to_owned()),
            Some(_) => Some(challenge.scope_for(&service)?),
            None => None,
        };
        let claims = challenge.claims()?;
        // Who asks for claims names the authority where users sign in, and means no directory by it.
        let tenant = match claims {
            None => challenge.tenant()?.filter(|tenant| !is_for_anybody(tenant)),
            Some(_) => None,
        };
        Ok(Some(Wanted { scope, tenant, claims }))
    }
}

/// Whether two scopes have the same audience: with and without `/.default`, and with and without a slash.
fn is_same(one: &str, other: &str) -> bool {
    let audience = |scope: &str| {
        Scope::parse(scope).map(|scope| scope.audience().trim_end_matches('/').to_ascii_lowercase()).ok()
    };
    one == other || audience(one).is_some_and(|one| Some(one) == audience(other))
}

/// <https://learn.microsoft.com/entra/identity-platform/v2-protocols#endpoints>
fn is_for_anybody(tenant: &str) -> bool {
    ["common", "organizations", "consumers"].iter().any(|name| tenant.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::{rules, target};

    fn wanted(list: &str, url: &str, header: &str) -> Result<Option<Wanted>, Error> {
        let target = target(url);
        let rules = rules(list);
        let rule = rules.find(&target).unwrap().unwrap();
        rule.wanted(&target, &Challenge::bearer([header]).unwrap())
    }

    fn scope_and_tenant(list: &str, url: &str, header: &str) -> (Option<String>, Option<String>) {
        let wanted = wanted(list, url, header).unwrap().unwrap();
        assert_eq!(wanted.claims, None);
        (wanted.scope, wanted.tenant)
    }

    const VAULT: &str = "https://my.vault.azure.net";
    const KEY_VAULT: &str = r#"Bearer authorization="https://login.microsoftonline.com/contoso", resource="https://vault.azure.net""#;

    #[test]
    fn a_vault_and_a_storage_account_may_name_the_directory_that_they_are_in() {
        let storage = "Bearer authorization_uri=https://login.microsoftonline.com/fabrikam/oauth2/authorize \
                       resource_id=https://storage.azure.com/";
        for (url, header, scope, tenant) in [
            (VAULT, KEY_VAULT, Some("https://vault.azure.net"), Some("contoso")),
            ("https://a.blob.core.windows.net", storage, Some("https://storage.azure.com"), Some("fabrikam")),
            (VAULT, "Bearer realm=x", None, None),
            (
                "https://graph.microsoft.com",
                r#"Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize""#,
                None,
                None,
            ),
        ] {
            let expected = (scope.map(str::to_owned), tenant.map(str::to_owned));
            assert_eq!(scope_and_tenant("", url, header), expected, "{url}");
        }
    }

    #[test]
    fn another_scope_than_the_rules_is_the_services_own_or_is_refused() {
        let domain = "*.vault.contoso.stack=https://vault.azure.net";
        let named =
            |resource: &str| format!("Bearer authorization=https://login.example/t, resource={resource}");
        let stack =
            scope_and_tenant(domain, "https://a.vault.contoso.stack", &named("https://vault.contoso.stack"));
        assert_eq!(stack.0.as_deref(), Some("https://vault.contoso.stack/.default"));
        for (list, url, resource) in [
            (domain, "https://a.vault.contoso.stack", "https://graph.microsoft.com"),
            ("", VAULT, "https://management.azure.com"),
            ("", "https://a.blob.core.windows.net", "https://vault.azure.net"),
            (
                "http://127.0.0.1:80=https://vault.azure.net",
                "http://127.0.0.1:80",
                "https://graph.microsoft.com",
            ),
            ("https://[::1]:80=https://vault.azure.net", "https://[::1]:80", "https://graph.microsoft.com"),
        ] {
            let error = wanted(list, url, &named(resource)).unwrap_err();
            assert!(error.kind() == "protocol" && error.to_string().contains(resource), "{error}");
        }
        let loopback = "http://127.0.0.1:80=https://vault.azure.net/.default";
        assert!(wanted(loopback, "http://127.0.0.1", &named("https://vault.azure.net")).is_ok());
    }

    #[test]
    fn who_lacks_claims_names_no_directory() {
        let header = r#"Bearer realm="", authorization_uri="https://login.microsoftonline.com/t/oauth2/authorize", error="insufficient_claims", claims="e30=""#;
        let wanted = wanted("", "https://graph.microsoft.com", header).unwrap().unwrap();
        assert_eq!((wanted.tenant, wanted.claims.as_deref()), (None, Some("{}")));
        let broken = header.replace("e30=", "?");
        assert!(self::wanted("", "https://graph.microsoft.com", &broken).is_err());
    }

    #[test]
    fn a_host_that_gets_no_token_wants_none() {
        assert_eq!(wanted("my.vault.azure.net=none", VAULT, KEY_VAULT), Ok(None));
    }
}
