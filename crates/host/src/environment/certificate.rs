//! Certificates in forms that the broker component does not read: PKCS#12 (RFC 7292), and PEM with an encrypted key
//! (RFC 5958). The component gets them as PEM, which is in no file, and does not get the password.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use p12_keystore::error::Error as Pkcs12Error;
use p12_keystore::{CertificateBag, Pkcs12Archive};
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::pem::LineEnding;
use pkcs8::der::{Document, SecretDocument};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use token_broker::Error;
use token_broker::variables::{CERTIFICATE_PASSWORD, CERTIFICATE_PATH};

use crate::environment::Environment;

/// The file of a certificate, and the password of its key.
#[derive(Clone)]
pub(crate) struct CertificateFile {
    path: String,
    password: Option<SecretString>,
}

/// The reason why a file cannot be used, as a clause that begins with a verb, and the fix.
type Unusable = (String, &'static str);

impl CertificateFile {
    pub(crate) fn of(environment: &Environment) -> Option<Self> {
        let password = environment.get(CERTIFICATE_PASSWORD).map(SecretString::from);
        Some(Self { path: environment.get(CERTIFICATE_PATH)?.to_owned(), password })
    }

    pub(crate) fn is_at(&self, path: &Path) -> bool {
        path == Path::new(&self.path)
    }

    /// Checks that the component can read the file. A file that cannot be opened is its own to report.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for a wrong password, and for a form that is not supported.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Ok(file) = File::open(&self.path) else { return Ok(()) };
        match self.open(file) {
            Err(Fault::Unusable(error)) => Err(error),
            Ok(_) | Err(Fault::Io(_)) => Ok(()),
        }
    }

    /// The file as the component reads it: unchanged, or another one in memory.
    ///
    /// # Errors
    /// [`Fault::Unusable`] as [`CertificateFile::check`].
    pub(crate) fn open(&self, mut file: File) -> Result<File, Fault> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(file);
        }
        if metadata.len() > MAX_FILE {
            return Err(Fault::Unusable(self.error("is larger than 1 MiB", EXPORT)));
        }
        // The full capacity: a reallocation would leave copies of the key behind.
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_FILE).unwrap_or_default()));
        (&mut file).take(MAX_FILE).read_to_end(&mut content)?;
        match self.pem(&content).map_err(|(why, fix)| Fault::Unusable(self.error(&why, fix)))? {
            Some(pem) => Ok(in_memory(pem.as_bytes())?),
            None => {
                file.rewind()?;
                Ok(file)
            }
        }
    }

    fn error(&self, why: &str, fix: &str) -> Error {
        Error::misconfigured(
            format_args!("the file {}, which {CERTIFICATE_PATH} names, {why}", self.path),
            fix,
        )
    }

    /// The PEM of another form; none if the content is PEM that the component reads, or none that is known.
    fn pem(&self, content: &[u8]) -> Result<Option<Zeroizing<String>>, Unusable> {
        match std::str::from_utf8(content) {
            Ok(text) if text.contains(OLD_FORM) => Err((
                "has a key in OpenSSL's old encrypted form".to_owned(),
                "convert it, `openssl pkcs8 -topk8 -in old.pem`, and put the certificate into the same file",
            )),
            Ok(text) if text.contains(BEGIN) => self.decrypted(text).map(Some),
            Ok(_) => Ok(None),
            Err(_) if content.first() == Some(&SEQUENCE) => self.unpacked(content).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// A PEM text with its encrypted key in the clear.
    fn decrypted(&self, text: &str) -> Result<Zeroizing<String>, Unusable> {
        let broken = || {
            let why = "has an encrypted key that is cut, or whose encryption is not supported";
            (why.to_owned(), "convert the key, `openssl pkcs8 -topk8 -in old.pem`, or export it anew")
        };
        let (before, rest) = text.split_once(BEGIN).ok_or_else(broken)?;
        let (body, after) = rest.split_once(END).ok_or_else(broken)?;
        let block = format!("{BEGIN}{body}{END}\n");
        let (_, encrypted) = SecretDocument::from_pem(&block).map_err(|_| broken())?;
        let key = EncryptedPrivateKeyInfoRef::try_from(encrypted.as_bytes()).map_err(|_| broken())?;
        let Some(password) = &self.password else { return Err(no_password("has an encrypted key")) };
        let key = key.decrypt(password.expose_secret()).map_err(|_| wrong_password("has a key"))?;
        let key = key.to_pem(KEY, LineEnding::LF).map_err(|_| broken())?;
        Ok(Zeroizing::new([before, &key, after].concat()))
    }

    /// The key and the certificates of PKCS#12. The component finds the certificate of the key among them.
    fn unpacked(&self, content: &[u8]) -> Result<Zeroizing<String>, Unusable> {
        let password = self.password.as_ref().map_or("", |password| password.expose_secret());
        let archive = Pkcs12Archive::from_pkcs12(content, password).map_err(|error| self.refused(&error))?;
        let [key] = archive.keys.as_slice() else {
            return Err((format!("is PKCS#12 with {} keys, and needs one", archive.keys.len()), EXPORT));
        };
        let broken = |_| ("is PKCS#12 with a broken key or certificate".to_owned(), NEW_FILE);
        let key = SecretDocument::try_from(key.key.as_der()).map_err(broken)?;
        let key = key.to_pem(KEY, LineEnding::LF).map_err(broken)?;
        let certificate = |bag: &CertificateBag| {
            Document::try_from(bag.cert.as_der())?.to_pem("CERTIFICATE", LineEnding::LF)
        };
        let certificates: Result<String, _> = archive.certs.iter().map(certificate).collect();
        Ok(Zeroizing::new([key.as_str(), &certificates.map_err(broken)?].concat()))
    }

    fn refused(&self, error: &Pkcs12Error) -> Unusable {
        match error {
            Pkcs12Error::MacError(_) | Pkcs12Error::Pkcs5Error(_) | Pkcs12Error::UnpadError => {
                match self.password {
                    None => no_password("is PKCS#12 with a password"),
                    Some(_) => wrong_password("is PKCS#12"),
                }
            }
            Pkcs12Error::UnsupportedEncryptionScheme | Pkcs12Error::UnsupportedMacAlgorithm => {
                ("is PKCS#12 with an encryption that is not supported".to_owned(), CONVERT)
            }
            _ => ("is not whole PKCS#12".to_owned(), NEW_FILE),
        }
    }
}

/// The reason why there is no file for the component.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Its content cannot be used.
    Unusable(Error),
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn no_password(what: &str) -> Unusable {
    (
        format!("{what}, and {CERTIFICATE_PASSWORD} is not set"),
        "set the variable in the environment of this program",
    )
}

fn wrong_password(what: &str) -> Unusable {
    (
        format!("{what} that {CERTIFICATE_PASSWORD} does not open"),
        "correct the password, or export the certificate anew",
    )
}

/// A file that has no name and is on no disk.
#[cfg(target_os = "linux")]
fn in_memory(content: &[u8]) -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    let mut file = File::from(memfd_create("certificate", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// Elsewhere such a file would be on a disk.
#[cfg(not(target_os = "linux"))]
fn in_memory(_: &[u8]) -> io::Result<File> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "encrypted keys and PKCS#12 are supported on Linux"))
}

