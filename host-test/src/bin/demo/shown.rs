//! What may be shown of a token: everything but the token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use token_broker_host::AccessToken;

/// Audience, identity, end, and enough to tell two tokens apart
pub(crate) fn token(token: &AccessToken) -> String {
    let claims = claims(token.token()).unwrap_or_default();
    let claim =
        |name: &str| claims[name].as_str().unwrap_or("not told by the token").escape_debug().to_string();
    let lines = [
        ("audience", claim("aud")),
        ("identity", format!("client id {}", claim("appid"))),
        ("expires", in_future(token.expires_on())),
        ("fingerprint", fingerprint(token.token())),
    ];
    lines.map(|(name, value)| format!("   {name:<13}{value}\n")).concat()
}

/// A duration in the unit that fits it
pub(crate) fn duration(time: Duration) -> String {
    match time.as_micros() {
        us @ 0..1000 => format!("{us} µs"),
        us @ 1000..1_000_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        us => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

fn claims(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

fn in_future(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let minutes = seconds.saturating_sub(now) / 60;
    format!("in {} h {} min", minutes / 60, minutes % 60)
}

fn fingerprint(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shown_in_the_unit_that_fits_it() {
        assert_eq!(duration(Duration::from_micros(71)), "71 µs");
        assert_eq!(duration(Duration::from_micros(2_249)), "2.2 ms");
        assert_eq!(duration(Duration::from_millis(61_450)), "61.4 s");
    }

    #[test]
    fn a_fingerprint_is_no_part_of_the_token() {
        assert_eq!(fingerprint("abc"), "ba7816bf8f01");
    }
}
