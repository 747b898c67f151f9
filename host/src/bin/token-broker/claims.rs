//! What a token says of itself, for showing only: nothing is decided by it, so nothing is verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::failure::one_line;

/// The claims that tell what a token is for and whose it is.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Claims {
    aud: Option<String>,
    #[serde(alias = "azp")]
    appid: Option<String>,
    oid: Option<String>,
    xms_mirid: Option<String>,
}

impl Claims {
    /// The claims of a JWT; none of a token that is opaque.
    pub(crate) fn of(token: &str) -> Option<Self> {
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        serde_json::from_slice(&payload).ok()
    }

    pub(crate) fn audience(&self) -> Option<String> {
        self.aud.as_deref().map(one_line)
    }

    pub(crate) fn identity(&self) -> Option<String> {
        let parts = [("client id", &self.appid), ("object id", &self.oid), ("resource", &self.xms_mirid)];
        let known: Vec<_> =
            parts.iter().filter_map(|(name, id)| Some(format!("{name} {}", id.as_deref()?))).collect();
        (!known.is_empty()).then(|| one_line(&known.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(payload: &str) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn claims_tell_audience_and_identity() {
        let claims = Claims::of(&jwt(r#"{"aud":"https://vault.azure.net","appid":"a","oid":"o"}"#)).unwrap();
        assert_eq!(claims.audience().unwrap(), "https://vault.azure.net");
        assert_eq!(claims.identity().unwrap(), "client id a, object id o");
    }

    #[test]
    fn an_opaque_token_has_no_claims() {
        for token in ["opaque", "a.b.c", "", &jwt("[]"), &jwt(r#"{"aud":7}"#)] {
            assert!(Claims::of(token).is_none(), "{token}");
        }
    }
}
