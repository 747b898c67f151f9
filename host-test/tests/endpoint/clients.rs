//! Azure's SDKs, in processes of their own.

use std::{process::Stdio, time::Duration};

use futures_util::future::join_all;
use host_test::{
    fleet::{Got, Process},
    mock::{Environment, Mock},
    sdk,
};
use serde_json::Value;
use tokio::time::timeout;

/// One of Azure's SDKs, by what its scripts end with
pub(crate) struct Sdk(&'static str);

pub(crate) const SDKS: [Sdk; 2] = [Sdk("py"), Sdk("mjs")];

/// What the script `get_token` prints
pub(crate) async fn get_token(
    sdk: &Sdk,
    mock: &Mock,
    environment: &Environment,
    arguments: &[&str],
) -> Value {
    let script = sdk::script(&format!("get_token.{}", sdk.0))
        .args(arguments)
        .env("MOCK_URL", mock.url())
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(DEADLINE, script).await.expect("the script ends in time").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

/// What 64 processes get, half of each SDK, that ask all at once
pub(crate) async fn herd(environment: &Environment) -> Vec<Got> {
    let processes = SDKS.iter().flat_map(|sdk| (0..32).map(move |_| sdk)).map(|sdk| {
        let mut member = sdk::script(&format!("member.{}", sdk.0));
        member.envs(environment.iter().cloned());
        Process::of(member, 1)
    });
    let mut processes: Vec<Process> = join_all(processes).await.into_iter().map(Result::unwrap).collect();
    join_all(processes.iter_mut().map(async |process| {
        process.ask(crate::ARM).await.unwrap();
        process.answers().await.unwrap()
    }))
    .await
    .concat()
}

const DEADLINE: Duration = Duration::from_secs(60);
