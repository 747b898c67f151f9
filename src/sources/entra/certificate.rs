//! The certificate of an app registration: client assertions that are signed with its key.
//!
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>

use std::cell::RefCell;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rsa::RsaPrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs1v15;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::pss;
use rsa::rand_core::{self, CryptoRng, RngCore, impls};
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _};
use rsa::traits::PublicKeyParts as _;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretSlice};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::model::{Error, Secret};
use crate::wire::uuid;

/// A file with a certificate and its key, and the last assertion that was signed with the key.
#[derive(Debug)]
pub(crate) struct Certificate {
    path: String,
    /// Whether to send the chain, by which Entra can identify a certificate by its issuer and subject.
    send_chain: bool,
    last: RefCell<Option<SignedAssertion>>,
}

#[derive(Debug)]
struct SignedAssertion {
    assertion: Secret,
    claims: AssertionClaims,
    /// Unix seconds.
    expires_on: u64,
}

/// The claims of an assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AssertionClaims {
    pub(crate) client_id: String,
    /// The token endpoint.
    pub(crate) audience: String,
    /// Whether the server is an AD FS, which does not support RSA-PSS.
    pub(crate) adfs: bool,
}

impl Certificate {
    /// # Errors
    /// [`Error::Misconfigured`], only in a build without certificates.
    pub(crate) fn new(path: String, send_chain: bool) -> Result<Self, Error> {
        Ok(Self { path, send_chain, last: RefCell::default() })
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The last assertion, if its claims are the same and it does not expire soon.
    pub(crate) fn assertion(&self, claims: &AssertionClaims, now: Duration) -> Option<Secret> {
        let last = self.last.borrow();
        let last = last.as_ref().filter(|last| last.claims == *claims)?;
        let until = last.expires_on.saturating_sub(MARGIN);
        let from = until.saturating_sub(LIFETIME);
        (from..until).contains(&now.as_secs()).then(|| last.assertion.clone())
    }

    /// Drops the last assertion.
    pub(crate) fn drop_assertion(&self) {
        self.last.take();
    }

    /// Signs an assertion with the key in a PEM text.
    ///
    /// # Errors
    /// The fault of the text, as the end of a sentence about the file.
    pub(crate) fn sign(
        &self,
        pem: &Secret,
        claims: &AssertionClaims,
        now: Duration,
        mut random: impl FnMut() -> u64,
    ) -> Result<Secret, String> {
        let file = Pem::read(pem.expose_secret())?;
        let now = now.as_secs();
        let expires_on = now.saturating_add(LIFETIME);
        let header = file.header(claims.adfs, self.send_chain);
        let payload = json!({
            "aud": claims.audience,
            "iss": claims.client_id,
            "sub": claims.client_id,
            "jti": uuid(&mut random).to_string(),
            "iat": now,
            "nbf": now,
            "exp": expires_on,
        });
        let message = format!("{}.{}", encoded(&header), encoded(&payload));
        let signature = file.signature(claims.adfs, message.as_bytes(), &mut HostRandom(random))?;
        let assertion = Secret::from(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)));
        let signed = SignedAssertion { assertion: assertion.clone(), claims: claims.clone(), expires_on };
        self.last.replace(Some(signed));
        Ok(assertion)
    }
}

/// The random bits of the host as the generator of a signature.
struct HostRandom<F>(F);

