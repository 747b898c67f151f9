//! What a request asks for, and what it must show.

use http::header::{AsHeaderName, HOST, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, StatusCode, Uri};
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;
use token_broker::variables::{ENDPOINT_SECRET, IDENTITY_ENDPOINT, MSI_ENDPOINT, POD_IDENTITY_HOST};
use token_broker::wire::{HostPort, ServerName};
use token_broker::{Error, Identity, RawRequest, Secret, Settings, TokenRequest};

use crate::query::Parameters;
use crate::reply::{Refusal, Reply};

/// The server's side of both protocols, as a deployment has configured it.
#[derive(Debug)]
pub struct IdentityApi {
    /// What App Service's clients must show; none: its protocol is not spoken.
    secret: Option<Secret>,
    /// Where the broker behind this asks, by the variables that say so.
    upstream: Vec<(&'static str, HostPort)>,
}

/// A request for a token that keeps to its protocol.
#[derive(Clone, Debug)]
pub struct Question {
    protocol: Protocol,
    request: RawRequest,
    audience: String,
}

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// As to the instance metadata service of a virtual machine.
    Imds,
    /// As to the identity endpoint of App Service, version 2019-08-01.
    AppService,
}

impl IdentityApi {
    /// The path at which SDKs expect IMDS, behind `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
    pub const IMDS_PATH: &str = "/metadata/identity/oauth2/token";
    /// The path of App Service's protocol: what `IDENTITY_ENDPOINT` ends with.
    pub const APP_SERVICE_PATH: &str = "/msi/token";

    /// Read what concerns the endpoint itself: `TOKEN_BROKER_ENDPOINT_SECRET`, and where the broker behind it asks.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a secret that is too easily guessed or that no header can carry.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        settings.check()?;
        let secret = settings.get(ENDPOINT_SECRET).map(secret).transpose()?;
        let upstream = [POD_IDENTITY_HOST, IDENTITY_ENDPOINT, MSI_ENDPOINT].into_iter();
        let upstream =
            upstream.filter_map(|variable| Some((variable, plain_server(settings.get(variable)?)?)));
        Ok(Self { upstream: upstream.collect(), secret })
    }

    /// Whether App Service's protocol is spoken, beside that of IMDS.
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// What a request asks for. Its body is of no interest and need not be read.
    ///
    /// # Errors
    /// The refusal, in the form of the protocol. It repeats nothing of the request.
    pub fn read(&self, request: &Parts) -> Result<Question, Reply> {
        let Some(protocol) = Protocol::at(request.uri.path()) else {
            return Err(Protocol::Imds.refused(&NOT_HERE));
        };
        self.question(protocol, request).map_err(|refusal| protocol.refused(&refusal))
    }

    /// Whether a request comes from a client that speaks to this endpoint by itself, for what is asked besides tokens.
    ///
    /// # Errors
    /// The refusal: it came through a proxy, or may be that of a web page.
    pub fn check_origin(&self, request: &Parts) -> Result<(), Reply> {
        self.origin(request).map_err(|refusal| Protocol::Imds.refused(&refusal))
    }

    /// The answer to every request where the configuration cannot be used.
    pub fn refused(request: &Parts, error: &Error) -> Reply {
        Protocol::at(request.uri.path()).unwrap_or(Protocol::Imds).refused(&Refusal::of(error))
    }

    fn question(&self, protocol: Protocol, request: &Parts) -> Result<Question, Refusal> {
        if request.method != Method::GET {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here"));
        }
        self.origin(request)?;
        match protocol {
            Protocol::Imds => check_metadata(&request.headers)?,
            Protocol::AppService => self.check_secret(&request.headers)?,
        }
        let Parameters { version, resource, identity } =
            Parameters::read(request.uri.query().unwrap_or_default())?;
        check_version(protocol, version.as_deref())?;
        let resource = resource.ok_or_else(|| Refusal::bad("the parameter resource is missing"))?;
        let raw = RawRequest { scopes: vec![resource], identity, ..RawRequest::default() };
        let parsed = TokenRequest::parse(raw.clone()).map_err(|error| Refusal::of(&error))?;
        Ok(Question { protocol, request: raw, audience: parsed.scope().audience().to_owned() })
    }

    /// A page in a browser on this machine may be able to send any header to whatever its own name is resolved to. It
    /// needs a name that somebody can own.
    fn origin(&self, request: &Parts) -> Result<(), Refusal> {
        if request.headers.contains_key("x-forwarded-for") {
            return Err(Refusal::bad(
                "requests with an X-Forwarded-For header are not answered: a proxy sent them",
            ));
        }
        authorities(request)?.try_for_each(|authority| self.check_authority(authority))
    }

    fn check_authority(&self, authority: &str) -> Result<(), Refusal> {
        let server = HostPort::parse(authority, HTTP)
            .map_err(|why| Refusal::bad(format!("the host that the request is for {why}")))?;
        if can_be_owned(server.host(), authority) {
            let text = "an endpoint is addressed by its IP address, as localhost, or by a name without a dot";
            return Err(Refusal::new(StatusCode::FORBIDDEN, text));
        }
        match self.upstream.iter().find(|(_, upstream)| upstream.is_same_server(&server)) {
            None => Ok(()),
            Some((variable, _)) => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                format!(
                    "misconfigured: {variable} of the broker names this endpoint itself, so that the broker would ask itself; \
                     unset it there, or have it name the platform's endpoint"
                ),
            )),
        }
    }

    fn check_secret(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(secret) = &self.secret else {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                format!(
                    "misconfigured: this protocol needs a secret, and {ENDPOINT_SECRET} is not set for the endpoint; that of \
                     IMDS needs none: set {POD_IDENTITY_HOST} instead of {IDENTITY_ENDPOINT}"
                ),
            ));
        };
        let is_right = |given: &HeaderValue| given.as_bytes().ct_eq(secret.expose_secret().as_bytes()).into();
        if only(headers, "x-identity-header").is_some_and(is_right) {
            return Ok(());
        }
        let text =
            format!("the X-IDENTITY-HEADER is missing or wrong: it is the endpoint's {ENDPOINT_SECRET}");
        Err(Refusal::new(StatusCode::UNAUTHORIZED, text))
    }
}

