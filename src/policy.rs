//! The policy: the scopes and identities that are allowed. Only this file makes a [`CacheKey`], so a key proves
//! admission.

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use crate::model::{Claims, Error, Id, Identity, OnBehalfOf, SEPARATORS, SEVERAL, Scope, TokenRequest};
use crate::settings::Settings;
use crate::settings::variables::{ALLOWED_IDENTITIES, ALLOWED_SCOPES};

/// The scopes and identities that a consumer may request. The default allows all.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Audiences, each without a trailing slash.
    scopes: Option<Allowed<Vec<String>>>,
    identities: Option<Allowed<Identities>>,
}

/// A list, with its name for errors.
#[derive(Clone, Debug)]
struct Allowed<T> {
    name: String,
    entries: T,
}

#[derive(Clone, Debug, Default)]
struct Identities {
    system_assigned: bool,
    user_assigned: Vec<Id>,
}

impl Policy {
    /// A policy from two lists separated by white space. `None` allows all; a list allows nothing else.
    ///
    /// An identity is its client id, object id or resource id, or `system-assigned`. `/.default` at the end of a scope
    /// and a trailing slash of an audience make no difference.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a list without entries, or an entry that no request can match.
    pub fn new(scopes: Option<&str>, identities: Option<&str>) -> Result<Self, Error> {
        Self::parse(("the list of allowed scopes", scopes), ("the list of allowed identities", identities))
    }

    /// A policy that allows the scopes of a list. `name` is the list's name in errors.
    ///
    /// # Errors
    /// As [`Policy::new`].
    pub fn for_scopes(name: &str, scopes: &str) -> Result<Self, Error> {
        Self::parse((name, Some(scopes)), ("", None))
    }

    /// The policy of the settings.
    ///
    /// # Errors
    /// As [`Policy::new`].
    pub(crate) fn detect(settings: &Settings) -> Result<Self, Error> {
        let list = |variable| (settings.name(variable), settings.get(variable));
        Self::parse(list(ALLOWED_SCOPES), list(ALLOWED_IDENTITIES))
    }

    /// A policy from two lists, each with its name for errors.
    fn parse(
        (scopes_name, scopes): (&str, Option<&str>),
        (identities_name, identities): (&str, Option<&str>),
    ) -> Result<Self, Error> {
        let scopes = scopes.map(|list| {
            Ok(Allowed { entries: parse_scopes(scopes_name, list)?, name: scopes_name.to_owned() })
        });
        let identities = identities.map(|list| {
            Ok(Allowed {
                entries: parse_identities(identities_name, list)?,
                name: identities_name.to_owned(),
            })
        });
        Ok(Self { scopes: scopes.transpose()?, identities: identities.transpose()? })
    }

    /// The identity of a request, if scope and identity are allowed. [`Identity::Default`] stands for `default`.
    ///
    /// With a list of identities, a default without an id is the system-assigned identity: a machine with a single
    /// user-assigned identity would otherwise answer with that one.
    ///
    /// # Errors
    /// [`Error::Denied`] that names the scope or identity and the setting that would allow it.
    pub fn check(&self, request: &TokenRequest, default: &Identity) -> Result<Identity, Error> {
        let identity = match (&request.identity, default) {
            (Identity::Default, Identity::Default) if self.identities.is_some() => &Identity::SystemAssigned,
            (Identity::Default, default) => default,
            (named, _) => named,
        };
        let scope = &request.scope;
        if let Some(Allowed { name, entries }) = &self.scopes
            && !entries.iter().any(|entry| entry == entry_of(scope))
        {
            return Err(Error::denied(
                format_args!("the policy does not allow the scope {}", scope.audience()),
                format_args!("add it to {name}"),
            ));
        }
        if let Some(Allowed { name, entries }) = &self.identities
            && !entries.contain(identity)
        {
            return Err(Error::denied(
                format_args!("the policy does not allow {identity}"),
                format_args!("add it to {name}"),
            ));
        }
        Ok(identity.clone())
    }

