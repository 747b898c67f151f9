//! The same environment for `token-broker get` and for Azure's `DefaultAzureCredential`: the same identity, or no token
//!
//! Every source of managed identities and every flow of an app, with every selector and with both kinds of identity,
//! but for a managed identity that proves an app: `DefaultAzureCredential` has no such source. The table is printed
//! whether it holds or not.
#![allow(clippy::disallowed_methods, reason = "tests of programs start them")]

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use host_test::hosts;
use mock_identity::{Credential, Endpoint, Environment, Mock, MockConfig};
use serde_json::Value;
use test_support::port::Port;
use test_support::sdk::{self, Files, Sdk};
use test_support::skip;
use tokio::process::Command;

#[tokio::test]
async fn the_same_environment_gives_the_same_identity_to_both_or_a_token_to_neither() {
    let platform = Mock::start_all().await.unwrap();
    let files = Files::new(platform.ca_pem().unwrap()).unwrap();
    let cache = tempfile::tempdir().unwrap();
    // An address where no IMDS is, for what does not come by one.
    let port = Port::reserve().unwrap();
    let nowhere = vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", port.url())];
    let common = [files.trust(), nowhere].concat();
    let comparisons = sources(&platform, &files).into_iter().flat_map(|(source, environment)| {
        let environment = [&common[..], &environment].concat();
        SELECTORS.map(|selector| (source, selector, [&environment[..], &selected(selector)].concat()))
    });
    let rows: Vec<Row> = stream::iter(comparisons)
        .map(|(source, selector, environment)| {
            compare(&platform, cache.path(), source, selector, environment)
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    print(&rows);
    let different: Vec<&Row> = rows.iter().filter(|row| !row.agrees() && !row.is_ours_alone()).collect();
    assert_eq!(different, Vec::<&Row>::new());
    assert!(rows.iter().filter(|row| row.ours.is_ok()).count() >= 50, "most of them give a token");
}

/// What each source is found by. The last two say what comes first where several are.
fn sources(mock: &Mock, files: &Files) -> Vec<(&'static str, Environment)> {
    let certificate = files.write("certificate.pem", MockConfig::CLIENT_CERTIFICATE_PEM).unwrap();
    let token = mock.federated_token(mock.cluster_credential().unwrap(), Duration::from_secs(3600)).unwrap();
    let federated = files.write("federated-token", &token).unwrap();

    let orders = mock.config().identities.iter().find(|identity| identity.name == "orders").unwrap();
    let user_assigned = |environment: Environment| {
        [environment, vec![("AZURE_CLIENT_ID", orders.client_id.clone())]].concat()
    };
    let (app, workload) = (mock.env(Endpoint::Entra), mock.app_env(Credential::FederatedToken(&federated)));
    let mut sources = vec![
        ("nothing", vec![]),
        ("imds", mock.env(Endpoint::Imds)),
        ("imds, user-assigned", user_assigned(mock.env(Endpoint::Imds))),
        ("app-service", mock.env(Endpoint::AppService)),
        ("app-service, user-assigned", user_assigned(mock.env(Endpoint::AppService))),
        ("app-service 2017", mock.env(Endpoint::AppService2017)),
        ("app-service 2017, user-assigned", user_assigned(mock.env(Endpoint::AppService2017))),
        ("azure-ml", mock.env(Endpoint::AzureMl)),
        ("azure-ml, user-assigned", user_assigned(mock.env(Endpoint::AzureMl))),
        ("cloud-shell", mock.env(Endpoint::CloudShell)),
        ("cloud-shell, user-assigned", user_assigned(mock.env(Endpoint::CloudShell))),
        ("service-fabric", mock.env(Endpoint::ServiceFabric)),
        ("client-secret", app.clone()),
        ("client-certificate", mock.app_env(Credential::Certificate(&certificate))),
        ("workload-identity", workload.clone()),
        ("client-secret, on App Service", [mock.env(Endpoint::AppService), app].concat()),
        ("workload-identity, on a VM", [mock.env(Endpoint::Imds), workload].concat()),
    ];
    let arc = mock.env(Endpoint::Arc);
    if arc.is_empty() {
        skip("the keys of Arc's agent cannot be written here, so its rows are missing");
    } else {
        sources.push(("azure-arc", arc.clone()));
        sources.push(("azure-arc, user-assigned", user_assigned(arc)));
    }
    sources
}

fn selected(selector: &str) -> Environment {
    if selector.is_empty() { vec![] } else { vec![("AZURE_TOKEN_CREDENTIALS", selector.to_owned())] }
}

/// A token's subject, or the kind of the refusal
type Outcome = Result<String, String>;

#[derive(Debug, PartialEq)]
struct Row {
    source: &'static str,
    selector: &'static str,
    ours: Outcome,
    python: Outcome,
}

async fn compare(
    mock: &Mock,
    cache: &Path,
    source: &'static str,
    selector: &'static str,
    environment: Environment,
) -> Row {
    let ours = token_broker(mock, environment.clone(), cache);
    let (ours, python) = tokio::join!(ours, azure_identity(mock, environment));
    Row { source, selector, ours, python }
}

/// Past the capture of the test harness, which keeps what a test that passes prints.
fn print(rows: &[Row]) {
    let mut lines = format!(
        "\n{:<33}{:<29}{:<30}{:<30}\n",
        "source", "AZURE_TOKEN_CREDENTIALS", "token-broker get", "azure-identity, Python"
    );
    for row in rows {
        let verdict = match row {
            row if row.agrees() => "",
            row if row.is_ours_alone() => "ours alone",
            _ => "DIFFERENT",
        };
        let (ours, python) = (shown(&row.ours), shown(&row.python));
        lines += &format!("{:<33}{:<29}{ours:<30}{python:<30}{verdict}\n", row.source, row.selector);
    }
    std::io::stdout().write_all(lines.as_bytes()).unwrap();
}

impl Row {
    fn agrees(&self) -> bool {
        match (&self.ours, &self.python) {
            (Ok(ours), Ok(python)) => ours == python,
            (ours, python) => ours.is_err() && python.is_err(),
        }
    }

    /// App Service of 2017 writes its dates in words, which azure-identity for Python takes for numbers.
    fn is_ours_alone(&self) -> bool {
        self.source.starts_with("app-service 2017") && self.ours.is_ok() && self.python.is_err()
    }
}

fn shown(outcome: &Outcome) -> String {
    outcome.clone().unwrap_or_else(|refusal| format!("- ({refusal})"))
}

async fn token_broker(mock: &Mock, environment: Environment, cache: &Path) -> Outcome {
    let output = Command::new(hosts::built("token-broker", "token-broker-cli").unwrap())
        .args(["get", "--output", "token", "--scope", ARM])
        .env_clear()
        .env("XDG_CACHE_HOME", cache)
        .envs(environment)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output =
        tokio::time::timeout(Duration::from_secs(60), output).await.expect("it ends in time").unwrap();
    if output.status.success() {
        let token = String::from_utf8(output.stdout).unwrap();
        let claims = mock.verify(token.trim(), ARM_RESOURCE).unwrap();
        return Ok(subject(mock, &claims.oid, &claims.tid));
    }
    let kind = match output.status.code() {
        Some(2) => "invalid-request",
        Some(3) => "misconfigured",
        Some(4) => "denied",
        Some(5) => "unavailable",
        Some(6) => "rejected",
        Some(8) => "transient",
        _ => panic!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)),
    };
    Err(kind.to_owned())
}

