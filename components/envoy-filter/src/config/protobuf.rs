//! The wire format of `google.protobuf.Struct`: Envoy 1.40 gives a plugin its configuration in it, although its
//! documentation says JSON.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

use serde_json::{Map, Number, Value};

/// The object in the bytes of a `Struct`; none if the bytes are invalid.
pub(crate) fn object(bytes: &[u8]) -> Option<Value> {
    nested_object(bytes, MAX_DEPTH)
}

fn nested_object(bytes: &[u8], depth: usize) -> Option<Value> {
    let mut object = Map::new();
    for field in MessageFields(bytes) {
        // On the wire a map is a list of pairs.
        let (1, WireValue::Bytes(pair)) = field? else { return None };
        let (mut name, mut value) = (String::new(), Value::Null);
        for field in MessageFields(pair) {
            match field? {
                (1, WireValue::Bytes(text)) => name = text_of(text)?,
                (2, WireValue::Bytes(bytes)) => value = nested_value(bytes, depth.checked_sub(1)?)?,
                _ => return None,
            }
        }
        object.insert(name, value);
    }
    Some(Value::Object(object))
}

fn nested_value(bytes: &[u8], depth: usize) -> Option<Value> {
    // Of several cases of a `oneof` the last counts.
    let mut value = Value::Null;
    for field in MessageFields(bytes) {
        value = match field? {
            (1, WireValue::Varint(_)) => Value::Null,
            (2, WireValue::Fixed(bits)) => number(f64::from_bits(bits))?,
            (3, WireValue::Bytes(text)) => Value::String(text_of(text)?),
            (4, WireValue::Varint(bool)) => Value::Bool(bool != 0),
            (5, WireValue::Bytes(bytes)) => nested_object(bytes, depth)?,
            (6, WireValue::Bytes(bytes)) => nested_list(bytes, depth)?,
            _ => return None,
        };
    }
    Some(value)
}

fn nested_list(bytes: &[u8], depth: usize) -> Option<Value> {
    let values = MessageFields(bytes).map(|field| match field? {
        (1, WireValue::Bytes(bytes)) => nested_value(bytes, depth.checked_sub(1)?),
        _ => None,
    });
    values.collect::<Option<Vec<Value>>>().map(Value::Array)
}

fn text_of(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// A number. A `Struct` has doubles only, and those without a fraction are read as integers.
fn number(number: f64) -> Option<Value> {
    let is_whole = number.fract() == 0.0 && (0.0..=LARGEST_WHOLE).contains(&number);
    let number = if is_whole { Some(Number::from(number as u64)) } else { Number::from_f64(number) };
    number.map(Value::Number)
}

/// The fields of a message, each with its number and its value.
struct MessageFields<'a>(&'a [u8]);

enum WireValue<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

impl<'a> Iterator for MessageFields<'a> {
    /// None for an invalid field, which is then the last.
    type Item = Option<(u64, WireValue<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> MessageFields<'a> {
    fn field(&mut self) -> Option<(u64, WireValue<'a>)> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => WireValue::Varint(self.varint()?),
            1 => {
                let (bits, rest) = self.0.split_first_chunk()?;
                self.0 = rest;
                WireValue::Fixed(u64::from_le_bytes(*bits))
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                WireValue::Bytes(bytes)
            }
            _ => return None,
        };
        Some((tag >> 3, wire))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// The limit of protobuf's own readers.
const MAX_DEPTH: usize = 100;
/// Above it a double cannot hold every integer.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_value_is_read() {
        for (value, bytes) in [
            (json!(null), vec![8, 0]),
            (json!(10000), field(2, 1, &10000f64.to_le_bytes())),
            (json!(0.5), field(2, 1, &0.5f64.to_le_bytes())),
            (json!("text"), field(3, 2, b"text")),
            (json!(true), vec![0x20, 1]),
            (json!({}), field(5, 2, b"")),
            (
                json!([null, "x"]),
                field(6, 2, &[field(1, 2, &[8, 0]), field(1, 2, &field(3, 2, b"x"))].concat()),
            ),
        ] {
            let pair = [field(1, 2, b"a"), field(2, 2, &bytes)].concat();
            assert_eq!(object(&field(1, 2, &pair)), Some(json!({ "a": value })), "{value}");
        }
    }

    #[test]
    fn bytes_that_are_cut_or_of_another_format_are_none() {
        let pair = [field(1, 2, b"name"), field(2, 2, &field(3, 2, b"value"))].concat();
        let whole = field(1, 2, &pair);
        assert_eq!(object(&whole), Some(json!({ "name": "value" })));
        assert!((1..whole.len()).all(|length| object(&whole[..length]).is_none()));
        for bytes in [&b"{}"[..], b"\n", &[0xff; 32], b"\x0b", b"\x12\x00"] {
            assert_eq!(object(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn an_object_that_is_nested_too_deep_is_none() {
        let mut value = field(3, 2, b"x");
        for _ in 0..2000 {
            value = field(5, 2, &field(1, 2, &field(2, 2, &value)));
        }
        assert_eq!(object(&field(1, 2, &field(2, 2, &value))), None);
    }

    /// Fields in fields, some of them valid.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let content = prop_oneof![vec(any::<u8>(), 0..12), "[a-z]{0,8}".prop_map(String::into_bytes)];
        content.prop_recursive(6, 64, 4, |inner| {
            vec((1u8..8, 0u8..4, inner), 0..4).prop_map(|fields| {
                fields.iter().flat_map(|(number, wire, content)| field(*number, *wire, content)).collect()
            })
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_object_or_none(bytes in prop_oneof![vec(any::<u8>(), 0..200), message()]) {
            if let Some(value) = object(&bytes) {
                prop_assert!(value.is_object(), "{value}");
                prop_assert!(value.to_string().len() <= 64 * (bytes.len() + 1), "it outgrows its bytes: {value}");
            }
        }
    }

    fn field(number: u8, wire: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | wire];
        if wire == 2 {
            let mut length = content.len();
            while length > 0x7f {
                bytes.push(length as u8 | 0x80);
                length >>= 7;
            }
            bytes.push(length as u8);
        }
        bytes.extend(content);
        bytes
    }
}