const KEY: &str = "PRIVATE KEY";
const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
/// RFC 1421, 4.6.1.1.
const OLD_FORM: &str = "4,ENCRYPTED";
/// The first byte of DER's `SEQUENCE`, with which PKCS#12 begins.
const SEQUENCE: u8 = 0x30;
const NEW_FILE: &str = "export the certificate with its key anew";
const EXPORT: &str = "export one certificate with its key";
const CONVERT: &str = "convert it: `openssl pkcs12 -legacy -in app.pfx -nodes -out app.pem`";
/// Far more than a key and a chain of certificates.
const MAX_FILE: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `make.sh` beside them.
    fn fixture(name: &str) -> String {
        format!("{}/src/environment/certificates/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    fn opened(name: &str, password: Option<&str>) -> Result<String, String> {
        let environment = Environment::default().with(CERTIFICATE_PATH, fixture(name));
        let environment =
            password.into_iter().fold(environment, |it, word| it.with(CERTIFICATE_PASSWORD, word));
        let certificate = CertificateFile::of(&environment).unwrap();
        let checked = certificate.check().map_err(|error| error.to_string());
        match certificate.open(File::open(fixture(name)).unwrap()) {
            Ok(mut file) => {
                let mut text = String::new();
                _ = file.read_to_string(&mut text);
                assert_eq!(checked, Ok(()));
                Ok(text)
            }
            Err(Fault::Unusable(error)) => {
                assert_eq!(checked, Err(error.to_string()));
                Err(error.to_string())
            }
            Err(Fault::Io(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn files_of_openssl_and_of_the_portal_become_pem_with_the_same_key_and_certificates() {
        let plain = opened("plain.pem", None).unwrap();
        let blocks = |text: &str| {
            let body = |block: &str| block.split_ascii_whitespace().collect::<String>();
            let mut blocks: Vec<String> = text.split("-----BEGIN ").skip(1).map(body).collect();
            blocks.sort();
            blocks
        };
        for (name, password) in [
            ("modern.pfx", Some("secret word")),
            ("legacy.pfx", Some("secret word")),
            ("without-password.pfx", None),
            ("encrypted.pem", Some("secret word")),
            ("encrypted-3des.pem", Some("secret word")),
            ("plain.pem", Some("not needed")),
        ] {
            let pem = opened(name, password).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(blocks(&pem), blocks(&plain), "{name}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_says_why_and_never_the_password() {
        for (name, password, why) in [
            (
                "modern.pfx",
                None,
                "is PKCS#12 with a password, and AZURE_CLIENT_CERTIFICATE_PASSWORD is not set",
            ),
            (
                "modern.pfx",
                Some("sentinel"),
                "is PKCS#12 that AZURE_CLIENT_CERTIFICATE_PASSWORD does not open",
            ),
            (
                "legacy.pfx",
                Some("sentinel"),
                "is PKCS#12 that AZURE_CLIENT_CERTIFICATE_PASSWORD does not open",
            ),
            ("encrypted.pem", None, "has an encrypted key, and AZURE_CLIENT_CERTIFICATE_PASSWORD is not set"),
            (
                "encrypted.pem",
                Some("sentinel"),
                "has a key that AZURE_CLIENT_CERTIFICATE_PASSWORD does not open",
            ),
            ("traditional.pem", Some("secret word"), "has a key in OpenSSL's old encrypted form"),
            ("cut.pfx", Some("secret word"), "is not whole PKCS#12"),
            ("cut.pem", Some("secret word"), "has an encrypted key that is cut, or"),
            (
                "pbes1.pem",
                Some("secret word"),
                "has an encrypted key that is cut, or whose encryption is not",
            ),
            ("without-key.pfx", Some("secret word"), "is PKCS#12 with 0 keys, and needs one"),
        ] {
            let error = opened(name, password).expect_err(name);
            assert!(
                error.contains(why) && error.contains("; fix: ") && error.contains(name),
                "{name}: {error}"
            );
            assert!(!error.contains("sentinel") && !error.contains("secret word"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_FILE + 1).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let error = CertificateFile { path, password: None }.check().unwrap_err().to_string();
        assert!(error.contains("is larger than 1 MiB"), "{error}");
    }

    #[test]
    fn other_content_is_left_to_the_component() {
        for content in [&b""[..], b"no PEM", b"\xff\xfe", &[0; 64]] {
            let file = CertificateFile { path: "x".to_owned(), password: None };
            assert!(file.pem(content).unwrap().is_none());
        }
    }
}