    /// Checks a request, and makes the cache key of its token. `tenant` returns the tenant to use for an identity
    /// instead of the configured one.
    ///
    /// # Errors
    /// [`Error::Denied`] as [`Policy::check`], and the errors of `tenant`.
    pub(crate) fn admit(
        &self,
        request: &TokenRequest,
        default: &Identity,
        tenant: impl FnOnce(&Identity) -> Result<Option<String>, Error>,
    ) -> Result<AdmittedRequest, Error> {
        let identity = self.check(request, default)?;
        let key = CacheKey {
            scope: request.scope.clone(),
            tenant_id: tenant(&identity)?,
            identity,
            cae: request.enable_cae,
            claims: request.claims.as_ref().map(|claims| digest(claims.as_str())),
            user: request.on_behalf_of.as_ref().map(User::of),
            purpose: Purpose::Consumer,
        };
        Ok(AdmittedRequest {
            key,
            claims: request.claims.clone(),
            on_behalf_of: request.on_behalf_of.clone(),
        })
    }
}

impl Identities {
    fn contain(&self, identity: &Identity) -> bool {
        match identity.id() {
            None => self.system_assigned,
            Some(id) => self.user_assigned.contains(id),
        }
    }
}

/// A request that the policy allows: its cache key, and the texts of which the key has only digests.
#[derive(Clone, Debug)]
pub(crate) struct AdmittedRequest {
    key: CacheKey,
    claims: Option<Claims>,
    on_behalf_of: Option<OnBehalfOf>,
}

impl AdmittedRequest {
    /// A request of the broker itself, for the client assertion of an app registration. Consumers never get it, so the
    /// policy does not apply.
    pub(crate) fn assertion(audience: Scope, identity: Identity, purpose: Purpose) -> Self {
        let key = CacheKey {
            scope: audience,
            identity,
            tenant_id: None,
            cae: false,
            claims: None,
            user: None,
            purpose,
        };
        Self { key, claims: None, on_behalf_of: None }
    }

    pub(crate) fn key(&self) -> &CacheKey {
        &self.key
    }

    pub(crate) fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }

    pub(crate) fn on_behalf_of(&self) -> Option<&OnBehalfOf> {
        self.on_behalf_of.as_ref()
    }
}

/// The key of a cached token. Two requests share a token exactly if their keys are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CacheKey {
    scope: Scope,
    identity: Identity,
    tenant_id: Option<String>,
    cae: bool,
    claims: Option<[u8; 32]>,
    user: Option<User>,
    purpose: Purpose,
}

/// The use of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// A consumer requested it.
    Consumer,
    /// It is a client assertion that a managed identity provides.
    IdentityAssertion,
    /// It is a client assertion that the issuer of another platform provides.
    IssuerAssertion,
}

/// The user of an on-behalf-of request: the digest of the user's token, and the requested permission.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct User {
    assertion: [u8; 32],
    permission: String,
}

impl User {
    fn of(user: &OnBehalfOf) -> Self {
        Self { assertion: digest(user.assertion.expose_secret()), permission: user.permission.clone() }
    }
}

