//! The challenge of a service that refuses a request (`WWW-Authenticate`): it names the token that the service wants.

mod syntax;
#[cfg(test)]
mod tests;

use http::Uri;
use http::uri::Authority;
use token_broker::wire::{HostPort, from_base64url, is_tenant, redacted};
use token_broker::{Claims, Error, Failure, Scope};

use syntax::{Item, Items};

/// The `Bearer` challenge of a 401, as Key Vault, Managed HSM, Storage and continuous access evaluation send it.
///
/// The server that answers can name any scope and tenant in it. Ask for a token only after [`Challenge::scope_for`]
/// has said that the scope is the service's own.
///
/// ```
/// use token_broker::Error;
/// use token_broker_egress::Challenge;
///
/// # fn main() -> Result<(), Error> {
/// let header = r#"Bearer authorization="https://login.microsoftonline.com/contoso.com", resource="https://vault.azure.net""#;
/// let challenge = Challenge::bearer([header])?;
///
/// let vault = "my.vault.azure.net".parse().expect("a host");
/// assert_eq!(challenge.scope_for(&vault)?, "https://vault.azure.net/.default");
/// assert_eq!(challenge.tenant()?.as_deref(), Some("contoso.com"));
/// assert_eq!(challenge.claims()?, None);
///
/// let other = "vault.azure.net.example.com".parse().expect("a host");
/// assert!(challenge.scope_for(&other).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    authorization: Option<String>,
    authorization_uri: Option<String>,
    scope: Option<String>,
    resource: Option<String>,
    resource_id: Option<String>,
    error: Option<String>,
    claims: Option<String>,
}

impl Challenge {
    /// The `Bearer` challenge among the values of all `WWW-Authenticate` headers of an answer (RFC 9110, 11.6.1).
    ///
    /// The first one that can be read, or the first that asks for claims if one does: other schemes and challenges that
    /// cannot be read are passed over. At most 16 headers of at most 32 KiB are looked at. Values may stand without
    /// quotes and parameters without commas, as Storage sends them.
    ///
    /// # Errors
    /// [`Error::Protocol`] if there is none. A challenge that names a parameter twice, or holds anything but parameters,
    /// cannot be read.
    pub fn bearer<V: AsRef<[u8]>>(headers: impl IntoIterator<Item = V>) -> Result<Self, Error> {
        let mut found = None;
        for header in headers.into_iter().take(MAX_HEADERS) {
            if header.as_ref().len() <= MAX_HEADER {
                read(header.as_ref(), &mut found);
            }
        }
        found.ok_or_else(|| {
            error("the response has no Bearer challenge that can be read".to_owned(), CHECK_SERVICE)
        })
    }

    /// The scope that the challenge names, for the service at this host and port to which the request went.
    ///
    /// It is the challenge's `scope`, else its `resource` or `resource_id` with `/.default` behind it. The service's host
    /// must end with a dot and the scope's host, and the port be the same, as Azure's Key Vault libraries demand:
    /// <https://aka.ms/azsdk/blog/vault-uri>
    ///
    /// # Errors
    /// [`Error::Protocol`] that names both hosts if the scope is another service's, and if there is no scope or one
    /// without an https host.
    pub fn scope_for(&self, service: &Authority) -> Result<String, Error> {
        let scope = self.unverified_scope()?;
        let uri = https(&scope)
            .map_err(|why| unusable(&format!("names the scope {}, {why}", redacted(&scope, &[]))))?;
        match uri.authority() {
            Some(domain) if is_within(service, domain) => Ok(scope),
            _ => Err(foreign(service, &scope)),
        }
    }

    /// The scope that the challenge names, of this service or another.
    ///
    /// For services whose scope is not their domain, if the scope is then compared with the one they are known to have:
    /// `https://storage.azure.com/.default` for Storage. Otherwise any server could ask for a token of another one.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it names none, or one that is no scope (RFC 6749, 3.3).
    pub fn unverified_scope(&self) -> Result<String, Error> {
        let named = |resource: &str| format!("{resource}/.default");
        let scope = filled(&self.scope)
            .map(str::to_owned)
            .or_else(|| filled(&self.resource).or_else(|| filled(&self.resource_id)).map(named))
            .ok_or_else(|| unusable("names neither a scope nor a resource"))?;
        match Scope::parse(&scope) {
            Ok(_) => Ok(scope),
            Err(_) => {
                Err(unusable(&format!("names the scope {}, which is not a scope", redacted(&scope, &[]))))
            }
        }
    }

    /// True if the challenge names a scope or a resource.
    pub(crate) fn names_scope(&self) -> bool {
        [&self.scope, &self.resource, &self.resource_id].into_iter().any(|named| filled(named).is_some())
    }

    /// The tenant whose tokens the service takes: the first segment of the path of `authorization_uri` or
    /// `authorization`. None if it names no tenant, and for an AD FS, which has none.
    ///
    /// # Errors
    /// [`Error::Protocol`] if that is not the https URL of a host, or its tenant is neither an id nor a domain.
    pub fn tenant(&self) -> Result<Option<String>, Error> {
        let Some(url) = filled(&self.authorization_uri).or_else(|| filled(&self.authorization)) else {
            return Ok(None);
        };
        let refuse = |why: &str| unusable(&format!("names the authority {}, {why}", redacted(url, &[])));
        let uri = https(url).map_err(refuse)?;
        let tenant = uri.path().split('/').nth(1).unwrap_or_default();
        if tenant.is_empty() || tenant.eq_ignore_ascii_case(ADFS) {
            return Ok(None);
        }
        match is_tenant(tenant) {
            true => Ok(Some(tenant.to_owned())),
            false => Err(refuse("whose path does not begin with a tenant")),
        }
    }

