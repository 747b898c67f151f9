//! Scopes: a resource, and permissions on it.

use crate::entra_error::{Code, EntraError};

/// The scopes of one resource that a user's app asks for
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Delegated<'a> {
    pub(super) resource: &'a str,
    /// Without the resource in front
    pub(super) names: Vec<&'a str>,
}

impl Delegated<'_> {
    /// With the resource in front, as an answer lists them
    pub(super) fn written(&self) -> String {
        let scopes = self.names.iter().map(|name| format!("{}/{name}", self.resource));
        scopes.collect::<Vec<_>>().join(" ")
    }
}

/// The resource that an app asks for itself: `RESOURCE/.default`, of which a slash at the end is part; scopes of OpenID
/// beside it are taken and do not count
pub(super) fn of_app(scope: &str) -> Result<&str, EntraError> {
    let mut scopes = scope.split_whitespace().filter(|scope| !OPEN_ID.contains(scope));
    let resource = scopes.next().and_then(|scope| scope.strip_suffix("/.default"));
    match (resource, scopes.next()) {
        (Some(resource), None) if !resource.is_empty() => Ok(resource),
        (Some(_), Some(_)) => Err(several_resources(scope)),
        _ => Err(Code::NOT_DEFAULT_SCOPE.because(format!(
            "The provided value for scope {scope} is not valid. Client credential flows must have a scope value \
             with /.default suffixed to the resource identifier (application ID URI)."
        ))),
    }
}

/// The scopes of an on-behalf-of request; one without a resource is of Microsoft Graph
pub(super) fn of_user(scope: &str) -> Result<Delegated<'_>, EntraError> {
    let scopes = scope.split_whitespace().filter(|scope| !OPEN_ID.contains(scope));
    let mut delegated: Option<Delegated<'_>> = None;
    for (resource, name) in scopes.map(|scope| scope.rsplit_once('/').unwrap_or((GRAPH, scope))) {
        let known = delegated.get_or_insert_with(|| Delegated { resource, names: Vec::new() });
        if known.resource != resource {
            return Err(several_resources(scope));
        }
        known.names.push(name);
    }
    delegated.filter(|delegated| !delegated.resource.is_empty()).ok_or_else(|| {
        let message = format!(
            "The provided request must include a 'scope' input parameter. The provided value for the input parameter \
             'scope' is not valid. The scope {scope} is not valid."
        );
        Code::BAD_SCOPE.because(message)
    })
}

fn several_resources(scope: &str) -> EntraError {
    let message = format!(
        "Provided value for the input parameter scope is not valid because it contains more than one resource. Scope \
         {scope} is not valid."
    );
    Code::SEVERAL_RESOURCES.because(message)
}

/// They ask for other tokens beside the access token.
const OPEN_ID: [&str; 4] = ["openid", "profile", "email", "offline_access"];
const GRAPH: &str = "https://graph.microsoft.com";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_is_part_of_the_resource() {
        assert_eq!(of_app("https://vault.azure.net/.default").unwrap(), "https://vault.azure.net");
        assert_eq!(
            of_app("https://database.windows.net//.default").unwrap(),
            "https://database.windows.net/"
        );
    }

    #[test]
    fn an_app_asks_for_one_resource_and_by_default() {
        for scope in ["https://vault.azure.net", "/.default", ".default", " ", "https://a.example/read"] {
            let refusal = format!("{:?}", of_app(scope).unwrap_err());
            assert!(refusal.contains("1002012"), "{refusal}");
        }
        let two = of_app("https://a.example/.default https://b.example/.default").unwrap_err();
        assert!(format!("{two:?}").contains("28000"));
    }

    #[test]
    fn a_users_scopes_are_of_one_resource_and_those_of_open_id_do_not_count() {
        let delegated =
            of_user("openid https://a.example/read https://a.example/write offline_access").unwrap();
        assert_eq!(
            (delegated.resource, delegated.names.as_slice()),
            ("https://a.example", &["read", "write"][..])
        );
        assert_eq!(delegated.written(), "https://a.example/read https://a.example/write");
        assert_eq!(of_user("User.Read").unwrap().resource, GRAPH);
        assert!(format!("{:?}", of_user("https://a.example/x User.Read").unwrap_err()).contains("28000"));
        assert!(format!("{:?}", of_user("openid profile").unwrap_err()).contains("70011"));
    }
}
