//! Plain clients of the TLS listeners: one that trusts the authority, and one that knows a thumbprint.

use std::sync::Arc;

use mock_identity::{Endpoint, Mock, MockConfig};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring::default_provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::client::{FORM, Received, form, receive, request};

/// A mock that speaks TLS
pub(crate) async fn mock() -> Mock {
    Mock::start(config()).await.unwrap()
}

pub(crate) fn config() -> MockConfig {
    MockConfig { listen_tls: Some(([127, 0, 0, 1], 0).into()), ..MockConfig::default() }
}

/// The answer of the tenant's token endpoint
pub(crate) async fn token(mock: &Mock, fields: &[(&str, &str)]) -> Received {
    post(mock, &token_path(mock), fields).await
}

pub(crate) async fn post(mock: &Mock, path: &str, fields: &[(&str, &str)]) -> Received {
    send(mock, "POST", path, &[FORM], form(fields).as_bytes()).await
}

pub(crate) fn token_path(mock: &Mock) -> String {
    format!("/{}/oauth2/v2.0/token", mock.config().tenant_id)
}

pub(crate) async fn send(
    mock: &Mock,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Received {
    let authority = CertificateDer::from_pem_slice(mock.ca_pem().unwrap().as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let config = client_config().with_root_certificates(roots).with_no_client_auth();
    let mut stream = connect(mock.tls_url().unwrap(), config).await.expect("the authority is trusted");
    exchange(&mut stream, method, target, headers, body).await
}

/// To Service Fabric's listener; none if its certificate has another thumbprint
pub(crate) async fn pinned(
    mock: &Mock,
    thumbprint: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Option<Received> {
    let endpoint = mock.env(Endpoint::ServiceFabric).remove(0).1;
    let url = endpoint.strip_suffix("/metadata/identity/oauth2/token").unwrap();
    let pin = Pin { thumbprint: thumbprint.to_owned(), provider: default_provider() };
    let config =
        client_config().dangerous().with_custom_certificate_verifier(Arc::new(pin)).with_no_client_auth();
    let mut stream = connect(url, config).await?;
    Some(exchange(&mut stream, method, target, headers, b"").await)
}

fn client_config() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
}

async fn connect(url: &str, config: ClientConfig) -> Option<TlsStream<TcpStream>> {
    let address = url.strip_prefix("https://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()
}

async fn exchange(
    stream: &mut TlsStream<TcpStream>,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Received {
    let host = stream.get_ref().0.peer_addr().unwrap().to_string();
    // A server that refuses early may close before it has read all.
    let _ = stream.write_all(&request(&host, method, target, headers, body)).await;
    receive(stream).await.unwrap()
}

/// Trusts the certificate with this SHA-1 thumbprint, and no other
#[derive(Debug)]
struct Pin {
    thumbprint: String,
    provider: CryptoProvider,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate);
        let found: String = found.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        if found == self.thumbprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
