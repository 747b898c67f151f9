//! As many random bytes as a signature wants.

use rsa::rand_core::{CryptoRng, Error, RngCore, impls};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a seed and a counter, block by block.
///
/// A host whose bits are all zeros, as in tests, gives bytes that are always the same, and still not all zeros: what
/// draws until it likes a number would else draw for ever.
pub(crate) struct Stream<F> {
    seed: F,
    counter: u64,
}

impl<F: FnMut() -> u64> Stream<F> {
    /// `bits`: 64 of the host's.
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

/// As good as the host's bits, of which each block takes as many as it gives.
impl<F: FnMut() -> u64> CryptoRng for Stream<F> {}
