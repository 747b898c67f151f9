//! The forms that the texts of a request have.

use super::error::Error;

/// Every text that reaches a URL, a header or a log passes here. The offending text itself is not repeated.
pub(super) fn check_text(
    what: &str,
    text: &str,
    max: usize,
    allowed: impl Fn(char) -> bool,
) -> Result<(), Error> {
    if text.len() > max {
        return Err(Error::invalid_request(
            format_args!("the {what} is {} bytes long", text.len()),
            format_args!("use at most {max} bytes"),
        ));
    }
    match text.char_indices().find(|(_, c)| !allowed(*c)) {
        None => Ok(()),
        Some((at, c)) => {
            let code = u32::from(c);
            Err(Error::invalid_request(
                format_args!("the {what} has the character U+{code:04X} at byte {at}, which is not allowed"),
                "remove the character",
            ))
        }
    }
}

/// Letters, digits, `.` and `-` are what azure-identity accepts.
pub(crate) fn is_tenant_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-')
}

/// Nothing, or what moves a request to another path of its host (RFC 3986, 5.2.4).
pub fn is_only_dots(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'.')
}

/// Whether a text may name a tenant in a URL: it leads to no other path.
pub fn is_tenant(text: &str) -> bool {
    !is_only_dots(text) && text.chars().all(is_tenant_char)
}

/// RFC 9562, 4: 32 hexadecimal digits in five groups.
pub(crate) fn is_guid(text: &str) -> bool {
    let groups = || text.split('-').map(str::len);
    groups().eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

pub(super) const MAX_ID: usize = 1024;
pub(crate) const SEPARATORS: [char; 2] = [',', ';'];
/// The flaw of an entry that is several.
pub(crate) const SEVERAL: (&str, &str) = ("has a comma or a semicolon in it", "separate entries by spaces");
