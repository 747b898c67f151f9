//! The expiry of a token: every format that Azure's endpoints use, and the correction of clock skew.

use std::fmt;
use std::time::UNIX_EPOCH;

use serde::de::{Deserializer, Visitor};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time or a duration in seconds, given as a number or as one of the texts that [`Seconds::parse`] reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Seconds {
    /// A valid value.
    Known(u64),
    /// An invalid value: its text, or nothing if it is not a text.
    Unreadable(String),
    /// No value, null or an empty text.
    #[default]
    Absent,
}

impl Seconds {
    /// Parses digits, digits with a fraction, RFC 3339, or the dates of App Service's API version 2017-09-01
    /// (`06/20/2019 02:57:58 +00:00` on Linux, `1/16/2020 5:24:12 AM +00:00` on Windows).
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.trim();
        let unreadable = || Self::Unreadable(text.to_owned());
        if text.is_empty() {
            return Self::Absent;
        }
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return whole_seconds(text).and_then(Self::from_unsigned).unwrap_or_else(unreadable);
        }
        let moment = match in_2017_form(text) {
            Some(rewritten) => OffsetDateTime::parse(&rewritten, &Rfc3339),
            None => OffsetDateTime::parse(text, &Rfc3339),
        };
        moment.ok().and_then(|moment| Self::from_signed(moment.unix_timestamp())).unwrap_or_else(unreadable)
    }

    fn from_float(seconds: f64) -> Option<Self> {
        // The range ends below 2^53, so the cast drops nothing but the fraction.
        (0.0..=LATEST as f64).contains(&seconds).then_some(Self::Known(seconds as u64))
    }

    fn from_signed(seconds: i64) -> Option<Self> {
        u64::try_from(seconds).ok().and_then(Self::from_unsigned)
    }

    fn from_unsigned(seconds: u64) -> Option<Self> {
        (seconds <= LATEST).then_some(Self::Known(seconds))
    }
}

impl<'de> serde::Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsVisitor)
    }
}

/// Parses digits with or without a fraction, which is dropped.
fn whole_seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    fraction.parse::<u64>().ok()?;
    whole.parse().ok()
}

/// Rewrites a date of App Service's API version 2017-09-01 to RFC 3339: month, day, year, a 24-hour or 12-hour time, an
/// offset.
fn in_2017_form(text: &str) -> Option<String> {
    let mut words = text.split(' ');
    let (date, time, mut rest) = (words.next()?, words.next()?, words.next()?);
    let mut date = date.split('/').map(|number| number.parse::<u32>().ok());
    let (month, day, year) = (date.next()??, date.next()??, date.next()??);
    let (hour, minutes) = time.split_once(':')?;
    let mut hour = hour.parse::<u32>().ok()?;
    if matches!(rest, "AM" | "PM") {
        hour =
            (1..=12).contains(&hour).then_some(hour % 12)?.saturating_add(if rest == "PM" { 12 } else { 0 });
        rest = words.next()?;
    }
    words.next().is_none().then_some(())?;
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minutes}{rest}"))
}

struct SecondsVisitor;

impl Visitor<'_> for SecondsVisitor {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds or a date")
    }

    fn visit_u64<E>(self, seconds: u64) -> Result<Seconds, E> {
        Ok(Seconds::from_unsigned(seconds).unwrap_or(NO_TIME))
    }

    fn visit_i64<E>(self, seconds: i64) -> Result<Seconds, E> {
        Ok(Seconds::from_signed(seconds).unwrap_or(NO_TIME))
    }

    fn visit_f64<E>(self, seconds: f64) -> Result<Seconds, E> {
        Ok(Seconds::from_float(seconds).unwrap_or(NO_TIME))
    }

    fn visit_str<E>(self, text: &str) -> Result<Seconds, E> {
        Ok(Seconds::parse(text))
    }

    fn visit_unit<E>(self) -> Result<Seconds, E> {
        Ok(Seconds::Absent)
    }
}

