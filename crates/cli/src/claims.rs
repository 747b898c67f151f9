//! The claims of a token, for display only: they are not verified, and no decision depends on them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::failure::one_line;

/// The claims of a token: its audience and its identity.
#[derive(Debug, Default)]
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    /// The claims of a JWT; none of a token that is opaque.
    pub(crate) fn of(token: &str) -> Option<Self> {
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        serde_json::from_slice(&payload).ok().map(Self)
    }

    /// One audience, or several.
    pub(crate) fn audience(&self) -> Option<String> {
        let audience = self.0.get("aud")?;
        let all = audience.as_array().map_or_else(|| std::slice::from_ref(audience), Vec::as_slice);
        let all: Vec<_> = all.iter().filter_map(Value::as_str).collect();
        (!all.is_empty()).then(|| one_line(&all.join(", ")))
    }

    pub(crate) fn identity(&self) -> Option<String> {
        let parts = [
            ("client id", self.client_id()),
            ("object id", self.object_id()),
            ("resource", self.resource_id()),
        ];
        let known: Vec<_> =
            parts.into_iter().filter_map(|(name, id)| Some(format!("{name} {}", id?))).collect();
        (!known.is_empty()).then(|| known.join(", "))
    }

    pub(crate) fn client_id(&self) -> Option<String> {
        self.text("appid").or_else(|| self.text("azp"))
    }

    pub(crate) fn object_id(&self) -> Option<String> {
        self.text("oid")
    }

    pub(crate) fn resource_id(&self) -> Option<String> {
        self.text("xms_mirid")
    }

    pub(crate) fn tenant(&self) -> Option<String> {
        self.text("tid")
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().map(one_line)
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
    fn a_claim_of_another_form_hides_no_other() {
        let of = |payload| Claims::of(&jwt(payload)).unwrap();
        let both = of(r#"{"aud":["https://a","https://b"],"appid":"a","azp":"z","oid":7}"#);
        assert_eq!(both.audience().unwrap(), "https://a, https://b");
        assert_eq!(both.identity().unwrap(), "client id a");
        assert_eq!(of(r#"{"aud":7,"azp":"z"}"#).identity().unwrap(), "client id z");
        for nothing in [r#"{"aud":7}"#, r#"{"aud":[]}"#, r#"{"aud":[7]}"#, "{}"] {
            assert_eq!((of(nothing).audience(), of(nothing).identity()), (None, None), "{nothing}");
        }
    }

    #[test]
    fn an_opaque_token_has_no_claims() {
        for token in ["opaque", "a.b.c", "", &jwt("[]")] {
            assert!(Claims::of(token).is_none(), "{token}");
        }
    }
}