impl CacheKey {
    pub(crate) fn audience(&self) -> &str {
        self.scope.audience()
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The tenant to use instead of the configured one.
    pub(crate) fn tenant_id(&self) -> Option<&str> {
        self.tenant_id.as_deref()
    }

    /// Whether the token may be revoked before it expires (continuous access evaluation).
    pub(crate) fn cae(&self) -> bool {
        self.cae
    }

    pub(crate) fn is_for_user(&self) -> bool {
        self.user.is_some()
    }

    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whether the token is a client assertion, which no consumer gets.
    pub(crate) fn is_assertion(&self) -> bool {
        self.purpose != Purpose::Consumer
    }

    /// An injective encoding: a JSON array, in which the fields are delimited.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (kind, id) = match &self.identity {
            Identity::Default => ("default", None),
            Identity::SystemAssigned => ("system-assigned", None),
            Identity::ClientId(id) => ("client-id", Some(id)),
            Identity::ObjectId(id) => ("object-id", Some(id)),
            Identity::ResourceId(id) => ("resource-id", Some(id)),
        };
        let id = id.map(|id| id.as_str().to_ascii_lowercase());
        let user = self.user.as_ref().map(|user| (user.assertion, &user.permission));
        let fields = (
            self.scope.audience(),
            (kind, id),
            &self.tenant_id,
            (self.cae, self.claims, user, self.purpose as u8),
        );
        // Serializing texts and numbers cannot fail.
        serde_json::to_vec(&fields).unwrap_or_default()
    }

    /// The key of the same request without claims. A token with claims is stored under it.
    pub(crate) fn without_claims(&self) -> Self {
        Self { claims: None, ..self.clone() }
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn parse_scopes(name: &str, list: &str) -> Result<Vec<String>, Error> {
    let mut scopes = Vec::new();
    for entry in list.split_whitespace() {
        let scope = Scope::parse(entry).map_err(|error| invalid(name, &error))?;
        if let Some(flaw) = scope.flaw() {
            return Err(unusable(name, entry, flaw));
        }
        scopes.push(entry_of(&scope).to_owned());
    }
    non_empty(name, scopes.is_empty(), scopes)
}

/// The form of a scope in the list. In requests, audiences with and without a trailing slash differ.
fn entry_of(scope: &Scope) -> &str {
    let audience = scope.audience();
    audience.strip_suffix('/').unwrap_or(audience)
}

fn parse_identities(name: &str, list: &str) -> Result<Identities, Error> {
    let mut identities = Identities::default();
    for entry in list.split_whitespace() {
        if entry == SYSTEM_ASSIGNED {
            identities.system_assigned = true;
            continue;
        }
        let identity = Identity::client_id(entry);
        let identity = identity.map_err(|error| invalid(name, &error))?;
        if let Some(flaw) = flaw_of_id(entry) {
            return Err(unusable(name, entry, flaw));
        }
        identities.user_assigned.extend(identity.id().cloned());
    }
    let is_empty = !identities.system_assigned && identities.user_assigned.is_empty();
    non_empty(name, is_empty, identities)
}

fn flaw_of_id(entry: &str) -> Option<(&'static str, &'static str)> {
    let letters: String = entry.chars().filter(char::is_ascii_alphabetic).collect();
    match entry {
        _ if entry.contains(SEPARATORS) => Some(SEVERAL),
        _ if entry.contains('*') => {
            Some(("has a `*` in it", "name each identity; unset the list to allow all"))
        }
        _ if entry.eq_ignore_ascii_case("default") => {
            Some(("is not an identity", "write the id of the default identity, or `system-assigned`"))
        }
        _ if letters.eq_ignore_ascii_case("systemassigned") => {
            Some(("is not an identity", "write `system-assigned`"))
        }
        _ => None,
    }
}

/// Refuses an empty list: it would allow nothing, and is more likely a template that was not filled in.
fn non_empty<T>(name: &str, is_empty: bool, list: T) -> Result<T, Error> {
    if is_empty {
        return Err(Error::misconfigured(format_args!("{name} has no entry"), "add the allowed entries"));
    }
    Ok(list)
}

fn unusable(name: &str, entry: &str, (why, fix): (&str, &str)) -> Error {
    Error::misconfigured(format_args!("{name} has the entry {entry}, which {why}"), fix)
}

fn invalid(name: &str, error: &Error) -> Error {
    Error::Misconfigured(format!("{name} has an entry that cannot be used: {}", error.detail()))
}

const SYSTEM_ASSIGNED: &str = "system-assigned";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const VAULT: &str = "https://vault.azure.net/.default";

    fn request(scope: &str, identity: Identity) -> TokenRequest {
        TokenRequest { identity, ..TokenRequest::for_scope(scope).unwrap() }
    }

    fn check(policy: &Policy, scope: &str, identity: Identity) -> Result<(), Error> {
        policy.check(&request(scope, identity), &Identity::Default).map(|_| ())
    }

    #[test]
    fn without_lists_everything_is_allowed() {
        assert_eq!(check(&Policy::default(), "anything", Identity::client_id("x").unwrap()), Ok(()));
    }

    #[test]
    fn a_list_of_scopes_allows_nothing_else_and_knows_both_spellings() {
        let policy =
            Policy::new(Some("https://vault.azure.net  https://storage.azure.com/.default"), None).unwrap();
        for scope in [VAULT, "https://vault.azure.net", "https://storage.azure.com"] {
            assert_eq!(check(&policy, scope, Identity::Default), Ok(()));
        }
        let error = check(&policy, "https://graph.microsoft.com/.default", Identity::Default).unwrap_err();
        assert_eq!(error.kind(), "denied");
        assert!(error.to_string().contains("https://graph.microsoft.com"), "{error}");
        assert!(error.to_string().ends_with("; fix: add it to the list of allowed scopes"), "{error}");
        let error = Policy::for_scopes("--scope", "https://a.example")
            .unwrap()
            .check(&request("https://b.example", Identity::Default), &Identity::Default);
        assert!(error.unwrap_err().to_string().ends_with("; fix: add it to --scope"));
    }

    #[test]
    fn an_audience_with_and_without_its_closing_slash_is_one_entry() {
        for list in [
            "https://database.windows.net",
            "https://database.windows.net/",
            "https://database.windows.net//.default",
        ] {
            let policy = Policy::new(Some(list), None).unwrap();
            for scope in ["https://database.windows.net//.default", "https://database.windows.net/.default"] {
                assert_eq!(check(&policy, scope, Identity::Default), Ok(()), "{list} {scope}");
            }
            for scope in ["https://database.windows.net///.default", "https://database.windows.net.example"] {
                assert!(check(&policy, scope, Identity::Default).is_err(), "{list} {scope}");
            }
        }
    }

    fn detect(variable: &str, list: &str) -> Result<Policy, Error> {
        Policy::detect(&crate::tests::settings(&[(variable, list)]))
    }

    #[test]
    fn a_scope_that_no_request_can_be_for_is_refused_by_the_variable_and_the_entry() {
        for (mistake, entries) in [
            ("two entries", &["https://vault.azure.net,https://storage.azure.com", "a,b"][..]),
            ("a sign too many", &["https://vault.azure.net;", "'https://vault.azure.net'"]),
            ("no scheme", &["vault.azure.net", "vault.azure.net:443", "vault.azure.net/.default"]),
            ("no host", &["https://", "https:"]),
            ("a pattern", &["https://*.vault.azure.net", "*"]),
            ("a GUID cut short", &["2ff814a6-3304-4ab8-85cb-cd0e6f879c1"]),
        ] {
            for entry in entries {
                let error =
                    detect(ALLOWED_SCOPES, &format!("https://storage.azure.com {entry}")).unwrap_err();
                let text = error.to_string();
                assert_eq!(error.kind(), "misconfigured", "{mistake}: {entry}");
                assert!(text.contains(entry) && text.contains(ALLOWED_SCOPES), "{text}");
            }
        }
        let app = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";
        for entry in [
            "api://11111111-1111-1111-1111-111111111111/.default",
            &format!("{app}/.default"),
            &format!("{app}/user_impersonation"),
            "https://graph.microsoft.com/User.Read",
            "urn:ms-drs:enterpriseregistration.windows.net",
            &format!("spn:{app}"),
        ] {
            assert!(Policy::new(Some(entry), None).is_ok(), "{entry}");
        }
    }

    #[test]
    fn an_impossible_identity_is_refused_by_the_variable() {
        let signs = ["aaa,bbb", "aaa;", "\"aaa\"", "'aaa'", "*", "/subscriptions/*"];
        let words = ["System-Assigned", "systemassigned", "system_assigned", "Default"];
        for entry in signs.iter().chain(&words) {
            let error = detect(ALLOWED_IDENTITIES, entry).unwrap_err();
            assert_eq!(error.kind(), "misconfigured", "{entry}");
            assert!(error.to_string().contains(ALLOWED_IDENTITIES), "{error}");
        }
        assert!(Policy::new(None, Some("/subscriptions/s/resourceGroups/g/x")).is_ok());
    }

    #[test]
    fn a_list_of_identities_allows_nothing_else_whatever_the_case() {
        let policy = Policy::new(None, Some("AAA system-assigned")).unwrap();
        assert_eq!(check(&policy, VAULT, Identity::Default), Ok(()));
        assert_eq!(check(&policy, VAULT, Identity::client_id("aaa").unwrap()), Ok(()));
        assert!(check(&policy, VAULT, Identity::client_id("bbb").unwrap()).is_err());
        let only_user = Policy::new(None, Some("aaa")).unwrap();
        assert!(check(&only_user, VAULT, Identity::SystemAssigned).is_err());
    }

    #[test]
    fn the_default_identity_is_judged_by_whom_it_stands_for() {
        let policy = Policy::new(None, Some("aaa")).unwrap();
        let asked = request(VAULT, Identity::Default);
        assert!(policy.check(&asked, &Identity::client_id("aaa").unwrap()).is_ok());
        assert!(policy.check(&asked, &Identity::SystemAssigned).is_err());
    }

    #[test]
    fn where_identities_are_listed_the_default_is_the_system_assigned_one_and_no_other() {
        let asked = request(VAULT, Identity::Default);
        let listed = Policy::new(None, Some("system-assigned")).unwrap();
        assert_eq!(listed.check(&asked, &Identity::Default), Ok(Identity::SystemAssigned));
        assert_eq!(Policy::default().check(&asked, &Identity::Default), Ok(Identity::Default));
    }

    #[test]
    fn requests_that_must_not_share_a_token_have_different_keys() {
        let admit = |request: &TokenRequest| {
            let tenant = |_: &Identity| Ok(request.tenant_id.clone());
            Policy::default().admit(request, &Identity::Default, tenant).unwrap().key().clone()
        };
        let base = request(VAULT, Identity::Default);
        let user = |assertion: &str, permission: &str| {
            let user = OnBehalfOf { assertion: assertion.into(), permission: permission.to_owned() };
            TokenRequest { on_behalf_of: Some(user), ..base.clone() }
        };
        let variants = [
            base.clone(),
            request("https://storage.azure.com", Identity::Default),
            request(VAULT, Identity::SystemAssigned),
            request(VAULT, Identity::client_id("x").unwrap()),
            request(VAULT, Identity::object_id("x").unwrap()),
            TokenRequest { tenant_id: Some("t".to_owned()), ..base.clone() },
            TokenRequest { enable_cae: true, ..base.clone() },
            TokenRequest { claims: Some(Claims::parse("{}".to_owned()).unwrap()), ..base.clone() },
            user("alice", VAULT),
            user("bob", VAULT),
            user("bob", "https://vault.azure.net"),
        ];
        let mut keys: BTreeSet<_> = variants.iter().map(admit).collect();
        for purpose in [Purpose::IdentityAssertion, Purpose::IssuerAssertion] {
            keys.insert(
                AdmittedRequest::assertion(base.scope.clone(), Identity::Default, purpose).key().clone(),
            );
        }
        assert_eq!(keys.len(), variants.len() + 2);
        assert_eq!(admit(&base), admit(&request("https://vault.azure.net", Identity::Default)));
    }

    #[test]
    fn a_list_without_an_entry_is_a_mistake() {
        assert!(Policy::new(Some(" \t"), None).unwrap_err().to_string().contains("no entry"));
        assert!(Policy::new(None, Some(" ")).unwrap_err().to_string().contains("no entry"));
        assert_eq!(Policy::new(Some("https://\u{e4}"), None).unwrap_err().kind(), "misconfigured");
    }
}
