//! The random bytes of a signature.

use rsa::rand_core::{CryptoRng, Error, RngCore, impls};
use sha2::{Digest as _, Sha256};

/// A random generator: the SHA-256 of the host's random bits and a counter, block by block.
///
/// With a host whose bits are all zeros, as in tests, its bytes are deterministic, but not all zeros: rejection
/// sampling would otherwise never end.
pub(crate) struct Stream<F> {
    seed: F,
    counter: u64,
}

impl<F: FnMut() -> u64> Stream<F> {
    /// A generator from a source of 64 random bits.
    pub(crate) fn new(bits: F) -> Self {
        Self { seed: bits, counter: 0 }
    }
}

impl<F: FnMut() -> u64> RngCore for Stream<F> {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let mut block = Sha256::new();
            for _ in 0..4 {
                block.update((self.seed)().to_be_bytes());
            }
            self.counter = self.counter.wrapping_add(1);
            block.update(self.counter.to_be_bytes());
            chunk.iter_mut().zip(block.finalize()).for_each(|(byte, random)| *byte = random);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

/// Cryptographically secure if the host's bits are: each block of 256 bits consumes 256 bits of the host.
impl<F: FnMut() -> u64> CryptoRng for Stream<F> {}
