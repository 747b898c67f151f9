//! Checks of the texts in a request.

use super::error::Error;

/// Checks a text that reaches a URL, a header or a log. The error does not repeat the text.
pub(super) fn check_text(
    name: &str,
    text: &str,
    max: usize,
    allowed: impl Fn(char) -> bool,
) -> Result<(), Error> {
    if text.len() > max {
        return Err(Error::invalid_request(
            format_args!("the {name} is {} bytes long", text.len()),
            format_args!("use at most {max} bytes"),
        ));
    }
    match text.char_indices().find(|(_, c)| !allowed(*c)) {
        None => Ok(()),
        Some((at, c)) => {
            let code = u32::from(c);
            Err(Error::invalid_request(
                format_args!("the {name} has the character U+{code:04X} at byte {at}, which is not allowed"),
                "remove the character",
            ))
        }
    }
}

/// The characters of a tenant that azure-identity accepts: letters, digits, `.` and `-`.
pub(crate) fn is_tenant_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-')
}

/// Whether a text is empty or consists of dots: as a path segment it would lead to another path (RFC 3986, 5.2.4).
pub fn is_only_dots(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'.')
}

/// Whether a text can be the tenant segment of a URL.
pub fn is_tenant(text: &str) -> bool {
    !is_only_dots(text) && text.chars().all(is_tenant_char)
}

/// Whether a text is a GUID: 32 hexadecimal digits in five groups (RFC 9562, 4).
pub(crate) fn is_guid(text: &str) -> bool {
    let groups = || text.split('-').map(str::len);
    groups().eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

pub(super) const MAX_ID: usize = 1024;
pub(crate) const SEPARATORS: [char; 2] = [',', ';'];
/// The flaw of an entry that contains several, and the fix.
pub(crate) const SEVERAL: (&str, &str) = ("has a comma or a semicolon in it", "separate entries by spaces");
