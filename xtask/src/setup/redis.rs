//! A Redis server, for the tests of the store that a fleet shares.

use super::{Missing, debian};
use crate::process;

pub(super) fn install() -> Result<(), Missing> {
    if process::exists("redis-server") {
        return Ok(());
    }
    debian::require(&["redis-server"]).map_err(|_| Missing {
        what: "redis-server".into(),
        command: "apt-get install -y --no-install-recommends redis-server".into(),
    })
}
