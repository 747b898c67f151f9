//! Spreading in time what many instances would otherwise do at once.

/// A random share of a whole: nothing for zero, almost all for the largest random number.
pub(crate) fn share(whole: u64, random: u64) -> u64 {
    // The product of two 64-bit numbers fits, and its upper half is less than either.
    (u128::from(whole).saturating_mul(u128::from(random)) >> 64) as u64
}
