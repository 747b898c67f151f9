//! Running the scripts of `host-test/sdk`: each SDK has the same ones, which take and print the same.

use std::{path::PathBuf, process::Stdio, time::Duration};

use host_test::mock::{Environment, Mock};
use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::SDK;

/// One of Azure's SDKs, as setup brings it
pub(crate) struct Sdk {
    /// What runs its scripts, inside `target/`
    pub(crate) program: &'static str,
    /// What the names of its scripts end with
    pub(crate) extension: &'static str,
    /// The variable that names a file with an authority to trust
    pub(crate) authority: &'static str,
}

pub(crate) async fn get_token(mock: &Mock, environment: Environment, arguments: &[&str]) -> Value {
    run("get_token", mock, environment, arguments).await
}

pub(super) async fn get_secret(mock: &Mock, name: &str) -> Value {
    run("get_secret", mock, mock.imds_env(), &[mock.tls_url().unwrap(), name]).await
}

/// What a script prints, run with nothing of this environment in its own and with trust in the mock's authority
async fn run(script: &str, mock: &Mock, environment: Environment, arguments: &[&str]) -> Value {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("../target").join(SDK.program);
    assert!(program.exists(), "{} is missing: run `cargo xtask setup`", program.display());
    let files = tempfile::tempdir().unwrap();
    let authority = mock.ca_pem().map(|pem| {
        let file = files.path().join("ca.pem");
        std::fs::write(&file, pem).unwrap();
        (SDK.authority, file)
    });
    let program = Command::new(program)
        .arg(root.join("sdk").join(script).with_extension(SDK.extension))
        .args(arguments)
        .env_clear()
        .env("MOCK_URL", mock.url())
        .envs(authority)
        .envs(environment)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(DEADLINE, program).await.expect("the script ends in time").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} failed: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{script}: {error}: {errors}"))
}

const DEADLINE: Duration = Duration::from_secs(60);
