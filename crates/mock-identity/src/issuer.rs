//! Signs tokens as Entra ID does, and checks them as a resource service does.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature,
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    claims::{Grant, TokenClaims, issuer},
    config::same_audience,
};

/// A token, and its properties for the answers of endpoints
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) token: String,
    pub(crate) claims: TokenClaims,
    /// The name of its subject, for the log
    pub(crate) subject: String,
}

impl Issued {
    /// The rest of its lifetime, in seconds
    pub(crate) fn expires_in(&self) -> u64 {
        self.claims.exp.saturating_sub(unix_now())
    }
}

/// Why a token is refused
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("this platform did not issue the token")]
    Invalid,
    /// At this time, in Unix seconds
    #[error("the token has expired")]
    Expired { at: u64 },
    #[error("the token is for {found}")]
    Audience { found: String },
}

pub(crate) struct Issuer {
    /// The accepted issuers: itself in each of its tenants
    accepted: Vec<String>,
    signer: signature::RsaKeyPair,
    key: Jwk,
}

/// A public key, as RFC 7517 writes it
#[derive(Serialize)]
struct Jwk {
    kty: &'static str,
    r#use: &'static str,
    alg: &'static str,
    kid: String,
    n: String,
    e: String,
}

impl Issuer {
    pub(crate) fn new(tenant_ids: &[&str]) -> Result<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(SIGNING_KEY.as_bytes()).context("signing key")?;
        let signer = signature::RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
            .map_err(|error| anyhow!("signing key: {error}"))?;
        let key = Jwk::of(&signer);
        let accepted = tenant_ids.iter().flat_map(|id| [issuer(id, false), issuer(id, true)]).collect();
        Ok(Self { accepted, signer, key })
    }

    pub(crate) fn issue(&self, grant: &Grant<'_>) -> Result<Issued> {
        let claims = grant.claims(unix_now());
        let mut written = serde_json::to_value(&claims)?;
        if claims.ver == "2.0" {
            rename(&mut written, "appid", "azp");
            rename(&mut written, "appidacr", "azpacr");
        }
        Ok(Issued { token: self.sign(&written)?, claims, subject: grant.subject.name.to_owned() })
    }

    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<String> {
        let header = json!({ "typ": "JWT", "alg": "RS256", "x5t": self.key.kid, "kid": self.key.kid });
        let signed = format!("{}.{}", encode(&header)?, encode(claims)?);
        let mut signature = vec![0; self.signer.public().modulus_len()];
        self.signer
            .sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| anyhow!("signing failed"))?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    pub(crate) fn signed(&self, message: &str, signature: &[u8]) -> bool {
        let key = signature::UnparsedPublicKey::new(
            &signature::RSA_PKCS1_2048_8192_SHA256,
            self.signer.public().as_ref(),
        );
        key.verify(message.as_bytes(), signature).is_ok()
    }

    /// The claims of `token`, if this issuer signed it for `audience` and it has not expired
    pub(crate) fn verify(&self, token: &str, audience: &str) -> Result<TokenClaims, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Invalid)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Invalid)?;
        let claims = claims(signed).filter(|_| self.signed(signed, &signature)).ok_or(TokenError::Invalid)?;
        let now = unix_now();
        if !self.accepted.contains(&claims.iss) || claims.nbf > now {
            return Err(TokenError::Invalid);
        }
        if claims.exp <= now {
            return Err(TokenError::Expired { at: claims.exp });
        }
        if same_audience(&claims.aud, audience) {
            Ok(claims)
        } else {
            Err(TokenError::Audience { found: claims.aud })
        }
    }

    pub(crate) fn key_set(&self) -> Value {
        json!({ "keys": [self.key] })
    }
}

impl Jwk {
    fn of(signer: &signature::RsaKeyPair) -> Self {
        let key = PublicKeyComponents::<Vec<u8>>::from(signer.public());
        let (n, e) = (BASE64_URL_SAFE_NO_PAD.encode(key.n), BASE64_URL_SAFE_NO_PAD.encode(key.e));
        // RFC 7638: the digest of the required members, in this order.
        let thumbprint = digest(&SHA256, format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#).as_bytes());
        Self { kty: "RSA", r#use: "sig", alg: "RS256", kid: BASE64_URL_SAFE_NO_PAD.encode(thumbprint), n, e }
    }
}

pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
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

fn claims(signed: &str) -> Option<TokenClaims> {
    let (_, payload) = signed.split_once('.')?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Not a secret: a fixed key makes starting quick, and no service but this mock trusts it.
const SIGNING_KEY: &str = include_str!("signing-key.pem");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{claims::Subject, config::MockConfig};

    fn issued(audience: &str, lifetime: u64) -> (Issuer, Issued) {
        let issuer = Issuer::new(&["tenant"]).unwrap();
        let config = MockConfig::default();
        let subject = Subject::identity(&config.identities[1]);
        let grant = Grant { subject, tenant_id: "tenant", audience, lifetime, capabilities: Vec::new() };
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
        assert!(matches!(issuer.verify(&expired.token, VAULT), Err(TokenError::Expired { .. })));
        let altered = good.token.replacen("eyJ", "eyK", 1);
        assert!(matches!(issuer.verify(&altered, VAULT), Err(TokenError::Invalid)));
        assert!(matches!(issuer.verify("", VAULT), Err(TokenError::Invalid)));
    }

    #[test]
    fn every_token_is_a_new_one_and_the_key_set_has_its_key() {
        let (issuer, one) = issued(VAULT, 3600);
        let (_, two) = issued(VAULT, 3600);
        assert_ne!(one.claims.uti, two.claims.uti);
        assert_eq!(issuer.key_set()["keys"][0]["kid"], issuer.key.kid);
    }

    const VAULT: &str = "https://vault.azure.net";
}
