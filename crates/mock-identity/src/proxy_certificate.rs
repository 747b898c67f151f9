//! The certificate of a cluster's token proxy: for one name, by an authority that can be replaced.

use std::{fmt, sync::Arc};

use anyhow::Result;
use parking_lot::Mutex;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig,
    crypto::ring::{default_provider, sign::any_supported_type},
    pki_types::PrivateKeyDer,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use crate::{sections::TokenProxyConfig, tls};

/// The certificate that is shown now, to clients that name the proxy (SNI)
pub(crate) struct ProxyCertificate {
    sni_name: String,
    /// The only name in it
    name: String,
    current: Mutex<Current>,
}

struct Current {
    /// The certificate of the authority, as PEM
    authority: String,
    key: Arc<CertifiedKey>,
}

impl ProxyCertificate {
    pub(crate) fn new(config: &TokenProxyConfig) -> Result<Self> {
        let name = config.certificate_name.as_ref().unwrap_or(&config.sni_name).clone();
        let current = Mutex::new(Current::for_name(&name)?);
        Ok(Self { sni_name: config.sni_name.clone(), name, current })
    }

    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        // Each connection shows the certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// The certificate of the authority, as PEM
    pub(crate) fn authority(&self) -> String {
        self.current.lock().authority.clone()
    }

    /// Show a certificate of another authority from now on
    pub(crate) fn replace(&self) -> Result<()> {
        *self.current.lock() = Current::for_name(&self.name)?;
        Ok(())
    }
}

/// A client that names another server, or none as with an address in its URL, gets no certificate at all.
impl ResolvesServerCert for ProxyCertificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_named = hello.server_name().is_some_and(|name| name.eq_ignore_ascii_case(&self.sni_name));
        is_named.then(|| self.current.lock().key.clone())
    }
}

impl fmt::Debug for ProxyCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyCertificate").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Current {
    fn for_name(name: &str) -> Result<Self> {
        let authority = tls::authority("mock-identity cluster authority")?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "mock-identity token proxy");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &authority)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let key = CertifiedKey::new(vec![certificate.der().clone()], any_supported_type(&key)?);
        Ok(Self { authority: authority.pem(), key: Arc::new(key) })
    }
}
