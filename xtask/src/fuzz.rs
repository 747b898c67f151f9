//! `cargo xtask fuzz`: runs the property tests of every parser with a given number of inputs.
//!
//! proptest shrinks and prints a failing input, and keeps its seed in `proptest-regressions/`, which later test runs try
//! first: commit it.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::tally::Tally;
use crate::{process, repo, say};

/// Which parsers to test, and for how long
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Inputs for each parser
    #[arg(long, default_value_t = 100_000)]
    cases: u32,
    /// Only the parsers whose name contains this
    #[arg(default_value = "")]
    filter: String,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let chosen: Vec<_> = PARSERS.iter().filter(|(name, ..)| name.contains(&options.filter)).collect();
    ensure!(!chosen.is_empty(), "no parser is called {}", options.filter);
    let mut failed = 0;
    for (name, package, tests) in chosen {
        say::step(&format!("{name}: {} inputs for each test", options.cases));
        process::run(&mut command(package, &["--no-run"]))?;
        let mut command = command(package, &["--", "--exact", "--nocapture"]);
        command.args(*tests).env("PROPTEST_CASES", options.cases.to_string());
        let (began, mut tally) = (Instant::now(), Tally::default());
        tally.tests(&mut command);
        // The filter passes over a test that has another name by now.
        let passed = tally.has_passed(tests.len());
        let (seconds, inputs) =
            (began.elapsed().as_secs_f64(), f64::from(options.cases) * tests.len() as f64);
        failed += u32::from(!passed);
        say::detail(&match passed {
            true => format!("nothing found; {:.0} inputs a second", inputs / seconds),
            false => "FAILED".to_owned(),
        });
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Optimised, with the checks of a debug build
fn command(package: &str, arguments: &[&str]) -> std::process::Command {
    let mut command = process::cargo();
    command.args(["test", "--quiet", "--release", "--lib", "-p", package, "--target-dir"]);
    command.arg(repo::target("fuzz")).args(arguments);
    command.env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    command.env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true");
    // A generator may reject inputs of its own; the limit is for the whole run.
    command.env("PROPTEST_MAX_LOCAL_REJECTS", u32::MAX.to_string());
    command
}

/// A parser, its package, and its property tests
type Parser = (&'static str, &'static str, &'static [&'static str]);

const PARSERS: &[Parser] = &[
    (
        "answers",
        "token-broker",
        &[
            "sources::tests::arbitrary_bytes_are_never_a_token",
            "sources::tests::json_without_an_access_token_is_never_a_token",
            "sources::tests::a_token_that_is_read_can_be_presented_and_has_not_ended",
            "sources::tests::no_answer_repeats_a_secret_and_every_message_is_bounded",
        ],
    ),
    (
        "challenges",
        "token-broker-egress",
        &[
            "challenge::tests::any_header_is_read_to_an_end_and_gives_only_what_may_be_sent",
            "challenge::tests::items_never_outgrow_their_header",
        ],
    ),
    ("expiry", "token-broker", &["tests::expiry", "tests::tokens_end_in_time"]),
    ("retry-after", "token-broker", &["sources::tests::retry_after"]),
    ("policy", "token-broker", &["tests::policy"]),
    ("rules", "token-broker-egress", &["tests::rules"]),
    ("targets", "token-broker-egress", &["tests::targets"]),
    ("hosts", "token-broker", &["tests::host_ports"]),
    ("tenants", "token-broker", &["tests::tenants"]),
    ("authorities", "token-broker", &["tests::authorities", "tests::endpoints"]),
    ("entries", "token-broker", &["fleet::entry::tests::entries"]),
    ("queries", "token-broker-identity-endpoint", &["api::tests::any_request_is_read_or_refused"]),
    ("protobuf", "envoy-filter", &["config::protobuf::tests::any_bytes_are_an_object_or_none"]),
    ("pairs", "envoy-filter", &["abi::pairs::tests::any_bytes_are_pairs_or_none"]),
];
