//! wrk, which makes load for the benchmark of Envoy.

use super::{Missing, debian};
use crate::process;

pub(super) fn install() -> Result<(), Missing> {
    if process::exists("wrk") {
        return Ok(());
    }
    debian::require(&["wrk"]).map_err(|_| Missing {
        what: "wrk".into(),
        command: "apt-get install -y --no-install-recommends wrk".into(),
    })
}
