//! The sizes of the artefacts that users get; `cargo xtask build` has their limits.

use std::fs;

use anyhow::Result;
use host_test::hosts;

use crate::report::Table;

pub(crate) fn run() -> Result<()> {
    let mut table = Table::new("size", &["", "kB"]);
    for name in COMPONENTS {
        table.row([format!("`{name}`"), kilobytes(fs::metadata(hosts::artefact(name)?)?.len())]);
    }
    let command = hosts::built("token-broker", "token-broker-cli")?;
    table.row(["the command `token-broker`".to_owned(), kilobytes(fs::metadata(command)?.len())]);
    table.print();
    Ok(())
}

fn kilobytes(bytes: u64) -> String {
    (bytes / 1000).to_string()
}

const COMPONENTS: [&str; 4] =
    ["token-broker.wasm", "token-injector.wasm", "token-endpoint.wasm", "token-filter.wasm"];
