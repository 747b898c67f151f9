//! The command of the conformance player.
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a program reads files")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use host_test::conformance::{Subject, find, run_all};

/// Play conformance cases to a built component and list those that fail.
#[derive(Parser)]
struct Args {
    /// The directory with the cases.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance"), hide_default_value = true)]
    cases: PathBuf,
    /// The component under test, or the filter for Envoy; `cargo xtask build` makes both.
    #[arg(long, env = "TOKEN_BROKER_COMPONENT", value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/components/token-broker.wasm"), hide_default_value = true)]
    component: PathBuf,
    /// Play only cases whose name contains this text, for example `imds/I12`.
    #[arg(default_value = "")]
    filter: String,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let files = find(&args.cases, &args.filter)?;
    let sum = run_all(&Subject::load(&args.component)?, &files);
    println!("{sum}");
    if files.is_empty() {
        eprintln!("no case below {} has {:?} in its path", args.cases.display(), args.filter);
    }
    Ok(if sum.failed.is_empty() && sum.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
