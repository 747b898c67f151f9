//! `cargo xtask site`: makes the documentation a site, into `target/site`, and checks its links.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::setup::{self, Tool};
use crate::{process, repo, say};

/// Parts of the site
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Add the documentation of the Rust crates, which takes a build of wasmtime
    #[arg(long)]
    api: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    [Tool::MdBook, Tool::Checkers].into_iter().try_for_each(setup::require)?;
    book()?;
    links()?;
    if options.api {
        api()?;
    }
    say::detail("target/site/index.html");
    Ok(ExitCode::SUCCESS)
}

/// Make the book of README.md and docs/
pub(crate) fn book() -> Result<()> {
    let (book, site) = (repo::target("book"), repo::target("site"));
    for folder in [&book, &site] {
        let _ = fs::remove_dir_all(folder);
    }
    let source = book.join("docs");
    copy(Path::new("docs"), &source)?;
    write_page(Path::new("README.md"), &source)?;
    fs::copy(repo::path("book.toml"), book.join("book.toml"))?;
    let mut mdbook = Command::new(repo::target("mdbook/bin/mdbook"));
    process::output(mdbook.arg("build").arg(&book).arg("--dest-dir").arg(&site)).map(drop)
}

/// Check the links between the files of the repository, and those between the pages of the site
pub(crate) fn links() -> Result<()> {
    let files = process::output(Command::new("git").current_dir(repo::path("")).args(["ls-files", "*.md"]))?;
    let pages = repo::target("site").join("**/*.html").display().to_string();
    check(files.lines())?;
    check(["--exclude-path", "404.html", "--exclude-path", "print.html", "--exclude", "/api/", &pages])
}

fn check<'a>(files: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut lychee = Command::new(repo::target("tools/bin/lychee"));
    lychee.current_dir(repo::path("")).args(["--offline", "--include-fragments", "--no-progress"]);
    process::run(lychee.args(files))
}

/// Add the documentation of the published crates, to which links to docs.rs lead
fn api() -> Result<()> {
    let _ = fs::remove_dir_all(repo::target("doc"));
    let mut doc = process::cargo();
    doc.args(["doc", "--release", "--no-deps", "--lib"]).args(CRATES.iter().flat_map(|name| ["-p", name]));
    process::run(&mut doc)?;
    fs::rename(repo::target("doc"), repo::target("site/api")).context("the documentation cannot be moved")
}

/// Copy a folder of docs/ into the source of the book
fn copy(folder: &Path, source: &Path) -> Result<()> {
    for entry in fs::read_dir(repo::path("").join(folder))? {
        let file = folder.join(entry?.file_name());
        let from = repo::path("").join(&file);
        match file.extension().is_some_and(|extension| extension == "md") {
            _ if from.is_dir() => copy(&file, source)?,
            true => write_page(&file, source)?,
            false => process::write_if_changed(&source.join(on_site(&file)), &fs::read(from)?)?,
        }
    }
    Ok(())
}

fn write_page(file: &Path, source: &Path) -> Result<()> {
    let text = fs::read_to_string(repo::path("").join(file))?;
    process::write_if_changed(&source.join(on_site(file)), page(file, &text).as_bytes())
}

/// The text of a file as a page of the site, with links that lead to the same targets from there
fn page(file: &Path, text: &str) -> String {
    let mut parts = text.split("](");
    let mut page = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (target, rest) = part.split_once(')').unwrap_or((part, ""));
        page += &format!("]({}){rest}", link(file, target));
    }
    page
}

fn link(file: &Path, target: &str) -> String {
    if let Some(package) = target.strip_prefix("https://docs.rs/").filter(|it| CRATES.contains(it)) {
        return relative(file, &format!("api/{}/index.html", package.replace('-', "_")));
    }
    if target.starts_with('#') || target.contains("://") {
        return target.to_owned();
    }
    let (path, anchor) = target.split_at(target.find('#').unwrap_or(target.len()));
    let path = normal(&file.with_file_name(path));
    match path.starts_with("docs") || path == Path::new("README.md") {
        true => relative(file, &format!("{}{anchor}", on_site(&path).display())),
        false => format!("{REPOSITORY}/blob/main/{}{anchor}", path.display()),
    }
}

/// A path of the site as seen from the page of this file
fn relative(file: &Path, path: &str) -> String {
    let depth = on_site(file).components().count() - 1;
    format!("{}{path}", "../".repeat(depth))
}

/// Where a file of the repository lies in the source of the site
fn on_site(file: &Path) -> &Path {
    file.strip_prefix("docs").unwrap_or(file)
}

/// The path without `.` and `..`
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    normal
}

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
const CRATES: [&str; 5] =
    ["token-broker", "token-broker-client", "token-broker-egress", "token-broker-host", "mock-identity"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_a_page_lead_to_the_same_targets_on_the_site() {
        let rows = [
            ("README.md", "docs/sharing.md#a-key", "sharing.md#a-key"),
            ("README.md", "docs/pictures/overview.svg", "pictures/overview.svg"),
            ("docs/sharing.md", "configuration.md", "configuration.md"),
            ("docs/sharing.md", "../README.md", "README.md"),
            ("docs/quickstart/spin.md", "../sharing.md#spin", "../sharing.md#spin"),
            (
                "docs/quickstart/spin.md",
                "https://docs.rs/token-broker-host",
                "../api/token_broker_host/index.html",
            ),
            ("docs/sharing.md", "#a-key", "#a-key"),
            ("docs/sharing.md", "https://example.com/a.md", "https://example.com/a.md"),
        ];
        for (file, target, expected) in rows {
            assert_eq!(link(Path::new(file), target), expected, "{file}: {target}");
        }
        let outside = link(Path::new("docs/quickstart/spin.md"), "../../examples/spin-app/README.md#a");
        assert_eq!(outside, format!("{REPOSITORY}/blob/main/examples/spin-app/README.md#a"));
        assert_eq!(page(Path::new("docs/a.md"), "a [b](../README.md), (c)](d"), "a [b](README.md), (c)](d)");
    }
}
