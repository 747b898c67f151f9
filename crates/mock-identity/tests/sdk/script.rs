//! Running the scripts: each SDK has the same ones, which take and print the same.

use mock_identity::{Endpoint, Environment, Mock};
use serde_json::Value;
use test_support::sdk;

use super::ARM;
use crate::SDK;

pub(crate) async fn get_token(mock: &Mock, environment: Environment, arguments: &[&str]) -> Value {
    run("get_token", mock, environment, arguments).await
}

/// By `ManagedIdentityCredential`, for the identity with this kind of id and this id
pub(crate) async fn managed(mock: &Mock, endpoint: Endpoint, id: &[&str]) -> Value {
    get_token(mock, mock.env(endpoint), &[&["managed-identity", ARM], id].concat()).await
}

pub(super) async fn get_secret(mock: &Mock, name: &str) -> Value {
    run("get_secret", mock, mock.env(Endpoint::Imds), &[mock.tls_url().unwrap(), name]).await
}

/// What a script prints that trusts the mock's authority
async fn run(script: &str, mock: &Mock, environment: Environment, arguments: &[&str]) -> Value {
    let files = mock.ca_pem().map(|authority| sdk::Files::new(authority).unwrap());
    let authority = files.as_ref().map(|files| (SDK.authority_variable(), files.authority()));
    let mut script = SDK.script(script);
    script.args(arguments).env("MOCK_URL", mock.url()).envs(authority).envs(environment);
    sdk::run(&mut script).await.unwrap()
}