/// The expiry of a token in Unix seconds by the local clock. `expires_on` takes precedence over `expires_in`.
///
/// `span` is the time of the request and that of the response. A duration counts from the request, so that a slow
/// response does not extend the lifetime of the token. `date` is the server's clock, by which `expires_on` is meant: if
/// it is more than [`SKEW`] outside of the span, the clocks differ, and the expiry is corrected. A `date` with which
/// the token would live longer than any token of Entra is itself wrong, and ignored.
///
/// # Errors
/// The fault of the expiry, as the end of a sentence about the response. It quotes the peer's text, unredacted.
pub(crate) fn end_of_life(
    (expires_on, expires_in): (Seconds, Seconds),
    date: Option<u64>,
    span: (u64, u64),
) -> Result<u64, String> {
    let (sent_at, received_at) = span;
    let expiry = match (expires_on, expires_in) {
        (Seconds::Known(time), _) => match skewed(time, date, span) {
            Some(date) => sent_at.saturating_add(time.saturating_sub(date)),
            None => time,
        },
        (Seconds::Absent, Seconds::Known(duration)) => sent_at.saturating_add(duration),
        (Seconds::Absent, Seconds::Absent) => {
            return Err("has neither an expires_on nor an expires_in".to_owned());
        }
        (Seconds::Unreadable(text), _) => return Err(invalid("expires_on", &text)),
        (Seconds::Absent, Seconds::Unreadable(text)) => return Err(invalid("expires_in", &text)),
    };
    // A small expires_on is a time in 1970, never a duration: read as one, it would revive an expired token.
    if expiry <= received_at { Err("has a token that has expired".to_owned()) } else { Ok(expiry) }
}

fn invalid(field: &str, text: &str) -> String {
    let text = if text.is_empty() { String::new() } else { format!(": `{text}`") };
    format!("has an invalid {field}{text}")
}

/// The server's clock, if it differs from the local one and is plausible.
fn skewed(expires_on: u64, date: Option<u64>, (sent_at, received_at): (u64, u64)) -> Option<u64> {
    let local = sent_at.saturating_sub(SKEW)..=received_at.saturating_add(SKEW);
    date.filter(|date| !local.contains(date)).filter(|date| expires_on.saturating_sub(*date) <= LONGEST_LIFE)
}

