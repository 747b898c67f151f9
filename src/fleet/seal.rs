//! Sealing: authenticated encryption of store entries, under opaque names.
//!
//! Entries are encrypted with AES-256-GCM. HKDF-SHA256 (RFC 5869) derives the key of each name from
//! `TOKEN_BROKER_STORE_KEY`. A value is a version byte, a nonce and the ciphertext. The kind of the entry and its cache
//! key are authenticated as associated data, so a value that was moved or copied to another name cannot be decrypted. A
//! nonce is 96 random bits: a key may seal four billion values (NIST SP 800-38D, 8.3), and under one name there are a
//! token for each refresh, and a lease for each second and each fetching instance.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hkdf::Hkdf;
use secrecy::zeroize::Zeroizing;
use sha2::Sha256;
use token_broker_cipher::{Cipher, NONCE};

use crate::model::Error;
use crate::settings::Settings;
use crate::settings::variables::STORE_KEY;

/// The keys of a deployment: the sealing key, and during a rotation the previous one.
#[derive(Debug)]
pub(super) struct Seal {
    key: SealingKey,
    older: Option<SealingKey>,
}

struct SealingKey {
    names: Hkdf<Sha256>,
    ciphers: Hkdf<Sha256>,
}

/// The slot of an entry: a name of fixed length, the key, and the associated data.
pub(super) struct StoreSlot {
    cipher: Cipher,
    context: Vec<u8>,
    pub(super) name: String,
}

impl Seal {
    /// The seal of the settings; none if they have no key.
    ///
    /// # Errors
    /// As [`Seal::parse`].
    pub(super) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        if let Some(key) = settings.store_key() {
            return Ok(SealingKey::derive(key).map(|key| Self { key, older: None }));
        }
        settings.get(STORE_KEY).map(|text| Self::parse(settings.name(STORE_KEY), text)).transpose()
    }

    /// # Errors
    /// [`Error::Misconfigured`] if the text is not a key of 32 bytes in base64, or two separated by a comma.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let parse = |text| SealingKey::parse(name, text);
        let (key, older) = match text.split_once(',') {
            None => (parse(text)?, None),
            Some((key, older)) => (parse(key)?, Some(parse(older)?)),
        };
        Ok(Self { key, older })
    }

    /// The slots that may contain an entry, that of [`Seal::slot`] first. `subject` identifies the entry: its kind and
    /// cache key.
    pub(super) fn slots(&self, subject: &[u8]) -> Vec<StoreSlot> {
        let older = self.older.iter().map(|key| key.slot(subject));
        std::iter::once(self.slot(subject)).chain(older).collect()
    }

    /// The slot to which an entry is written.
    pub(super) fn slot(&self, subject: &[u8]) -> StoreSlot {
        self.key.slot(subject)
    }
}

impl SealingKey {
    fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let bytes = BASE64_STANDARD.decode(text.trim()).ok().map(Zeroizing::new);
        let key = bytes.and_then(|bytes| Self::derive(bytes.as_slice().try_into().ok()?));
        key.ok_or_else(|| {
            Error::misconfigured(
                format_args!("{name} is not a key of 32 bytes in base64"),
                "set it to the output of `openssl rand -base64 32`; during a rotation, to the new and the old key separated \
                 by a comma",
            )
        })
    }

    fn derive(key: &[u8; 32]) -> Option<Self> {
        let derived = Hkdf::<Sha256>::new(None, key);
        let of = |purpose: &[u8]| Hkdf::from_prk(expanded(&derived, purpose).as_ref()).ok();
        Some(Self { names: of(b"token-broker 1 names")?, ciphers: of(b"token-broker 1 seals")? })
    }

    fn slot(&self, subject: &[u8]) -> StoreSlot {
        let hex: String = expanded(&self.names, subject).iter().map(|byte| format!("{byte:02x}")).collect();
        let cipher = Cipher::new(&expanded(&self.ciphers, subject));
        StoreSlot { cipher, context: [&[VERSION], subject].concat(), name: format!("token-broker-{hex}") }
    }
}

/// Expands a key to 32 bytes, which cannot fail: HKDF's limit is 8160.
fn expanded(from: &Hkdf<Sha256>, subject: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    let _ = from.expand(subject, bytes.as_mut());
    bytes
}

