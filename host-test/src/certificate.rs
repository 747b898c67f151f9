//! A certificate for `localhost` and the authority behind it, as files of a server that is started.

use std::path::Path;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// The authority's certificate, as PEM
pub const AUTHORITY: &str = "authority.pem";
/// The server's certificate, as PEM
pub const CERTIFICATE: &str = "certificate.pem";
/// Its key, as PEM
pub const PRIVATE_KEY: &str = "key.pem";

/// Write these three files into a folder
///
/// # Errors
/// When they cannot be written.
pub fn write(folder: &Path) -> Result<()> {
    let (ca_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&ca_key)?;
    let issuer = Issuer::new(authority, ca_key);
    let certificate = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &issuer)?;
    std::fs::write(folder.join(AUTHORITY), ca.pem())?;
    std::fs::write(folder.join(CERTIFICATE), certificate.pem())?;
    Ok(std::fs::write(folder.join(PRIVATE_KEY), key.serialize_pem())?)
}
