//! A key-value store of Spin, by its label.

use wasip2::clocks::{monotonic_clock, wall_clock};

use crate::StoreError;
use crate::spin_lease::{self, Put};
use crate::timed_value::TimedValue;

pub(crate) fn get(label: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let there = spin_lease::get(&spin_lease::open(label)?, key)?;
    let live = there.as_deref().and_then(TimedValue::parse).and_then(|there| there.live_value(now_ms()));
    Ok(live.map(<[u8]>::to_vec))
}

pub(crate) fn set(label: &str, key: &str, value: &[u8], ttl_ms: u64) -> Result<(), StoreError> {
    spin_lease::set(&spin_lease::open(label)?, key, &TimedValue::new(value, now_ms(), ttl_ms).to_bytes())
}

/// Puts a lease, and looks whether it is there.
pub(crate) fn add(label: &str, key: &str, value: &[u8], ttl_ms: u64) -> Result<bool, StoreError> {
    let bucket = spin_lease::open(label)?;
    match spin_lease::put(&bucket, key, value, now_ms(), ttl_ms)? {
        Put::Held => Ok(false),
        Put::Own { bytes, was_absent } => {
            if was_absent {
                monotonic_clock::subscribe_duration(spin_lease::PAUSE.as_nanos() as u64).block();
            }
            Ok(spin_lease::get(&bucket, key)? == Some(bytes))
        }
    }
}

pub(crate) fn delete(label: &str, key: &str, value: &[u8]) -> Result<(), StoreError> {
    spin_lease::end(&spin_lease::open(label)?, key, value, now_ms())
}

fn now_ms() -> u64 {
    let now = wall_clock::now();
    now.seconds.saturating_mul(1000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
}
