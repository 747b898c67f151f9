//! One bash that commands are typed into, as a reader keeps one terminal open.

use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// A shell with its own network: the ports of the pages are free, and it reaches nothing but itself. Where the system does
/// not let us, one shell at a time. All that it has started ends when it is dropped.
pub struct Shell {
    bash: Child,
    commands: ChildStdin,
    output: Receiver<Vec<u8>>,
    folder: PathBuf,
    bound: Duration,
    _alone: Option<MutexGuard<'static, ()>>,
}

/// A command that has been typed
#[derive(Clone)]
pub struct Typed {
    /// Its output and its errors, and those of the programs in the background
    pub output: String,
    /// Its exit status
    pub status: i32,
}

impl Shell {
    /// A shell in a folder, with these variables and no others; no command may take longer than the bound.
    ///
    /// # Errors
    /// There is no bash here.
    pub fn start(
        folder: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
        bound: Duration,
    ) -> Result<Self> {
        let isolated = has_namespaces();
        let alone = (!isolated).then(|| PORTS.lock().unwrap_or_else(PoisonError::into_inner));
        let mut command = Command::new(if isolated { UNSHARE[0] } else { "bash" });
        if isolated {
            command.args(&UNSHARE[1..]).arg("bash");
        }
        command.args(["--noprofile", "--norc", "-c", DRIVER]).current_dir(folder);
        command.env_clear().envs(variables).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.process_group(0);
        let mut bash = command.spawn().context("bash cannot be started")?;
        let commands = bash.stdin.take().context("a child without its pipe")?;
        let output = collect(bash.stdout.take().context("a child without its pipe")?);
        Ok(Self { bash, commands, output, folder: folder.to_owned(), bound, _alone: alone })
    }

    /// Write a file below the shell's first folder.
    ///
    /// # Errors
    /// The system does not let us.
    pub fn save(&self, name: &str, text: &str) -> Result<()> {
        let file = self.folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap_or(&self.folder))?;
        std::fs::write(&file, text).with_context(|| file.display().to_string())
    }

    /// Type a command and wait until it ends.
    ///
    /// # Errors
    /// It takes too long, or ends the shell.
    pub fn type_in(&mut self, command: &str) -> Result<Typed> {
        self.type_until(command, |_| true)
    }

    /// Type a command and wait until it ends; if it runs in the background, until its output is complete or the time is over.
    ///
    /// # Errors
    /// It takes too long, or ends the shell.
    pub fn type_until(&mut self, command: &str, complete: impl Fn(&str) -> bool) -> Result<Typed> {
        self.commands.write_all(format!("{command}\0").as_bytes())?;
        let background = command.trim_end().ends_with('&');
        let (end, mut seen) = (Instant::now() + self.bound, Vec::new());
        loop {
            let text = String::from_utf8_lossy(&seen).into_owned();
            let typed = ended(&text);
            if let Some(typed) = typed.as_ref().filter(|typed| !background || complete(&typed.output)) {
                return Ok(typed.clone());
            }
            match (self.output.recv_timeout(end.saturating_duration_since(Instant::now())), typed) {
                (Ok(bytes), _) => seen.extend(bytes),
                (Err(_), Some(typed)) => return Ok(typed),
                (Err(_), None) => bail!("`{command}` did not end; so far it printed:\n{text}"),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Ok(Some(pid)) = i32::try_from(self.bash.id()).map(Pid::from_raw) {
            _ = kill_process_group(pid, Signal::KILL);
        }
        _ = self.bash.wait();
    }
}

/// The output so far, if the command has ended.
fn ended(text: &str) -> Option<Typed> {
    let mut parts = text.splitn(3, END);
    let (before, status, after) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Typed { output: format!("{before}{after}"), status: status.parse().ok()? })
}

fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            if sender.send(buffer.get(..read).unwrap_or_default().to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn has_namespaces() -> bool {
    let mut unshare = Command::new(UNSHARE[0]);
    unshare.args(&UNSHARE[1..]).args(["ip", "link", "set", "lo", "up"]);
    unshare.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The pages have the same ports.
static PORTS: Mutex<()> = Mutex::new(());
const UNSHARE: [&str; 4] = ["unshare", "--user", "--map-root-user", "--net"];
/// Commands come by a pipe of their own, so that none reads the next one as its input; `$?` is what it is in a terminal.
const DRIVER: &str = r#"exec 3<&0 </dev/null 2>&1
ip link set lo up 2>/dev/null
status=0
while IFS= read -r -d '' command <&3; do
    (exit $status)
    eval "$command" 3<&-
    status=$?
    printf '\036%d\036' $status
done"#;
const END: char = '\u{1e}';
