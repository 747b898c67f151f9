//! The command `token-broker` against the mock platform, as a user runs it.

#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test starts processes")]

#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/certificate.rs"]
mod certificate;
#[path = "cli/documents.rs"]
mod documents;
#[path = "cli/federation.rs"]
mod federation;
#[path = "cli/harness.rs"]
mod harness;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/proxy.rs"]
mod proxy;
#[path = "cli/token_proxy.rs"]
mod token_proxy;
#[path = "cli/watch.rs"]
mod watch;
#[path = "cli/write.rs"]
mod write;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mock_identity::{Answer, Endpoint};
use test_support::port::Port;

use harness::{Cli, UNKNOWN, VAULT, component, output, text};

#[tokio::test(flavor = "multi_thread")]
async fn get_shows_everything_of_a_token_but_the_token() {
    let cli = Cli::new().await;
    let output = cli.get(&[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let shown = shown.replace("(in 24 h", "(in 23 h");
    let appid = "00001111-aaaa-2222-bbbb-3333cccc4444";
    for part in ["https://vault.azure.net", appid, "imds", "(in 23 h", "fingerprint"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert!(!shown.contains("eyJ"), "the token is in {shown}");
    assert_eq!(text(&output.stderr), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_is_shown_though_there_is_a_token() {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let claims = URL_SAFE_NO_PAD.encode(r#"{"aud":["https://other.example"],"appid":"a","azp":"z"}"#);
    let other = URL_SAFE_NO_PAD.encode(r#"{"aud":"https://other.example","appid":"a","azp":"z"}"#);
    for payload in [claims, other] {
        let body = format!(
            r#"{{"access_token":"{header}.{payload}.s","expires_in":"3600","resource":"https://vault.azure.net","token_type":"Bearer"}}"#
        );
        let cli = Cli::new().await.fault(Answer::body(200, "application/json", &body));
        for args in [&["get", "--scope", VAULT][..], &["explain", "--try", "--scope", VAULT]] {
            let output = cli.run(args).await;
            let (shown, said) = (text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(0), "{said}");
            assert!(shown.contains("https://other.example") && shown.contains("client id a"), "{shown}");
            assert!(said.contains(r#""level":"warn""#) && said.lines().count() == 1, "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_is_misspelt_is_named_with_the_most_similar_one_that_there_is() {
    let mistaken = Cli::new().await.with("TOKEN_BROKER_ALOWED_SCOPES", "https://storage.azure.com");
    let (code, line) = mistaken.refusal().await;
    assert!(code == 3 && line.contains("TOKEN_BROKER_ALOWED_SCOPES"), "{code} {line}");
    assert!(line.contains("the most similar one is TOKEN_BROKER_ALLOWED_SCOPES"), "{line}");
    let report = text(&mistaken.run(&["explain"]).await.stdout);
    assert!(report.contains("the most similar one is TOKEN_BROKER_ALLOWED_SCOPES"), "{report}");
    assert_eq!(mistaken.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_3_to_5_are_for_what_is_refused_before_anything_is_sent() {
    for (why, variable, value, expected, words) in [
        ("a wrong variable", "TOKEN_BROKER_TIMEOUT_MS", "soon", 3, "TOKEN_BROKER_TIMEOUT_MS"),
        ("a policy denies it", "TOKEN_BROKER_ALLOWED_SCOPES", "https://storage.azure.com", 4, ""),
        ("no identity source on the machine", "AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential", 5, ""),
    ] {
        let cli = Cli::new().await.with(variable, value);
        let (code, line) = cli.refusal().await;
        assert!(code == expected && line.contains(words), "{why}: {code} {line}");
        assert_eq!(cli.requests(), 0, "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_code_6_is_for_a_rejection_and_its_line_says_the_fix() {
    let (code, line) = Cli::new().await.failure(&["get", "--scope", VAULT, "--client-id", UNKNOWN]).await;
    assert_eq!(code, 6);
    assert!(line.contains(UNKNOWN) && line.contains("az "), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_7_to_9_are_for_an_endpoint_that_fails() {
    let closed = Port::reserve().unwrap();
    let hurried = async || Cli::new().await.with("TOKEN_BROKER_BUDGET_MS", "1500");
    for (why, cli, expected, words) in [
        ("over its limit", Cli::new().await.fault(Answer::retry_after(429, "3600")), 7, "3600 s"),
        ("not up", hurried().await.with("AZURE_POD_IDENTITY_AUTHORITY_HOST", &closed.url()), 8, ""),
        ("failing for now", hurried().await.fault(Answer::status(500)), 8, ""),
        ("an answer that cannot be read", Cli::new().await.fault(Answer::Garbage), 9, ""),
    ] {
        let (code, line) = cli.refusal().await;
        assert!(code == expected && line.contains(words), "{why}: {code} {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn service_fabrics_endpoint_is_known_by_its_certificate_and_another_one_never_sees_the_secret() {
    let cli = Cli::with_tls().await.with("TOKEN_BROKER_BUDGET_MS", "500").with("TOKEN_BROKER_LOG", "error");
    let fabric = cli.mock.env(Endpoint::ServiceFabric);
    let of = |name| fabric.iter().find(|(known, _)| *known == name).unwrap().1.clone();
    let (secret, thumbprint) = (of("IDENTITY_HEADER"), of("IDENTITY_SERVER_THUMBPRINT").to_uppercase());
    let cli = cli.with_all(&fabric).with("IDENTITY_SERVER_THUMBPRINT", &"ab".repeat(20));
    let output = cli.get(&["--output", "token"]).await;
    let (code, said) = (output.status.code(), text(&output.stderr));
    assert!(code.is_some_and(|code| code != 0) && said.contains(&thumbprint), "{code:?} {said}");
    assert!(!said.contains(&secret), "{said}");
    assert_eq!(cli.mock.requests().len(), 0);

    let cli = cli.with("IDENTITY_SERVER_THUMBPRINT", &thumbprint);
    let output = cli.get(&["--output", "token"]).await;
    let token = text(&output.stdout);
    cli.mock.verify(&token, "https://vault.azure.net").unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    assert_eq!(cli.mock.counters().of(Endpoint::ServiceFabric).tokens, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_ones_own_is_believed_if_ssl_cert_file_has_its_certificate() {
    let cli = Cli::with_tls().await.with("TOKEN_BROKER_BUDGET_MS", "500");
    let entra = cli.mock.env(Endpoint::Entra);
    let cli = cli.with_all(&entra);
    let output = cli.get(&[]).await;
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(9) && said.contains("UnknownIssuer"), "{said}");
    assert!(said.lines().last().unwrap().contains("; fix: "), "the last line is the failure: {said}");
    assert_eq!(cli.mock.requests().len(), 0);

    let roots = tempfile::NamedTempFile::new().unwrap();
    let file = roots.path().to_str().unwrap();
    let cli = cli.with("SSL_CERT_FILE", file);
    let (code, line) = cli.refusal().await;
    assert!(code == 3 && line.contains("SSL_CERT_FILE") && line.contains(file), "{code} {line}");
    std::fs::write(file, cli.mock.ca_pem().unwrap()).unwrap();
    let output = cli.get(&["--output", "token"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(cli.mock.counters().of(Endpoint::Entra).tokens, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_sends_nothing_unless_it_is_told_to_try() {
    let cli = Cli::new().await;
    let output = cli.run(&["explain"]).await;
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    let parts =
        ["imds: ready", "app-service: not-configured", "AZURE_POD_IDENTITY_AUTHORITY_HOST", "would send"];
    assert!(parts.iter().all(|part| report.contains(part)), "{report}");
    assert_eq!(cli.requests(), 0);

    let output = cli.run(&["explain", "--try", "--scope", VAULT]).await;
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(report.contains("imds: used") && report.contains("fingerprint"), "{report}");
    assert!(!report.contains("eyJ"), "the token is in {report}");
    assert_eq!(cli.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_root_fails_calls_for_a_token_and_explain_says_so() {
    let cli = Cli::new().await.with("AZURE_FEDERATED_TOKEN_FILE", "/token");
    let (code, line) = cli.refusal().await;
    assert!(code == 3 && line.contains("AZURE_FEDERATED_TOKEN_FILE names /token"), "{code} {line}");
    let output = cli.run(&["explain"]).await;
    let (report, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(report.contains("imds: ") && said.contains("directory of its own"), "{report} {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_exits_as_the_calls_would_that_it_sees_fail_and_sends_nothing() {
    for (variables, code) in [
        (&[("TOKEN_BROKER_TIMEOUT_MS", "soon")][..], 3),
        (&[("IDENTITY_ENDPOINT", "http://10.0.0.1/msi/token"), ("IDENTITY_HEADER", "s")], 3),
        // Behind Arc, which is passed over for want of its agent's file.
        (&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://10.0.0.1")], 3),
        // Cloud Shell has one identity.
        (&[("MSI_ENDPOINT", "http://127.0.0.1/oauth2/token"), ("AZURE_CLIENT_ID", UNKNOWN)], 2),
        (&[("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")], 5),
        (&[("AZURE_FEDERATED_TOKEN_FILE", "/tmp/no/such/token"), ("AZURE_TENANT_ID", UNKNOWN)], 3),
        (&[("TOKEN_BROKER_ALLOWED_SCOPES", VAULT)], 0),
        (&[("TOKEN_BROKER_ALLOWED_SCOPES", VAULT), ("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")], 5),
        (&[("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")], 0),
    ] {
        let cli = variables.iter().fold(Cli::new().await, |cli, (name, value)| cli.with(name, value));
        let explained = cli.run(&["explain"]).await;
        assert_eq!(cli.requests(), 0);
        let said = text(&explained.stderr);
        assert_eq!(explained.status.code(), Some(code), "{variables:?}: {said}");
        assert_eq!(cli.get(&[]).await.status.code(), Some(code), "{variables:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_level_of_the_log_is_an_unset_one() {
    let cli = Cli::new().await.with("TOKEN_BROKER_LOG", "").with("TOKEN_BROKER_BUDGET_MS", "500");
    cli.fault(Answer::status(500)).refusal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_the_report_of_a_try_that_failed_and_exits_as_get_would() {
    let output = Cli::new().await.run(&["explain", "--try", "--client-id", UNKNOWN]).await;
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(6));
    assert!(report.contains("imds: failed") && report.contains("last failure"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_precompiled_component_is_kept_in_the_users_cache() {
    let home = tempfile::tempdir().unwrap();
    let cli = Cli::new().await.with("XDG_CACHE_HOME", home.path().to_str().unwrap());
    let files = || std::fs::read_dir(home.path().join("token-broker")).unwrap().count();
    for _ in 0..2 {
        assert_eq!(cli.get(&[]).await.status.code(), Some(0));
        assert_eq!(files(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_is_to_be_passed_on_and_is_not_there_is_an_error() {
    use std::os::unix::ffi::OsStringExt as _;

    let cli = Cli::new().await;
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("component.wasm");
    std::fs::write(&module, b"\0asm\x0d\0\x01\0").unwrap();
    let run = ["run", "--scope", VAULT, "--env", "VAULT_URL", module.to_str().unwrap()];
    let (code, line) = cli.failure(&run).await;
    assert!(code == 2 && line.contains("VAULT_URL is not set") && line.contains("fix: "), "{code} {line}");

    let mut command = cli.command(&run);
    command.env("VAULT_URL", std::ffi::OsString::from_vec(vec![b'a', 0xff]));
    let output = output(command).await;
    let line = text(&output.stderr);
    assert!(output.status.code() == Some(2) && line.contains("VAULT_URL is not UTF-8"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_has_no_more_time_and_memory_than_it_may_have() {
    let cli = Cli::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("component.wasm");
    let run = async |instructions: &str, limits: &[&str]| {
        std::fs::write(&file, component(instructions)).unwrap();
        let args = [&["run", "--scope", VAULT], limits, &[file.to_str().unwrap()]].concat();
        let output = cli.run(&args).await;
        (output.status.code(), text(&output.stderr))
    };
    assert_eq!(run("(i32.const 0)", &[]).await, (Some(0), String::new()));
    assert_eq!(run("(i32.const 1)", &[]).await, (Some(1), String::new()));
    let (code, said) = run("(loop (br 0)) (i32.const 0)", &["--timeout", "1"]).await;
    assert!(code == Some(1) && said.contains("did not end within 1 s; fix: "), "{code:?} {said}");
    // 2 MiB more, and a trap if there are none.
    let grow = "(if (i32.eq (memory.grow (i32.const 32)) (i32.const -1)) (then unreachable)) (i32.const 0)";
    assert_eq!(run(grow, &["--max-memory", "3"]).await, (Some(0), String::new()));
    let (code, said) = run(grow, &["--max-memory", "2"]).await;
    assert!(code == Some(1) && said.contains("more memory than 2 MiB; fix: "), "{code:?} {said}");
}
