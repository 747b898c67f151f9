//! The ways in which Azure writes a point in time.

use time::OffsetDateTime;

/// `06/20/2019 02:57:58 +00:00`, as App Service on Linux wrote it in 2017
pub(crate) fn on_linux(unix_seconds: u64) -> String {
    let at = utc(unix_seconds);
    let (month, hour) = (u8::from(at.month()), at.hour());
    format!(
        "{month:02}/{:02}/{:04} {hour:02}:{:02}:{:02} +00:00",
        at.day(),
        at.year(),
        at.minute(),
        at.second()
    )
}

/// `1/16/2020 5:24:12 AM +00:00`, as App Service on Windows wrote it in 2017
pub(crate) fn on_windows(unix_seconds: u64) -> String {
    let at = utc(unix_seconds);
    let month = u8::from(at.month());
    let (hour, half) = match at.hour() {
        0 => (12, "AM"),
        hour @ 1..12 => (hour, "AM"),
        12 => (12, "PM"),
        hour => (hour.saturating_sub(12), "PM"),
    };
    format!("{month}/{}/{} {hour}:{:02}:{:02} {half} +00:00", at.day(), at.year(), at.minute(), at.second())
}

/// `2016-01-09 02:02:12Z`, as Entra ID dates its errors
pub(crate) fn of_entra(unix_seconds: u64) -> String {
    let at = utc(unix_seconds);
    let month = u8::from(at.month());
    format!(
        "{:04}-{month:02}-{:02} {:02}:{:02}:{:02}Z",
        at.year(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// `2023-02-28T09:57:37.0000000Z`, as Entra ID writes the times of assertions
pub(crate) fn in_full(unix_seconds: u64) -> String {
    format!("{}.0000000Z", of_entra(unix_seconds).trim_end_matches('Z').replace(' ', "T"))
}

/// A time beyond the year 9999 becomes the epoch.
fn utc(unix_seconds: u64) -> OffsetDateTime {
    i64::try_from(unix_seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_the_one_seen_on_the_wire() {
        assert_eq!(on_linux(1_560_999_478), "06/20/2019 02:57:58 +00:00");
        assert_eq!(of_entra(1_452_304_932), "2016-01-09 02:02:12Z");
        for (seconds, written) in [
            (1_579_152_252, "1/16/2020 5:24:12 AM +00:00"),
            (1_579_132_800, "1/16/2020 12:00:00 AM +00:00"),
            (1_579_176_000, "1/16/2020 12:00:00 PM +00:00"),
            (1_579_219_199, "1/16/2020 11:59:59 PM +00:00"),
            (u64::MAX, "1/1/1970 12:00:00 AM +00:00"),
        ] {
            assert_eq!(on_windows(seconds), written);
        }
    }
}