/// The script verifies the audience and the signature.
async fn azure_identity(mock: &Mock, environment: Environment) -> Outcome {
    let mut script = Sdk::Python.script("get_token");
    script.args(["default", ARM]).env("MOCK_URL", mock.url()).envs(environment);
    let seen = sdk::run(&mut script).await.unwrap();
    match &seen["error"] {
        Value::String(kind) => Err(kind.clone()),
        _ => {
            let claim = |name: &str| seen["claims"][name].as_str().unwrap().to_owned();
            Ok(subject(mock, &claim("oid"), &claim("tid")))
        }
    }
}

/// The name of an identity, a user or an app, and the tenant that it is in
fn subject(mock: &Mock, object_id: &str, tenant: &str) -> String {
    let config = mock.config();
    let identities = config.identities.iter().map(|identity| (&identity.object_id, identity.name.as_str()));
    let users = config.users.iter().map(|user| (&user.object_id, "the user"));
    let apps = config.apps.iter().map(|app| (&app.object_id, app.name.as_str()));
    let name =
        identities.chain(users).chain(apps).find(|(id, _)| *id == object_id).expect("a configured one").1;
    assert_eq!(tenant, config.tenant_id);
    name.to_owned()
}

const ARM: &str = "https://management.azure.com/.default";
const ARM_RESOURCE: &str = "https://management.azure.com";
/// Some wait for an endpoint that is not there.
const AT_ONCE: usize = 6;
const SELECTORS: [&str; 7] = [
    "",
    "prod",
    "EnvironmentCredential",
    "WorkloadIdentityCredential",
    "ManagedIdentityCredential",
    "AzureCliCredential",
    "NoSuchCredential",
];
