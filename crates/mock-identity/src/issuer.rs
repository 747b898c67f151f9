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
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    claims::{Grant, TokenClaims, issuer},
    config::same_audience,
};

/// A token and what the endpoints say about it
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) token: String,
    pub(super) claims: TokenClaims,
    /// What the log calls whom it is for
    pub(super) holder: String,
}

impl Issued {
    /// For how many more seconds it is good
    pub(super) fn expires_in(&self) -> u64 {
        self.claims.exp.saturating_sub(unix_now())
    }
}

/// Why a token is no good
#[derive(Debug)]
pub(super) enum Refused {
    Invalid,
    /// At this time, in Unix seconds
    Expired {
        at: u64,
    },
    Audience {
        found: String,
    },
}

pub(super) struct Issuer {
    /// The issuers whose tokens it takes: itself in each of its tenants
    accepted: Vec<String>,
    signer: signature::RsaKeyPair,
    verifier: RS256PublicKey,
    key_id: String,
}

impl Issuer {
    pub(super) fn new(tenant_ids: &[&str]) -> Result<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(SIGNING_KEY.as_bytes()).context("signing key")?;
        let signer = signature::RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
            .map_err(|error| anyhow!("signing key: {error}"))?;
        let verifier = RS256KeyPair::from_pem(SIGNING_KEY)?.public_key();
        let key_id = verifier.jwk_thumbprint();
        let accepted = tenant_ids.iter().flat_map(|id| [issuer(id, false), issuer(id, true)]).collect();
        Ok(Self { accepted, signer, verifier: verifier.with_key_id(&key_id), key_id })
    }

    /// The token that `grant` allows
    pub(super) fn issue(&self, grant: &Grant<'_>) -> Result<Issued> {
        let claims = grant.claims(unix_now());
        let mut written = serde_json::to_value(&claims)?;
        if claims.ver == "2.0" {
            rename(&mut written, "appid", "azp");
            rename(&mut written, "appidacr", "azpacr");
        }
        Ok(Issued { token: self.sign(&written)?, claims, holder: grant.holder.name().to_owned() })
    }

    /// These claims as a JWT
    pub(super) fn sign(&self, claims: &impl Serialize) -> Result<String> {
        let header = json!({ "typ": "JWT", "alg": "RS256", "x5t": self.key_id, "kid": self.key_id });
        let signed = format!("{}.{}", encode(&header)?, encode(claims)?);
        let mut signature = vec![0; self.signer.public().modulus_len()];
        // ring signs three times as fast as jwt-simple's pure Rust, and a benchmark waits for it.
        self.signer
            .sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| anyhow!("signing failed"))?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Whether this is its signature, whatever the token says
    pub(super) fn signed(&self, message: &str, signature: &[u8]) -> bool {
        let key = signature::UnparsedPublicKey::new(
            &signature::RSA_PKCS1_2048_8192_SHA256,
            self.signer.public().as_ref(),
        );
        key.verify(message.as_bytes(), signature).is_ok()
    }

    /// The claims of `token`, if this issuer signed it for `audience` and it has not expired
    pub(super) fn verify(&self, token: &str, audience: &str) -> Result<TokenClaims, Refused> {
        let options = VerificationOptions {
            allowed_issuers: Some(self.accepted.iter().cloned().collect()),
            time_tolerance: Some(jwt_simple::prelude::Duration::from_secs(0)),
            ..VerificationOptions::default()
        };
        self.verifier
            .verify_token::<NoCustomClaims>(token, Some(options))
            .map_err(|error| refused(&error, token))?;
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
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid => f.write_str("this platform did not issue the token"),
            Self::Expired { .. } => f.write_str("the token has expired"),
            Self::Audience { found } => write!(f, "the token is for {found}"),
        }
    }
}

impl std::error::Error for Refused {}

pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn refused(error: &jwt_simple::Error, token: &str) -> Refused {
    match error.downcast_ref() {
        Some(JWTError::TokenHasExpired) => {
            Refused::Expired { at: claims(token).map_or(0, |claims| claims.exp) }
        }
        _ => Refused::Invalid,
    }
}

fn encode(part: &impl Serialize) -> Result<String> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(part)?))
}

fn rename(claims: &mut Value, from: &str, to: &str) {
    if let Some(claims) = claims.as_object_mut()
        && let Some(value) = claims.remove(from)
    {
        claims.insert(to.to_owned(), value);
    }
}

fn claims(token: &str) -> Option<TokenClaims> {
    let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Not a secret: a fixed key makes starting quick, and no service but this mock trusts it.
const SIGNING_KEY: &str = include_str!("signing-key.pem");

#[cfg(test)]
mod tests {
    use super::super::{claims::Holder, config::MockConfig};
    use super::*;

    fn issued(audience: &str, lifetime: u64) -> (Issuer, Issued) {
        let issuer = Issuer::new(&["tenant"]).unwrap();
        let holder = Holder::Identity(&MockConfig::default().identities[1]);
        let grant = Grant { holder, tenant_id: "tenant", audience, lifetime, capabilities: Vec::new() };
        let issued = issuer.issue(&grant).unwrap();
        (issuer, issued)
    }

    #[test]
    fn a_token_verifies_for_its_audience_with_the_claims_it_was_issued_with() {
        let (issuer, issued) = issued(VAULT, 3600);
        let claims = issuer.verify(&issued.token, "https://vault.azure.net/").unwrap();
        assert_eq!(claims, issued.claims);
        assert_eq!(
            (claims.exp - claims.nbf, claims.idtyp.as_str(), claims.tid.as_str()),
            (3900, "app", "tenant")
        );
    }

    #[test]
    fn a_token_that_is_to_be_exchanged_is_of_version_2() {
        let (issuer, issued) = issued("api://AzureADTokenExchange", 3600);
        let claims = issuer.verify(&issued.token, "api://AzureADTokenExchange").unwrap();
        assert_eq!(claims, issued.claims);
        assert_eq!(
            (claims.iss.as_str(), claims.ver.as_str()),
            ("https://login.microsoftonline.com/tenant/v2.0", "2.0")
        );
        let payload = BASE64_URL_SAFE_NO_PAD.decode(issued.token.split('.').nth(1).unwrap()).unwrap();
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((payload.get("appid"), &payload["azp"]), (None, &Value::from(claims.appid)));
    }

    #[test]
    fn another_audience_an_expired_and_an_altered_token_are_refused() {
        let (issuer, good) = issued(VAULT, 3600);
        let other = issuer.verify(&good.token, "https://storage.azure.com").unwrap_err();
        assert_eq!(other.to_string(), "the token is for https://vault.azure.net");
        let (_, expired) = issued(VAULT, 0);
        assert!(matches!(issuer.verify(&expired.token, VAULT), Err(Refused::Expired { .. })));
        let altered = good.token.replacen("eyJ", "eyK", 1);
        assert!(matches!(issuer.verify(&altered, VAULT), Err(Refused::Invalid)));
        assert!(matches!(issuer.verify("", VAULT), Err(Refused::Invalid)));
    }

    #[test]
    fn every_token_is_a_new_one_and_the_key_set_has_its_key() {
        let (issuer, one) = issued(VAULT, 3600);
        let (_, two) = issued(VAULT, 3600);
        assert_ne!(one.claims.uti, two.claims.uti);
        assert_eq!(issuer.key_set()["keys"][0]["kid"], issuer.key_id);
    }

    const VAULT: &str = "https://vault.azure.net";
}
