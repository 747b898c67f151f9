//! Random UUIDs.

/// A random UUID (version 4).
pub(crate) fn uuid(mut bits: impl FnMut() -> u64) -> ::uuid::Uuid {
    let bits = (u128::from(bits()) << 64) | u128::from(bits());
    ::uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}
