//! The examples that run in the command `token-broker`, by the commands of their READMEs.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a test runs programs")]

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::LazyLock;

use host_test::azurite::Azurite;
use host_test::example::{Example, Served};
use host_test::hosts;
use mock_identity::{Answer, Endpoint, Environment, Fault, Mock, MockConfig};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::OnceCell;

#[tokio::test]
async fn blobs_are_uploaded_listed_and_downloaded_at_a_service_that_checks_the_token() {
    let (mock, azurite) = (platform().await, Azurite::start().await.unwrap());
    let commands = STORAGE.commands().unwrap();
    let mut said = Vec::new();
    for command in commands {
        said.push(stdout(in_storage(command, &mock, &azurite).await));
    }
    let [created, uploaded, listed, downloaded] = said.try_into().unwrap();
    assert_eq!((created.as_str(), uploaded.as_str(), listed.as_str()), ("", "", "README.md\n"));
    assert!(downloaded.starts_with("# Blobs, without a secret\n"), "{downloaded}");
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 4, "one for each process");
}

#[tokio::test]
async fn a_token_that_storage_does_not_take_is_told_with_the_remedy() {
    let (mock, azurite) = (platform().await, Azurite::start().await.unwrap());
    let garbage = r#"{"access_token":"opaque","expires_in":"3600","token_type":"Bearer"}"#;
    mock.fault(Fault::new(Endpoint::Imds, Answer::body(200, "application/json", garbage)).times(2));
    let commands = STORAGE.commands().unwrap();
    let output = in_storage(commands.into_iter().nth(2).unwrap(), &mock, &azurite).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("storage: the container says 40"), "{told}");
    assert!(told.contains("; fix: "), "{told}");
}

#[tokio::test]
async fn what_is_too_long_for_one_request_is_refused_and_not_cut() {
    let mock = platform().await;
    let upload = STORAGE.lines()[1].strip_suffix(" < README.md").unwrap();
    let mut upload = STORAGE.typed(&format!("head -c 5000000 /dev/zero | {upload}")).unwrap();
    let output = run(&mut upload, &mock.env(Endpoint::Imds)).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("storage: more than "), "{told}");
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 0);
}

#[tokio::test]
async fn a_secret_is_read_by_name_and_by_version_and_what_goes_wrong_is_told_with_the_remedy() {
    let mock = platform().await;
    let commands = || KEY_VAULT.commands().unwrap();
    let mut described = commands().remove(0);
    let described = stdout(run(&mut described, &in_vault(&mock)).await);
    assert!(described.starts_with("MySecret: ") && described.contains("--show"), "{described}");
    let shown = stdout(run(&mut commands().remove(1), &in_vault(&mock)).await);
    assert!(shown.starts_with("MySecret: ") && !shown.contains("--show"), "{shown}");

    let versions = [(VERSION, true), ("deadbeefdeadbeefdeadbeefdeadbeef", false)];
    for (version, is_there) in versions {
        let versioned = shell(&format!("--env SECRET_VERSION={version} $COMPONENT"));
        let output = run(&mut { versioned }, &in_vault(&mock)).await;
        assert_eq!(output.status.success(), is_there, "{version}: {output:?}");
    }
    let missing = run(&mut shell("--env SECRET_NAME=missing $COMPONENT"), &in_vault(&mock)).await;
    let told = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(told.contains("404 SecretNotFound") && told.contains("az keyvault secret list"), "{told}");

    mock.fault(Fault::new(Endpoint::KeyVault, Answer::status(403)).after(1));
    let forbidden = run(&mut commands().remove(0), &in_vault(&mock)).await;
    let told = String::from_utf8_lossy(&forbidden.stderr).into_owned();
    assert!(told.contains("az role assignment create --role \"Key Vault Secrets User\""), "{told}");
}

#[tokio::test]
async fn a_token_that_the_vault_refuses_once_is_fetched_anew_and_one_that_it_keeps_refusing_is_an_error() {
    for (refusals, succeeds) in [(2, true), (9, false)] {
        let mock = platform().await;
        // The request without a token, and then those with a token.
        mock.fault(Fault::new(Endpoint::KeyVault, Answer::status(401)).times(refusals));
        let output = run(&mut KEY_VAULT.commands().unwrap().remove(0), &in_vault(&mock)).await;
        assert_eq!(output.status.success(), succeeds, "{output:?}");
        let counters = mock.counters();
        assert_eq!(counters.of(Endpoint::KeyVault).requests, 3);
        assert_eq!(counters.of(Endpoint::Imds).requests, 2);
    }
}

#[tokio::test]
async fn a_component_that_is_run_reaches_what_is_named_and_has_tokens_for_what_is_named() {
    let mock = platform().await;
    let elsewhere = in_vault(&mock).into_iter().chain([("KEY_VAULT_URL", "http://127.0.0.1:9".to_owned())]);
    let output = run(&mut shell("$COMPONENT"), &elsewhere.collect()).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("does not let the component go there"), "{told}");
    let other =
        "token-broker run --scope https://storage.azure.com --allow $VAULT --env KEY_VAULT_URL $COMPONENT";
    let output = run(&mut typed(other), &in_vault(&mock)).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("the policy does not allow the scope https://vault.azure.net"), "{told}");
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 0);
}

