//! Azure's SDKs, in processes of their own.

use futures_util::future::join_all;
use host_test::fleet::{Got, Process};
use mock_identity::{Environment, Mock};
use serde_json::Value;
use test_support::sdk::{self, Sdk};

/// What the script `get_token` prints
pub(crate) async fn get_token(sdk: Sdk, mock: &Mock, environment: &Environment, arguments: &[&str]) -> Value {
    let mut script = sdk.script("get_token");
    script.args(arguments).env("MOCK_URL", mock.url()).envs(environment.iter().cloned());
    sdk::run(&mut script).await.unwrap()
}

/// What 64 processes get, half of each SDK, that ask all at once
pub(crate) async fn herd(environment: &Environment) -> Vec<Got> {
    let processes = Sdk::ALL.into_iter().flat_map(|sdk| (0..32).map(move |_| sdk)).map(|sdk| {
        let mut member = sdk.script("member");
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
