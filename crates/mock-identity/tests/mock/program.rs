//! Starting and stopping, in process and as a program.

use std::{process::Stdio, time::Duration};

use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use crate::client::{METADATA, imds_target, mock, open, receive, send};

#[tokio::test]
async fn a_request_body_beyond_the_bound_is_refused() {
    let mock = mock().await;
    let answer = send(&mock, "POST", "/admin/faults", &[], &" ".repeat(70_000)).await.unwrap();
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn a_dropped_mock_no_longer_listens() {
    let mock = mock().await;
    let address = mock.url().strip_prefix("http://").unwrap().to_owned();
    drop(mock);
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let refused = async {
        while TcpStream::connect(&address).await.is_ok() {
            tick.tick().await;
        }
    };
    timeout(Duration::from_secs(5), refused).await.expect("the port is closed");
}

#[tokio::test]
async fn a_shutdown_lets_a_request_under_way_finish() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_millis(100)));
    let mut stream = open(&mock, "GET", &imds_target(&[]), &METADATA, "").await.unwrap();
    mock.arrived(Endpoint::Imds, 1).await;
    mock.shutdown().await;
    assert_eq!(receive(&mut stream).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let mock = mock().await;
    let listen = mock.url().strip_prefix("http://").unwrap().parse().unwrap();
    let config = MockConfig { listen, ..MockConfig::default() };
    let error = Mock::start(config).await.err().expect("the address is taken");
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {}", mock.url().strip_prefix("http://").unwrap())
    );
}

#[tokio::test]
async fn the_program_prints_its_url_serves_and_ends_when_terminated() {
    let mut program = Command::new(PROGRAM).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let url = lines.next_line().await.unwrap().unwrap();
    let address = url.strip_prefix("http://127.0.0.1:").map(|port| format!("127.0.0.1:{port}")).unwrap();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream
        .write_all(b"GET /admin/counters HTTP/1.1\r\nhost: mock\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(receive(&mut stream).await.unwrap().json()["imds"]["requests"], 0);
    let pid = program.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let status = timeout(Duration::from_secs(10), program.wait()).await.unwrap().unwrap();
    assert!(status.success());
    assert_eq!(lines.next_line().await.unwrap(), None, "one line is all it prints");
}

#[tokio::test]
async fn the_program_names_what_is_wrong_with_its_configuration_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        (None, "cannot read "),
        (Some("\nspeed = 3\n"), "line 2: unknown field `speed`"),
        (Some("listen = [\n"), "line 1: "),
        (Some("listen = 3\n"), "line 1: invalid type"),
    ] {
        let file = folder.path().join("mock.toml");
        text.iter().for_each(|text| std::fs::write(&file, text).unwrap());
        let wrong = Command::new(PROGRAM).arg("--config").arg(&file).output().await.unwrap();
        let line = String::from_utf8(wrong.stderr).unwrap();
        assert_eq!(wrong.status.code(), Some(1), "{line}");
        assert!(line.contains(expected) && line.contains("mock.toml") && line.lines().count() == 1, "{line}");
        assert!(line.contains("; fix: "), "{line}");
    }
    let printed = Command::new(PROGRAM).arg("--print-config").output().await.unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), MockConfig::DEFAULT_TOML);
}

#[tokio::test]
async fn output_that_cannot_be_written_is_an_error_in_one_line_and_no_panic() {
    for arguments in [&["--print-config"][..], &["--listen", "127.0.0.1:0"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let program = Command::new(PROGRAM).args(arguments).stdout(full).stderr(Stdio::piped()).spawn();
        let output = program.unwrap().wait_with_output().await.unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(line.contains("cannot write to stdout") && line.lines().count() == 1, "{line}");
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_mock-identity");
