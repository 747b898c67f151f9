//! The claims of a challenge: claims that a resource requires in a token.

use serde_json::{Map, Value, json};

use super::error::Error;

/// A claims request (OpenID Connect Core, 5.5): a JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims(String);

impl Claims {
    /// Parses the claims of a challenge.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if it or its `access_token` is not a JSON object, or it is longer than 16 KiB.
    pub fn parse(text: String) -> Result<Self, Error> {
        if text.len() > MAX_CLAIMS {
            return Err(invalid(&format!("are longer than {MAX_CLAIMS} bytes")));
        }
        let Ok(object) = read(&text) else {
            return Err(invalid("are not a JSON object"));
        };
        match object.get(ACCESS_TOKEN) {
            None | Some(Value::Object(_)) => Ok(Self(text)),
            Some(_) => Err(invalid("have an `access_token` that is not an object")),
        }
    }

    /// The claims as they were given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The `claims` parameter of a request: the requested claims, and with `cae` the client capability that declares
/// support for claims challenges. MSAL merges the two in the same way.
pub(crate) fn merged(claims: Option<&Claims>, cae: bool) -> Option<String> {
    if !cae {
        return claims.map(|claims| claims.0.clone());
    }
    let mut object: Map<String, Value> = claims.and_then(|claims| read(&claims.0).ok()).unwrap_or_default();
    let access_token = object.entry(ACCESS_TOKEN).or_insert_with(|| json!({}));
    if let Value::Object(access_token) = access_token {
        access_token.insert("xms_cc".to_owned(), json!({ "values": [CAPABILITY] }));
    }
    Some(Value::Object(object).to_string())
}

/// Parses from bytes, as everywhere else: a second instantiation of the JSON reader costs as much code as the first.
fn read(text: &str) -> serde_json::Result<Map<String, Value>> {
    serde_json::from_slice(text.as_bytes())
}

fn invalid(fault: &str) -> Error {
    Error::invalid_request(
        format_args!("the claims {fault}"),
        "pass on the claims of the challenge, decoded from base64",
    )
}

/// The client capability "handles claims challenges": with it, Entra issues tokens that can be revoked before they
/// expire.
pub(crate) const CAPABILITY: &str = "CP1";

const ACCESS_TOKEN: &str = "access_token";
const MAX_CLAIMS: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Claims {
        Claims::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn claims_must_be_a_json_object() {
        for text in ["eyJhIjoxfQ==", "[1]", "", r#"{"access_token":1}"#] {
            let error = Claims::parse(text.to_owned()).unwrap_err();
            assert!(error.to_string().contains("the claims "), "{text}: {error}");
        }
        assert!(Claims::parse(format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_CLAIMS))).is_err());
        assert_eq!(claims(r#"{"access_token":{}}"#).as_str(), r#"{"access_token":{}}"#);
    }

    #[test]
    fn the_capability_is_added_to_requested_claims() {
        assert_eq!(merged(None, false), None);
        assert_eq!(merged(Some(&claims("{ }")), false).as_deref(), Some("{ }"));
        assert_eq!(merged(None, true).as_deref(), Some(r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#));
        let nbf = claims(
            r#"{"access_token":{"nbf":{"essential":true,"value":"1"},"xms_cc":{"values":["x"]}},"id_token":{}}"#,
        );
        assert_eq!(
            merged(Some(&nbf), true).as_deref(),
            Some(
                r#"{"access_token":{"nbf":{"essential":true,"value":"1"},"xms_cc":{"values":["CP1"]}},"id_token":{}}"#
            )
        );
    }
}
