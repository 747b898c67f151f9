//! Redaction of texts from peers, before they are logged or put into an error.

use super::form::percent_encoded;

/// A text on one line, truncated, in which the given secrets, everything that looks like a JWT, and the user and the
/// password of a URL are masked.
///
/// Secrets are masked before the text is truncated: a truncated secret would not be recognized.
pub fn redacted(text: &str, secrets: &[Option<&str>]) -> String {
    let mut shown = String::new();
    let mut rest = text;
    for _ in 0..MAX_CHARS {
        let login = if shown.ends_with("://") { login_length(rest) } else { None };
        if let Some(length) = login.or_else(|| masked_length(rest, secrets)) {
            shown.push_str(MASK);
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        let mut chars = rest.chars();
        let Some(c) = chars.next() else { break };
        shown.push(if c.is_control() { ' ' } else { c });
        rest = chars.as_str();
    }
    let mut shown = shown.trim().to_owned();
    if !rest.trim().is_empty() {
        shown.push('…');
    }
    shown
}

/// The length in bytes of the secret at the beginning of a text.
fn masked_length(text: &str, secrets: &[Option<&str>]) -> Option<usize> {
    let mut secrets = secrets.iter().flatten().filter(|secret| !secret.is_empty());
    let secret = secrets.find_map(|secret| {
        let rest = text.strip_prefix(secret).or_else(|| strip_encoded(text, secret))?;
        text.len().checked_sub(rest.len())
    });
    // Every JWT begins with a JSON object in base64url.
    secret.or_else(|| {
        let end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '='));
        text.starts_with("eyJ").then(|| text.find(end).unwrap_or(text.len()))
    })
}

/// The length in bytes of the user and the password, for a text that begins with the authority of a URL (RFC 3986, 3.2).
fn login_length(text: &str) -> Option<usize> {
    let end = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'');
    let authority = text.split(end).next()?;
    authority.rfind('@').filter(|length| *length > 0)
}

/// Strips a percent-encoded secret: a peer may repeat the form that it received.
fn strip_encoded<'a>(text: &'a str, secret: &str) -> Option<&'a str> {
    percent_encoded(secret).try_fold(text, |rest, part| rest.strip_prefix(part))
}

const MASK: &str = "****";
const MAX_CHARS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shown_without_secrets_tokens_or_line_breaks() {
        assert_eq!(
            redacted("a\r\nb hunter2 eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.x-y_z, eyJ", &[Some("hunter2"), None]),
            "a  b **** ****, ****"
        );
        assert_eq!(redacted("é\u{7f}", &[Some("")]), "é");
        assert_eq!(redacted("x=p%2Fq%3D&y=p/q= p%2F", &[Some("p/q=")]), "x=****&y=**** p%2F");
    }

    #[test]
    fn the_user_and_the_password_of_a_url_are_masked() {
        for (text, shown) in [
            (
                "no answer of redis://user:p@ss@host:6379/0, nats://u:p@h",
                "no answer of redis://****@host:6379/0, nats://****@h",
            ),
            ("'https://vault.azure.net/a@b' a@b ://@x", "'https://vault.azure.net/a@b' a@b ://@x"),
        ] {
            assert_eq!(redacted(text, &[]), shown);
        }
    }

    #[test]
    fn a_secret_at_the_limit_is_masked_before_the_text_is_truncated() {
        for before in 480..510 {
            let text = format!("{}hunter2-and-more", "x".repeat(before));
            assert!(!redacted(&text, &[Some("hunter2-and-more")]).contains("hu"), "{before}");
        }
        assert_eq!(redacted(&"x".repeat(100_000), &[]), format!("{}…", "x".repeat(MAX_CHARS)));
        assert_eq!(redacted(&"x".repeat(MAX_CHARS), &[]), "x".repeat(MAX_CHARS));
    }
}
