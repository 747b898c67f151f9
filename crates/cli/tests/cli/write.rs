//! Tokens in files: their content, what is refused, and what a failure leaves.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mock_identity::{Answer, Endpoint, Fault};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use test_support::skip;

use crate::harness::{Cli, UNKNOWN, VAULT, output, text};

const STORAGE: &str = "https://storage.azure.com/.default";

/// A directory for files.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path().join(name)).unwrap().permissions().mode() & 0o7777
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_writes_files_of_several_formats_and_scopes() {
    let (cli, folder) = (Cli::new().await, Folder::new());
    let [token, bearer, json] =
        ["token", "bearer,format=bearer", "json,format=json"].map(|name| folder.file(name));
    let json = format!("{json},scope={STORAGE}");
    let files = ["--write", &token, "--write", &bearer, "--write", &json, "--mode", "0640"];
    assert_eq!(cli.prints(&[&["get", "--scope", VAULT], &files[..]].concat()).await, "");
    assert_eq!(folder.names(), ["bearer", "json", "token"]);
    let token = folder.read("token");
    cli.mock.verify(&token, "https://vault.azure.net").unwrap();
    assert_eq!(folder.read("bearer"), format!("Bearer {token}"));
    let json: Value = serde_json::from_str(&folder.read("json")).unwrap();
    let claims =
        cli.mock.verify(json["access_token"].as_str().unwrap(), "https://storage.azure.com").unwrap();
    assert_eq!((&json["expires_on"], &json["token_type"]), (&claims.exp.into(), &"Bearer".into()));
    assert_eq!((&json["scope"], json["refresh_on"].is_u64()), (&STORAGE.into(), true));
    assert!(["bearer", "json", "token"].iter().all(|name| folder.mode(name) == 0o640));
    assert_eq!(cli.requests(), 2, "one for each scope");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_of_this_user_alone_whatever_the_umask_and_is_replaced() {
    let (cli, folder) = (Cli::new().await, Folder::new());
    let file = folder.file("token");
    for (mask, args, mode) in [("000", &[][..], 0o600), ("077", &["--mode", "0644"][..], 0o644)] {
        let get = cli.command(&[&["get", "--scope", VAULT, "--write", &file], args].concat());
        let mut masked = Command::new("sh");
        masked.args(["-c", "umask $0; exec \"$@\"", mask]).arg(get.get_program()).args(get.get_args());
        masked.env_clear().envs(get.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = output(masked).await;
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
        assert_eq!((folder.names(), folder.mode("token")), (vec!["token".to_owned()], mode));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_written_is_refused_before_anything_is_sent() {
    let (cli, folder) = (Cli::new().await, Folder::new());
    fs::create_dir(folder.file("folder")).unwrap();
    fs::create_dir(folder.file("open")).unwrap();
    fs::set_permissions(folder.file("open"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(folder.file("file"), "").unwrap();
    symlink("file", folder.file("link")).unwrap();
    let fifo = Command::new("mkfifo").arg(folder.file("fifo")).status().unwrap();
    assert!(fifo.success());
    let before = folder.names();
    for (name, why) in [
        ("none/token", "create the directory"),
        ("file/token", "create the directory"),
        ("folder", "is a directory"),
        ("link", "is a symbolic link"),
        ("fifo", "is not a regular file"),
        ("open/token", "every user can write"),
    ] {
        for watch in [&[][..], &["--watch"]] {
            let file = folder.file(name);
            // The first file is good, and is not written, either.
            let files = ["--write", &folder.file("good"), "--write", &file];
            let (code, line) = cli.failure(&[&["get", "--scope", VAULT], &files[..], watch].concat()).await;
            assert!(code == 3 && line.contains(&file) && line.contains(why), "{name}: {code} {line}");
        }
    }
    let twice = ["--write", &folder.file("good"), "--write", &folder.file("good,format=json")];
    let (code, line) = cli.failure(&[&["get", "--scope", VAULT], &twice[..]].concat()).await;
    assert!(code == 2 && line.contains("twice"), "{code} {line}");
    assert_eq!((folder.names(), cli.requests()), (before, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_user_is_not_replaced() {
    if !geteuid().is_root() {
        return skip("only root can give a file to another user");
    }
    let (cli, folder) = (Cli::new().await, Folder::new());
    let file = folder.file("token");
    fs::write(&file, "of another").unwrap();
    chown(&file, Some(65534), None).unwrap();
    let (code, line) = cli.failure(&["get", "--scope", VAULT, "--write", &file]).await;
    assert!(code == 3 && line.contains("the user 65534 owns it"), "{code} {line}");
    assert_eq!((folder.read("token"), cli.requests()), ("of another".to_owned(), 0));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_and_on_a_read_only_file_system_the_old_file_stays_and_nothing_is_left_beside_it() {
    let (cli, folder) = (Cli::new().await, Folder::new());
    let get = cli.command(&["get", "--scope", VAULT, "--write", &folder.file("token")]);
    let mut namespace = Command::new("unshare");
    namespace.args(["--user", "--map-root-user", "--mount", "sh", "-c", FULL]).arg(folder.path());
    namespace.arg(get.get_program()).args(get.get_args());
    namespace.env_clear().envs(get.get_envs().filter_map(|(name, value)| Some((name, value?))));
    namespace.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let output = output(namespace).await;
    if output.status.code() == Some(NO_NAMESPACE) {
        return skip(
            "no namespace for mounts; as root, `sysctl kernel.unprivileged_userns_clone=1` may allow one",
        );
    }
    let said = text(&output.stderr);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(text(&output.stdout), "first 0\nfull 3\nread-only 3\nfiller\ntoken\n", "{said}");
    assert!(lines[0].contains("No space left") && lines[0].contains("; fix: free space in "), "{said}");
    assert!(
        lines[1].contains("Read-only") && lines[1].contains("; fix: let this user create files"),
        "{said}"
    );
    assert_eq!(lines.len(), 2, "{said}");
}

/// The first token is there, and then the file system, of two pages, is full. Without a namespace, 125.
const FULL: &str = r#"
mount -t tmpfs -o size=8k,mode=0700 none "$0" 2>/dev/null || exit 125
"$@"; echo first $?
old=$(cksum <"$0/token")
cat /dev/zero >"$0/filler" 2>/dev/null
"$@"; echo full $?
mount -o remount,ro "$0"
"$@"; echo read-only $?
test "$old" = "$(cksum <"$0/token")" || echo the old file is gone
ls -A "$0"
"#;
const NO_NAMESPACE: i32 = 125;

#[tokio::test(flavor = "multi_thread")]
async fn a_first_token_that_cannot_be_had_is_the_commands_error_and_an_old_file_stays() {
    for watch in [&[][..], &["--watch"], &["--watch", "-v"]] {
        let (cli, folder) = (Cli::new().await, Folder::new());
        fs::write(folder.file("token"), "old").unwrap();
        let (file, told) = (folder.file("token"), format!("touch {}", folder.file("told")));
        let get = ["get", "--scope", VAULT, "--client-id", UNKNOWN, "--write", &file, "--exec", &told];
        let args = [&get[..], watch].concat();
        let output = cli.run(&args).await;
        let said = text(&output.stderr);
        let errors: Vec<_> = said.lines().filter(|line| !line.starts_with('{')).collect();
        assert!(output.status.code() == Some(6) && errors.len() == 1, "{said}");
        assert!(errors[0].starts_with("rejected: ") && errors[0].contains("; fix: "), "{said}");
        assert!(watch.len() == 2 || said.lines().count() == 1, "{said}");
        assert_eq!((folder.names(), folder.read("token")), (vec!["token".to_owned()], "old".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_files_those_are_written_for_which_there_is_a_token() {
    let (cli, folder) = (Cli::new().await, Folder::new());
    let unknown = folder.file("unknown,scope=https://unknown.example/.default");
    let told = format!("echo told >>{}", folder.file("told"));
    let args =
        ["get", "--scope", VAULT, "--write", &unknown, "--write", &folder.file("token"), "--exec", &told];
    let (code, line) = cli.failure(&args).await;
    assert!(code == 6 && line.contains("unknown.example"), "{code} {line}");
    assert_eq!(
        (folder.names(), folder.read("told")),
        (vec!["token".to_owned(), "told".to_owned()], "told\n".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_by_a_command_and_signals_and_what_fails_is_an_error() {
    let (cli, folder) = (Cli::new().await, Folder::new());
    let (first, second) = (Sleeper::new(), Sleeper::new());
    fs::write(folder.file("pid"), format!("{}\n", second.id())).unwrap();
    let get = ["get", "--scope", VAULT, "--write", &folder.file("token")];
    let copy = format!("cat {} >{}", folder.file("token"), folder.file("copy"));
    let signals = [format!("TERM:{}", first.id()), format!("SIGUSR1:{}", folder.file("pid"))];
    let args = ["--exec", &copy, "--signal", &signals[0], "--signal", &signals[1]];
    cli.prints(&[&get[..], &args].concat()).await;
    assert_eq!(folder.read("copy"), folder.read("token"));
    assert_eq!((first.ended_by(), second.ended_by()), (15, 10));

    fs::write(folder.file("empty"), "").unwrap();
    for (args, words) in [
        (["--exec", "exit 7"], "--exec `exit 7` failed: exit status: 7"),
        (["--signal", &folder.file("none.pid")], "none.pid cannot be read"),
        (["--signal", &folder.file("empty")], "empty holds no process id"),
        (["--signal", "USR1:2147483647"], "cannot signal the process 2147483647"),
    ] {
        let (code, line) = cli.failure(&[&get[..], &args].concat()).await;
        assert!([1, 3].contains(&code) && line.contains(words), "{args:?}: {code} {line}");
    }
    // The command fails, and the signal is sent all the same.
    let third = Sleeper::new();
    let args = ["--exec", "false", "--signal", &format!("TERM:{}", third.id())];
    let (code, line) = cli.failure(&[&get[..], &args].concat()).await;
    assert!(code == 1 && line.contains("--exec `false` failed"), "{code} {line}");
    assert_eq!(third.ended_by(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_before_the_token_is_there_leaves_nothing() {
    let (cli, folder) = (Cli::new().await, Folder::new());
    cli.mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_secs(3600)));
    let mut get = cli.command(&["get", "--scope", VAULT, "--write", &folder.file("token")]);
    let process = get.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    cli.mock.arrived(Endpoint::Imds, 1).await;
    terminate(&process);
    let output = tokio::task::spawn_blocking(move || process.wait_with_output().unwrap()).await.unwrap();
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("a signal ended the command"), "{said}");
    assert!(said.lines().count() == 1 && folder.names().is_empty(), "{said}");
}

/// A program that is there to be signalled.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    /// The signal that ended it.
    fn ended_by(mut self) -> i32 {
        self.0.wait().unwrap().signal().unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

pub(crate) fn terminate(process: &Child) {
    kill_process(Pid::from_child(process), Signal::TERM).unwrap();
}
