//! What of a peer's text may be shown to an operator.

use super::form::percent_encoded;

/// A text on one line, cut where it is long, without the given secrets and without anything like a token.
///
/// Secrets are masked before the text is cut: a cut one would show its head.
pub fn redacted(text: &str, secrets: &[Option<&str>]) -> String {
    let mut shown = String::new();
    let mut rest = text;
    for _ in 0..MAX_CHARS {
        if let Some(length) = masked_length(rest, secrets) {
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

/// How many bytes at the beginning of a text must not be seen.
fn masked_length(text: &str, secrets: &[Option<&str>]) -> Option<usize> {
    let mut secrets = secrets.iter().flatten().filter(|secret| !secret.is_empty());
    let secret = secrets.find_map(|secret| {
        let behind = text.strip_prefix(secret).or_else(|| behind_encoded(text, secret))?;
        text.len().checked_sub(behind.len())
    });
    // Every JWT begins with a JSON object in base64url.
    secret.or_else(|| {
        let end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '='));
        text.starts_with("eyJ").then(|| text.find(end).unwrap_or(text.len()))
    })
}

/// What follows a secret as a form has it: a peer may repeat the form.
fn behind_encoded<'a>(text: &'a str, secret: &str) -> Option<&'a str> {
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
    fn a_secret_across_the_cut_does_not_show_its_head() {
        for before in 480..510 {
            let text = format!("{}hunter2-and-more", "x".repeat(before));
            assert!(!redacted(&text, &[Some("hunter2-and-more")]).contains("hu"), "{before}");
        }
        assert_eq!(redacted(&"x".repeat(100_000), &[]), format!("{}…", "x".repeat(MAX_CHARS)));
        assert_eq!(redacted(&"x".repeat(MAX_CHARS), &[]), "x".repeat(MAX_CHARS));
    }
}
