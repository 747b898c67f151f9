//! What follows a change of a file: a command, and signals.

use std::fmt;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, kill_process};
use token_broker::Level;
use token_broker_host::Error;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::args::{ProcessOption, SignalOption, WriteOptions};
use crate::failure::Failed;
use crate::write::event::Events;

/// Tells other programs that a file has changed.
pub(super) struct OnChange {
    command: Option<String>,
    signals: Vec<SignalOption>,
    events: Events,
    /// Changes are told one after the other.
    alone: Mutex<()>,
}

impl OnChange {
    pub(super) fn new(options: &WriteOptions, events: Events) -> Self {
        let (command, signals) = (options.exec.clone(), options.signal.clone());
        Self { command, signals, events, alone: Mutex::default() }
    }

    /// Log the error of [`OnChange::tell`]: the files are there, and are kept fresh all the same.
    pub(super) fn log(&self, told: Result<(), Failed>) {
        if let Err(error) = told {
            self.events.log(Level::Error, "could not tell a change", &[("error", &error.to_string())]);
        }
    }

    /// Run the command and send the signals, whether or not one of them fails.
    ///
    /// # Errors
    /// The first one.
    pub(super) async fn tell(&self) -> Result<(), Failed> {
        let _alone = self.alone.lock().await;
        let ran = match &self.command {
            Some(command) => run(command).await,
            None => Ok(()),
        };
        let signalled: Vec<_> = self.signals.iter().map(SignalOption::send).collect();
        signalled.into_iter().fold(ran, Result::and)
    }
}

/// Its output is that of this process.
async fn run(command: &str) -> Result<(), Failed> {
    let failed =
        |why: &dyn fmt::Display, fix: &str| Failed::other(format_args!("--exec `{command}` {why}"), fix);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).stdin(Stdio::null()).kill_on_drop(true);
    match timeout(LIMIT, shell.status()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(&format_args!("failed: {status}"), "run it by hand to see why")),
        Ok(Err(error)) => Err(failed(&format_args!("cannot be started: {error}"), "install /bin/sh")),
        Err(_) => Err(failed(
            &format_args!("did not end within {} s", LIMIT.as_secs()),
            "let it start what takes longer in the background",
        )),
    }
}

impl SignalOption {
    fn send(&self) -> Result<(), Failed> {
        let process = self.process.id()?;
        kill_process(process, self.signal).map_err(|error| {
            let what =
                format_args!("--signal: cannot signal the process {}: {error}", process.as_raw_nonzero());
            Failed::other(what, "name a process that runs, and that this user may signal")
        })
    }
}

impl ProcessOption {
    fn id(&self) -> Result<Pid, Failed> {
        let file = match self {
            Self::Id(id) => return Ok(*id),
            Self::File(file) => file,
        };
        let unusable = |why: &dyn fmt::Display| {
            let what = format_args!("--signal: {} {why}", file.display());
            Failed::from(Error::misconfigured(what, "name the file to which the process writes its id"))
        };
        let text = fs::read(file).map_err(|error| unusable(&format_args!("cannot be read: {error}")))?;
        let id = str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
        id.filter(|id| *id > 0).and_then(Pid::from_raw).ok_or_else(|| unusable(&"holds no process id"))
    }
}

/// The time for the command.
const LIMIT: Duration = Duration::from_secs(60);
