//! Certificates made at the start: an authority and the server certificate that it signs, and one that clients pin.

use std::sync::Arc;

use anyhow::Result;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio_rustls::TlsAcceptor;

/// An acceptor of TLS connections, and the certificate of the authority behind it, as PEM
pub(crate) fn by_authority() -> Result<(TlsAcceptor, String)> {
    let authority = authority("mock-identity authority")?;
    let key = KeyPair::generate()?;
    let certificate = server_params("mock-identity")?.signed_by(&key, &authority)?;
    Ok((acceptor(certificate.der().clone(), &key)?, authority.pem()))
}

/// An acceptor of TLS connections with a self-signed certificate, and that certificate
pub(crate) fn pinned() -> Result<(TlsAcceptor, Certificate)> {
    let key = KeyPair::generate()?;
    let certificate = server_params("mock-identity cluster")?.self_signed(&key)?;
    Ok((acceptor(certificate.der().clone(), &key)?, certificate))
}

/// The SHA-1 thumbprint by which clients know a certificate
pub(crate) fn thumbprint(certificate: &Certificate) -> String {
    upper_hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate.der()).as_ref())
}

/// As Azure writes thumbprints
pub(crate) fn upper_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn acceptor(certificate: CertificateDer<'static>, key: &KeyPair) -> Result<TlsAcceptor> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A new certificate authority
pub(crate) fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// The name for clients that reach the mock through a proxy: none of them does that for a local one (RFC 6761, 6.2).
const BEHIND_A_PROXY: &str = "mock-identity.test";

fn server_params(name: &str) -> Result<CertificateParams> {
    let mut params =
        CertificateParams::new(["localhost", "127.0.0.1", "::1", BEHIND_A_PROXY].map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, name);
    // RFC 5280, 4.2.1.1: strict clients want the key identifier of the issuer.
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}
