//! Headers as the ABI encodes them: their number, then the lengths of each name and value, then the names and values,
//! each with a zero byte after it. Numbers have 32 bits, the least significant byte first.

/// The bytes of headers.
pub(crate) fn encode(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let lengths: usize = pairs.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
    // The exact capacity: growing would leave copies of secrets behind.
    let mut bytes = Vec::with_capacity(lengths + 4);
    bytes.extend(number(pairs.len()));
    for (name, value) in pairs {
        bytes.extend(number(name.len()));
        bytes.extend(number(value.len()));
    }
    for (name, value) in pairs {
        for part in [name, value] {
            bytes.extend_from_slice(part);
            bytes.push(0);
        }
    }
    bytes
}

/// The headers in bytes; none if their lengths are wrong.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (count, rest) = take_number(bytes)?;
    // Each pair takes at least ten bytes, which bounds the count.
    let sizes_length = count.checked_mul(8).filter(|length| *length <= rest.len())?;
    let (mut sizes, mut texts) = rest.split_at_checked(sizes_length)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (name_length, after_name) = take_number(sizes)?;
        let (value_length, after_value) = take_number(after_name)?;
        let (name, after_name) = take_text(texts, name_length)?;
        let (value, rest) = take_text(after_name, value_length)?;
        (sizes, texts) = (after_value, rest);
        pairs.push((name, value));
    }
    Some(pairs)
}

fn number(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn take_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn take_text(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(length)?;
    Some((text, rest.split_first()?.1))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const PAIRS: [(&[u8], &[u8]); 3] = [(b":method", b"GET"), (b"a", b""), (b"b", b"\xff\0x")];

    #[test]
    fn headers_are_read_as_they_were_written() {
        let bytes = encode(&PAIRS);
        assert_eq!(bytes.len(), bytes.capacity());
        assert_eq!(decode(&bytes).unwrap(), PAIRS);
        assert_eq!(decode(&encode(&[])).unwrap(), []);
    }

    #[test]
    fn bytes_that_are_cut_or_have_wrong_lengths_are_refused() {
        let bytes = encode(&PAIRS);
        assert!((0..bytes.len()).all(|length| decode(&bytes[..length]).is_none()));
        for place in 0..28 {
            let mut bytes = bytes.clone();
            bytes[place] = 0xff;
            assert!(decode(&bytes).is_none(), "{place}");
        }
        assert!(decode(&[0xff; 64]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_pairs_or_none(
            bytes in vec(any::<u8>(), 0..200),
            pairs in vec((vec(any::<u8>(), 0..9), vec(any::<u8>(), 0..9)), 0..5),
            place in any::<usize>(),
            change in any::<u8>(),
        ) {
            for bytes in [&bytes[..], &[&[1, 0, 0, 0][..], &bytes].concat()] {
                if let Some(read) = decode(bytes) {
                    let length: usize = read.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
                    prop_assert!(length <= bytes.len());
                }
            }
            let given: Vec<_> = pairs.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            let mut written = encode(&given);
            prop_assert_eq!(decode(&written), Some(given));
            let at = place % written.len();
            written[at] ^= change;
            let _ = decode(&written);
            prop_assert!(decode(&written[..at]).is_none_or(|read| read.len() < 5));
        }
    }
}
