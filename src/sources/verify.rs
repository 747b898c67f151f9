//! Verification that the claims of a JWT match the request.
//!
//! The signature is not verified: that is up to the service. The check detects an endpoint that ignores an unknown
//! parameter and answers with the token of another identity (App Service does so for `msi_res_id`).

use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;

use crate::model::{Id, Identity, Token};
use crate::policy::CacheKey;
use crate::wire::{Jwt, LooseText};

/// The result of the verification.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenCheck {
    /// No claim contradicts the request.
    Matches,
    /// The audience has another name, which may be an alias.
    OtherAudience(String),
    /// The token belongs to another identity, by the claim with this name and value.
    OtherIdentity(&'static str, Option<String>),
    /// The claims of the JWT are invalid.
    InvalidClaims,
}

/// Compares the claims of a token with the request. An opaque token has no claims, and matches.
pub(crate) fn verify(token: &Token, key: &CacheKey) -> TokenCheck {
    let Some(jwt) = Jwt::parse(token.secret().expose_secret()) else { return TokenCheck::Matches };
    let Some(claims) = jwt.claims::<TokenClaims>() else { return TokenCheck::InvalidClaims };
    if let Some((name, claim)) = claims.contradiction(key.identity()) {
        return TokenCheck::OtherIdentity(name, claim.clone().into_option());
    }
    let audiences = claims.audiences();
    // The scope of an on-behalf-of request is a permission, which is not just an audience.
    let fits = audiences.is_empty() || key.is_for_user();
    if fits || audiences.iter().any(|aud| same_audience(aud, key.audience())) {
        return TokenCheck::Matches;
    }
    TokenCheck::OtherAudience(audiences.join(", "))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenClaims {
    /// A string or a list (RFC 7519, 4.1.3).
    aud: Value,
    oid: LooseText,
    appid: LooseText,
    /// The `appid` of tokens of version 2.
    azp: LooseText,
    xms_mirid: LooseText,
}

impl TokenClaims {
    fn audiences(&self) -> Vec<&str> {
        match &self.aud {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        }
    }

    /// The claim that contradicts an identity, if one does.
    fn contradiction<'a>(&'a self, identity: &Identity) -> Option<(&'static str, &'a LooseText)> {
        let differing = |claims: &[(&'static str, &'a LooseText)], id: &Id| {
            claims.iter().copied().find(|(_, claim)| differs(claim, id))
        };
        match identity {
            Identity::Default => None,
            Identity::SystemAssigned => match &self.xms_mirid {
                LooseText::Is(id) if !id.to_ascii_lowercase().contains(USER_ASSIGNED) => None,
                LooseText::Absent => None,
                claim @ (LooseText::Is(_) | LooseText::Other) => Some(("xms_mirid", claim)),
            },
            Identity::ClientId(id) => differing(&[("appid", &self.appid), ("azp", &self.azp)], id),
            Identity::ObjectId(id) => differing(&[("oid", &self.oid)], id),
            Identity::ResourceId(id) => differing(&[("xms_mirid", &self.xms_mirid)], id),
        }
    }
}

fn differs(claim: &LooseText, requested: &Id) -> bool {
    match claim {
        LooseText::Absent => false,
        LooseText::Is(claim) => !claim.eq_ignore_ascii_case(requested.as_str()),
        LooseText::Other => true,
    }
}

/// Compares audiences without their trailing slashes: services differ in whether they repeat them.
fn same_audience(aud: &str, requested: &str) -> bool {
    aud.trim_end_matches('/').eq_ignore_ascii_case(requested.trim_end_matches('/'))
}

const USER_ASSIGNED: &str = "/microsoft.managedidentity/userassignedidentities/";

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;
    use crate::tests::admitted;

    fn judged(payload: &str, identity: Identity) -> TokenCheck {
        judged_raw(&format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(payload)), identity)
    }

    fn judged_raw(token: &str, identity: Identity) -> TokenCheck {
        let token = Token::new("imds", token.into(), "Bearer".into(), (0, 3600), None);
        verify(&token, admitted("https://vault.azure.net", &identity).key())
    }

    const USER_ASSIGNED: &str = r#"{"xms_mirid":"/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u"}"#;

    #[test]
    fn the_token_of_another_identity_is_known_by_the_claim_that_names_it() {
        let id = |make: fn(&str) -> Result<Identity, crate::Error>| make("aaa").unwrap();
        for (payload, identity, claim) in [
            (r#"{"appid":"bbb"}"#, id(Identity::client_id), "appid"),
            (r#"{"azp":"bbb"}"#, id(Identity::client_id), "azp"),
            (r#"{"appid":"aaa","azp":"bbb"}"#, id(Identity::client_id), "azp"),
            (r#"{"oid":"bbb","appid":"aaa"}"#, id(Identity::object_id), "oid"),
            (r#"{"xms_mirid":"/subscriptions/x"}"#, id(Identity::resource_id), "xms_mirid"),
            (USER_ASSIGNED, Identity::SystemAssigned, "xms_mirid"),
        ] {
            let TokenCheck::OtherIdentity(name, Some(_)) = judged(payload, identity) else {
                panic!("{payload}")
            };
            assert_eq!(name, claim, "{payload}");
        }
    }

    #[test]
    fn ids_are_compared_without_regard_to_case() {
        let payload = r#"{"aud":"https://VAULT.azure.net/","appid":"AAA","oid":"zzz"}"#;
        assert_eq!(judged(payload, Identity::client_id("aaa").unwrap()), TokenCheck::Matches);
    }

    #[test]
    fn a_list_of_audiences_and_both_names_of_the_app_are_read() {
        let aaa = || Identity::client_id("aaa").unwrap();
        for aud in [r#"["x","https://vault.azure.net"]"#, r#"["https://vault.azure.net/"]"#, "[]", "[7]", "7"]
        {
            let payload = format!(r#"{{"aud":{aud},"appid":"aaa","azp":"aaa"}}"#);
            assert_eq!(judged(&payload, aaa()), TokenCheck::Matches, "{aud}");
        }
        let other = judged(r#"{"aud":["x","y"]}"#, aaa());
        assert_eq!(other, TokenCheck::OtherAudience("x, y".to_owned()));
        let other = judged(r#"{"aud":["https://vault.azure.net"],"appid":"bbb","azp":"bbb"}"#, aaa());
        assert_eq!(other, TokenCheck::OtherIdentity("appid", Some("bbb".to_owned())));
    }

    #[test]
    fn an_audience_of_another_name_is_only_noted() {
        let other = judged(r#"{"aud":"cfa8b339-82a2-471a-a3c9-0fc0be7a4093"}"#, Identity::Default);
        assert_eq!(other, TokenCheck::OtherAudience("cfa8b339-82a2-471a-a3c9-0fc0be7a4093".to_owned()));
    }

    #[test]
    fn a_token_without_readable_claims_is_taken_as_it_is() {
        let aaa = || Identity::client_id("aaa").unwrap();
        for token in
            ["opaque", "a.b", "a.!!.c", "a.e30.c", "a.bm90IGpzb24.c", "a.eyJhdWQiOlsxXX0.c", "a.b.c.d.e"]
        {
            assert_eq!(judged_raw(token, aaa()), TokenCheck::Matches, "{token}");
        }
    }
}
