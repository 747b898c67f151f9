//! The TLS of the token proxy of an AKS cluster with identity bindings: one name, and no authorities but the given ones.
//!
//! As in Azure's SDKs, the file with the authorities is read for each connection: AKS replaces it in running pods.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use token_broker::variables::{KUBERNETES_CA_DATA, KUBERNETES_CA_FILE, KUBERNETES_SNI_NAME};
use token_broker::{ProxyAuthorities, TokenProxy};
use tokio::task::spawn_blocking;

use crate::environment::Environment;
use crate::network::tls::{Origin, client};
use crate::network::trusted_roots::TrustedRoots;

/// The token proxy of the environment, with its name and its authorities.
pub(crate) struct TokenProxyTls {
    proxy: TokenProxy,
    origin: Origin,
    name: ServerName<'static>,
    of_host: Arc<ClientConfig>,
    last: Mutex<Option<Authorities>>,
}

/// The certificates that were last read, and the configuration that trusts them alone.
struct Authorities {
    pem: Vec<u8>,
    config: Arc<ClientConfig>,
}

/// The reason why certificates cannot be used, with the fix.
#[derive(Debug)]
pub(crate) struct UnusableAuthorities(String);

impl std::fmt::Display for UnusableAuthorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnusableAuthorities {}

impl TokenProxyTls {
    /// From the environment alone, as the pin of Service Fabric. Unusable values select nothing, and the broker refuses
    /// them by the names of their variables. `of_host` is for a proxy without authorities of its own.
    pub(crate) fn find(environment: &Environment, of_host: &Arc<ClientConfig>) -> Option<Self> {
        let proxy = TokenProxy::detect(&environment.settings()).ok()??;
        let origin = Origin::of(&proxy.base().parse().ok()?)?;
        let name = proxy.server_name().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).ok()?;
        Some(Self { proxy, origin, name, of_host: Arc::clone(of_host), last: Mutex::default() })
    }

    /// Whether a component that reads this environment means this proxy, with this name and these authorities.
    pub(crate) fn is_of(&self, environment: &Environment) -> bool {
        TokenProxy::detect(&environment.settings()).is_ok_and(|proxy| proxy.as_ref() == Some(&self.proxy))
    }

    pub(crate) fn is_at(&self, uri: &Uri) -> bool {
        Origin::of(uri).as_ref() == Some(&self.origin)
    }

    /// The name that is sent and verified.
    pub(crate) fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// The configuration that trusts the present authorities.
    ///
    /// # Errors
    /// [`UnusableAuthorities`] if there are none. Nothing is sent.
    pub(crate) async fn config(&self) -> io::Result<Arc<ClientConfig>> {
        match self.proxy.authorities() {
            ProxyAuthorities::OfHost => Ok(Arc::clone(&self.of_host)),
            ProxyAuthorities::Pem(pem) => self.trusting(pem.as_bytes().to_owned(), KUBERNETES_CA_DATA),
            ProxyAuthorities::File(path) => {
                let place = format!("{path}, which {KUBERNETES_CA_FILE} names,");
                let path = path.clone();
                let read = spawn_blocking(move || read(&path)).await.map_err(io::Error::other)?;
                self.trusting(read.map_err(|error| unusable(&place, &error.to_string()))?, &place)
            }
        }
    }

    /// An empty file is one that is being written: the last certificates are then used, as by all of Azure's SDKs. A file
    /// that is missing or has other content ends the trust: the kubelet replaces files whole, by a link.
    fn trusting(&self, pem: Vec<u8>, place: &str) -> io::Result<Arc<ClientConfig>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Authorities { config, .. }) =
            last.as_ref().filter(|last| last.pem == pem || pem.trim_ascii().is_empty())
        {
            return Ok(Arc::clone(config));
        }
        let roots = TrustedRoots::from_pem(&pem).map_err(|_| {
            let why = if pem.trim_ascii().is_empty() { "is empty" } else { "has no certificate in PEM" };
            unusable(place, why)
        })?;
        let roots = RootCertStore { roots: roots.0 };
        let mut config =
            client().map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
        // A resumed session shows no certificate.
        config.resumption = Resumption::disabled();
        let config = Arc::new(config);
        *last = Some(Authorities { pem, config: Arc::clone(&config) });
        Ok(config)
    }

    /// The fix for a certificate that is not the proxy's.
    pub(crate) fn fix(&self) -> String {
        let authorities = match self.proxy.authorities() {
            ProxyAuthorities::OfHost => "the trusted authorities of this host".to_owned(),
            ProxyAuthorities::File(path) => format!("the authorities in {path} ({KUBERNETES_CA_FILE})"),
            ProxyAuthorities::Pem(_) => format!("the authorities in {KUBERNETES_CA_DATA}"),
        };
        format!(
            "compare the name {} ({KUBERNETES_SNI_NAME}, else the host of the URL) and {authorities} with the certificate of \
             the cluster's token proxy, and pass these variables on as AKS sets them",
            self.proxy.server_name()
        )
    }
}

/// A regular file, in bounded length: a named pipe would hold up the reader.
fn read(path: &str) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut pem = Vec::new();
    File::open(path)?.take(MAX_PEM).read_to_end(&mut pem)?;
    Ok(pem)
}

fn unusable(place: &str, why: &str) -> io::Error {
    let fix = "mount the authorities of the cluster's token proxy, as AKS does, and pass its variables on unchanged";
    io::Error::other(UnusableAuthorities(format!("{place} cannot be used: {why}; fix: {fix}")))
}

/// Far more than the authorities of a cluster.
const MAX_PEM: u64 = 1024 * 1024;
