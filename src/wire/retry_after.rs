//! The `Retry-After` header (RFC 9110, 10.2.3).

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;

use super::expiry::http_date;

/// The longest wait of all `Retry-After` values, in seconds or until a date, at most [`LONGEST_WAIT`].
///
/// A fraction is rounded up. Invalid values are ignored.
pub(crate) fn retry_after(headers: &HeaderMap, now: Duration) -> Option<Duration> {
    let values = headers.get_all(RETRY_AFTER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|list| waits(list, now)).max().map(|wait| wait.min(LONGEST_WAIT))
}

/// The waits of a comma-separated list.
fn waits(list: &str, now: Duration) -> Vec<Duration> {
    let until = |date: &str| Some(Duration::from_secs(http_date(date)?).saturating_sub(now));
    let items: Vec<&str> = list.split(',').collect();
    let single = items.iter().filter_map(|item| seconds(item.trim()).or_else(|| until(item)));
    // A date contains a comma.
    let dates = items.windows(2).filter_map(|halves| until(&halves.join(",")));
    single.chain(dates).collect()
}

fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let begun = u64::from(fraction.bytes().any(|digit| digit != b'0'));
    // A number that overflows is a long wait, too.
    Some(Duration::from_secs(whole.parse().unwrap_or(u64::MAX).saturating_add(begun)))
}

/// The limit of a wait: a wrong value must not stop requests for good.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn read(values: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(RETRY_AFTER, value.parse().unwrap());
        }
        retry_after(&headers, Duration::from_secs(784_111_700)).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_read_fractions_round_up_and_all_is_bounded() {
        for (value, wait) in [
            ("7", 7),
            ("0", 0),
            (" 7 ", 7),
            ("1.5", 2),
            ("0.001", 1),
            ("3.000", 3),
            (DATE, 77),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 77),
            ("Sun Nov  6 08:49:37 1994", 77),
            ("Sat, 06 Nov 1993 08:49:37 GMT", 0),
            ("3601", 3600),
            ("99999999999999999999999999", 3600),
        ] {
            assert_eq!(read(&[value]), Some(wait), "{value}");
        }
    }

    #[test]
    fn of_several_values_the_largest_counts() {
        for values in [
            &["5", "30", "10"] as &[_],
            &["5, 30,10"],
            &["soon, 30, -40", "7"],
            &["29.1", "1"],
            &[",30,,", "x"],
        ] {
            assert_eq!(read(values), Some(30), "{values:?}");
        }
        for values in [&["7", DATE] as &[_], &[&*format!("7, {DATE}, 9")], &[&*format!("{DATE}, 9")]] {
            assert_eq!(read(values), Some(77), "{values:?}");
        }
    }

    #[test]
    fn nonsense_is_as_if_absent() {
        for value in
            ["-1", "+5", "soon", "", ".5", "5.", "1.5.2", "1e3", "0x10", "NaN", "inf", "5 s", "Sun, "]
        {
            assert_eq!(read(&[value]), None, "{value}");
        }
        assert_eq!(read(&[]), None);
    }
}
