//! JSON Web Tokens (RFC 7519). Their signatures are not verified: that is up to the service that takes them.

use secrecy::{ExposeSecret as _, SecretSlice};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::from_slice;

use super::base64url::from_base64url;

/// A JWT: three parts, of which the first is a JSON object (RFC 7519, 7.2).
pub(crate) struct Jwt<'a> {
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Jwt<'a> {
    /// None if the text is not a JWT.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('.');
        let (header, payload, signature, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next())
        else {
            return None;
        };
        from_slice::<AnyObject>(decode(header)?.expose_secret()).ok()?;
        Some(Self { payload, signature })
    }

    /// Whether the other two parts can be decoded and are not empty, as those of a token that was not cut.
    pub(crate) fn is_whole(&self) -> bool {
        [self.payload, self.signature]
            .into_iter()
            .all(|part| decode(part).is_some_and(|part| !part.expose_secret().is_empty()))
    }

    /// The claims; none if they are invalid.
    pub(crate) fn claims<T: DeserializeOwned>(&self) -> Option<T> {
        from_slice(decode(self.payload)?.expose_secret()).ok()
    }
}

fn decode(part: &str) -> Option<SecretSlice<u8>> {
    from_base64url(part).map(SecretSlice::from)
}

#[derive(Deserialize)]
struct AnyObject {}
