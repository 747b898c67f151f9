//! Bytes in a case: texts, base64 and files.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Value;

/// A text, or bytes that are not text.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Raw {
    Text(String),
    Bytes { base64: Base64 },
}

impl Raw {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes { base64: Base64(bytes) } => bytes,
        }
    }

    /// The parts that are text, each on a line of its own.
    pub(crate) fn text(&self) -> String {
        self.bytes().utf8_chunks().map(|chunk| chunk.valid()).collect::<Vec<_>>().join("\n")
    }
}

/// The content of a path.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Content {
    Raw(Raw),
    /// Filler of this many bytes, in the form of a JWT.
    Filler {
        size: usize,
    },
    /// A symbolic link, written as it is: the `/` of the component is another directory outside.
    Link {
        link: String,
    },
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Base64(Vec<u8>);

impl TryFrom<String> for Base64 {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        BASE64_STANDARD.decode(text).map(Self)
    }
}

/// A text that may be written as a number or a boolean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            plain @ (Value::Number(_) | Value::Bool(_)) => Ok(Self(plain.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(D::Error::custom("must be a text")),
        }
    }
}
