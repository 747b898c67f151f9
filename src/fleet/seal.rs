//! What a store is given: values that only holders of the key can read or make, under names that say nothing.
//!
//! AES-256-GCM, with a key for each name that HKDF-SHA256 (RFC 5869) derives from `TOKEN_BROKER_STORE_KEY`. A value is a
//! version byte, a nonce and the sealed text; what it is for, and under which key of the cache, is authenticated with it,
//! so that a value that was moved or copied to another name does not open. A nonce is 96 random bits: a key may seal four
//! billion values (NIST SP 800-38D, 8.3), and under one name there are a token for each refresh, and a lease for each
//! second and each instance that wants to fetch it.

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

/// The keys of a deployment: the one that seals, and the one before it while keys are changed.
#[derive(Debug)]
pub(super) struct Seal {
    key: SealingKey,
    older: Option<SealingKey>,
}

struct SealingKey {
    names: Hkdf<Sha256>,
    ciphers: Hkdf<Sha256>,
}

/// Where something is kept: a name of fixed length, the key for what is there, and what is authenticated with it.
pub(super) struct StoreSlot {
    cipher: Cipher,
    context: Vec<u8>,
    pub(super) name: String,
}

impl Seal {
    /// None if the settings have no key.
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
    /// [`Error::Misconfigured`] if the text is not one key of 32 bytes in base64, or two with a comma between them.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let parse = |text| SealingKey::parse(name, text);
        let (key, older) = match text.split_once(',') {
            None => (parse(text)?, None),
            Some((key, older)) => (parse(key)?, Some(parse(older)?)),
        };
        Ok(Self { key, older })
    }

    /// The places where something may be, that of [`Seal::place`] first. `what` says which kind it is and under which key
    /// of the cache: equal bytes are the same thing.
    pub(super) fn places(&self, what: &[u8]) -> Vec<StoreSlot> {
        let older = self.older.iter().map(|key| key.place(what));
        std::iter::once(self.place(what)).chain(older).collect()
    }

    /// Where something is put.
    pub(super) fn place(&self, what: &[u8]) -> StoreSlot {
        self.key.place(what)
    }
}

impl SealingKey {
    fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let bytes = BASE64_STANDARD.decode(text.trim()).ok().map(Zeroizing::new);
        let key = bytes.and_then(|bytes| Self::derive(bytes.as_slice().try_into().ok()?));
        key.ok_or_else(|| {
            Error::misconfigured(
                format_args!("{name} is not a key of 32 bytes in base64"),
                "set it to what `openssl rand -base64 32` prints; to change keys, to the new and the old one with a comma \
                 between them",
            )
        })
    }

    fn derive(key: &[u8; 32]) -> Option<Self> {
        let derived = Hkdf::<Sha256>::new(None, key);
        let of = |purpose: &[u8]| Hkdf::from_prk(expanded(&derived, purpose).as_ref()).ok();
        Some(Self { names: of(b"token-broker 1 names")?, ciphers: of(b"token-broker 1 seals")? })
    }

    fn place(&self, what: &[u8]) -> StoreSlot {
        let hex: String = expanded(&self.names, what).iter().map(|byte| format!("{byte:02x}")).collect();
        let cipher = Cipher::new(&expanded(&self.ciphers, what));
        StoreSlot { cipher, context: [&[VERSION], what].concat(), name: format!("token-broker-{hex}") }
    }
}

/// 32 bytes of the 8160 that HKDF can give.
fn expanded(from: &Hkdf<Sha256>, what: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    let _ = from.expand(what, bytes.as_mut());
    bytes
}

impl StoreSlot {
    /// The value that holds `plain`. `random` is asked for the nonce, and must never give the same one twice.
    pub(super) fn seal(&self, plain: &[u8], mut random: impl FnMut() -> u64) -> Vec<u8> {
        let bits = (u128::from(random()) << 64) | u128::from(random());
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&bits.to_be_bytes()[..NONCE]);
        let sealed = self.cipher.seal(&nonce, &self.context, plain);
        [&[VERSION], &nonce[..], &sealed].concat()
    }

    /// What a value holds, if it was sealed for this place with this key.
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

/// The form of what is sealed, and of the text inside. Another version's values are as if they were not there.
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
            assert!(
                error.contains("openssl rand -base64 32") && !error.contains("c2VjcmV0"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_key_that_a_host_made_is_the_same_as_its_base64() {
        let mut settings = Settings::default();
        assert!(Seal::detect(&settings).unwrap().is_none());
        settings.set_store_key(b"new new new new new new new new!");
        let made = Seal::detect(&settings).unwrap().unwrap();
        assert_eq!(made.place(b"token a").name, seal(NEW).place(b"token a").name);
        assert!(!format!("{settings:?}").contains("110"), "the bytes of the key");
    }

    #[test]
    fn what_is_sealed_opens_in_its_own_place_and_nowhere_else() {
        let (new, old) = (seal(NEW), seal(OLD));
        let place = &new.places(b"token a")[0];
        let value = place.seal(b"text", || 7);
        assert_eq!(place.open(&value).unwrap().as_slice(), b"text");
        assert!(new.places(b"token b")[0].open(&value).is_none(), "moved to another name");
        assert!(old.places(b"token a")[0].open(&value).is_none(), "sealed with another key");
        assert!(value.windows(4).all(|bytes| bytes != b"text"));
    }

    #[test]
    fn a_value_that_was_cut_or_changed_anywhere_does_not_open() {
        let seal = seal(NEW);
        let place = &seal.places(b"token a")[0];
        let value = place.seal(b"text", || 7);
        for n in 0..value.len() {
            assert!(place.open(&value[..n]).is_none(), "cut after {n}");
            let mut changed = value.clone();
            changed[n] ^= 1;
            assert!(place.open(&changed).is_none(), "changed at {n}");
        }
        assert!(place.open(&[&value[..], &[0]].concat()).is_none());
    }

    #[test]
    fn names_have_one_length_and_differ_by_content_and_by_key() {
        let both = seal(&format!("{NEW},{OLD}"));
        let names = |what: &[u8]| both.places(what).into_iter().map(|place| place.name).collect::<Vec<_>>();
        let (a, b) = (names(b"a"), names(&[b'b'; 5000]));
        assert!(a.iter().chain(&b).all(|name| name.len() == "token-broker-".len() + 64));
        assert!(a[0] != a[1] && a[0] != b[0]);
        assert_eq!(a[0], seal(NEW).places(b"a")[0].name);
        assert_eq!(a[1], seal(OLD).places(b"a")[0].name);
    }
}
