//! The identity endpoint of Azure Machine Learning, which speaks App Service's protocol of 2017.

use http::StatusCode;
use serde_json::Value;

use super::msi_2017::{Mistake, Service};
use super::{Call, Endpoint, Environment, Platform, Reply, Setup, Spec};

pub(crate) const SPEC: Spec = Spec {
    paths: &["msi/auth"],
    answer,
    failure: |_, _, status| refusal(status, Mistake::Other("Failed to acquire the token.")),
    setups: &[Setup { title: "Azure Machine Learning", needs: "", environment }],
    ..Spec::of(Endpoint::AzureMl)
};

fn environment(platform: &Platform) -> Environment {
    vec![
        ("MSI_ENDPOINT", format!("{}/msi/auth", platform.addresses.plain)),
        ("MSI_SECRET", platform.config.azure_ml.secret.clone()),
    ]
}

fn answer(platform: &Platform, call: &Call) -> Reply {
    let config = &platform.config.azure_ml;
    let (secret, lifetime) = (&config.secret, config.token_lifetime_seconds);
    Service { secret, lifetime, expires_on: Value::from, refusal }.answer(platform, call)
}

/// In plain words, among them the secret that the caller sent
fn refusal(status: StatusCode, mistake: Mistake<'_>) -> Reply {
    Reply::text(
        status,
        match mistake {
            Mistake::Secret(shown) => format!("Invalid secret token header: {shown}."),
            Mistake::Identity => {
                "SSO failure: unable to retrieve a token. Error Token service mock-compute. Token not found"
                    .to_owned()
            }
            Mistake::Other(message) => message.to_owned(),
        },
    )
}
