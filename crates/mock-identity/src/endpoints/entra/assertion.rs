//! Client assertions: signed by the app with the key of its certificate, or by another issuer.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_URL_SAFE_NO_PAD,
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use serde::{Deserialize, de::DeserializeOwned};
use webpki::{EndEntityCert, ring::RSA_PKCS1_2048_8192_SHA256, ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY};

use super::TokenRequest;
use crate::{
    app::{App, FederatedCredential},
    date,
    entra_error::{Code, EntraError},
    issuer::unix_now,
    platform::Platform,
    tls,
};

/// A JWT that has been read and not been checked
pub(super) struct Assertion<'a> {
    header: Header,
    claims: Claims,
    /// The signed part: header and claims as they were sent
    signed: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    x5t: Option<String>,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audiences,
    exp: NumericDate,
    #[serde(default)]
    nbf: NumericDate,
}

/// RFC 7519, 2: seconds, of which MSAL for Python sends fractions too
type NumericDate = f64;

/// RFC 7519, 4.1.3: one or a list
#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl<'a> Assertion<'a> {
    pub(super) fn read(jwt: &'a str) -> Option<Self> {
        let (signed, signature) = jwt.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self {
            header: part(header)?,
            claims: part(claims)?,
            signed,
            signature: BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    pub(super) fn is_issued_by(&self, issuer: &str) -> bool {
        self.claims.iss.eq_ignore_ascii_case(issuer)
    }

    /// Entra ID allows for clocks that differ by some minutes. The mock does so at the beginning, since MSAL for Node
    /// rounds up, and not at the end, so that tests of expired assertions need not wait.
    fn check_time(&self) -> Result<(), EntraError> {
        let now = unix_now() as NumericDate;
        if self.claims.nbf <= now + SKEW && now < self.claims.exp {
            return Ok(());
        }
        Err(Code::ASSERTION_EXPIRED.because(format!(
            "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, expiry \
             time of assertion {}. Review the documentation at \
             https://docs.microsoft.com/azure/active-directory/develop/active-directory-certificate-credentials .",
            date::in_full(now as u64),
            date::in_full(self.claims.nbf as u64),
            date::in_full(self.claims.exp as u64),
        )))
    }
}

/// An assertion that the app has signed itself
pub(super) fn check_own(
    request: &TokenRequest<'_>,
    app: &App,
    assertion: &Assertion<'_>,
) -> Result<(), EntraError> {
    if !assertion.is_issued_by(&app.client_id) || !assertion.claims.sub.eq_ignore_ascii_case(&app.client_id) {
        let message = "Client assertion application identifier doesn't match 'client_id' parameter.";
        return Err(Code::OTHER_CLIENT.because(message));
    }
    if !assertion.claims.aud.contains(&request.token_url()) {
        let message = "Client assertion audience claim does not match Realm issuer.";
        return Err(Code::WRONG_AUDIENCE.because(message));
    }
    let (certificate, thumbprint) = certificate(request, app, assertion)?;
    let algorithm = algorithm(request, assertion)?;
    let verified = EndEntityCert::try_from(&certificate)
        .and_then(|certificate| {
            certificate.verify_signature(algorithm, assertion.signed.as_bytes(), &assertion.signature)
        })
        .is_ok();
    if !verified {
        return Err(bad_signature(&format!(
            "The key was found, but use of the key to verify the signature failed., Thumbprint of key used by client: \
             '{thumbprint}'"
        )));
    }
    assertion.check_time()
}

/// An assertion that an issuer which the app trusts has signed; all issuers that the mock knows have its own key
pub(super) fn check_federated(
    platform: &Platform,
    app: &App,
    assertion: &Assertion<'_>,
) -> Result<(), EntraError> {
    let Claims { iss, sub, aud, .. } = &assertion.claims;
    let mut trusted: Vec<&FederatedCredential> = app.federated_credentials.iter().collect();
    let fits_in_part = |credential: &&FederatedCredential| {
        credential.issuer == *iss || credential.subject == *sub || aud.contains(&credential.audience)
    };
    if !trusted.iter().any(fits_in_part) {
        return Err(no_credential_at_all(&assertion.claims));
    }
    trusted.retain(|credential| credential.issuer == *iss);
    if trusted.is_empty() {
        return Err(no_match(Code::NO_FEDERATED_ISSUER, "issuer", iss));
    }
    let but_for_its_case = trusted.iter().any(|credential| credential.subject.eq_ignore_ascii_case(sub));
    trusted.retain(|credential| credential.subject == *sub);
    if trusted.is_empty() {
        let code = if but_for_its_case { Code::FEDERATED_SUBJECT_CASE } else { Code::NO_FEDERATED_SUBJECT };
        return Err(no_match(code, "subject", sub));
    }
    trusted.retain(|credential| aud.contains(&credential.audience));
    if trusted.is_empty() {
        return Err(no_match(Code::NO_FEDERATED_AUDIENCE, "audience", aud.first()));
    }
    if assertion.header.alg != "RS256" || !platform.issuer.signed(assertion.signed, &assertion.signature) {
        return Err(bad_signature("The key was not found."));
    }
    assertion.check_time()
}

/// The subject of a token of this issuer and for this audience that is signed and valid now, as a cluster's review finds
pub(in crate::endpoints) fn reviewed_subject(
    platform: &Platform,
    jwt: &str,
    issuer: &str,
    audience: &str,
) -> Option<String> {
    let assertion = Assertion::read(jwt)?;
    let Claims { iss, sub, aud, .. } = &assertion.claims;
    let is_meant = iss == issuer && aud.contains(audience) && assertion.check_time().is_ok();
    let is_signed =
        assertion.header.alg == "RS256" && platform.issuer.signed(assertion.signed, &assertion.signature);
    (is_meant && is_signed).then(|| sub.clone())
}

impl Audiences {
    fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }

    fn first(&self) -> &str {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many.first().map_or("", String::as_str),
        }
    }
}