/// Parses the date of a `Date` or `Retry-After` header (RFC 9110, 5.6.7) to Unix seconds.
pub(crate) fn http_date(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// A number that is not a time.
const NO_TIME: Seconds = Seconds::Unreadable(String::new());

/// The clock skew that is not corrected, in seconds: the five minutes before the expiry of a token absorb it.
const SKEW: u64 = 60;

/// The longest plausible lifetime, in seconds. Entra's longest-lived tokens (continuous access evaluation) last 28
/// hours.
const LONGEST_LIFE: u64 = 48 * 3600;

/// The last second of the year 9999.
const LATEST: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_760_000_000;

    fn read(json: &str) -> Seconds {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_form_of_expiry_is_read() {
        for (json, seconds) in [
            ("1760003600", 1_760_003_600),
            ("\"1760003600\"", 1_760_003_600),
            ("1760003600.75", 1_760_003_600),
            ("\"1760003600.75\"", 1_760_003_600),
            ("1.7600036e9", 1_760_003_600),
            ("\"2019-06-20T02:57:58Z\"", 1_560_999_478),
            ("\"2019-06-20T04:57:58.123+02:00\"", 1_560_999_478),
            ("\"06/20/2019 02:57:58 +00:00\"", 1_560_999_478),
            ("\"1/16/2020 5:24:12 AM +00:00\"", 1_579_152_252),
            ("\"1/16/2020 12:24:12 PM +00:00\"", 1_579_177_452),
            ("\"1/16/2020 12:04:12 AM +00:00\"", 1_579_133_052),
            ("\"6/20/2019 4:57:58 AM +02:00\"", 1_560_999_478),
            ("\" 42 \"", 42),
        ] {
            assert_eq!(read(json), Seconds::Known(seconds), "{json}");
        }
    }

    #[test]
    fn invalid_times_are_unreadable_and_empty_ones_absent() {
        for json in ["-1", "-1.5", "1e300", "99999999999999", "18446744073709551615"] {
            assert_eq!(read(json), Seconds::Unreadable(String::new()), "{json}");
        }
        for (form, texts) in [
            (
                "a number",
                &["15609740s28", "1e10", "-5", "inf", "1.2.3", ".", "1.", "99999999999999999999"][..],
            ),
            ("words", &["tomorrow", "//  "]),
            ("a date", &["13/40/2019 02:57:58 +00:00", "06/20/2019 02:57:58 +00:00 x"]),
            ("without its zone or its seconds", &["06/20/2019 02:57:58", "06/20/2019 2:57 +00:00"]),
            ("an hour of 12", &["6/20/2019 13:57:58 PM +00:00", "6/20/2019 0:57:58 AM +00:00"]),
        ] {
            for text in texts {
                let unreadable = Seconds::Unreadable(text.trim().to_owned());
                assert_eq!(read(&format!("\"{text}\"")), unreadable, "{form}: {text}");
            }
        }
        for json in ["null", "\"\"", "\"  \""] {
            assert_eq!(read(json), Seconds::Absent, "{json}");
        }
    }

    /// The end of a token whose response gave both, at once.
    fn end(expires_on: Seconds, expires_in: Seconds) -> Result<u64, String> {
        end_of_life((expires_on, expires_in), None, (NOW, NOW))
    }

    /// The end of a token that ends at a moment, with the date of the response.
    fn end_at(moment: u64, date: Option<u64>) -> Result<u64, String> {
        end_of_life((Seconds::Known(moment), Seconds::Absent), date, (NOW, NOW))
    }

    #[test]
    fn expires_on_wins_over_expires_in() {
        assert_eq!(end(Seconds::Known(NOW + 3600), Seconds::Known(85_770)), Ok(NOW + 3600));
        assert_eq!(end(Seconds::Absent, Seconds::Known(7890)), Ok(NOW + 7890));
        let unreadable = || Seconds::Unreadable("soon".to_owned());
        let error = end(unreadable(), Seconds::Known(7890)).unwrap_err();
        assert_eq!(error, "has an invalid expires_on: `soon`");
        assert_eq!(end(Seconds::Absent, unreadable()).unwrap_err(), "has an invalid expires_in: `soon`");
        assert!(end(Seconds::Absent, Seconds::Absent).is_err());
    }

    #[test]
    fn a_past_end_is_an_error_and_never_a_duration() {
        for past in [0, 3600, NOW - 1, NOW] {
            assert!(end_at(past, None).is_err(), "{past}");
        }
        assert!(end(Seconds::Absent, Seconds::Known(0)).is_err());
    }

    #[test]
    fn a_clock_that_is_off_by_more_than_a_minute_is_corrected() {
        for server in [NOW - 61, NOW - 7200, NOW - 20_000, NOW + 7200] {
            assert_eq!(end_at(server + 3600, Some(server)), Ok(NOW + 3600));
        }
        assert_eq!(end_at(NOW + 3600, Some(NOW - 60)), Ok(NOW + 3600));
    }

    #[test]
    fn a_slow_response_does_not_extend_the_lifetime_of_a_token() {
        let times = (NOW, NOW + 7200);
        let read = |on, date| end_of_life((Seconds::Known(on), Seconds::Absent), Some(date), times);
        assert_eq!(read(NOW + 10_800, NOW), Ok(NOW + 10_800));
        assert_eq!(read(NOW + 10_800, NOW + 7200), Ok(NOW + 10_800));
        let relative = |seconds| end_of_life((Seconds::Absent, Seconds::Known(seconds)), None, times);
        assert_eq!(relative(10_800), Ok(NOW + 10_800));
        assert!(relative(3600).is_err());
        // A server an hour behind: the token's three hours count from when it was asked for.
        assert_eq!(read(NOW + 7200, NOW - 3600), Ok(NOW + 10_800));
    }

    #[test]
    fn a_date_that_would_make_a_token_live_for_years_is_not_believed() {
        assert_eq!(end_at(NOW + 3600, Some(0)), Ok(NOW + 3600));
    }

    #[test]
    fn a_correction_never_revives_a_token_that_had_ended_for_the_server() {
        assert!(end_at(NOW - 7200 - 1, Some(NOW - 7200)).is_err());
    }

    #[test]
    fn http_dates_are_read_in_their_common_and_their_oldest_form() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Sun Nov  6 08:49:37 1994"), Some(784_111_777));
        for broken in ["", "yesterday", "Sun, 06 Nov 1994", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(http_date(broken), None, "{broken}");
        }
    }
}
