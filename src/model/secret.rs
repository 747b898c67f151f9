//! Text that must not be seen, and what may be shown of it.

use sha2::{Digest as _, Sha256};

/// Text that must not be seen: no `Display`, an opaque `Debug`, wiped when dropped.
pub type Secret = secrecy::SecretString;

/// What a log may say of a token: the beginning of its SHA-256, enough to tell one from another.
pub fn fingerprint(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_no_part_of_the_token() {
        assert_eq!(fingerprint("abc"), "ba7816bf8f01");
    }
}
