//! Signs tokens as Entra ID does, and checks them as a resource service does.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jwt_simple::{
    JWTError,
    algorithms::{RS256KeyPair, RS256PublicKey, RSAPublicKeyLike},
    claims::NoCustomClaims,
    common::VerificationOptions,
};
use ring::{rand::SystemRandom, signature};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{config::same_audience, identity::Identity};

/// The claims that Entra ID puts into a managed identity's token
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenClaims {
    /// The audience, spelt as the request spelt it
    pub aud: String,
    /// Who issued it
    pub iss: String,
    /// When it was issued, in Unix seconds
    pub iat: u64,
    /// From when it is good
    pub nbf: u64,
    /// Until when it is good
    pub exp: u64,
    /// The identity's client id
    pub appid: String,
    /// How the client proved itself: `2`, by a certificate
    pub appidacr: String,
    /// The identity provider
    pub idp: String,
    /// `app`: no user is involved
    pub idtyp: String,
    /// The identity's object id
    pub oid: String,
    /// The subject: again the object id
    pub sub: String,
    /// The directory
    pub tid: String,
    /// This token's own id
    pub uti: String,
    /// The token's format
    pub ver: String,
    /// The identity's resource id
    pub xms_mirid: String,
}

/// A token and what the endpoints say about it
pub(super) struct Issued {
    pub(super) token: String,
    pub(super) claims: TokenClaims,
}

/// Why a token is no good
#[derive(Debug)]
pub(super) enum Refused {
    Invalid,
    Expired,
    Audience { found: String },
}

pub(super) struct Issuer {
    tenant_id: String,
    signer: signature::RsaKeyPair,
    verifier: RS256PublicKey,
    key_id: String,
}

impl Issuer {
    pub(super) fn new(tenant_id: &str) -> Result<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(SIGNING_KEY.as_bytes()).context("signing key")?;
        let signer = signature::RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
            .map_err(|error| anyhow!("signing key: {error}"))?;
        let verifier = RS256KeyPair::from_pem(SIGNING_KEY)?.public_key();
        let key_id = verifier.jwk_thumbprint();
        Ok(Self { tenant_id: tenant_id.to_owned(), signer, verifier: verifier.with_key_id(&key_id), key_id })
    }

    /// A token of `identity` for `audience`
    pub(super) fn issue(&self, identity: &Identity, audience: &str, lifetime: u64) -> Result<Issued> {
        let claims = self.claims(identity, audience, lifetime);
        let header = json!({ "typ": "JWT", "alg": "RS256", "x5t": self.key_id, "kid": self.key_id });
        let signed = format!("{}.{}", encode(&header)?, encode(&claims)?);
        let mut signature = vec![0; self.signer.public().modulus_len()];
        // ring signs three times as fast as jwt-simple's pure Rust, and a benchmark waits for it.
        self.signer
            .sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| anyhow!("signing failed"))?;
        Ok(Issued { token: format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)), claims })
    }

    /// The claims of `token`, if this issuer signed it for `audience` and it has not expired
    pub(super) fn verify(&self, token: &str, audience: &str) -> Result<TokenClaims, Refused> {
        let options = VerificationOptions {
            allowed_issuers: Some([self.issuer()].into()),
            time_tolerance: Some(jwt_simple::prelude::Duration::from_secs(0)),
            ..VerificationOptions::default()
        };
        self.verifier
            .verify_token::<NoCustomClaims>(token, Some(options))
            .map_err(|error| refused(&error))?;
        let claims = claims(token).ok_or(Refused::Invalid)?;
        if same_audience(&claims.aud, audience) {
            Ok(claims)
        } else {
            Err(Refused::Audience { found: claims.aud })
        }
    }

    /// The signing keys, as a JWKS
    pub(super) fn key_set(&self) -> Value {
        let key: Value = serde_json::from_str(&self.verifier.to_jwk()).unwrap_or_default();
        json!({ "keys": [key] })
    }

    /// What tokens name as their issuer: those of managed identities are of version 1
    pub(super) fn issuer(&self) -> String {
        format!("https://sts.windows.net/{}/", self.tenant_id)
    }

    fn claims(&self, identity: &Identity, audience: &str, lifetime: u64) -> TokenClaims {
        let now = unix_now();
        TokenClaims {
            aud: audience.to_owned(),
            iss: self.issuer(),
            iat: now.saturating_sub(BACKDATED),
            nbf: now.saturating_sub(BACKDATED),
            exp: now.saturating_add(lifetime),
            appid: identity.client_id.clone(),
            appidacr: "2".to_owned(),
            idp: self.issuer(),
            idtyp: "app".to_owned(),
            oid: identity.object_id.clone(),
            sub: identity.object_id.clone(),
            tid: self.tenant_id.clone(),
            uti: Uuid::new_v4().simple().to_string(),
            ver: "1.0".to_owned(),
            xms_mirid: identity.resource_id.clone(),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid => f.write_str("this platform did not issue the token"),
            Self::Expired => f.write_str("the token has expired"),
            Self::Audience { found } => write!(f, "the token is for {found}"),
        }
    }
}

impl std::error::Error for Refused {}

pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn refused(error: &jwt_simple::Error) -> Refused {
    match error.downcast_ref() {
        Some(JWTError::TokenHasExpired) => Refused::Expired,
        _ => Refused::Invalid,
    }
}

fn encode(part: &impl Serialize) -> Result<String> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(part)?))
}

fn claims(token: &str) -> Option<TokenClaims> {
    let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Not a secret: a fixed key makes starting quick, and no service but this mock trusts it.
const SIGNING_KEY: &str = include_str!("signing-key.pem");

/// Entra ID dates tokens back by five minutes, for services whose clocks are slow.
const BACKDATED: u64 = 300;

#[cfg(test)]
mod tests {
    use super::super::config::MockConfig;
    use super::*;

    fn issued(lifetime: u64) -> (Issuer, Issued) {
        let issuer = Issuer::new("tenant").unwrap();
        let issued =
            issuer.issue(&MockConfig::default().identities[1], "https://vault.azure.net", lifetime).unwrap();
        (issuer, issued)
    }

    #[test]
    fn a_token_verifies_for_its_audience_with_the_claims_it_was_issued_with() {
        let (issuer, issued) = issued(3600);
        let claims = issuer.verify(&issued.token, "https://vault.azure.net/").unwrap();
        assert_eq!(claims, issued.claims);
        assert_eq!(
            (claims.exp - claims.nbf, claims.idtyp.as_str(), claims.tid.as_str()),
            (3900, "app", "tenant")
        );
    }

    #[test]
    fn another_audience_an_expired_and_an_altered_token_are_refused() {
        let (issuer, good) = issued(3600);
        let other = issuer.verify(&good.token, "https://storage.azure.com").unwrap_err();
        assert_eq!(other.to_string(), "the token is for https://vault.azure.net");
        let (_, expired) = issued(0);
        assert!(matches!(issuer.verify(&expired.token, "https://vault.azure.net"), Err(Refused::Expired)));
        let altered = good.token.replacen("eyJ", "eyK", 1);
        assert!(matches!(issuer.verify(&altered, "https://vault.azure.net"), Err(Refused::Invalid)));
        assert!(matches!(issuer.verify("", "https://vault.azure.net"), Err(Refused::Invalid)));
    }

    #[test]
    fn every_token_is_a_new_one_and_the_key_set_has_its_key() {
        let (issuer, one) = issued(3600);
        let (_, two) = issued(3600);
        assert_ne!(one.claims.uti, two.claims.uti);
        assert_eq!(issuer.key_set()["keys"][0]["kid"], issuer.key_id);
    }
}
