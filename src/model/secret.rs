//! Secrets and their fingerprints.

use sha2::{Digest as _, Sha256};

/// A secret text: it has no `Display` and an opaque `Debug`, and is wiped when it is dropped.
pub type Secret = secrecy::SecretString;

/// The fingerprint of a token, for logs: the first 6 bytes of its SHA-256, in hexadecimal.
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