/// The certificate that the assertion says it is signed with; an AD FS looks at the SHA-1 thumbprint alone
fn certificate(
    request: &TokenRequest<'_>,
    app: &App,
    assertion: &Assertion<'_>,
) -> Result<(CertificateDer<'static>, String), EntraError> {
    let header = &assertion.header;
    let sha256 = header.x5t_s256.as_ref().filter(|_| !request.is_adfs()).map(|text| (&SHA256, text));
    let sha1 = header.x5t.as_ref().map(|text| (&SHA1_FOR_LEGACY_USE_ONLY, text));
    let Some((algorithm, text)) = sha256.or(sha1) else {
        return Err(bad_signature("The assertion has no thumbprint of a key."));
    };
    let wanted = thumbprint(text).unwrap_or_default();
    let found = app.certificates().find(|certificate| digest(algorithm, certificate).as_ref() == wanted);
    let shown = tls::upper_hex(&wanted);
    match found {
        Some(certificate) => Ok((certificate, shown)),
        None => Err(bad_signature(&format!(
            "The key was not found., Thumbprint of key used by client: '{shown}'"
        ))),
    }
}

fn algorithm(
    request: &TokenRequest<'_>,
    assertion: &Assertion<'_>,
) -> Result<&'static dyn SignatureVerificationAlgorithm, EntraError> {
    match assertion.header.alg.as_str() {
        "RS256" => Ok(RSA_PKCS1_2048_8192_SHA256),
        "PS256" if !request.is_adfs() => Ok(RSA_PSS_2048_8192_SHA256_LEGACY_KEY),
        _ => Err(bad_signature("The algorithm is not supported.")),
    }
}

/// RFC 7515 wants base64 for URLs without padding; Entra ID takes every other form too, and clients send them.
fn thumbprint(text: &str) -> Option<Vec<u8>> {
    let text = text.replace('-', "+").replace('_', "/");
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(text).ok()
}

fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

fn bad_signature(reason: &str) -> EntraError {
    let message = format!("Client assertion failed signature validation. [Reason - {reason}]");
    Code::BAD_SIGNATURE.because(message)
}

/// The error for an assertion without a match in issuer, subject or audience
fn no_credential_at_all(Claims { iss, sub, aud, .. }: &Claims) -> EntraError {
    let message = format!(
        "No matching federated identity record found for presented assertion. Assertion Issuer: '{iss}'. Assertion \
         Subject: '{sub}'. Assertion Audience: '{}'. \
         https://docs.microsoft.com/en-us/azure/active-directory/develop/workload-identity-federation",
        aud.first()
    );
    Code::NO_FEDERATED_CREDENTIAL.because(message)
}

fn no_match(code: Code, what: &str, presented: &str) -> EntraError {
    let message = format!(
        "No matching federated identity record found for presented assertion {what} '{presented}'. Check your \
         federated identity credential Subject, Audience and Issuer against the presented assertion. \
         https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
    );
    code.because(message)
}

const SKEW: NumericDate = 300.0;
