//! The command `token-broker`: a token, or the reason why there is none.

#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a command lives off its environment")]

mod args;
mod claims;
mod documents;
mod end;
mod explain;
mod failure;
mod get;
mod output;
mod prepare;
mod progress;
mod run;
mod serve;
mod usage;
mod wasm_file;
mod write;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use token_broker_host::{flush_log, log_line};

use crate::args::{Args, Command, ReportOutput};
use crate::failure::Failed;
use crate::prepare::Setup;

fn main() -> ExitCode {
    let (outcome, is_json) = match Args::try_parse() {
        Ok(args) => (run(&args), args.command.prints_json()),
        Err(error) => (usage::outcome(&error), false),
    };
    let code = outcome.unwrap_or_else(|failed| {
        log_line(&if is_json { failed.to_json() } else { failed.to_string() });
        failed.exit_code()
    });
    // Bounded: the process must end even if nobody reads stderr.
    flush_log(LAST_WORDS);
    code
}

/// One thread is enough, and starts faster than many: the command waits for the network.
fn run(args: &Args) -> Result<ExitCode, Failed> {
    let setup = Setup::new(args.verbose);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::other(error, FREE_RESOURCES))?;
    let output = runtime.block_on(async {
        match &args.command {
            Command::Get(args) if args.write.files.is_empty() => get::run(args, &setup).await,
            Command::Get(args) => write::run(args, &setup).await,
            Command::Explain(args) => explain::run(args, &setup).await,
            Command::Run(args) => return run::run(args, &setup).await,
            Command::Serve(args) => serve::run(args, &setup).await,
            Command::Completions(args) => documents::completions(args.shell),
            Command::Man => documents::man(),
        }
        .map(|()| ExitCode::SUCCESS)
    });
    // A look-up of a name that is still under way must not hold up the exit.
    runtime.shutdown_background();
    output
}

impl Command {
    /// True if the command prints JSON; it prints its error in the same format.
    fn prints_json(&self) -> bool {
        match self {
            Self::Get(args) => args.output().is_json(),
            Self::Explain(args) => args.output == ReportOutput::Json,
            _ => false,
        }
    }
}

/// Write to stdout. A closed pipe is an error, and does not panic.
fn print(text: impl AsRef<[u8]>) -> Result<(), Failed> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()).map_err(cannot_write)
}

fn cannot_write(error: std::io::Error) -> Failed {
    Failed::other(
        format_args!("cannot write to stdout: {error}"),
        "give stdout a file, or a program that reads it",
    )
}

/// The fix for a process that gets no thread, file or signal of the system.
const FREE_RESOURCES: &str = "raise the limits of this process, which `ulimit -a` shows";
/// The limit of the wait for a reader of stderr at the end of the process.
const LAST_WORDS: Duration = Duration::from_secs(1);
