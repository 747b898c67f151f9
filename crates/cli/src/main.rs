//! The command `token-broker`: a token, or the reason why there is none.

#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a command lives off its environment")]

mod args;
mod claims;
mod explain;
mod failure;
mod get;
mod prepare;
mod run;
mod serve;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use token_broker_host::{flush_log, log_line};

use crate::args::{Args, Command};
use crate::failure::Failed;

fn main() -> ExitCode {
    let args = Args::parse();
    let code = run(&args.command).unwrap_or_else(|failed| {
        let as_json = matches!(&args.command, Command::Get(get) if get.json);
        log_line(&if as_json { failed.to_json() } else { failed.to_string() });
        failed.exit_code()
    });
    // Bounded: the process must end even if nobody reads stderr.
    flush_log(LAST_WORDS);
    code
}

/// One thread is enough, and starts faster than many: the command waits for the network.
fn run(command: &Command) -> Result<ExitCode, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::other(error, FREE_RESOURCES))?;
    let output = runtime.block_on(async {
        match command {
            Command::Get(args) => get::run(args).await.map(|()| ExitCode::SUCCESS),
            Command::Explain(args) => explain::run(args).await.map(|()| ExitCode::SUCCESS),
            Command::Run(args) => run::run(args).await,
            Command::Serve(args) => serve::run(args).await.map(|()| ExitCode::SUCCESS),
        }
    });
    // A look-up of a name that is still under way must not hold up the exit.
    runtime.shutdown_background();
    output
}

/// Write to stdout. A closed pipe is an error, and does not panic.
fn print(text: &str) -> Result<(), Failed> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| {
        Failed::other(
            format_args!("cannot write to stdout: {error}"),
            "give stdout a file, or a program that reads it",
        )
    })
}

/// The fix for a process that gets no thread, file or signal of the system.
const FREE_RESOURCES: &str = "raise the limits of this process, which `ulimit -a` shows";
/// The limit of the wait for a reader of stderr at the end of the process.
const LAST_WORDS: Duration = Duration::from_secs(1);
