//! Bad input: one line, and the documented exit code.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::harness::{Cli, UNKNOWN, VAULT, component, text};

/// The arguments, and words of the line.
const REFUSED: &[(&[&str], &str)] = &[
    (&["no-such-command"], "no-such-command"),
    (&["--no-such-option"], "--no-such-option"),
    (&["get"], "--scope"),
    (&["get", "--scope"], "--scope"),
    (&["get", "--scope", ""], "scope"),
    (&["get", "--scope", "two scopes"], "scope"),
    (&["get", "--scope", "line\nbreak\u{1b}[31m"], "scope"),
    (&["get", "--scope", VAULT, "--scope", VAULT], "multiple times"),
    (&["get", "--scope", VAULT, "--no\n-such\u{7}"], "unexpected argument"),
    (&["get", "--scope", VAULT, "extra"], "extra"),
    (&["get", "--scope", VAULT, "--output"], "--output"),
    (&["get", "--scope", VAULT, "--output", "yaml"], "exec-credential"),
    (&["get", "--scope", VAULT, "--output", "token", "--output", "az"], "multiple times"),
    (&["get", "--scope", VAULT, "--output", "token", "--raw"], "cannot be used with"),
    (&["get", "--scope", VAULT, "--output", "json", "--json"], "cannot be used with"),
    (&["get", "--scope", VAULT, "--raw", "--json"], "cannot be used with"),
    (&["get", "--scope", VAULT, "--client-id", ""], "client id"),
    (&["get", "--scope", VAULT, "--client-id", UNKNOWN, "--object-id", UNKNOWN], "cannot be used with"),
    (&["get", "--scope", VAULT, "--client-id", UNKNOWN, "--system-assigned"], "cannot be used with"),
    (&["get", "--scope", VAULT, "--tenant", ""], "tenant"),
    (&["get", "--scope", VAULT, "--tenant", "a/../b"], "tenant"),
    (&["get", "--scope", VAULT, "--claims", ""], "claims"),
    (&["get", "--scope", VAULT, "--claims", "no claims"], "claims"),
    (&["get", "--scope", VAULT, "--claims", "{"], "claims"),
    (&["get", "--scope", VAULT, "--claims", "W10="], "claims"),
    (&["get", "--scope", VAULT, "--cae=yes"], "--cae"),
    (&["get", "--scope", VAULT, "--timeout", "0"], "1..=600"),
    (&["get", "--scope", VAULT, "--timeout", "99999999999999999999999"], "--timeout"),
    (&["get", "--scope", VAULT, "--timeout", "soon"], "--timeout"),
    (&["get", "--scope", VAULT, "--write"], "--write"),
    (&["get", "--scope", VAULT, "--write", ""], "--write"),
    (&["get", "--scope", VAULT, "--write", "-"], "--output writes to stdout"),
    (&["get", "--scope", VAULT, "--write", "/tmp/"], "it names no file"),
    (&["get", "--scope", VAULT, "--write", "/no/t,format=yaml"], "the format is token, bearer or json"),
    (&["get", "--scope", VAULT, "--write", "/no/t,mode=0644"], "neither format=FORMAT nor scope=SCOPE"),
    (&["get", "--scope", VAULT, "--write", "/no/t,format=json,format=json"], "the second of its kind"),
    (&["get", "--scope", VAULT, "--write", "/no/t", "--output", "json"], "cannot be used with"),
    (&["get", "--scope", VAULT, "--write", "/no/t", "--raw"], "cannot be used with"),
    (&["get", "--scope", VAULT, "--write", "/no/t", "--json"], "cannot be used with"),
    (&["get", "--scope", VAULT, "--write", "/no/t", "--watch", "--claims", "{}"], "cannot be used with"),
    (&["get", "--scope", VAULT, "--write", "/no/t", "--mode", "rw"], "not an octal mode"),
    (&["get", "--scope", VAULT, "--write", "/no/t", "--mode", "0666"], "only its owner write"),
    (&["get", "--scope", VAULT, "--write", "/no/t", "--mode", "0044"], "its owner could not read"),
    (
        &["get", "--scope", VAULT, "--write", "/no/t", "--signal", "nginx"],
        "neither the id of a process nor a path",
    ),
    (&["get", "--scope", VAULT, "--write", "/no/t", "--signal", "KILL:1"], "none of the signals HUP"),
    (
        &["get", "--scope", VAULT, "--write", "/no/t", "--signal", "0"],
        "neither the id of a process nor a path",
    ),
    (&["get", "--scope", VAULT, "--watch"], "--write"),
    (&["get", "--scope", VAULT, "--mode", "0600"], "--write"),
    (&["get", "--scope", VAULT, "--exec", "true"], "--write"),
    (&["get", "--scope", VAULT, "--signal", "1"], "--write"),
    (&["explain", "--output", "az"], "text, json"),
    (&["explain", "--try", "--try"], "multiple times"),
    (&["explain", "--scope", VAULT], "--try"),
    (&["explain", "--client-id", UNKNOWN], "--try"),
    (&["explain", "--object-id", UNKNOWN], "--try"),
    (&["explain", "--resource-id", "/x"], "--try"),
    (&["explain", "--system-assigned"], "--try"),
    (&["explain", "--tenant", UNKNOWN], "--try"),
    (&["explain", "--claims", "{}"], "--try"),
    (&["explain", "--cae"], "--try"),
    (&["explain", "--timeout", "5"], "--try"),
    (&["run"], "--scope"),
    (&["run", "--scope", VAULT], "COMPONENT"),
    (&["run", "component.wasm"], "--scope"),
    (&["run", "--scope", VAULT, "--timeout", "0", "component.wasm"], "--timeout"),
    (&["run", "--scope", VAULT, "--max-memory", "99999999999", "component.wasm"], "--max-memory"),
    (&["run", "--scope", VAULT, "--allow", "nowhere", "component.wasm"], "--allow"),
    (&["run", "--scope", VAULT, "--env", "", "component.wasm"], "--env"),
    (&["run", "--scope", VAULT, "--env", "=value", "component.wasm"], "the variable has no name"),
    (&["run", "--scope", "two\nscopes", "/no/such/component.wasm"], "entry two"),
    (&["run", "--scope", VAULT, "/no/such/component.wasm"], "/no/such/component.wasm"),
    (&["run", "--scope", VAULT, "/etc/passwd"], "/etc/passwd"),
    (&["run", "--scope", VAULT, "/"], "/"),
    (&["run", "--scope", VAULT, "/dev/zero"], "/dev/zero"),
    (&["serve", "--listen", "nowhere"], "--listen"),
    (&["serve", "--listen", "127.0.0.1:99999"], "--listen"),
    (&["serve", "--listen", "127.0.0.1:0", "--unix", "socket"], "cannot be used with"),
    (&["serve", "--unix", "socket", "--allow-remote"], "cannot be used with"),
    (&["completions"], "SHELL"),
    (&["completions", "csh"], "bash"),
    (&["man", "get"], "get"),
];

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_refused_in_one_line_with_exit_code_2_and_nothing_is_sent() {
    let cli = Cli::new().await;
    for (args, words) in REFUSED {
        let (code, line) = cli.failure(args).await;
        assert!(code == 2 && line.contains(words), "{args:?}: {code} {line}");
        assert!(
            line.starts_with("invalid-request: ") && !line.trim_end().contains(char::is_control),
            "{args:?}: {line}"
        );
    }
    assert_eq!(cli.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_are_long_or_not_utf_8_are_refused_in_one_line() {
    let cli = Cli::new().await;
    let long = "x".repeat(100_000);
    let (long, bytes) = (OsString::from(long), OsString::from_vec(vec![b'a', 0xff]));
    for option in ["--scope", "--client-id", "--tenant", "--claims", "--timeout", "--output", "--no-such"] {
        for value in [&long, &bytes] {
            let scope = (option != "--scope").then_some(["--scope", VAULT]).into_iter().flatten();
            let mut args: Vec<OsString> = ["get"].into_iter().chain(scope).map(OsString::from).collect();
            args.extend([option.into(), value.clone()]);
            let (code, line) = cli.failure(&args).await;
            assert_eq!(code, 2, "{option}: {line}");
        }
    }
    assert_eq!(cli.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_no_broker_is_named_with_its_variable() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    };
    file("text.wasm", b"not a component");
    file("empty.wasm", b"");
    file("module.wasm", CORE_MODULE);
    file("empty-component.wasm", b"\0asm\x0d\0\x01\0");
    file("command.wasm", &component("(i32.const 0)"));
    file("text.cwasm", b"not a component");
    for (name, words) in [
        ("text.wasm", "is not a WebAssembly component"),
        ("empty.wasm", "is not a WebAssembly component"),
        ("module.wasm", "is a core module"),
        ("empty-component.wasm", "does not export token-broker:identity/credentials"),
        ("command.wasm", "does not export token-broker:identity/credentials"),
        ("text.cwasm", "cannot be loaded"),
        ("none.wasm", "cannot read"),
        ("", "cannot read"),
    ] {
        let path = folder.path().join(name);
        let cli = Cli::new().await.with("TOKEN_BROKER_COMPONENT", path.to_str().unwrap());
        for args in [&["get", "--scope", VAULT][..], &["explain"], &["serve", "--listen", "127.0.0.1:0"]] {
            let (code, line) = cli.failure(args).await;
            let is_named = line.contains("TOKEN_BROKER_COMPONENT") && line.contains(path.to_str().unwrap());
            assert!(code == 3 && is_named && line.contains(words), "{name}: {code} {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_cannot_run_is_named() {
    let (cli, file) = (Cli::new().await, tempfile::NamedTempFile::new().unwrap());
    for (bytes, expected, words) in [
        (&b"not a component"[..], 2, "is not a WebAssembly component"),
        (CORE_MODULE, 2, "is a core module"),
        (b"\0asm\x0d\0\x01\0", 1, "exports no wasi:cli/run"),
        (b"\0asm\x0d\0\x01\0\xff", 2, "cannot be compiled"),
    ] {
        std::fs::write(file.path(), bytes).unwrap();
        let (code, line) = cli.failure(&["run", "--scope", VAULT, file.path().to_str().unwrap()]).await;
        assert!(code == expected && line.contains(words), "{code} {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_cannot_be_used_costs_time_and_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (file, open) = (folder.path().join("file"), folder.path().join("open"));
    std::fs::write(&file, "no directory").unwrap();
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    for cache in [&file, &open, Path::new("/dev/null")] {
        let output = Cli::new().await.with("XDG_CACHE_HOME", cache.to_str().unwrap()).run(&["explain"]).await;
        let line = text(&output.stderr);
        assert!(output.status.success() && line.lines().count() == 1, "{line}");
        assert!(line.starts_with("warning: each start compiles the broker component again: "), "{line}");
        assert!(line.contains(cache.to_str().unwrap()) && line.matches("; fix: ").count() == 1, "{line}");
    }
    Cli::new().await.with("XDG_CACHE_HOME", "relative").prints(&["explain"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_cannot_be_written_is_exit_code_1_and_no_panic() {
    let cli = Cli::new().await;
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let get = ["get", "--scope", VAULT, "--output", "token"];
    for args in [
        &get[..],
        &["explain"],
        &["--help"],
        &["man"],
        &["completions", "bash"],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        let full = std::fs::File::create("/dev/full").unwrap();
        for stdout in [closed.try_clone().unwrap().into(), std::process::Stdio::from(full)] {
            let mut command = cli.command(args);
            command.stdout(stdout).stderr(std::process::Stdio::piped());
            let output = tokio::task::spawn_blocking(move || command.spawn()?.wait_with_output());
            let output = output.await.unwrap().unwrap();
            let line = text(&output.stderr);
            assert!(
                output.status.code() == Some(1) && line.contains("cannot write to stdout"),
                "{args:?}: {line}"
            );
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }
}

const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
