//! What the signature of an application's assertion costs inside the component.

use std::time::Instant;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use token_broker_host::{Broker, Decision, Environment, Identity, RawRequest};

use crate::report::Report;
use crate::timing::{median, milliseconds};

/// Each fetch is for a tenant of its own and so needs an assertion of its own; Entra answers in memory. A fetch with a
/// client secret does all the same but the signature.
pub(crate) async fn run(report: &mut Report) -> Result<()> {
    report.section("an application's token, Entra answering in memory");
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("app.pem");
    std::fs::write(&path, PEM)?;
    let path = path.to_str().context("a path of the machine")?;
    let secret = fetch(("AZURE_CLIENT_SECRET", "a client secret")).await?;
    let certificate = fetch(("AZURE_CLIENT_CERTIFICATE_PATH", path)).await?;
    report.figure("with a client secret", secret, "ms");
    report.figure("with a certificate", certificate, "ms");
    report.promise("signing alone (PS256, 2048 bits), key read anew", certificate - secret, 5.0, "ms");
    Ok(())
}

/// Milliseconds for a token, by what the application proves itself with.
async fn fetch(proof: (&str, &str)) -> Result<f64> {
    let environment = Environment::from_iter([
        proof,
        ("AZURE_CLIENT_ID", "00001111-aaaa-2222-bbbb-3333cccc4444"),
        ("AZURE_TENANT_ID", "own"),
        ("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "*"),
    ]);
    let answer = |_: &http::request::Parts| {
        let body =
            Bytes::from_static(br#"{"token_type":"Bearer","expires_in":3599,"access_token":"opaque"}"#);
        Decision::answer(http::Response::new(body))
    };
    let mut broker = Broker::builder().environment(environment).http(answer).instantiate().await?;
    let mut times = Vec::new();
    for nth in 0..FETCHES {
        let request = RawRequest {
            scopes: vec!["https://vault.azure.net/.default".to_owned()],
            identity: Identity::Default,
            tenant_id: Some(format!("tenant-{nth}")),
            ..RawRequest::default()
        };
        let start = Instant::now();
        broker.request_token(&request).await??;
        times.push(start.elapsed());
    }
    Ok(milliseconds(median(times)))
}

const FETCHES: usize = 101;
/// Not a secret: no app trusts it.
const PEM: &str = include_str!("../../tests/core/keys/app.pem");
