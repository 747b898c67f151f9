//! TLS: trust in the public authorities, in those that the embedder adds, and for two servers in what their variables
//! name: for Service Fabric's endpoint one certificate, for a cluster's token proxy a name and authorities.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use token_broker::variables::{
    IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT, KUBERNETES_TOKEN_PROXY,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wasmtime::Result;

use crate::environment::Environment;
use crate::network::http::HttpError;
use crate::network::token_proxy::{TokenProxyTls, UnusableAuthorities};
use crate::network::trusted_roots::TrustedRoots;

/// The TLS configuration, the same for every instance of a broker.
pub(crate) struct Tls {
    trusting: Arc<ClientConfig>,
    pinning: Option<Pin>,
    token_proxy: Option<TokenProxyTls>,
}

/// A server of the platform, for which no public authority vouches. It is reached directly, through no proxy.
pub(crate) enum PrivateServer<'a> {
    /// Service Fabric's endpoint.
    Pinned(&'a Pin),
    /// The token proxy of an AKS cluster.
    TokenProxy(&'a TokenProxyTls),
}

impl Tls {
    pub(crate) fn new(environment: &Environment, trusted: TrustedRoots) -> Result<Self> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.extend(trusted.0);
        let trusting = Arc::new(client()?.with_root_certificates(roots).with_no_client_auth());
        let token_proxy = TokenProxyTls::find(environment, &trusting);
        Ok(Self { trusting, pinning: Pin::find(environment)?, token_proxy })
    }

    /// The thumbprint that the server at the pinned endpoint must show, if there is one.
    pub(crate) fn pinned(&self) -> Option<&str> {
        self.pinning.as_ref().map(|pin| pin.thumbprint.as_str())
    }

    /// The URL of the token proxy that is verified for a component with this environment, as it is written there.
    pub(crate) fn verified_token_proxy<'a>(&self, environment: &'a Environment) -> Option<&'a str> {
        let is_of = |proxy: &&TokenProxyTls| proxy.is_of(environment);
        self.token_proxy.as_ref().filter(is_of).and_then(|_| environment.get(KUBERNETES_TOKEN_PROXY))
    }

    /// The server at a URL, if it is a private one.
    pub(crate) fn private_server(&self, uri: &Uri) -> Option<PrivateServer<'_>> {
        let pin = self.pinning.as_ref().filter(|pin| Origin::of(uri).as_ref() == Some(&pin.origin));
        let proxy = self.token_proxy.as_ref().filter(|proxy| proxy.is_at(uri));
        pin.map(PrivateServer::Pinned).or_else(|| proxy.map(PrivateServer::TokenProxy))
    }

    /// Do the TLS handshake on a connection.
    pub(crate) async fn secure<C>(&self, uri: &Uri, connection: C) -> io::Result<TlsStream<C>>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let host = || ServerName::try_from(bare_host(uri).to_owned()).map_err(io::Error::other);
        let (config, name) = match self.private_server(uri) {
            Some(PrivateServer::TokenProxy(proxy)) => (proxy.config().await?, proxy.name()),
            Some(PrivateServer::Pinned(pin)) => (Arc::clone(&pin.config), host()?),
            None => (Arc::clone(&self.trusting), host()?),
        };
        TlsConnector::from(config).connect(name, connection).await
    }

    /// The error of a failed handshake: a WASI error for the guest, and the reason and the fix for the operator.
    pub(crate) fn error(&self, uri: &Uri, error: &io::Error) -> (HttpError, String) {
        if let Some(why) = error.get_ref().and_then(|inner| inner.downcast_ref::<UnusableAuthorities>()) {
            return (HttpError::TlsCertificateError, why.to_string());
        }
        let (kind, why, fix) = handshake_error(error);
        let is_tls = !matches!(kind, HttpError::ConnectionTerminated);
        match self.private_server(uri) {
            Some(PrivateServer::TokenProxy(proxy)) if is_tls => {
                (kind, format!("{why}; fix: {}", proxy.fix()))
            }
            _ => (kind, format!("{why}; fix: {fix}")),
        }
    }
}

