//! Percent-encoding of query and form parameters.

use std::borrow::Cow;

use percent_encoding::{PercentEncode, utf8_percent_encode};

/// The name and value of a parameter.
pub(crate) type Field<'a> = (&'static str, Cow<'a, str>);

/// Encodes parameters as a query or a form.
pub(crate) fn form_encoded(fields: &[Field<'_>]) -> String {
    // The exact capacity: a reallocation would leave copies of secrets behind.
    let length = |(name, value): &Field<'_>| {
        name.len().saturating_add(percent_encoded(value).map(str::len).sum::<usize>()).saturating_add(2)
    };
    let lengths = fields.iter().map(length).sum::<usize>();
    let mut text = String::with_capacity(lengths.saturating_sub(1));
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.extend(percent_encoded(value));
    }
    text
}

/// Percent-encodes a text, except for the unreserved characters (RFC 3986, 2.3).
pub fn percent_encoded(value: &str) -> PercentEncode<'_> {
    utf8_percent_encode(value, VALUE)
}

/// All characters but the unreserved ones (RFC 3986, 2.3).
const VALUE: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