    /// The claims that a token must have, as JSON, if the challenge refuses one for the lack of them: continuous access
    /// evaluation, <https://learn.microsoft.com/entra/identity-platform/claims-challenge>. They go into the next request
    /// for a token as they are.
    ///
    /// They count with the error `insufficient_claims`, and with `invalid_token`, with which Resource Manager sends them
    /// for a session that was revoked: without them the next token would be refused as this one was. They only narrow
    /// the use of a token, so a service that asks for them without need costs one more request and no more.
    ///
    /// Both alphabets of base64 are read, with and without padding.
    ///
    /// # Errors
    /// [`Error::Protocol`] if they are not base64 of a JSON object.
    pub fn claims(&self) -> Result<Option<String>, Error> {
        let Some(encoded) = self.wanted_claims() else { return Ok(None) };
        let decoded = from_base64url(&encoded.replace('+', "-").replace('/', "_"));
        let claims = decoded.and_then(|json| String::from_utf8(json).ok()).map(Claims::parse);
        match claims {
            Some(Ok(claims)) => Ok(Some(claims.as_str().to_owned())),
            _ => Err(unusable("asks for claims that are not base64 of a JSON object")),
        }
    }

    fn wanted_claims(&self) -> Option<&str> {
        let is_wanted = self
            .error
            .as_deref()
            .is_some_and(|error| CLAIMS_ERRORS.iter().any(|it| error.eq_ignore_ascii_case(it)));
        filled(&self.claims).filter(|_| is_wanted)
    }

    /// The challenge with one more parameter, if it can still be read.
    fn with(mut self, name: &[u8], value: Vec<u8>) -> Option<Self> {
        let field = match name.to_ascii_lowercase().as_slice() {
            b"authorization" => &mut self.authorization,
            b"authorization_uri" => &mut self.authorization_uri,
            b"scope" => &mut self.scope,
            b"resource" => &mut self.resource,
            b"resource_id" => &mut self.resource_id,
            b"error" => &mut self.error,
            b"claims" => &mut self.claims,
            _ => return Some(self),
        };
        let text = String::from_utf8(value).ok().filter(|text| !text.contains(|c: char| c.is_control()))?;
        // RFC 9110, 11.2: a parameter occurs once. Which of two is meant is not ours to guess.
        field.replace(text).is_none().then_some(self)
    }
}

/// Find the readable Bearer challenges of one header.
fn read(header: &[u8], found: &mut Option<Challenge>) {
    let mut open = None;
    for item in Items::of(header) {
        open = match (item, open) {
            (Item::Scheme(name), read) => {
                keep(read, found);
                name.eq_ignore_ascii_case(b"bearer").then(Challenge::default)
            }
            (Item::Parameter(name, Some(value)), Some(challenge)) => challenge.with(name, value),
            (Item::Parameter(..) | Item::Data | Item::Junk, _) => None,
        };
    }
    keep(open, found);
}

/// Keep the first challenge, unless a later one asks for claims: the service wants these now.
fn keep(read: Option<Challenge>, found: &mut Option<Challenge>) {
    let asks =
        |challenge: &Option<Challenge>| challenge.as_ref().is_some_and(|it| it.wanted_claims().is_some());
    if found.is_none() || (asks(&read) && !asks(found)) {
        *found = read;
    }
}

/// An empty value is an unset one.
fn filled(parameter: &Option<String>) -> Option<&str> {
    parameter.as_deref().filter(|value| !value.is_empty())
}

/// The https URL of a host, with nothing before it; else its flaw, as the end of a sentence.
fn https(text: &str) -> Result<Uri, &'static str> {
    // For some readers of URLs a backslash ends the host, for others it does not.
    let uri = text.parse::<Uri>().ok().filter(|_| !text.contains('\\')).ok_or("which is not a URL")?;
    match uri.authority().and_then(place) {
        Some(_) if uri.scheme_str() == Some("https") => Ok(uri),
        Some(_) => Err("which is not https"),
        None => Err("which has no valid host"),
    }
}

/// Whether a service is in a domain, at the same port.
fn is_within(service: &Authority, domain: &Authority) -> bool {
    let (Some((service, at)), Some((domain, port))) = (place(service), place(domain)) else { return false };
    at == port && service.strip_suffix(&domain).is_some_and(|name| name.ends_with('.'))
}

/// Host in lower case, and port; none if two readers could make different hosts of it.
fn place(authority: &Authority) -> Option<(String, u16)> {
    let server = HostPort::parse(authority.as_str(), 443).ok()?;
    Some((server.host().to_string(), server.port()))
}

fn unusable(why: &str) -> Error {
    error(format!("the challenge {why}"), CHECK_SERVICE)
}

fn foreign(service: &Authority, scope: &str) -> Error {
    // Behind the user information, which may be a password.
    let service = service.as_str().rsplit('@').next().unwrap_or_default();
    let [service, scope] = [service, scope].map(|text| redacted(text, &[]));
    error(
        format!("the challenge of {service} names the scope {scope}, of whose host {service} is no part"),
        "check the service's address: a service gets no token of another one",
    )
}

fn error(message: String, remedy: &str) -> Error {
    Error::Protocol(Failure::new("challenge", message).with_remedy(remedy))
}

/// The fix for a challenge that is not one of Azure's.
const CHECK_SERVICE: &str =
    "check the service's address: the server there does not ask for tokens as Azure's services do";
/// The path by which an AD FS is known.
const ADFS: &str = "adfs";
const CLAIMS_ERRORS: [&str; 2] = ["insufficient_claims", "invalid_token"];
const MAX_HEADERS: usize = 16;
/// Claims of 16 KiB, in base64, and their neighbours.
const MAX_HEADER: usize = 32 * 1024;
