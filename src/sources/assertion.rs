//! A client assertion: a JWT of another issuer, with which an app registration authenticates (RFC 7523).

use serde::Deserialize;

use crate::model::Secret;
use crate::wire::{Jwt, Seconds};

/// A client assertion, which is a JWT in full length.
#[derive(Debug)]
pub(crate) struct Assertion {
    pub(crate) secret: Secret,
    /// Its expiry in Unix seconds; none if its claims have no valid one.
    pub(crate) expires_on: Option<u64>,
}

impl Assertion {
    /// Reads an assertion, regardless of the white space around it.
    ///
    /// # Errors
    /// The fault of the text, as a clause that begins with a verb. It repeats nothing of the text.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Err("is empty");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("does not contain a token");
        }
        let jwt = Jwt::parse(text).filter(Jwt::is_whole).ok_or("does not contain a whole JWT")?;
        let claims: Option<Claims> = jwt.claims();
        let expires_on = match claims.map(|claims| claims.exp) {
            Some(Seconds::Known(time)) => Some(time),
            Some(Seconds::Absent | Seconds::Unreadable(_)) | None => None,
        };
        Ok(Self { secret: text.into(), expires_on })
    }
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    exp: Seconds,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header `{"alg":"RS256"}`, the claims `{"exp":1760000300}` and a signature.
    const WHOLE: &str = "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE3NjAwMDAzMDB9.c2ln";

    fn fault(text: &str) -> &'static str {
        Assertion::parse(text).unwrap_err()
    }

    #[test]
    fn a_jwt_is_an_assertion_until_the_expiry_in_its_claims() {
        for text in [WHOLE, &format!("{WHOLE}\n"), &format!("\r\n {WHOLE}\t")] {
            assert_eq!(Assertion::parse(text).unwrap().expires_on, Some(1_760_000_300), "{text}");
        }
        // `{}`, `{"exp":"soon"}`, and claims that are not JSON.
        for claims in ["e30", "eyJleHAiOiJzb29uIn0", "bm90IGpzb24"] {
            let text = format!("eyJhbGciOiJSUzI1NiJ9.{claims}.c2ln");
            assert_eq!(Assertion::parse(&text).unwrap().expires_on, None, "{claims}");
        }
    }

    #[test]
    fn a_part_of_a_jwt_is_not_an_assertion() {
        let signed_from = WHOLE.rfind('.').unwrap() + 1;
        for length in 1..=signed_from {
            assert_eq!(fault(&WHOLE[..length]), "does not contain a whole JWT", "{length}");
        }
    }

    #[test]
    fn another_text_is_not_an_assertion_and_is_not_repeated() {
        for (text, why) in [
            ("", "is empty"),
            (" \r\n", "is empty"),
            ("two words", "does not contain a token"),
            ("ä", "does not contain a token"),
            ("opaque", "does not contain a whole JWT"),
            ("<html></html>", "does not contain a whole JWT"),
            ("a.b.c", "does not contain a whole JWT"),
            ("eyJhbGciOiJSUzI1NiJ9.e30.c2ln.c2ln", "does not contain a whole JWT"),
            ("eyJhbGciOiJSUzI1NiJ9..c2ln", "does not contain a whole JWT"),
        ] {
            assert_eq!(fault(text), why, "{text}");
        }
        let two = format!("{WHOLE}\n{WHOLE}");
        assert_eq!(fault(&two), "does not contain a token");
    }
}
