//! JSON fields whose type may be wrong without making the whole document invalid.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A field that should be a string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum LooseText {
    /// No field, or null.
    #[default]
    Absent,
    /// A string, or the first string of a list.
    Is(String),
    /// Another type.
    Other,
}

impl LooseText {
    pub(crate) fn into_option(self) -> Option<String> {
        match self {
            Self::Is(text) if !text.is_empty() => Some(text),
            Self::Is(_) | Self::Absent | Self::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for LooseText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseTextVisitor)
    }
}

struct LooseTextVisitor;

impl<'de> Visitor<'de> for LooseTextVisitor {
    type Value = LooseText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<LooseText, E> {
        Ok(LooseText::Is(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<LooseText, E> {
        Ok(LooseText::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<LooseText, E> {
        Ok(LooseText::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<LooseText, E> {
        Ok(LooseText::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<LooseText, E> {
        Ok(LooseText::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<LooseText, E> {
        Ok(LooseText::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<LooseText, A::Error> {
        let first = list.next_element()?.unwrap_or(LooseText::Other);
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LooseText, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(LooseText::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_any_type_is_read_past() {
        for (json, text) in [
            ("\"a\"", LooseText::Is("a".to_owned())),
            ("[\"a\", {\"b\": [1]}]", LooseText::Is("a".to_owned())),
            ("null", LooseText::Absent),
            ("[]", LooseText::Other),
            ("[1]", LooseText::Other),
            ("{\"a\": {}}", LooseText::Other),
            ("true", LooseText::Other),
            ("-1", LooseText::Other),
            ("1.5", LooseText::Other),
        ] {
            assert_eq!(serde_json::from_str::<LooseText>(json).unwrap(), text, "{json}");
        }
        assert!(serde_json::from_str::<LooseText>(&"[".repeat(100_000)).is_err());
    }
}
