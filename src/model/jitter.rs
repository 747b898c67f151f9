//! Jitter: spreads the actions of many instances over time.

/// A random share of `whole`: zero if `random` is zero, almost all of it for the largest number.
pub(crate) fn share(whole: u64, random: u64) -> u64 {
    // The product of two 64-bit numbers fits, and its upper half is less than either.
    (u128::from(whole).saturating_mul(u128::from(random)) >> 64) as u64
}
