//! The pages of the documentation as their reader tries them: what a page's consoles type runs in one shell, and what it
//! prints is compared with the page.
//!
//! In a block of ` ```console `, a line after `$ ` is a command; one that ends with `\` goes on in the next line. The lines
//! below are its output: `[..]` stands for any text in a line, and a line `...` for any lines. A command that ends with `&`
//! has its output by the time that the next is typed. A command that fails is one that the next asks for `$?`. Any other
//! block is a file, if the line before it ends with the file's name and a colon: `` `app.py`: ``.

mod shell;
mod stage;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

pub use shell::{Shell, Typed};
pub use stage::Stage;

/// A page, as far as its reader does something
#[derive(Debug)]
pub struct Page {
    name: String,
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    File { name: String, text: String },
    Command { line: usize, typed: String, shown: Vec<String> },
}

impl Page {
    /// A page of the repository, by its path there
    ///
    /// # Errors
    /// It cannot be read, or types nothing.
    pub fn read(name: &str) -> Result<Self> {
        let text = std::fs::read_to_string(Path::new(REPOSITORY).join(name)).context(name.to_owned())?;
        Self::parse(name, &text)
    }

    /// A page with this text
    ///
    /// # Errors
    /// It types nothing.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let page = Self { name: name.to_owned(), steps: steps(text) };
        ensure!(page.commands().next().is_some(), "{name} types nothing");
        Ok(page)
    }

    /// The commands, in order
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Step::Command { typed, .. } => Some(typed.as_str()),
            Step::File { .. } => None,
        })
    }

    /// Do all that the page says, in this shell.
    ///
    /// # Errors
    /// A command fails, hangs, prints something else than the page shows, or a token that the page does not show.
    pub fn run(&self, shell: &mut Shell) -> Result<()> {
        let mut steps = self.steps.iter().peekable();
        while let Some(step) = steps.next() {
            match step {
                Step::File { name, text } => shell.save(name, text)?,
                Step::Command { line, typed, shown } => {
                    let may_fail =
                        matches!(steps.peek(), Some(Step::Command { typed, .. }) if typed.contains("$?"));
                    let Typed { output, status } =
                        shell.type_until(typed, |output| matches(shown, output))?;
                    let place = format!("{}:{line}: `{typed}`", self.name);
                    let shown = shown.join("\n");
                    ensure!(status == 0 || may_fail, "{place} failed with {status}:\n{output}");
                    ensure!(
                        matches_text(&shown, &output),
                        "{place}\nprinted:\n{output}\nthe page shows:\n{shown}"
                    );
                    ensure!(!output.contains(TOKEN) || shown.contains(TOKEN), "{place} printed a token");
                }
            }
        }
        Ok(())
    }
}

fn steps(page: &str) -> Vec<Step> {
    let mut lines = page.lines().enumerate();
    let (mut steps, mut before) = (Vec::new(), "");
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let block = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim_start() != "```");
            match (language, file_name(before)) {
                ("console", _) => commands(number + 2, block, &mut steps),
                (_, Some(name)) => {
                    let text = block.map(|line| format!("{line}\n")).collect();
                    steps.push(Step::File { name: name.to_owned(), text });
                }
                _ => block.for_each(drop),
            }
        }
        if !line.trim().is_empty() {
            before = line;
        }
    }
    steps
}

fn commands<'a>(first: usize, block: impl Iterator<Item = &'a str>, steps: &mut Vec<Step>) {
    for (number, line) in (first..).zip(block) {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(typed), _) => {
                steps.push(Step::Command { line: number, typed: typed.to_owned(), shown: Vec::new() });
            }
            (None, Some(Step::Command { typed, shown, .. })) if shown.is_empty() && typed.ends_with('\\') => {
                typed.push('\n');
                typed.push_str(line);
            }
            (None, Some(Step::Command { shown, .. })) => shown.push(line.to_owned()),
            (None, _) => {}
        }
    }
}

/// The name at the end of a line such as "Save this as `app.py`:"
fn file_name(line: &str) -> Option<&str> {
    let name = line.trim_end().strip_suffix("`:")?;
    Some(name.rsplit_once('`')?.1)
}

fn matches_text(shown: &str, output: &str) -> bool {
    matches(&shown.lines().map(str::to_owned).collect::<Vec<_>>(), output)
}

fn matches(shown: &[String], output: &str) -> bool {
    let trimmed = |line: &str| line.trim_end().to_owned();
    let output: Vec<_> = output.lines().map(trimmed).filter(|line| !line.is_empty()).collect();
    let shown: Vec<_> = shown.iter().map(|line| trimmed(line)).filter(|line| !line.is_empty()).collect();
    matches_lines(&shown, &output)
}

fn matches_lines(shown: &[String], output: &[String]) -> bool {
    match (shown, output) {
        ([any, rest @ ..], _) if any == "..." => {
            (0..=output.len()).any(|skipped| matches_lines(rest, output.get(skipped..).unwrap_or_default()))
        }
        ([shown, others @ ..], [line, rest @ ..]) => matches_line(shown, line) && matches_lines(others, rest),
        ([], []) => true,
        _ => false,
    }
}

fn matches_line(shown: &str, line: &str) -> bool {
    let Some((start, rest)) = shown.split_once("[..]") else { return shown == line };
    let Some(line) = line.strip_prefix(start) else { return false };
    line.char_indices()
        .map(|(at, _)| at)
        .chain([line.len()])
        .any(|at| matches_line(rest, line.get(at..).unwrap_or_default()))
}

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The first letters of every token of the mock
const TOKEN: &str = "eyJ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_its_files_and_the_commands_of_its_consoles_with_their_output() {
        let page = "Save this as `app.py`:\n\n```python\n1\n```\n\n```sh\n$ not this\n```\n\n\
            ```console\n$ one \\\n  --two\nits output\n\nmore\n$ three &\n```\n";
        let command = |line, typed: &str, shown: &[&str]| Step::Command {
            line,
            typed: typed.to_owned(),
            shown: shown.iter().map(|line| (*line).to_owned()).collect(),
        };
        let file = Step::File { name: "app.py".to_owned(), text: "1\n".to_owned() };
        let first = command(12, "one \\\n  --two", &["its output", "", "more"]);
        assert_eq!(steps(page), [file, first, command(17, "three &", &[])]);
    }

    #[test]
    fn dots_in_brackets_stand_for_any_text_and_dots_alone_for_any_lines() {
        for (shown, output, same) in [
            ("one", "one\n", true),
            ("one", "one\ntwo\n", false),
            ("one\ntwo", "one\n", false),
            ("", "", true),
            ("", "one\n", false),
            ("in [..] h", "in 24 h", true),
            ("in [..] h", "in 24 min", false),
            ("[..]a[..]", "bab", true),
            ("one\n...", "one\ntwo\nthree\n", true),
            ("...\nthree", "one\ntwo\nthree\n", true),
            ("...\nfour", "one\ntwo\nthree\n", false),
            ("one\n...\ntwo", "one\ntwo\n", true),
        ] {
            assert_eq!(matches_text(shown, output), same, "{shown:?} {output:?}");
        }
    }
}
