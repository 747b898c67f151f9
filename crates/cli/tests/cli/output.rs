//! The formats of a token and of a report, and what they are asked for.

use std::process::Stdio;
use std::time::Duration;

use mock_identity::{Answer, Endpoint, Fault, MockConfig};
use serde_json::Value;

use crate::harness::{Cli, UNKNOWN, VAULT, output, text};

const CLIENT: &str = "11112222-bbbb-3333-cccc-4444dddd5555";
const GET: [&str; 3] = ["get", "--scope", VAULT];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

fn names(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

impl Cli {
    async fn get_as(&self, format: &str) -> String {
        self.prints(&[&GET[..], &["--output", format]].concat()).await
    }

    fn is_for_the_vault(&self, token: &str) -> bool {
        self.mock.verify(token, "https://vault.azure.net").is_ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_has_everything_but_the_token() {
    let cli = Cli::new().await;
    let shown = cli.prints(&[&GET[..], &["-o", "json", "--client-id", CLIENT]].concat()).await;
    assert!(!shown.contains("eyJ"), "the token is in {shown}");
    let shown = json(&shown);
    assert_eq!(shown["clientId"], CLIENT);
    assert_eq!(shown["audience"], "https://vault.azure.net");
    assert_eq!((&shown["source"], &shown["tokenType"]), (&"imds".into(), &"Bearer".into()));
    assert!(shown["expiresOn"].as_str().unwrap().ends_with('Z') && shown["expires_on"].is_u64(), "{shown}");
    assert_eq!(
        names(&shown),
        [
            "audience",
            "clientId",
            "expiresOn",
            "expires_on",
            "fingerprint",
            "objectId",
            "refreshOn",
            "resourceId",
            "scope",
            "source",
            "tenant",
            "tokenType",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn token_and_header_are_what_another_program_takes() {
    let cli = Cli::new().await;
    assert!(cli.is_for_the_vault(&cli.get_as("token").await));
    let header = cli.get_as("header").await;
    let token = header.strip_prefix("Authorization: Bearer ").and_then(|rest| rest.strip_suffix('\n'));
    assert!(cli.is_for_the_vault(token.unwrap()), "{header}");
}

#[tokio::test(flavor = "multi_thread")]
async fn az_has_the_fields_of_the_azure_cli_and_local_time() {
    let cli = Cli::new().await;
    let at = async |zone: &str| {
        let mut command = cli.command(&[&GET[..], &["--output", "az"]].concat());
        json(&text(
            &output({
                command.env("TZ", zone);
                command
            })
            .await
            .stdout,
        ))
    };
    let utc = at("UTC").await;
    assert_eq!(names(&utc), ["accessToken", "expiresOn", "expires_on", "tenant", "tokenType"]);
    assert!(cli.is_for_the_vault(utc["accessToken"].as_str().unwrap()));
    let claims = cli.mock.verify(utc["accessToken"].as_str().unwrap(), "https://vault.azure.net").unwrap();
    assert_eq!(utc["tenant"], claims.tid);
    let seconds = |answer: &Value| {
        let local = answer["expiresOn"].as_str().unwrap();
        assert_eq!(local.len(), "2026-11-30 10:00:00.000000".len(), "{local}");
        let hour: u64 = local[11..13].parse().unwrap();
        let minute: u64 = local[14..16].parse().unwrap();
        let second: u64 = local[17..19].parse().unwrap();
        (hour * 60 + minute) * 60 + second
    };
    let shift =
        |answer: &Value| (seconds(answer) + 86400 - answer["expires_on"].as_u64().unwrap() % 86400) % 86400;
    assert_eq!((shift(&utc), shift(&at("XYZ-05:30").await)), (0, 5 * 3600 + 1800));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_a_managed_identity_ignores_is_a_warning() {
    let cli = Cli::new().await;
    let output = cli.run(&[&GET[..], &["--output", "token", "--tenant", UNKNOWN]].concat()).await;
    assert!(cli.is_for_the_vault(&text(&output.stdout)));
    let line = text(&output.stderr);
    assert!(line.starts_with("warning: the token is of the tenant ") && line.lines().count() == 1, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_credential_has_the_version_that_the_kubernetes_client_asks_for() {
    let v1beta1 = "client.authentication.k8s.io/v1beta1";
    let cli = Cli::new().await;
    let credential = json(&cli.get_as("exec-credential").await);
    assert_eq!(credential["apiVersion"], "client.authentication.k8s.io/v1");
    assert_eq!(credential["kind"], "ExecCredential");
    assert!(cli.is_for_the_vault(credential["status"]["token"].as_str().unwrap()));
    assert!(credential["status"]["expirationTimestamp"].as_str().unwrap().ends_with('Z'));
    let info = |version| format!(r#"{{"apiVersion":"{version}","kind":"ExecCredential","spec":{{}}}}"#);
    let cli = cli.with("KUBERNETES_EXEC_INFO", &info(v1beta1));
    assert_eq!(json(&cli.get_as("exec-credential").await)["apiVersion"], v1beta1);
    let cli = cli.with("KUBERNETES_EXEC_INFO", &info("client.authentication.k8s.io/v9"));
    let (code, line) = cli.failure(&[&GET[..], &["--output", "exec-credential"]].concat()).await;
    assert!(code == 3 && line.contains("KUBERNETES_EXEC_INFO"), "{code} {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_options_before_output_do_as_they_did() {
    let cli = Cli::new().await;
    let raw = cli.run(&[&GET[..], &["--raw"]].concat()).await;
    assert!(cli.is_for_the_vault(&text(&raw.stdout)));
    assert_eq!(text(&raw.stderr), "warning: --raw is deprecated; fix: use --output token\n");
    let shown = json(&text(&cli.run(&[&GET[..], &["--json"]].concat()).await.stdout));
    assert_eq!(names(&shown), ["accessToken", "expiresOn", "refreshOn", "source", "tokenType"]);
    assert!(cli.is_for_the_vault(shown["accessToken"].as_str().unwrap()) && shown["expiresOn"].is_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_json_where_json_was_asked_for() {
    let cli = Cli::new().await;
    let get = ["get", "--scope", VAULT, "--client-id", UNKNOWN];
    let explain = ["explain", "--try", "--client-id", UNKNOWN, "--output", "json"];
    for args in [&[&get[..], &["--output", "json"]].concat()[..], &[&get[..], &["--json"]].concat(), &explain]
    {
        let output = cli.run(args).await;
        assert_eq!(output.status.code(), Some(6));
        let error = json(&text(&output.stderr));
        assert_eq!((&error["error"], &error["failures"][0]["status"]), (&"rejected".into(), &400.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_as_json_has_each_source_and_the_token_of_a_try_but_not_itself() {
    let cli = Cli::new().await;
    let report = json(&cli.prints(&["explain", "--output", "json"]).await);
    let sources = report["sources"].as_array().unwrap();
    let imds = sources.iter().find(|source| source["source"] == "imds").unwrap();
    assert_eq!((&imds["verdict"], &report["token"]), (&"ready".into(), &Value::Null));
    assert_eq!(imds["variables"]["AZURE_POD_IDENTITY_AUTHORITY_HOST"], true);
    assert_eq!(cli.requests(), 0);

    let report = cli.prints(&["explain", "--try", "--scope", VAULT, "-o", "json"]).await;
    assert!(!report.contains("eyJ"), "the token is in {report}");
    assert_eq!(json(&report)["token"]["audience"], "https://vault.azure.net");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_assigned_identity_can_be_asked_for_where_another_is_the_default() {
    let cli = Cli::new().await.with("AZURE_CLIENT_ID", CLIENT);
    let of = async |args: &[&str]| {
        json(&cli.prints(&[&GET[..], &["-o", "json"], args].concat()).await)["clientId"].clone()
    };
    assert_eq!(of(&[]).await, CLIENT);
    assert_ne!(of(&["--system-assigned"]).await, CLIENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn tenant_claims_and_cae_are_sent_to_entra() {
    let config = MockConfig::default();
    let cli = Cli::at(MockConfig { listen_tls: Some(config.listen), ..config }).await;
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), cli.mock.ca_pem().unwrap()).unwrap();
    let entra = cli.mock.env(Endpoint::Entra);
    let cli = cli.with_all(&entra).with("SSL_CERT_FILE", roots.path().to_str().unwrap());
    let token = cli.prints(&[&GET[..], &["-o", "token", "--cae"]].concat()).await;
    assert_eq!(cli.mock.verify(&token, "https://vault.azure.net").unwrap().xms_cc, ["CP1"]);

    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
    cli.prints(&[&GET[..], &["--claims", claims]].concat()).await;
    let sent = cli.mock.requests().last().unwrap().form.clone();
    assert!(sent.iter().any(|(name, _)| name == "claims"), "{sent:?}");

    let (code, line) = cli.failure(&[&GET[..], &["--tenant", UNKNOWN]].concat()).await;
    assert!(code == 4 && line.contains("AZURE_ADDITIONALLY_ALLOWED_TENANTS"), "{code} {line}");
    let cli = cli.with("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "*");
    _ = cli.run(&[&GET[..], &["--tenant", UNKNOWN]].concat()).await;
    let asked = cli.mock.requests().last().unwrap().path.clone();
    assert!(asked.contains(UNKNOWN), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_ends_a_call_that_nobody_answers_and_a_line_names_the_wait_where_it_is_wanted() {
    let cli = Cli::new().await;
    cli.mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_secs(3600)).forever());
    let waiting = "waiting for the identity service";
    for (args, is_shown) in [
        (&[&GET[..], &["--timeout", "1"]].concat()[..], false),
        (&["explain", "--try", "--timeout", "3", "-v"], true),
    ] {
        let output = cli.run(args).await;
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(8) && said.contains(waiting) == is_shown, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verbose_is_the_level_of_the_log() {
    let cli = Cli::new().await.with("TOKEN_BROKER_LOG", "off");
    let said = async |verbose: &str| {
        let output = cli.run(&[&GET[..], &[verbose]].concat()).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let (info, debug) = (said("-v").await, said("-vv").await);
    assert!(info.contains(r#""level":"info""#) && !info.contains(r#""level":"debug""#), "{info}");
    assert!(debug.contains(r#""level":"debug""#), "{debug}");
    assert!(!debug.contains("eyJ"), "{debug}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_on_stderr_changes_no_exit_code() {
    let cli = Cli::new().await;
    for (args, code) in [(["-vv", "get", "--scope", VAULT], 0), (["get", "--scope", VAULT, "--no-such"], 2)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = cli.command(&args);
        command.stdout(Stdio::null()).stderr(writer);
        let status = tokio::task::spawn_blocking(move || command.status().unwrap()).await.unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}
