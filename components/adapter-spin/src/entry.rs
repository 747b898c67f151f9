//! A value and its end, for a store in which nothing ends.

/// What is kept under a key: when it was put and for how long, in milliseconds and eight bytes each, and the value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    put_at: u64,
    ttl: u64,
    value: &'a [u8],
}

impl<'a> Entry<'a> {
    /// `now` is the time since the Unix epoch, in milliseconds as `ttl` is.
    pub(crate) fn new(value: &'a [u8], now: u64, ttl: u64) -> Self {
        Self { put_at: now, ttl, value }
    }

    /// None for what no adapter put there.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (put_at, rest) = bytes.split_first_chunk()?;
        let (ttl, value) = rest.split_first_chunk()?;
        Some(Self { put_at: u64::from_be_bytes(*put_at), ttl: u64::from_be_bytes(*ttl), value })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [&self.put_at.to_be_bytes(), &self.ttl.to_be_bytes(), self.value].concat()
    }

    /// The value, whether it has ended or not.
    pub(crate) fn value(&self) -> &'a [u8] {
        self.value
    }

    /// The value, unless it has ended.
    ///
    /// One from the future was put by a clock that is ahead of ours, or before ours was set back. It is believed for as
    /// long as it was put for, so that no clock can make it last for more than twice its time.
    pub(crate) fn live_value(&self, now: u64) -> Option<&'a [u8]> {
        (now.abs_diff(self.put_at) < self.ttl).then_some(self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry<'_> = Entry { put_at: 1_760_000_000_000, ttl: 5000, value: b"text" };

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let bytes = ENTRY.to_bytes();
        assert_eq!(bytes.len(), 8 + 8 + 4);
        assert_eq!(Entry::parse(&bytes), Some(ENTRY));
        assert_eq!(Entry::new(b"text", 1_760_000_000_000, 5000), ENTRY);
        let empty = Entry::new(b"", 0, u64::MAX);
        assert_eq!(Entry::parse(&empty.to_bytes()), Some(empty));
    }

    #[test]
    fn what_is_too_short_for_its_times_is_no_entry() {
        let bytes = ENTRY.to_bytes();
        assert!((0..16).all(|length| Entry::parse(&bytes[..length]).is_none()));
        assert_eq!(Entry::parse(&bytes[..16]).unwrap().value(), b"");
    }

    #[test]
    fn a_value_ends_after_its_time() {
        let live = |now: u64| ENTRY.live_value(now).is_some();
        assert!(live(ENTRY.put_at) && live(ENTRY.put_at + 4999));
        assert!(!live(ENTRY.put_at + 5000) && !live(u64::MAX));
        assert_eq!(ENTRY.value(), b"text", "what it was can still be told");
    }

    #[test]
    fn a_value_of_a_clock_that_is_ahead_lasts_twice_its_time_at_most() {
        let live = |now: u64| ENTRY.live_value(now).is_some();
        assert!(live(ENTRY.put_at - 4999), "this much ahead");
        assert!(!live(ENTRY.put_at - 5000) && !live(0), "no more");
    }
}
