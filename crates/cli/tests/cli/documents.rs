//! Help texts, completions and the manual page.

use std::process::{Command, Stdio};

use crate::harness::{Cli, output, text};

const SUBCOMMANDS: [&str; 6] = ["get", "explain", "run", "serve", "completions", "man"];

#[tokio::test(flavor = "multi_thread")]
async fn each_subcommand_has_help_with_an_example() {
    let cli = Cli::new().await;
    for name in SUBCOMMANDS {
        let help = cli.prints(&[name, "--help"]).await;
        assert!(help.contains(&format!("\n  token-broker {name}")), "{help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_fits_a_terminal_of_40_columns() {
    let cli = Cli::new().await.with("COLUMNS", "40");
    for name in SUBCOMMANDS {
        let help = cli.prints(&[name, "--help"]).await;
        // clap wraps no usage and no word, such as a URL.
        let is_wrapped = |line: &str| !line.starts_with("Usage: ") && line.split_whitespace().count() > 1;
        let is_too_wide = |line: &&str| line.chars().count() > 40 && is_wrapped(line);
        assert_eq!(help.lines().find(is_too_wide), None, "{help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_has_colours_on_a_terminal_that_wants_them() {
    let cli = Cli::new().await;
    let is_coloured = async |variables: &[(&str, &str)]| {
        let mut command = cli.command(&["--help"]);
        command.envs(variables.iter().copied());
        text(&output(command).await.stdout).contains('\u{1b}')
    };
    assert!(!is_coloured(&[]).await, "stdout is a pipe");
    assert!(is_coloured(&[("CLICOLOR_FORCE", "1")]).await);
    assert!(!is_coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shell_has_completions_with_every_subcommand() {
    let cli = Cli::new().await;
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = cli.prints(&["completions", shell]).await;
        for name in SUBCOMMANDS.into_iter().chain(["output"]) {
            assert!(script.contains(name), "{shell} has no {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bash_completes_subcommands_options_and_values() {
    let script = Cli::new().await.prints(&["completions", "bash"]).await;
    for (words, expected) in [
        (&["token-broker", "e"][..], "explain"),
        (&["token-broker", "get", "--sc"], "--scope"),
        (&["token-broker", "get", "--output", "e"], "exec-credential"),
        (&["token-broker", "-v", "explain", "--tr"], "--try"),
        (&["token-broker", "completions", "f"], "fish"),
    ] {
        let typed = Command::new("bash")
            .args(["--norc", "-c", &format!("{script}\n{COMPLETE}")])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(text(&typed.stdout).trim(), expected, "{words:?}: {}", text(&typed.stderr));
    }
}

/// As bash does at a press of the tabulator, with the words of the line as arguments.
const COMPLETE: &str = r#"COMP_WORDS=("$0" "$@")
COMP_CWORD=$#
_token__broker token-broker "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
echo "${COMPREPLY[*]}""#;

#[tokio::test(flavor = "multi_thread")]
async fn the_manual_page_has_a_section_for_each_subcommand() {
    let page = Cli::new().await.prints(&["man"]).await;
    assert!(page.contains(".TH token-broker 1"), "{page}");
    for name in SUBCOMMANDS {
        assert!(page.contains(&format!(".SH {}\n", name.to_uppercase())), "{name}: {page}");
    }
    assert!(page.contains(".SH EXIT STATUS\n0 success"), "{page}");
}