impl StoreSlot {
    /// Seals a text. `random` provides the nonce, and must never repeat itself.
    pub(super) fn seal(&self, plain: &[u8], mut random: impl FnMut() -> u64) -> Vec<u8> {
        let bits = (u128::from(random()) << 64) | u128::from(random());
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&bits.to_be_bytes()[..NONCE]);
        let sealed = self.cipher.seal(&nonce, &self.context, plain);
        [&[VERSION], &nonce[..], &sealed].concat()
    }

    /// The text of a value that was sealed for this slot with this key.
    pub(super) fn open(&self, value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = value.strip_prefix(&[VERSION])?.split_first_chunk::<NONCE>()?;
        self.cipher.open(nonce, &self.context, sealed)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// The version of the format of values and their texts. Values of another version are treated as invalid.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQgb2xkIG9sZCE=";
    const NEW: &str = "bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldyE=";

    fn seal(text: &str) -> Seal {
        Seal::parse(STORE_KEY, text).unwrap()
    }

    #[test]
    fn a_key_has_32_bytes_in_base64_and_there_are_one_or_two() {
        for text in [NEW, &format!("{NEW},{OLD}"), &format!(" {NEW} , {OLD} ")] {
            assert!(Seal::parse(STORE_KEY, text).is_ok(), "{text}");
        }
        for text in ["", ",", "c2VjcmV0", &NEW[1..], &format!("{NEW},"), &format!("{NEW},{OLD},{OLD}")] {
            let error = Seal::parse(STORE_KEY, text).unwrap_err().to_string();
            assert!(error.contains("openssl rand -base64 32"), "{text}: {error}");
            assert!(!error.contains("c2VjcmV0"), "{text}: {error}");
        }
    }

    #[test]
    fn a_key_that_a_host_made_is_the_same_as_its_base64() {
        let mut settings = Settings::default();
        assert!(Seal::detect(&settings).unwrap().is_none());
        settings.set_store_key(b"new new new new new new new new!");
        let made = Seal::detect(&settings).unwrap().unwrap();
        assert_eq!(made.slot(b"token a").name, seal(NEW).slot(b"token a").name);
        assert!(!format!("{settings:?}").contains("110"), "the bytes of the key");
    }

    #[test]
    fn a_sealed_value_can_be_decrypted_in_its_own_slot_only() {
        let (new, old) = (seal(NEW), seal(OLD));
        let slot = &new.slots(b"token a")[0];
        let value = slot.seal(b"text", || 7);
        assert_eq!(slot.open(&value).unwrap().as_slice(), b"text");
        assert!(new.slots(b"token b")[0].open(&value).is_none(), "moved to another name");
        assert!(old.slots(b"token a")[0].open(&value).is_none(), "sealed with another key");
        assert!(value.windows(4).all(|bytes| bytes != b"text"));
    }

    #[test]
    fn a_truncated_or_changed_value_cannot_be_decrypted() {
        let seal = seal(NEW);
        let slot = &seal.slots(b"token a")[0];
        let value = slot.seal(b"text", || 7);
        for n in 0..value.len() {
            assert!(slot.open(&value[..n]).is_none(), "cut after {n}");
            let mut changed = value.clone();
            changed[n] ^= 1;
            assert!(slot.open(&changed).is_none(), "changed at {n}");
        }
        assert!(slot.open(&[&value[..], &[0]].concat()).is_none());
    }

    #[test]
    fn names_have_one_length_and_differ_by_content_and_by_key() {
        let both = seal(&format!("{NEW},{OLD}"));
        let names =
            |subject: &[u8]| both.slots(subject).into_iter().map(|slot| slot.name).collect::<Vec<_>>();
        let (a, b) = (names(b"a"), names(&[b'b'; 5000]));
        assert!(a.iter().chain(&b).all(|name| name.len() == "token-broker-".len() + 64));
        assert!(a[0] != a[1] && a[0] != b[0]);
        assert_eq!(a[0], seal(NEW).slots(b"a")[0].name);
        assert_eq!(a[1], seal(OLD).slots(b"a")[0].name);
    }
}
