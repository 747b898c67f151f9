//! The ways in which Azure writes a point in time.

use time::{OffsetDateTime, format_description::StaticFormatDescription, macros::format_description};

/// `06/20/2019 02:57:58 +00:00`, as App Service on Linux wrote it in 2017
pub(crate) fn on_linux(unix_seconds: u64) -> String {
    written(unix_seconds, format_description!("[month]/[day]/[year] [hour]:[minute]:[second] +00:00"))
}

/// `1/16/2020 5:24:12 AM +00:00`, as App Service on Windows wrote it in 2017
pub(crate) fn on_windows(unix_seconds: u64) -> String {
    let form = format_description!(
        "[month padding:none]/[day padding:none]/[year] \
         [hour repr:12 padding:none]:[minute]:[second] [period] +00:00"
    );
    written(unix_seconds, form)
}

/// `2016-01-09 02:02:12Z`, as Entra ID dates its errors
pub(crate) fn of_entra(unix_seconds: u64) -> String {
    written(unix_seconds, format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z"))
}

/// `2024-09-24T00:21:12Z`, as Azure Front Door dates its ids (RFC 3339)
pub(crate) fn of_front_door(unix_seconds: u64) -> String {
    written(unix_seconds, format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
}

/// `2023-02-28T09:57:37.0000000Z`, as Entra ID writes the times of assertions
pub(crate) fn in_full(unix_seconds: u64) -> String {
    written(unix_seconds, format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].0000000Z"))
}

/// A time beyond the year 9999 becomes the epoch.
fn written(unix_seconds: u64, form: StaticFormatDescription) -> String {
    let seconds = i64::try_from(unix_seconds).unwrap_or_default();
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(form).unwrap_or_default()
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
