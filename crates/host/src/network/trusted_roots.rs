//! Certificates of authorities that a program trusts besides the public ones.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use token_broker::Error;

/// Authorities to trust besides the public ones, such as those of an AD FS or an Azure Stack.
#[derive(Clone, Debug, Default)]
pub struct TrustedRoots(pub(crate) Vec<TrustAnchor<'static>>);

impl TrustedRoots {
    /// The certificates in a PEM.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] if no certificate in it can be read.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, Error> {
        parse(pem.as_ref(), "the PEM of the program")
    }

    /// The certificates in a PEM file, which is read once.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] if the file or every certificate in it is unreadable.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let place = path.as_ref().to_string_lossy();
        parse(&fs::read(&path).map_err(|error| unusable(&place, &error))?, &place)
    }

    pub(crate) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

fn parse(pem: &[u8], place: &str) -> Result<TrustedRoots, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let mut roots = RootCertStore::empty();
    // A system's bundle may hold some that are too old to be understood; only their servers are refused for it.
    let (added, _) = roots.add_parsable_certificates(certificates.map_err(|error| unusable(place, &error))?);
    match added {
        0 => Err(unusable(place, &"no certificate in it can be read")),
        _ => Ok(TrustedRoots(roots.roots)),
    }
}

fn unusable(place: &str, why: &dyn Display) -> Error {
    Error::misconfigured(
        format_args!("the trusted root certificates cannot be read from {place}: {why}"),
        "use a file of certificates in PEM",
    )
}
