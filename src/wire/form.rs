//! Parameters of queries and forms, percent-encoded.

use std::borrow::Cow;

use percent_encoding::{PercentEncode, utf8_percent_encode};

/// A parameter and its value.
pub(crate) type Field<'a> = (&'static str, Cow<'a, str>);

/// Parameters as a query or a form: percent-encoded, so that no value can end its field.
pub(crate) fn form_encoded(fields: &[Field<'_>]) -> String {
    // Exactly enough: growing and shrinking would leave copies of secrets behind.
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

/// A text percent-encoded, but for the unreserved characters (RFC 3986, 2.3).
pub fn percent_encoded(value: &str) -> PercentEncode<'_> {
    utf8_percent_encode(value, VALUE)
}

/// RFC 3986, 2.3: everything but the unreserved characters.
const VALUE: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