/// The error of a handshake, the reason and the fix.
fn handshake_error(error: &io::Error) -> (HttpError, String, &'static str) {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why)))) => {
            let fix = "restart the application, which renews the variable with the cluster's certificate";
            (HttpError::TlsCertificateError, why.to_string(), fix)
        }
        Some(error @ rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            let fix = "name its authority in SSL_CERT_FILE of the command, or in the program's TrustedRoots";
            (HttpError::TlsCertificateError, error.to_string(), fix)
        }
        Some(error @ rustls::Error::InvalidCertificate(_)) => {
            let fix = "renew the server's certificate, or correct the name in the URL";
            (HttpError::TlsCertificateError, error.to_string(), fix)
        }
        Some(error) => {
            let fix = "check that the server at this port speaks TLS";
            (HttpError::TlsProtocolError, error.to_string(), fix)
        }
        None => {
            let fix = "check that the server runs, and that nothing between ends the connection";
            (HttpError::ConnectionTerminated, error.to_string(), fix)
        }
    }
}

/// The endpoint of Service Fabric and the thumbprint of its certificate, which no authority signs.
pub(crate) struct Pin {
    origin: Origin,
    thumbprint: String,
    config: Arc<ClientConfig>,
}

impl Pin {
    /// From the environment alone: a setting may have changed by the time that the broker reads it. Unusable values pin
    /// nothing, and the broker refuses them by the names of their variables.
    fn find(environment: &Environment) -> Result<Option<Self>> {
        let needed = [IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT]
            .map(|name| environment.get(name));
        let [Some(endpoint), Some(_), Some(thumbprint)] = needed else { return Ok(None) };
        let origin = endpoint.parse().ok().and_then(|uri| Origin::of(&uri)).filter(|origin| origin.is_secure);
        origin.zip(normal(thumbprint)).map(|(origin, thumbprint)| Self::new(origin, thumbprint)).transpose()
    }

    fn new(origin: Origin, thumbprint: String) -> Result<Self> {
        let verifier = Arc::new(Verifier { thumbprint: thumbprint.clone(), algorithms: algorithms() });
        let mut config =
            client()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        // A resumed session shows no certificate.
        config.resumption = Resumption::disabled();
        Ok(Self { origin, thumbprint, config: Arc::new(config) })
    }
}

/// The origin of a URL.
#[derive(PartialEq, Eq)]
pub(crate) struct Origin {
    is_secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// None for a URL that is neither https nor http.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let is_secure = match uri.scheme()? {
            scheme if *scheme == Scheme::HTTPS => true,
            scheme if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        Some(Self { is_secure, host: uri.host()?.to_ascii_lowercase(), port: port(uri) })
    }
}

/// Accepts the certificate with this thumbprint, regardless of its issuer.
#[derive(Debug)]
struct Verifier {
    thumbprint: String,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = thumbprint(certificate);
        if shown == self.thumbprint {
            return Ok(ServerCertVerified::assertion());
        }
        let why =
            format!("its certificate is {shown}, and {IDENTITY_SERVER_THUMBPRINT} is {}", self.thumbprint);
        let why = Box::<dyn StdError + Send + Sync>::from(why);
        Err(CertificateError::Other(OtherError(why.into())).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// SHA-1, as Windows and Service Fabric name a certificate, in 40 upper-case hexadecimal digits.
pub(crate) fn thumbprint(certificate: &[u8]) -> String {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The same form, without colons and white space between the digits.
fn normal(thumbprint: &str) -> Option<String> {
    let digits: String = thumbprint.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    let is_one = digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| digits.to_ascii_uppercase())
}

/// The host as the network knows it: an IPv6 address without its brackets.
pub(crate) fn bare_host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

pub(crate) fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or_else(|| if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 })
}

/// With an explicit provider: the program may have installed another one, or none.
pub(crate) fn client() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?)
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    rustls::crypto::ring::default_provider().signature_verification_algorithms
}