#[tokio::test]
async fn plain_requests_to_a_sidecar_arrive_at_the_service_with_a_token() {
    let mock = vault_beside_imds().await;
    let sidecar = serve_sidecar(&mock).await;
    for _ in 0..3 {
        let secret = ask_sidecar(&sidecar, "MySecret").await;
        assert!(secret.contains(r#""value":"#) && secret.contains("/secrets/MySecret/"), "{secret}");
    }
    let missing = ask_sidecar(&sidecar, "missing").await;
    assert!(missing.contains("SecretNotFound"), "{missing}");
    assert_eq!(mock.counters().of(Endpoint::Imds).requests, 1);
    let log = sidecar.end().await.unwrap();
    assert_eq!(log.matches("sent a request with a token").count(), 4, "{log}");
    assert!(!log.contains(TOKEN), "{log}");
}

#[tokio::test]
async fn a_sidecar_without_a_token_sends_nothing_and_says_why() {
    let mock = vault_beside_imds().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::status(400)));
    let sidecar = serve_sidecar(&mock).await;
    let problem = ask_sidecar(&sidecar, "MySecret").await;
    assert!(problem.contains("az vm identity assign"), "{problem}");
    assert_eq!(mock.counters().of(Endpoint::KeyVault).requests, 0);
}

#[tokio::test]
async fn a_token_for_a_database_is_told_by_its_length_in_a_login() {
    let mock = platform().await;
    let mut command = SQL.commands().unwrap().remove(0);
    let said = stdout(run(&mut command, &mock.env(Endpoint::Imds)).await);
    assert!(said.starts_with("a token for https://database.windows.net, good until "), "{said}");
}

#[tokio::test]
async fn the_mock_starts_by_the_commands_of_the_readmes() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut started = 0;
    for example in examples.read_dir().unwrap() {
        let readme = std::fs::read_to_string(example.unwrap().path().join("README.md")).unwrap_or_default();
        let typed = |line: &&str| line.starts_with("cargo") && line.contains("mock-identity");
        for command in readme.lines().filter(typed) {
            let arguments = command.strip_prefix("cargo run --release -p mock-identity -- ");
            let arguments = arguments.and_then(|rest| rest.strip_suffix(" &")).unwrap();
            // On ports that nobody has.
            let arguments = arguments.replace(":8181", ":0").replace(":8182", ":0");
            let mut mock = Command::new(hosts::built("mock-identity", "mock-identity").unwrap());
            mock.args(arguments.split(' ')).stdout(Stdio::piped()).kill_on_drop(true);
            let mut mock = mock.spawn().unwrap();
            let line = BufReader::new(mock.stdout.take().unwrap()).lines().next_line().await.unwrap();
            assert!(line.is_some_and(|line| line.starts_with("http://127.0.0.1:")), "{command}");
            started += 1;
        }
    }
    assert!(started > 0);
}

async fn platform() -> Mock {
    Mock::start(MockConfig::default()).await.unwrap()
}

/// By the first two of its three commands.
async fn serve_sidecar(mock: &Mock) -> Served {
    static COMPOSED: OnceCell<()> = OnceCell::const_new();
    let [compose, serve, _] = SIDECAR.lines() else { panic!("{:?}", SIDECAR.lines()) };
    let composed = async { drop(stdout(run(&mut SIDECAR.typed(compose).unwrap(), &vec![]).await)) };
    COMPOSED.get_or_init(|| composed).await;
    let mut variables = mock.env(Endpoint::Imds);
    variables.extend([("SIDECAR_TO", mock.also_url().unwrap().to_owned()), ("PORT", "0".to_owned())]);
    SIDECAR.serve(serve, &variables).await.unwrap()
}

/// By the third.
async fn ask_sidecar(sidecar: &Served, secret: &str) -> String {
    let curl = SIDECAR.lines().last().unwrap().replace("MySecret", secret);
    let port = sidecar.address().rsplit(':').next().unwrap().to_owned();
    stdout(run(&mut SIDECAR.typed(&curl).unwrap(), &vec![("PORT", port)]).await)
}

/// The same at two addresses: where tokens are given no application is let.
async fn vault_beside_imds() -> Mock {
    Mock::start(MockConfig::at_two_addresses()).await.unwrap()
}

fn in_vault(mock: &Mock) -> Environment {
    let vault = [("KEY_VAULT_URL", mock.url().to_owned()), ("VAULT", mock.url().to_owned())];
    mock.env(Endpoint::Imds).into_iter().chain(vault).collect()
}

async fn in_storage(mut command: Command, mock: &Mock, azurite: &Azurite) -> Output {
    let origin = azurite.origin();
    // Azurite has accounts in the path, where Azure has them in the host.
    let storage = [
        ("STORAGE_CONTAINER_URL", format!("{origin}/devstoreaccount1/container")),
        ("STORAGE", origin),
        ("SSL_CERT_FILE", azurite.authority().display().to_string()),
    ];
    run(&mut command, &mock.env(Endpoint::Imds).into_iter().chain(storage).collect()).await
}

/// The first command of the README up to the component, with more behind it.
fn shell(rest: &str) -> Command {
    typed(&format!(
        "token-broker run --scope https://vault.azure.net --allow $VAULT --env KEY_VAULT_URL {rest}"
    ))
}

fn typed(command: &str) -> Command {
    KEY_VAULT.typed(command).unwrap()
}

async fn run(command: &mut Command, environment: &Environment) -> Output {
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let output = command.stderr(Stdio::piped()).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!told.contains(TOKEN) && !String::from_utf8_lossy(&output.stdout).contains(TOKEN), "{told}");
    output
}

fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

static STORAGE: LazyLock<Example> = LazyLock::new(|| Example::copy("storage", &[]).unwrap());
static KEY_VAULT: LazyLock<Example> = LazyLock::new(|| Example::copy("key-vault", &[]).unwrap());
static SIDECAR: LazyLock<Example> = LazyLock::new(|| Example::copy("sidecar", &[]).unwrap());
static SQL: LazyLock<Example> = LazyLock::new(|| Example::copy("sql", &[]).unwrap());

/// What every token of the mock begins with.
const TOKEN: &str = "eyJ";
/// The one that the mock's secrets have.
const VERSION: &str = "00000000000000000000000000000001";
