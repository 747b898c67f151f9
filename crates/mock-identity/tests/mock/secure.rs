//! Plain clients of the TLS listeners: one that trusts the authority, and one that knows a thumbprint.

use std::{io, sync::Arc};

use mock_identity::{Endpoint, Mock, MockConfig};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
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
    let mut stream = connect(mock.tls_url().unwrap(), mock.ca_pem().unwrap()).await;
    exchange(&mut stream, method, target, headers, body).await
}

/// To the token proxy, under this name and trusting this authority
pub(crate) async fn proxied(
    mock: &Mock,
    (name, authority): (&str, &str),
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Received> {
    let variables = mock.env(Endpoint::TokenProxy);
    let (_, url) = variables.iter().find(|(name, _)| *name == "AZURE_KUBERNETES_TOKEN_PROXY").unwrap();
    let mut stream = connect_as(name, url.strip_suffix("/token-proxy/").unwrap(), authority).await?;
    Ok(exchange(&mut stream, method, target, headers, body).await)
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
    let mut stream = connect(url, mock.service_fabric_pem().unwrap()).await;
    let certificate = &stream.get_ref().1.peer_certificates().unwrap()[0];
    let found = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate);
    let found: String = found.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    if found != thumbprint {
        return None;
    }
    Some(exchange(&mut stream, method, target, headers, b"").await)
}

/// A connection to a server whose certificate is this one or was issued by it
async fn connect(url: &str, trusted: &str) -> TlsStream<TcpStream> {
    connect_as("127.0.0.1", url, trusted).await.expect("the certificate is trusted")
}

async fn connect_as(name: &str, url: &str, trusted: &str) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(url.strip_prefix("https://").unwrap()).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
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
