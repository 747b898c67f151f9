//! Help, and errors of usage as one line.

use std::process::ExitCode;

use clap::error::ErrorKind;
use token_broker_host::Error;

use crate::cannot_write;
use crate::failure::Failed;

/// The outcome of arguments that are no command: help and the version are printed, and anything else is an error.
pub(crate) fn outcome(error: &clap::Error) -> Result<ExitCode, Failed> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            error.print().map(|()| ExitCode::SUCCESS).map_err(cannot_write)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // A closed stderr changes no exit code.
            _ = error.print();
            Ok(ExitCode::from(2))
        }
        _ => Err(failure(error)),
    }
}

/// clap's error without its line ends: the error, tips, the usage, and a reference to `--help`.
fn failure(error: &clap::Error) -> Failed {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let (text, _) = text.rsplit_once("\n\nFor more information").unwrap_or((text, ""));
    let (what, fix) = match text.rsplit_once("\n\nUsage: ") {
        Some((what, usage)) => (what, format!("use `{}`, or see --help", words(usage))),
        None => (text, "see --help".to_owned()),
    };
    let what = words(&what.replace("\n\n  tip: ", "; tip: "));
    Error::invalid_request(shortened(&what), fix).into()
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// clap repeats values as they are.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}...", text.split_at(end).0),
        None => text.to_owned(),
    }
}

const MAX_CHARACTERS: usize = 400;

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    #[test]
    fn an_error_of_usage_is_a_line_with_a_fix() {
        let long = "x".repeat(100_000);
        for (args, line) in [
            (
                &["get"][..],
                "the following required arguments were not provided: --scope <SCOPE>; fix: use `token-broker get \
                 --scope <SCOPE>`, or see --help",
            ),
            (
                &["get", "--scpe", "a"],
                "unexpected argument '--scpe' found; tip: a similar argument exists: '--scope'; fix: use `token-broker \
                 get --scope <SCOPE>`, or see --help",
            ),
            (
                &["explain", "-o", "x\ny"],
                "invalid value 'x y' for '--output <FORMAT>' [possible values: text, json]; fix: see --help",
            ),
        ] {
            let error = Args::try_parse_from([&["token-broker"], args].concat()).unwrap_err();
            assert_eq!(failure(&error).to_string(), format!("invalid-request: {line}"));
        }
        let error = Args::try_parse_from(["token-broker", "explain", &long]).unwrap_err();
        assert!(failure(&error).to_string().len() < 600);
    }
}
