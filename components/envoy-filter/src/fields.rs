//! The fields of JSON objects, taken one by one; what is wrong is told by its path, `rules[0].scope` for instance.
//!
//! Not serde's derived readers: these weigh 40 kB less, and no message lacks its path.

use serde_json::{Map, Value};

use crate::protobuf;

/// An object of which every field must be taken.
pub(crate) struct Fields {
    path: String,
    fields: Map<String, Value>,
}

/// A value and where it was.
pub(crate) struct At {
    pub(crate) path: String,
    value: Value,
}

/// What is wrong, beginning with the path of the field.
pub(crate) type Wrong = String;

impl Fields {
    /// The fields of an object that is written in JSON or as a `google.protobuf.Struct`.
    ///
    /// # Errors
    /// If it is not.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Wrong> {
        let value = serde_json::from_slice(bytes).or_else(|error| protobuf::object(bytes).ok_or(error));
        let value = value.map_err(|error| format!("the configuration is not JSON: {error}"))?;
        At { path: "the configuration".to_owned(), value }.fields_of(String::new())
    }

    pub(crate) fn optional(&mut self, name: &str) -> Option<At> {
        let path = self.path_of(name);
        self.fields.remove(name).map(|value| At { path, value })
    }

    /// # Errors
    /// If the field is not there.
    pub(crate) fn required(&mut self, name: &str) -> Result<At, Wrong> {
        self.optional(name).ok_or_else(|| format!("{} is missing", self.path_of(name)))
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// If it is not, or is none, or empty.
    pub(crate) fn text(&mut self, name: &str) -> Result<String, Wrong> {
        self.required(name)?.text()
    }

    /// # Errors
    /// For a field that nobody took.
    pub(crate) fn end(self) -> Result<(), Wrong> {
        match self.fields.keys().next() {
            Some(unknown) => Err(format!("{} is not a field that is known here", self.path_of(unknown))),
            None => Ok(()),
        }
    }

    /// The only field, where each would be a case of its own.
    ///
    /// # Errors
    /// If there is none, or several; `cases` says what there may be.
    pub(crate) fn only(mut self, cases: &str) -> Result<(String, At), Wrong> {
        let name = self.fields.keys().next().filter(|_| self.fields.len() == 1).cloned();
        let name = name.ok_or_else(|| format!("{} must have exactly one field: {cases}", self.path))?;
        let value = self.required(&name)?;
        Ok((name, value))
    }

    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

impl At {
    /// A text of which somebody else says what is wrong with it.
    ///
    /// # Errors
    /// If it is no text.
    pub(crate) fn any_text(self) -> Result<String, Wrong> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => Err(format!("{} must be a text", self.path)),
        }
    }

    /// # Errors
    /// If it is no text, or empty, or longer than [`MAX_TEXT`] bytes.
    pub(crate) fn text(self) -> Result<String, Wrong> {
        match self.value {
            Value::String(text) if (1..=MAX_TEXT).contains(&text.len()) => Ok(text),
            _ => Err(format!("{} must be a text of 1 to {MAX_TEXT} bytes", self.path)),
        }
    }

    /// Milliseconds, as a text that the core reads.
    ///
    /// # Errors
    /// If it is no whole number from 1 to [`MAX_MS`].
    pub(crate) fn milliseconds(self) -> Result<u64, Wrong> {
        let number = self.value.as_u64().filter(|ms| (1..=MAX_MS).contains(ms));
        number
            .ok_or_else(|| format!("{} must be a whole number of milliseconds from 1 to {MAX_MS}", self.path))
    }

    /// # Errors
    /// If it is no list.
    pub(crate) fn list(self) -> Result<Vec<Self>, Wrong> {
        let Value::Array(values) = self.value else { return Err(format!("{} must be a list", self.path)) };
        let at = |(nth, value)| Self { path: format!("{}[{nth}]", self.path), value };
        Ok(values.into_iter().enumerate().map(at).collect())
    }

    /// # Errors
    /// If it is no object.
    pub(crate) fn fields(self) -> Result<Fields, Wrong> {
        let path = self.path.clone();
        self.fields_of(path)
    }

    fn fields_of(self, path: String) -> Result<Fields, Wrong> {
        match self.value {
            Value::Object(fields) => Ok(Fields { path, fields }),
            _ => Err(format!("{} must be an object", self.path)),
        }
    }

    /// One of some words, for what it stands.
    ///
    /// # Errors
    /// If it is none of them.
    pub(crate) fn one_of<T: Copy, const N: usize>(self, words: [(&str, T); N]) -> Result<T, Wrong> {
        let known = |text: &str| words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        self.value.as_str().and_then(known).ok_or_else(|| {
            format!("{} must be one of {}", self.path, words.map(|(word, _)| format!("`{word}`")).join(", "))
        })
    }

    pub(crate) fn is_text(&self) -> bool {
        self.value.is_string()
    }
}

/// The longest of all texts, a scope, has fewer.
const MAX_TEXT: usize = 4096;
/// Ten minutes, as the core has it.
const MAX_MS: u64 = 600_000;
