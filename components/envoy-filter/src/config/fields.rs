//! The fields of JSON objects, taken one by one. An error names the path of its field, for example `rules[0].scope`.
//!
//! serde's derived readers are not used: these are 40 kB smaller, and each message has its path.

use std::fmt::Display;

use serde_json::{Map, Value};
use token_broker::MAX_MS;

use super::protobuf;

/// The fields of an object. Each of them must be taken.
pub(crate) struct Fields {
    path: String,
    fields: Map<String, Value>,
}

/// The value of a field, and its path.
pub(crate) struct FieldValue {
    pub(crate) path: String,
    value: Value,
}

/// A mistake in the configuration, as a sentence that begins with the path of the field.
pub(crate) type ConfigError = String;

/// A mistake in the configuration, and the fix.
pub(super) fn mistake(what: impl Display, fix: impl Display) -> ConfigError {
    format!("{what}; fix: {fix}")
}

impl Fields {
    /// The fields of an object in JSON or in the format of `google.protobuf.Struct`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let value = serde_json::from_slice(bytes).or_else(|error| protobuf::object(bytes).ok_or(error));
        let value = value.map_err(|error| {
            mistake(
                format_args!("the configuration is not JSON: {error}"),
                "write JSON; config.schema.json describes it",
            )
        })?;
        FieldValue { path: "the configuration".to_owned(), value }.fields_of(String::new())
    }

    pub(crate) fn optional(&mut self, name: &str) -> Option<FieldValue> {
        let path = self.path_of(name);
        self.fields.remove(name).map(|value| FieldValue { path, value })
    }

    /// Takes a field that must be there.
    pub(crate) fn required(&mut self, name: &str) -> Result<FieldValue, ConfigError> {
        self.optional(name)
            .ok_or_else(|| mistake(format_args!("{} is missing", self.path_of(name)), "add the field"))
    }

    /// Takes a text that must be there.
    pub(crate) fn text(&mut self, name: &str) -> Result<String, ConfigError> {
        self.required(name)?.text()
    }

    /// Checks that each field was taken: one that was not has an unknown name.
    pub(crate) fn end(self) -> Result<(), ConfigError> {
        match self.fields.keys().next() {
            Some(unknown) => Err(mistake(
                format_args!("{} is not a field of the configuration", self.path_of(unknown)),
                "correct its name, or remove it; config.schema.json lists all fields",
            )),
            None => Ok(()),
        }
    }

    /// The only field of an object, where each field is another of the `cases`.
    pub(crate) fn only(mut self, cases: &str) -> Result<(String, FieldValue), ConfigError> {
        let name = self.fields.keys().next().filter(|_| self.fields.len() == 1).cloned();
        let name = name.ok_or_else(|| {
            mistake(
                format_args!("{} has not exactly one field", self.path),
                format_args!("use one of {cases}"),
            )
        })?;
        let value = self.required(&name)?;
        Ok((name, value))
    }

    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

impl FieldValue {
    /// A text of any length, for a caller that checks it.
    pub(crate) fn any_text(self) -> Result<String, ConfigError> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => Err(mistake(format_args!("{} is not a text", self.path), "write it in quotes")),
        }
    }

    /// A text of 1 to [`MAX_TEXT`] bytes.
    pub(crate) fn text(self) -> Result<String, ConfigError> {
        match self.value {
            Value::String(text) if (1..=MAX_TEXT).contains(&text.len()) => Ok(text),
            _ => Err(mistake(
                format_args!("{} is not a text of 1 to {MAX_TEXT} bytes", self.path),
                format_args!("write 1 to {MAX_TEXT} bytes in quotes"),
            )),
        }
    }

    /// A time in milliseconds, a whole number from 1 to [`MAX_MS`].
    pub(crate) fn milliseconds(self) -> Result<u64, ConfigError> {
        let number = self.value.as_u64().filter(|ms| (1..=MAX_MS).contains(ms));
        number.ok_or_else(|| {
            mistake(
                format_args!("{} is not a number of milliseconds", self.path),
                format_args!("set it to a whole number from 1 to {MAX_MS}"),
            )
        })
    }

    pub(crate) fn list(self) -> Result<Vec<Self>, ConfigError> {
        let Value::Array(values) = self.value else {
            return Err(mistake(format_args!("{} is not a list", self.path), "write `[...]`"));
        };
        let at = |(nth, value)| Self { path: format!("{}[{nth}]", self.path), value };
        Ok(values.into_iter().enumerate().map(at).collect())
    }

    pub(crate) fn fields(self) -> Result<Fields, ConfigError> {
        let path = self.path.clone();
        self.fields_of(path)
    }

    fn fields_of(self, path: String) -> Result<Fields, ConfigError> {
        match self.value {
            Value::Object(fields) => Ok(Fields { path, fields }),
            _ => Err(mistake(format_args!("{} is not an object", self.path), "write `{...}`")),
        }
    }

    /// The meaning of a keyword.
    pub(crate) fn one_of<T: Copy, const N: usize>(self, keywords: [(&str, T); N]) -> Result<T, ConfigError> {
        let meaning =
            |text: &str| keywords.iter().find(|(keyword, _)| *keyword == text).map(|(_, meaning)| *meaning);
        self.value.as_str().and_then(meaning).ok_or_else(|| {
            let keywords = keywords.map(|(keyword, _)| format!("`{keyword}`"));
            mistake(
                format_args!("{} has an unknown value", self.path),
                format_args!("set it to one of {}", keywords.join(", ")),
            )
        })
    }

    pub(crate) fn is_text(&self) -> bool {
        self.value.is_string()
    }
}

/// More than a scope may have, which is the longest of all texts.
const MAX_TEXT: usize = 4096;
