//! The first token of each source, ours and that of Azure's SDK for Python, each by a process of its own.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mock_identity::{Credential, Endpoint, Environment, Mock, MockConfig};
use test_support::sdk::{Files, Sdk};
use tokio::process::Command;

use crate::SCOPE;
use crate::process::{TokenBroker, first_output, first_token};
use crate::report::Report;
use crate::timing::{median, milliseconds};

/// A source as the mock plays it.
struct Source {
    name: &'static str,
    /// What `sdk/get_token.py` calls the credential that asks it.
    credential: &'static str,
    /// The client id of the identity that the credential must be told.
    identity: Option<String>,
    /// What both programs run in; none if the mock cannot play it here.
    environment: Environment,
}

/// What the first token costs a process.
struct Cost {
    time: Duration,
    requests: usize,
}

pub(crate) async fn run(report: &mut Report) -> Result<()> {
    report.section("process start to first token per source, ours and azure-identity for Python");
    let Some(ours) = TokenBroker::find()? else {
        report.skip("all of it", TokenBroker::COMES_BY);
        return Ok(());
    };
    if !Sdk::Python.program().exists() {
        report.skip("all of it", "`cargo xtask setup` makes target/venv");
        return Ok(());
    }
    let mock = Mock::start_all().await?;
    let files = Files::new(mock.ca_pem().context("the mock has no TLS listener")?)?;
    report.columns(&["ours, ms", "theirs, ms", "ratio", "our requests", "their requests"]);
    let mut imports = Vec::new();
    for source in sources(&mock, &files)? {
        source.run(&ours, &mock, report).await?;
        // In between, so that it has the same machine.
        imports.push(import().await?);
    }
    let import = milliseconds(median(imports));
    report.figure("of theirs, Python's start and its import of the SDK", import, "ms");
    Ok(())
}

fn sources(mock: &Mock, files: &Files) -> Result<Vec<Source>> {
    let managed = |name, endpoint| Source::new(name, "managed-identity", mock.env(endpoint));
    let certificate = files.write("app.pem", MockConfig::CLIENT_CERTIFICATE_PEM)?;
    let cluster = mock.cluster_credential().context("no app of the mock trusts a cluster")?;
    let token = files.write("token", &mock.federated_token(cluster, TOKEN_LIFETIME)?)?;
    let workload = mock.app_env(Credential::FederatedToken(&token));
    let certificate = mock.app_env(Credential::Certificate(&certificate));
    Ok(vec![
        managed("imds", Endpoint::Imds),
        managed("app-service", Endpoint::AppService),
        managed("app-service, 2017", Endpoint::AppService2017),
        managed("azure-ml", Endpoint::AzureMl),
        managed("cloud-shell", Endpoint::CloudShell),
        managed("azure-arc", Endpoint::Arc),
        managed("service-fabric", Endpoint::ServiceFabric),
        Source::new("workload-identity", "workload-identity", workload).trusting(files),
        Source::new("client-secret", "environment", mock.env(Endpoint::Entra)).trusting(files),
        Source::new("client-certificate", "environment", certificate).trusting(files),
        federated_identity(mock)?.trusting(files),
    ])
}

/// The app that the managed identity `orders` proves.
fn federated_identity(mock: &Mock) -> Result<Source> {
    let orders = mock.config().identities.iter().find(|identity| identity.name == "orders");
    let orders = orders.context("the mock has no identity `orders`")?.client_id.clone();
    let mut environment = mock.app_env(Credential::ManagedIdentity);
    environment.push(("AZURE_CLIENT_ID", orders.clone()));
    let source = Source::new("federated-identity", "federated-identity", environment);
    Ok(Source { identity: Some(orders), ..source })
}

impl Source {
    fn new(name: &'static str, credential: &'static str, environment: Environment) -> Self {
        Self { name, credential, identity: None, environment }
    }

    /// Both programs believe the mock's certificate authority.
    fn trusting(mut self, files: &Files) -> Self {
        self.environment.extend(files.trust());
        self
    }

    async fn run(&self, ours: &TokenBroker, mock: &Mock, report: &mut Report) -> Result<()> {
        // Of all sources, Arc's alone may be missing.
        if self.environment.is_empty() {
            report.skip(self.name, "the mock may not write the keys of Arc's agent here");
            return Ok(());
        }
        let ours = Cost::of(mock, || ours.get(&self.environment)).await.context(self.name)?;
        let theirs = Cost::of(mock, || self.python()).await;
        report.row(self.name, &cells(&ours, theirs.ok().as_ref()));
        Ok(())
    }

    fn python(&self) -> Command {
        let mut python = Sdk::Python.script("get_token");
        python.args(["--raw", self.credential, SCOPE]);
        if let Some(identity) = &self.identity {
            python.args(["client_id", identity]);
        }
        // Where the SDK gets no token, the row says so.
        python.envs(self.environment.iter().cloned()).stderr(Stdio::null());
        python
    }
}

impl Cost {
    /// The first start fills caches of files: its requests are counted, its time is not.
    async fn of(mock: &Mock, process: impl Fn() -> Command) -> Result<Self> {
        mock.reset();
        first_token(process()).await?;
        let requests = mock.requests().len();
        let mut times = Vec::new();
        for _ in 0..STARTS {
            times.push(first_token(process()).await?);
        }
        Ok(Self { time: median(times), requests })
    }

    fn cells(&self) -> [String; 2] {
        [format!("{:.2}", milliseconds(self.time)), self.requests.to_string()]
    }
}

/// Not every source gives the SDK a token.
fn cells(ours: &Cost, theirs: Option<&Cost>) -> [String; 5] {
    let [time, requests] = ours.cells();
    let Some(theirs) = theirs else {
        return [time, "no token".to_owned(), "-".to_owned(), requests, "-".to_owned()];
    };
    let ratio = theirs.time.as_secs_f64() / ours.time.as_secs_f64();
    let [their_time, their_requests] = theirs.cells();
    [time, their_time, format!("{ratio:.1}"), requests, their_requests]
}

/// How long Python takes until it has the SDK.
async fn import() -> Result<Duration> {
    let mut python = Command::new(Sdk::Python.program());
    python.args(["-c", "import azure.identity; print('imported', flush=True)"]).env_clear();
    first_output(python, "imported").await
}

const STARTS: usize = 11;
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
