//! Whether a token is the one that was asked for, as far as a JWT's claims tell.
//!
//! The signature is the service's to check. What is prevented here is a quiet mix-up: an endpoint that ignores an
//! unknown parameter answers with the token of another identity (App Service does so for `msi_res_id`).

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret as _, SecretSlice};
use serde::Deserialize;
use serde_json::from_slice;

use crate::lenient::Text;
use crate::policy::Key;
use crate::request::{Id, Identity};
use crate::token::Token;

/// What the claims say of a token that was asked for under a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing speaks against it.
    Fits,
    /// It is for an audience of another name, which may be an alias.
    OtherAudience(String),
    /// It belongs to another identity: this claim says so.
    OtherIdentity(&'static str),
    /// It is a JWT whose claims cannot be read.
    Unreadable,
}

/// Compare a token's claims with what was asked. A token that is no JWT has no claims to compare.
pub(crate) fn verify(token: &Token, key: &Key) -> Verdict {
    let Some(payload) = payload(token.secret().expose_secret()) else { return Verdict::Fits };
    let Some(claims) = decode(payload).and_then(|json| from_slice::<Claims>(json.expose_secret()).ok())
    else {
        return Verdict::Unreadable;
    };
    if let Some(claim) = claims.contradiction(key.identity()) {
        return Verdict::OtherIdentity(claim);
    }
    match claims.aud {
        // What a user is asked for is a permission, which the audience is a part of.
        Text::Is(_) if key.is_for_user() => Verdict::Fits,
        Text::Is(aud) if !same_audience(&aud, key.audience()) => Verdict::OtherAudience(aud),
        Text::Is(_) | Text::Absent | Text::Other => Verdict::Fits,
    }
}

/// The middle of a JWT: three parts of which the first is a JSON object (RFC 7519, 7.2).
fn payload(token: &str) -> Option<&str> {
    let mut parts = token.split('.');
    let (header, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    from_slice::<AnyObject>(decode(header)?.expose_secret()).ok()?;
    Some(payload)
}

fn decode(part: &str) -> Option<SecretSlice<u8>> {
    BASE64.decode(part).ok().map(SecretSlice::from)
}

#[derive(Deserialize)]
struct AnyObject {}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    aud: Text,
    oid: Text,
    appid: Text,
    /// What tokens of version 2 call `appid`.
    azp: Text,
    xms_mirid: Text,
}

impl Claims {
    /// The claim that contradicts an identity, if one does.
    fn contradiction(&self, identity: &Identity) -> Option<&'static str> {
        match identity {
            Identity::Default => None,
            Identity::SystemAssigned => match &self.xms_mirid {
                Text::Is(id) if !id.to_ascii_lowercase().contains(USER_ASSIGNED) => None,
                Text::Absent => None,
                Text::Is(_) | Text::Other => Some("xms_mirid"),
            },
            Identity::ClientId(id) => (differs(&self.appid, id) || differs(&self.azp, id)).then_some("appid"),
            Identity::ObjectId(id) => differs(&self.oid, id).then_some("oid"),
            Identity::ResourceId(id) => differs(&self.xms_mirid, id).then_some("xms_mirid"),
        }
    }
}

fn differs(claim: &Text, wanted: &Id) -> bool {
    match claim {
        Text::Absent => false,
        Text::Is(claim) => !claim.eq_ignore_ascii_case(wanted.as_str()),
        Text::Other => true,
    }
}

/// A trailing slash is part of an audience, yet services differ in whether they repeat it.
fn same_audience(aud: &str, asked: &str) -> bool {
    aud.trim_end_matches('/').eq_ignore_ascii_case(asked.trim_end_matches('/'))
}

/// Issuers differ in whether they pad, and so must not we.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const USER_ASSIGNED: &str = "/microsoft.managedidentity/userassignedidentities/";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use crate::request::TokenRequest;

    fn judged(payload: &str, identity: Identity) -> Verdict {
        let jwt = format!("e30.{}.c2ln", BASE64.encode(payload));
        judged_raw(&jwt, identity)
    }

    fn judged_raw(token: &str, identity: Identity) -> Verdict {
        let token = Token::new("imds", token.into(), "Bearer".into(), (0, 3600), None);
        let request = TokenRequest::for_scope("https://vault.azure.net").unwrap();
        let demand = Policy::default().admit(&request, &identity, |_| Ok(None)).unwrap();
        verify(&token, demand.key())
    }

    #[test]
    fn the_token_of_another_identity_is_known_by_the_claim_that_names_it() {
        let id = |make: fn(&str) -> Result<Identity, crate::Error>| make("aaa").unwrap();
        for (payload, identity, claim) in [
            (r#"{"appid":"bbb"}"#, id(Identity::client_id), "appid"),
            (r#"{"azp":"bbb"}"#, id(Identity::client_id), "appid"),
            (r#"{"oid":"bbb","appid":"aaa"}"#, id(Identity::object_id), "oid"),
            (r#"{"xms_mirid":"/subscriptions/x"}"#, id(Identity::resource_id), "xms_mirid"),
            (
                r#"{"xms_mirid":"/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u"}"#,
                Identity::SystemAssigned,
                "xms_mirid",
            ),
        ] {
            assert_eq!(judged(payload, identity), Verdict::OtherIdentity(claim), "{payload}");
        }
    }

    #[test]
    fn ids_are_compared_without_regard_to_case() {
        let payload = r#"{"aud":"https://VAULT.azure.net/","appid":"AAA","oid":"zzz"}"#;
        assert_eq!(judged(payload, Identity::client_id("aaa").unwrap()), Verdict::Fits);
    }

    #[test]
    fn an_audience_of_another_name_is_only_noted() {
        let other = judged(r#"{"aud":"cfa8b339-82a2-471a-a3c9-0fc0be7a4093"}"#, Identity::Default);
        assert_eq!(other, Verdict::OtherAudience("cfa8b339-82a2-471a-a3c9-0fc0be7a4093".to_owned()));
    }

    #[test]
    fn a_token_without_readable_claims_is_taken_as_it_is() {
        for token in
            ["opaque", "a.b", "a.!!.c", "a.e30.c", "a.bm90IGpzb24.c", "a.eyJhdWQiOlsxXX0.c", "a.b.c.d.e"]
        {
            assert_eq!(judged_raw(token, Identity::client_id("aaa").unwrap()), Verdict::Fits, "{token}");
        }
    }
}
