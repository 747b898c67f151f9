//! The options that keep tokens in files.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use rustix::process::{Pid, Signal};

#[derive(Debug, ClapArgs)]
pub(crate) struct WriteOptions {
    /// Write the token to a file, FILE[,format=FORMAT][,scope=SCOPE], instead of stdout; repeatable
    ///
    /// The format is `token` (default), `bearer` or `json`; the scope is that of --scope unless given. A reader sees the
    /// old content or the new one, whole. The directory must exist, and other users must not be able to write to it.
    #[arg(long = "write", value_name = "FILE", value_parser = file)]
    pub(crate) files: Vec<FileOption>,
    /// Keep the files fresh until SIGTERM: replace each before its token expires
    ///
    /// While a renewal fails, a file stays as long as its token is valid, and is removed then.
    #[arg(long, requires = "files", conflicts_with = "claims")]
    pub(crate) watch: bool,
    /// Mode of the files, in octal
    #[arg(long, value_name = "MODE", requires = "files", default_value = "0600", value_parser = mode)]
    pub(crate) mode: u32,
    /// Run a shell command after the files have changed
    #[arg(long, value_name = "COMMAND", requires = "files")]
    pub(crate) exec: Option<String>,
    /// Signal a process after the files have changed, [SIGNAL:]PID or [SIGNAL:]PIDFILE; repeatable. Default: HUP
    #[arg(long, value_name = "PROCESS", requires = "files", value_parser = signalled)]
    pub(crate) signal: Vec<SignalOption>,
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileOption {
    pub(crate) path: PathBuf,
    pub(crate) format: FileFormat,
    /// Instead of that of `--scope`.
    pub(crate) scope: Option<String>,
}

/// The content of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// The token and nothing else
    #[default]
    Token,
    /// `Bearer` and the token: the value of a header
    Bearer,
    /// The token, its type and its times
    Json,
}

/// A process to signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignalOption {
    pub(crate) signal: Signal,
    pub(crate) process: ProcessOption,
}

/// Where the id of a process comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProcessOption {
    Id(Pid),
    /// A file that the process writes it to.
    File(PathBuf),
}

/// `FILE[,format=FORMAT][,scope=SCOPE]`
fn file(text: &str) -> Result<FileOption, String> {
    let mut parts = text.split(',');
    let name = parts.next().unwrap_or_default();
    let path = PathBuf::from(name);
    if path.file_name().is_none() || name.ends_with('/') {
        return Err("it names no file".to_owned());
    }
    if name == "-" {
        return Err("--output writes to stdout".to_owned());
    }
    let (mut format, mut scope) = (None, None);
    for part in parts {
        let is_first = match part.split_once('=') {
            Some(("format", name)) => {
                format.replace(FileFormat::from_str(name, false).map_err(of_format)?).is_none()
            }
            Some(("scope", name)) => scope.replace(name.to_owned()).is_none(),
            _ => return Err(format!("`{part}` is neither format=FORMAT nor scope=SCOPE")),
        };
        if !is_first {
            return Err(format!("`{part}` is the second of its kind"));
        }
    }
    Ok(FileOption { path, format: format.unwrap_or_default(), scope })
}

fn of_format(_: String) -> String {
    "the format is token, bearer or json".to_owned()
}

/// Three or four octal digits. Nobody but this user writes to the file, and nobody executes it.
fn mode(text: &str) -> Result<u32, &'static str> {
    let is_octal = matches!(text.len(), 3 | 4) && text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal);
    match mode.ok_or("it is not an octal mode, such as 0640")? {
        mode if mode & READ_BY_OWNER == 0 => Err("its owner could not read the file"),
        mode if mode & !MODES != 0 => {
            Err("a mode lets all of them read at most, and only its owner write: 0644")
        }
        mode => Ok(mode),
    }
}

/// `[SIGNAL:]PID` or `[SIGNAL:]PIDFILE`. No name of a process: a program of another user may have the same.
fn signalled(text: &str) -> Result<SignalOption, String> {
    let (signal, process) = match text.split_once(':') {
        Some((name, process)) if !name.contains('/') => (signal(name)?, process),
        _ => (Signal::HUP, text),
    };
    let id = process.parse().ok().filter(|id| *id > 0).and_then(Pid::from_raw);
    let process = match id {
        Some(id) => ProcessOption::Id(id),
        None if process.contains('/') => ProcessOption::File(process.into()),
        None => return Err(format!("`{process}` is neither the id of a process nor a path with a `/`")),
    };
    Ok(SignalOption { signal, process })
}

fn signal(name: &str) -> Result<Signal, String> {
    let short = name.strip_prefix("SIG").unwrap_or(name);
    let known = SIGNALS.iter().find(|(known, _)| *known == short);
    known.map(|(_, signal)| *signal).ok_or_else(|| {
        format!("`{name}` is none of the signals {}", SIGNALS.map(|(name, _)| name).join(", "))
    })
}

/// Those that ask a program to read its files again, or to end.
const SIGNALS: [(&str, Signal); 7] = [
    ("HUP", Signal::HUP),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("WINCH", Signal::WINCH),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("TERM", Signal::TERM),
];
const READ_BY_OWNER: u32 = 0o400;
const MODES: u32 = 0o644;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_format_and_a_scope_of_its_own() {
        let of = |format, scope: Option<&str>| {
            Ok(FileOption { path: "/run/t".into(), format, scope: scope.map(str::to_owned) })
        };
        assert_eq!(file("/run/t"), of(FileFormat::Token, None));
        assert_eq!(file("/run/t,format=bearer"), of(FileFormat::Bearer, None));
        assert_eq!(
            file("/run/t,scope=api://a/.default,format=json"),
            of(FileFormat::Json, Some("api://a/.default"))
        );
        for wrong in [
            "",
            "-",
            "/",
            "..",
            "a/",
            "a/..",
            ",format=json",
            "a,",
            "a,b",
            "a,format",
            "a,format=",
            "a,format=yaml",
            "a,mode=0644",
            "a,scope=x,scope=y",
            "a,format=json,format=json",
        ] {
            assert!(file(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mode_lets_nobody_else_write() {
        for (text, expected) in [("0600", 0o600), ("640", 0o640), ("0444", 0o444), ("0644", 0o644)] {
            assert_eq!(mode(text), Ok(expected));
        }
        for wrong in ["", "0", "60", "0o600", "0660", "0606", "0700", "4600", "0200", "0900", "+600", "00600"]
        {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_process_is_an_id_or_a_file_and_gets_hup_unless_another_signal_is_named() {
        let id =
            |signal, id| Ok(SignalOption { signal, process: ProcessOption::Id(Pid::from_raw(id).unwrap()) });
        let file =
            |signal, path: &str| Ok(SignalOption { signal, process: ProcessOption::File(path.into()) });
        assert_eq!(signalled("17"), id(Signal::HUP, 17));
        assert_eq!(signalled("USR1:17"), id(Signal::USR1, 17));
        assert_eq!(signalled("SIGTERM:/run/a.pid"), file(Signal::TERM, "/run/a.pid"));
        assert_eq!(signalled("/run/a:b.pid"), file(Signal::HUP, "/run/a:b.pid"));
        for wrong in ["", "0", "-1", "nginx", "HUP:", "KILL:17", "hup:17", ":17", "99999999999", "HUP:nginx"]
        {
            assert!(signalled(wrong).is_err(), "{wrong}");
        }
    }
}
