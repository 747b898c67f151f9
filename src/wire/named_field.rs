//! A secret in a JSON object, in a field whose name is known only at run time.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Deserializer as Json;

use crate::model::Secret;

/// The text of a field of a JSON object; none if there is no text. The rest of the object is not kept.
///
/// # Errors
/// If the bytes are not JSON.
pub(crate) fn secret_field(json: &[u8], name: &str) -> Result<Option<Secret>, serde_json::Error> {
    let mut json = Json::from_slice(json);
    let found = NamedField(name).deserialize(&mut json).and_then(|found| json.end().map(|()| found));
    match found {
        // Another type than a text or an object.
        Err(error) if error.is_data() => Ok(None),
        other => other,
    }
}

struct NamedField<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for NamedField<'_> {
    type Value = Option<Secret>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for NamedField<'_> {
    type Value = Option<Secret>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            match *name == *self.0 {
                true => found = map.next_value()?,
                false => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn found(json: &str) -> Option<String> {
        secret_field(json.as_bytes(), "value").unwrap().map(|text| text.expose_secret().to_owned())
    }

    #[test]
    fn the_text_of_the_field_is_found() {
        assert_eq!(found(r#"{"count":1,"value":"a.b.c","x":{"value":"no"}}"#).as_deref(), Some("a.b.c"));
        assert_eq!(found(r#"{"val\u0075e":"\u0061"}"#).as_deref(), Some("a"));
    }

    #[test]
    fn another_type_is_no_text() {
        for json in [
            "{}",
            r#"{"value":null}"#,
            r#"{"value":5}"#,
            r#"{"value":["a"]}"#,
            r#"{"Value":"a"}"#,
            "[]",
            "null",
            "\"a\"",
        ] {
            assert_eq!(found(json), None, "{json}");
        }
    }

    #[test]
    fn another_text_is_not_json() {
        for json in ["", "<html>", r#"{"value":"a""#, r#"{"value":"a"} x"#] {
            assert!(secret_field(json.as_bytes(), "value").is_err(), "{json}");
        }
    }
}
