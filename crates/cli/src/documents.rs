//! `token-broker completions` and `token-broker man`

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Args;
use crate::failure::Failed;
use crate::print;

/// Print the completion script for a shell.
pub(crate) fn completions(shell: Shell) -> Result<(), Failed> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), NAME, &mut script);
    // In bash, clap looks up the options of a subcommand by another name than it gave it, if the command has a hyphen:
    // <https://github.com/clap-rs/clap/issues/6421>
    print(String::from_utf8_lossy(&script).replace("token__subcmd__broker", "token__broker"))
}

/// Print one page: that of the command, with the options and examples of each subcommand.
pub(crate) fn man() -> Result<(), Failed> {
    let mut page = Vec::new();
    render(&mut page).map_err(|error| Failed::other(error, "report it"))?;
    print(&page)
}

fn render(page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    let man = Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    command.get_subcommands().try_for_each(|subcommand| render_subcommand(subcommand, page))?;
    let mut extra = Vec::new();
    man.render_extra_section(&mut extra)?;
    let exit_codes = format!("{EXTRA}Exit codes: ");
    page.extend(String::from_utf8_lossy(&extra).replace(&exit_codes, ".SH EXIT STATUS\n").into_bytes());
    Ok(())
}

/// A section with its name, and in it the sections of a page of its own.
fn render_subcommand(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut sections = Vec::new();
    let man = Man::new(command.clone());
    man.render_synopsis_section(&mut sections)?;
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    man.render_extra_section(&mut sections)?;
    // Examples keep their lines.
    let sections =
        String::from_utf8_lossy(&sections).replace(&format!("{EXTRA}Examples:\n"), ".SH EXAMPLES\n.nf\n");
    let (heading, sections) = (command.get_name().to_uppercase(), sections.replace(".SH ", ".SS "));
    page.extend(format!(".SH {heading}\n{sections}.fi\n").into_bytes());
    Ok(())
}

/// The heading of the text after the options.
const EXTRA: &str = ".SH EXTRA\n";

const NAME: &str = "token-broker";