impl<F: FnMut() -> u64> RngCore for HostRandom<F> {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        (self.0)()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        impls::fill_bytes_via_next(self, bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl<F: FnMut() -> u64> CryptoRng for HostRandom<F> {}

/// The content of a PEM file: a key, and the certificates with the key's own first.
struct Pem {
    key: RsaPrivateKey,
    certificates: Vec<Vec<u8>>,
}

impl Pem {
    fn read(text: &str) -> Result<Self, String> {
        let (mut keys, mut certificates) = (Vec::new(), Vec::new());
        for block in blocks(text) {
            match block.label {
                // RFC 1421, 4.6.1.1: OpenSSL's traditional encrypted keys.
                _ if block.body.contains("4,ENCRYPTED") => return Err(ENCRYPTED.to_owned()),
                "CERTIFICATE" => certificates.push(block.decode()?.expose_secret().to_vec()),
                "PRIVATE KEY" | "RSA PRIVATE KEY" => keys.push(block.key()?),
                "ENCRYPTED PRIVATE KEY" => return Err(ENCRYPTED.to_owned()),
                "EC PRIVATE KEY" => return Err(NOT_RSA.to_owned()),
                _ => {}
            }
        }
        let Some(key) = keys.into_iter().next() else { return Err(NO_KEY.to_owned()) };
        // A certificate contains the modulus of its public key unchanged, so no X.509 parser is needed.
        let modulus = key.n().to_bytes_be();
        let own = certificates
            .iter()
            .position(|der| der.windows(modulus.len()).any(|window| window == modulus.as_slice()))
            .ok_or_else(|| NO_CERTIFICATE.to_owned())?;
        certificates.swap(0, own);
        Ok(Self { key, certificates })
    }

    fn header(&self, adfs: bool, send_chain: bool) -> Value {
        let thumbprint = self.certificates.first().map(Sha256::digest).unwrap_or_default();
        let mut header = json!({
            "alg": if adfs { "RS256" } else { "PS256" },
            "typ": "JWT",
            "x5t#S256": URL_SAFE_NO_PAD.encode(thumbprint),
        });
        if let (Value::Object(header), true) = (&mut header, send_chain) {
            // RFC 7515, 4.1.6: base64, not base64url, of the DER.
            let chain: Vec<_> = self.certificates.iter().map(|der| STANDARD.encode(der)).collect();
            header.insert("x5c".to_owned(), chain.into());
        }
        header
    }

    fn signature(
        &self,
        adfs: bool,
        message: &[u8],
        random: &mut HostRandom<impl FnMut() -> u64>,
    ) -> Result<Vec<u8>, String> {
        let key = self.key.clone();
        let signature = if adfs {
            let key = pkcs1v15::SigningKey::<Sha256>::new(key);
            key.try_sign_with_rng(random, message).map(|signature| signature.to_vec())
        } else {
            let key = pss::BlindedSigningKey::<Sha256>::new(key);
            key.try_sign_with_rng(random, message).map(|signature| signature.to_vec())
        };
        signature.map_err(|_| "has a key that cannot sign".to_owned())
    }
}

/// A block of a PEM text (RFC 7468).
struct Block<'a> {
    label: &'a str,
    /// The text between the boundaries.
    body: &'a str,
}

impl Block<'_> {
    fn decode(&self) -> Result<SecretSlice<u8>, String> {
        // The full capacity: a reallocation would leave copies of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(self.body.len()));
        text.extend(self.body.split_ascii_whitespace());
        let decoded = STANDARD.decode(text.as_bytes()).map(SecretSlice::from);
        decoded.map_err(|_| format!("has a {} that is not base64", self.label))
    }

    fn key(&self) -> Result<RsaPrivateKey, String> {
        let der = self.decode()?;
        let key = match self.label {
            "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_der(der.expose_secret()).ok(),
            _ => RsaPrivateKey::from_pkcs8_der(der.expose_secret()).ok(),
        };
        let key = key.ok_or_else(|| NOT_RSA.to_owned())?;
        match key.size() {
            256..=512 => Ok(key),
            bytes => {
                Err(format!("has an RSA key of {} bits; Entra accepts 2048 to 4096", bytes.saturating_mul(8)))
            }
        }
    }
}

/// The blocks of a PEM text. Text between blocks is ignored.
fn blocks(text: &str) -> impl Iterator<Item = Block<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, from_label) = rest.split_once("-----BEGIN ")?;
        let (label, from_body) = from_label.split_once("-----")?;
        let (body, after) = from_body.split_once(&format!("-----END {label}-----"))?;
        rest = after;
        Some(Block { label, body })
    })
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// The lifetime of an assertion, in seconds: the same as in MSAL.
const LIFETIME: u64 = 600;
/// The time before its expiry in which an assertion is not reused, in seconds.
const MARGIN: u64 = 60;

const NO_KEY: &str = "has no private key; it must be a PEM file with a certificate and its RSA key, \
                      to which `openssl pkcs12 -in app.pfx -nodes` converts a PFX";
const NO_CERTIFICATE: &str = "has no certificate for its private key; put both into one PEM file";
const NOT_RSA: &str = "has a private key that is not an RSA key, the only kind that Entra accepts";
const ENCRYPTED: &str =
    "has an encrypted private key, which is not supported; `openssl rsa -in app.pem` decrypts it";

/// The largest PEM file, in bytes: a key, a certificate and a long chain.
pub(crate) const MAX_PEM: usize = 64 * 1024;
