//! An https server with a certificate of its own that says the same to everybody, and tells what it was asked.

use std::sync::{Arc, Mutex};

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) struct Server {
    name: String,
    pub(crate) port: u16,
    /// Its certificate, which is its own authority too.
    pub(crate) pem: String,
    /// SHA-1 of the certificate, in upper case.
    pub(crate) thumbprint: String,
    requests: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Server {
    /// On a port of this machine. What it says begins with the status line, and it then says nothing more.
    pub(crate) async fn start(says: &str) -> Self {
        Self::named("localhost", says).await
    }

    /// The same with a certificate for another name.
    pub(crate) async fn named(name: &str, says: &str) -> Self {
        let (config, certificate) = certified(name);
        let thumbprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate.der());
        let thumbprint = thumbprint.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, config, says.to_owned(), Arc::clone(&requests)));
        let (name, pem) = (name.to_owned(), certificate.pem());
        Self { name, port, pem, thumbprint, requests, _serving: serving }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.name, self.port)
    }

    /// The heads of the requests that came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A server's configuration with a certificate for a name, and the certificate.
pub(super) fn certified(name: &str) -> (Arc<ServerConfig>, rcgen::Certificate) {
    let identity = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key)
        .unwrap();
    (config.into(), identity.cert)
}

async fn serve(
    listener: TcpListener,
    acceptor: Arc<ServerConfig>,
    says: String,
    requests: Arc<Mutex<Vec<String>>>,
) {
    let mut open = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        let acceptor = TlsAcceptor::from(Arc::clone(&acceptor));
        open.spawn(answer(connection, acceptor, says.clone(), Arc::clone(&requests)));
    }
}

/// The connection stays open until the client ends it.
async fn answer(
    connection: TcpStream,
    acceptor: TlsAcceptor,
    says: String,
    requests: Arc<Mutex<Vec<String>>>,
) {
    let Ok(mut connection) = acceptor.accept(connection).await else { return };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    requests.lock().unwrap().push(String::from_utf8(head).unwrap());
    _ = connection.write_all(says.as_bytes()).await;
    _ = connection.flush().await;
    while connection.read_u8().await.is_ok() {}
}
