//! Random bits that never repeat: the secrecy of sealed values depends on them.

use std::cell::Cell;

use sha2::{Digest as _, Sha256};

use crate::abi;

/// The proxy's random bits. Where a later call for them fails, the bits come from SHA-256 of a seed of the proxy and a
/// counter.
pub(crate) struct RandomBits {
    seed: [u8; 32],
    drawn: Cell<u64>,
}

impl RandomBits {
    /// With a seed of the proxy; none if it gives no random bits.
    pub(crate) fn seeded() -> Option<Self> {
        let mut seed = [0; 32];
        abi::random(&mut seed).then(|| Self::new(seed))
    }

    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: Cell::default() }
    }

    pub(crate) fn draw(&self) -> u64 {
        let mut bits = [0; 8];
        if !abi::random(&mut bits) {
            self.drawn.set(self.drawn.get().wrapping_add(1));
            let block = Sha256::new().chain_update(self.seed).chain_update(self.drawn.get().to_be_bytes());
            bits.iter_mut().zip(block.finalize()).for_each(|(bit, of)| *bit = of);
        }
        u64::from_ne_bytes(bits)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A unit test has no proxy and none of its random bits.
    #[test]
    fn bits_do_not_repeat_where_the_proxy_gives_none_nor_are_they_those_of_another_seed() {
        assert!(!abi::random(&mut [0; 8]));
        let (one, other) = (RandomBits::new([1; 32]), RandomBits::new([2; 32]));
        let drawn: BTreeSet<u64> = (0..1000).flat_map(|_| [one.draw(), other.draw()]).collect();
        assert_eq!(drawn.len(), 2000);
    }
}