impl Question {
    /// How the client speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What the broker is to be asked.
    pub fn request(&self) -> &RawRequest {
        &self.request
    }

    /// What the token is for.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Whose token it is.
    pub fn identity(&self) -> &Identity {
        &self.request.identity
    }
}

impl Protocol {
    /// The protocol as a log names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imds => "imds",
            Self::AppService => "app-service",
        }
    }

    /// Azure's SDK for JavaScript asks IMDS with a slash at the end.
    fn at(path: &str) -> Option<Self> {
        match path.strip_suffix('/').unwrap_or(path) {
            IdentityApi::IMDS_PATH => Some(Self::Imds),
            IdentityApi::APP_SERVICE_PATH => Some(Self::AppService),
            _ => None,
        }
    }

    /// The first version that answers in this form; the later ones do as well.
    fn first_version(self) -> &'static str {
        match self {
            Self::Imds => "2018-02-01",
            Self::AppService => "2019-08-01",
        }
    }
}

/// # Errors
/// [`Error::Misconfigured`] that says what a secret is.
fn secret(text: &str) -> Result<Secret, Error> {
    let fits = (MIN_SECRET..=MAX_SECRET).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.into());
    }
    Err(Error::Misconfigured(format!(
        "{ENDPOINT_SECRET} must be {MIN_SECRET} to {MAX_SECRET} printable ASCII characters without a space; \
         `openssl rand -hex 32` makes some"
    )))
}

/// The hosts that a request is for, by its target and by its `Host` header: a server that reads one of them may stand
/// behind one that reads the other.
fn authorities(request: &Parts) -> Result<impl Iterator<Item = &str>, Refusal> {
    let header = match request.headers.contains_key(HOST) {
        false => None,
        true => {
            let host = only(&request.headers, HOST).and_then(|host| host.to_str().ok());
            Some(host.ok_or_else(|| Refusal::bad("the Host header is not one name or address"))?)
        }
    };
    Ok(request.uri.authority().map(Authority::as_str).into_iter().chain(header))
}

/// The server of a URL that is asked over plain HTTP, as this endpoint is.
fn plain_server(url: &str) -> Option<HostPort> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"))?;
    HostPort::parse(authority.as_str(), HTTP).ok()
}

/// Whether a host is one that the world's DNS can have, or that not every reader takes for an address.
fn can_be_owned(host: &ServerName, authority: &str) -> bool {
    match host {
        ServerName::Name(_) => authority.contains('.'),
        ServerName::Ip(_) => {
            let spelling = authority.split(':').next().unwrap_or_default();
            !authority.starts_with('[') && spelling.parse::<std::net::Ipv4Addr>().is_err()
        }
    }
}

fn check_metadata(headers: &HeaderMap) -> Result<(), Refusal> {
    match only(headers, "metadata") {
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"true") => Ok(()),
        _ => Err(Refusal { code: Some("bad_request_102".to_owned()), ..Refusal::bad(NO_METADATA) }),
    }
}

fn check_version(protocol: Protocol, version: Option<&str>) -> Result<(), Refusal> {
    let first = protocol.first_version();
    let Some(version) = version else { return Err(Refusal::bad("the parameter api-version is missing")) };
    if is_date(version) && version >= first {
        return Ok(());
    }
    Err(Refusal::bad(format!("the parameter api-version must be {first} or a later date")))
}

fn is_date(text: &str) -> bool {
    let form = "0000-00-00";
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(c, of)| if of == b'0' { c.is_ascii_digit() } else { c == of })
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

const NOT_HERE: Refusal = Refusal::fixed(
    StatusCode::NOT_FOUND,
    "tokens are at /metadata/identity/oauth2/token, where clients of IMDS look, and at /msi/token, for IDENTITY_ENDPOINT",
);
/// The words of IMDS.
const NO_METADATA: &str = "Required metadata header not specified";

/// The port of plain HTTP.
const HTTP: u16 = 80;
const MIN_SECRET: usize = 16;
const MAX_SECRET: usize = 1024;

#[cfg(test)]
mod tests;
