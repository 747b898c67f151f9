//! AES-256-GCM (NIST SP 800-38D), in a crate of its own: generic code is compiled where it is used, and the components are
//! compiled for size. `[profile.guest]` compiles this crate for speed, which takes a quarter of the time.

#![no_std]

extern crate alloc;

use alloc::vec::Vec;
use core::fmt;

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use secrecy::zeroize::Zeroizing;

/// What seals and opens with one key, which is wiped when this is dropped
pub struct Cipher(Aes256Gcm);

impl Cipher {
    /// With a key of 32 bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// `plain`, sealed and followed by a tag of 16 bytes. No two calls with one key may have the same nonce. `context` is
    /// authenticated and not sealed: only with the same one does it open.
    pub fn seal(&self, nonce: &[u8; NONCE], context: &[u8], plain: &[u8]) -> Vec<u8> {
        let payload = Payload { msg: plain, aad: context };
        // The one failure is a text of 64 GiB; an empty value is one that nobody can open.
        self.0.encrypt(nonce.into(), payload).unwrap_or_default()
    }

    /// What was sealed with this key, nonce and context. None for anything else.
    pub fn open(&self, nonce: &[u8; NONCE], context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let payload = Payload { msg: sealed, aad: context };
        self.0.decrypt(nonce.into(), payload).ok().map(Zeroizing::new)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

/// The bytes of a nonce.
pub const NONCE: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aes_256_gcm() {
        // Test case 16 of McGrew and Viega, The Galois/Counter Mode of Operation.
        let key = bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let nonce = bytes("cafebabefacedbaddecaf888");
        let context = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let plain = bytes(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let sealed = bytes(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
        );
        let cipher = Cipher::new(key.as_slice().try_into().unwrap());
        let nonce = nonce.as_slice().try_into().unwrap();
        assert_eq!(cipher.seal(nonce, &context, &plain), sealed);
        assert_eq!(*cipher.open(nonce, &context, &sealed).unwrap(), plain);
        assert!(cipher.open(nonce, b"another", &sealed).is_none());
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits.map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }
}
