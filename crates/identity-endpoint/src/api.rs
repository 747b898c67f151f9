//! The reader of requests for tokens: it checks their origin, their protocol and their parameters.

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
    /// The secret of App Service's clients; none: its protocol is not spoken.
    secret: Option<Secret>,
    /// The endpoints that the broker behind this asks, by their variables.
    upstream: Vec<(&'static str, HostPort)>,
}

/// A request for a token that keeps to its protocol.
#[derive(Clone, Debug)]
pub struct Question {
    protocol: Protocol,
    request: RawRequest,
    audience: String,
}

/// The protocol of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// That of the instance metadata service of a virtual machine.
    Imds,
    /// That of the identity endpoint of App Service, version 2019-08-01.
    AppService,
}

impl IdentityApi {
    /// The path at which SDKs expect IMDS, behind `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
    pub const IMDS_PATH: &str = "/metadata/identity/oauth2/token";
    /// The path of App Service's protocol, at the end of `IDENTITY_ENDPOINT`.
    pub const APP_SERVICE_PATH: &str = "/msi/token";

    /// Read the variables of the endpoint itself: `TOKEN_BROKER_ENDPOINT_SECRET`, and those of the endpoints that the broker
    /// behind it asks.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a secret that is too easily guessed or that no header can carry.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        settings.check()?;
        let secret = settings.get(ENDPOINT_SECRET).map(|text| secret(settings, text)).transpose()?;
        let upstream = [POD_IDENTITY_HOST, IDENTITY_ENDPOINT, MSI_ENDPOINT].into_iter();
        let upstream =
            upstream.filter_map(|variable| Some((variable, plain_server(settings.get(variable)?)?)));
        Ok(Self { upstream: upstream.collect(), secret })
    }

    /// Whether App Service's protocol is spoken, beside that of IMDS.
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// The token that a request asks for. Its body need not be read.
    ///
    /// # Errors
    /// The refusal, in the form of the protocol. It repeats nothing of the request.
    pub fn read(&self, request: &Parts) -> Result<Question, Reply> {
        let Some(protocol) = Protocol::at(request.uri.path()) else {
            return Err(Protocol::Imds.refused(&not_here()));
        };
        self.question(protocol, request).map_err(|refusal| protocol.refused(&refusal))
    }

    /// Checks that a request was made for this endpoint, and not forwarded by a proxy or a web page: for requests other
    /// than those for tokens.
    ///
    /// # Errors
    /// The refusal: it came through a proxy, or may be that of a web page.
    pub fn check_origin(&self, request: &Parts) -> Result<(), Reply> {
        self.origin(request).map_err(|refusal| Protocol::Imds.refused(&refusal))
    }

    /// The response to every request where the configuration cannot be used.
    pub fn refused(request: &Parts, error: &Error) -> Reply {
        Protocol::at(request.uri.path()).unwrap_or(Protocol::Imds).refused(&Refusal::of(error))
    }

    fn question(&self, protocol: Protocol, request: &Parts) -> Result<Question, Refusal> {
        if request.method != Method::GET {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "the method is not GET", "send GET"));
        }
        self.origin(request)?;
        match protocol {
            Protocol::Imds => check_metadata(&request.headers)?,
            Protocol::AppService => self.check_secret(&request.headers)?,
        }
        let Parameters { version, resource, identity } =
            Parameters::read(request.uri.query().unwrap_or_default())?;
        check_version(protocol, version.as_deref())?;
        let resource = resource.ok_or_else(|| {
            Refusal::bad(
                "the parameter resource is missing",
                "add it with the token's audience, `resource=https://vault.azure.net` for instance",
            )
        })?;
        let raw = RawRequest { scopes: vec![resource], identity, ..RawRequest::default() };
        let parsed = TokenRequest::parse(raw.clone()).map_err(|error| Refusal::of(&error))?;
        Ok(Question { protocol, request: raw, audience: parsed.scope().audience().to_owned() })
    }

    /// A page in a browser on this machine may be able to send any header to the address that its own name is resolved to.
    /// It needs a name that somebody can own.
    fn origin(&self, request: &Parts) -> Result<(), Refusal> {
        if request.headers.contains_key("x-forwarded-for") {
            return Err(Refusal::bad(
                "the request has an X-Forwarded-For header: a proxy sent it",
                "send it to the endpoint directly",
            ));
        }
        authorities(request)?.try_for_each(|authority| self.check_authority(authority))
    }

    fn check_authority(&self, authority: &str) -> Result<(), Refusal> {
        let server = HostPort::parse(authority, HTTP)
            .map_err(|why| Refusal::bad(format_args!("the host of the request {why}"), SEND_HOST))?;
        if can_be_owned(server.host(), authority) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "the host of the request is a name that a web page could own",
                "address the endpoint by its IP address, as localhost, or by a name without a dot",
            ));
        }
        match self.upstream.iter().find(|(_, upstream)| upstream.is_same_server(&server)) {
            None => Ok(()),
            Some((variable, _)) => Err(Refusal::of(&Error::misconfigured(
                format_args!("{variable} of the broker names this endpoint: the broker would ask itself"),
                "unset it for the broker, or set it to the platform's endpoint",
            ))),
        }
    }

    fn check_secret(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(secret) = &self.secret else {
            return Err(Refusal::of(&Error::misconfigured(
                format_args!(
                    "{ENDPOINT_SECRET} is not set for the endpoint, and this protocol needs a secret"
                ),
                format_args!(
                    "set it there, or use IMDS's protocol, which needs none: set {POD_IDENTITY_HOST} for the client instead \
                     of {IDENTITY_ENDPOINT}"
                ),
            )));
        };
        let is_right = |given: &HeaderValue| given.as_bytes().ct_eq(secret.expose_secret().as_bytes()).into();
        if only(headers, "x-identity-header").is_some_and(is_right) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "the header X-IDENTITY-HEADER is missing or wrong",
            format_args!("set IDENTITY_HEADER for the client to the endpoint's {ENDPOINT_SECRET}"),
        ))
    }
}

