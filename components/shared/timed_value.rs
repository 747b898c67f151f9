//! A value with its expiry, for a store without expiry.

/// A value, the time at which it was put, and its lifetime. In bytes: both times in milliseconds, eight bytes each, and
/// the value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TimedValue<'a> {
    put_at: u64,
    ttl: u64,
    value: &'a [u8],
}

impl<'a> TimedValue<'a> {
    /// A value that is put at `now`, the time since the Unix epoch. Both times are in milliseconds.
    pub(crate) fn new(value: &'a [u8], now: u64, ttl: u64) -> Self {
        Self { put_at: now, ttl, value }
    }

    /// Reads the bytes of an adapter; none for other bytes.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (put_at, rest) = bytes.split_first_chunk()?;
        let (ttl, value) = rest.split_first_chunk()?;
        Some(Self { put_at: u64::from_be_bytes(*put_at), ttl: u64::from_be_bytes(*ttl), value })
    }

    /// The bytes for the store.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [&self.put_at.to_be_bytes(), &self.ttl.to_be_bytes(), self.value].concat()
    }

    /// The value, expired or not.
    pub(crate) fn value(&self) -> &'a [u8] {
        self.value
    }

    /// The value, unless it has expired.
    ///
    /// A value from the future was put by an instance whose clock is ahead, or before this clock was set back. It is valid
    /// while it is less than its lifetime ahead, so that no clock makes it last for more than twice its lifetime.
    pub(crate) fn live_value(&self, now: u64) -> Option<&'a [u8]> {
        (now.abs_diff(self.put_at) < self.ttl).then_some(self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: TimedValue<'_> = TimedValue { put_at: 1_760_000_000_000, ttl: 5000, value: b"text" };

    #[test]
    fn a_value_is_read_as_it_was_written() {
        let bytes = VALUE.to_bytes();
        assert_eq!(bytes.len(), 8 + 8 + 4);
        assert_eq!(TimedValue::parse(&bytes), Some(VALUE));
        assert_eq!(TimedValue::new(b"text", 1_760_000_000_000, 5000), VALUE);
        let empty = TimedValue::new(b"", 0, u64::MAX);
        assert_eq!(TimedValue::parse(&empty.to_bytes()), Some(empty));
    }

    #[test]
    fn bytes_that_are_too_short_for_both_times_are_none() {
        let bytes = VALUE.to_bytes();
        assert!((0..16).all(|length| TimedValue::parse(&bytes[..length]).is_none()));
        assert_eq!(TimedValue::parse(&bytes[..16]).unwrap().value(), b"");
    }

    #[test]
    fn a_value_expires_after_its_lifetime() {
        let live = |now: u64| VALUE.live_value(now).is_some();
        assert!(live(VALUE.put_at) && live(VALUE.put_at + 4999));
        assert!(!live(VALUE.put_at + 5000) && !live(u64::MAX));
        assert_eq!(VALUE.value(), b"text", "it can still be read");
    }

    #[test]
    fn a_value_of_a_clock_that_is_ahead_lasts_twice_its_lifetime_at_most() {
        let live = |now: u64| VALUE.live_value(now).is_some();
        assert!(live(VALUE.put_at - 4999), "this much ahead");
        assert!(!live(VALUE.put_at - 5000) && !live(0), "no more");
    }
}