impl Question {
    /// The protocol of the client.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The request for the broker.
    pub fn request(&self) -> &RawRequest {
        &self.request
    }

    /// The audience of the token.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// The identity of the token.
    pub fn identity(&self) -> &Identity {
        &self.request.identity
    }
}

impl Protocol {
    /// The name of the protocol in a log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imds => "imds",
            Self::AppService => "app-service",
        }
    }

    /// Azure's SDK for JavaScript asks IMDS with a slash at the end, msal4j up to 1.23.1 with two at the beginning
    /// (AzureAD/microsoft-authentication-library-for-java#1037).
    fn at(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        match path.strip_prefix('/').filter(|rest| rest.starts_with('/')).unwrap_or(path) {
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

fn secret(settings: &Settings, text: &str) -> Result<Secret, Error> {
    let fits = (MIN_SECRET..=MAX_SECRET).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.into());
    }
    let form = format!(
        "{MIN_SECRET} to {MAX_SECRET} printable ASCII characters without a space, as `openssl rand -hex 32` prints them"
    );
    Err(settings.refused(ENDPOINT_SECRET, "is not a usable secret", &form))
}

/// The hosts that a request is for, by its target and by its `Host` header: a server that reads one of them may stand
/// behind one that reads the other.
fn authorities(request: &Parts) -> Result<impl Iterator<Item = &str>, Refusal> {
    let header = match request.headers.contains_key(HOST) {
        false => None,
        true => {
            let host = only(&request.headers, HOST).and_then(|host| host.to_str().ok());
            Some(host.ok_or_else(|| Refusal::bad("the Host header is not one name or address", SEND_HOST))?)
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

fn not_here() -> Refusal {
    let (imds, app_service) = (IdentityApi::IMDS_PATH, IdentityApi::APP_SERVICE_PATH);
    Refusal::new(
        StatusCode::NOT_FOUND,
        "there are no tokens at this path",
        format_args!(
            "request {imds}, as clients of IMDS do, or {app_service}, the path in IDENTITY_ENDPOINT"
        ),
    )
}

fn check_metadata(headers: &HeaderMap) -> Result<(), Refusal> {
    match only(headers, "metadata") {
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"true") => Ok(()),
        _ => {
            let refusal = Refusal::bad(NO_METADATA, "send the header `Metadata: true`, once");
            Err(Refusal { code: Some("bad_request_102".to_owned()), ..refusal })
        }
    }
}

fn check_version(protocol: Protocol, version: Option<&str>) -> Result<(), Refusal> {
    let first = protocol.first_version();
    let Some(version) = version else {
        let fix = format_args!("add `api-version={first}`");
        return Err(Refusal::bad("the parameter api-version is missing", fix));
    };
    if is_date(version) && version >= first {
        return Ok(());
    }
    let what = "the parameter api-version is not a version of this protocol";
    Err(Refusal::bad(what, format_args!("set it to {first} or a later date")))
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

/// The fix for a request that is for no readable host.
const SEND_HOST: &str = "send the host and the port of the endpoint's URL";
/// The words of IMDS.
const NO_METADATA: &str = "Required metadata header not specified";

/// The port of plain HTTP.
const HTTP: u16 = 80;
const MIN_SECRET: usize = 16;
const MAX_SECRET: usize = 1024;

#[cfg(test)]
mod tests;
