//! Reads a Key Vault secret with a token that it asks for, and answers with the secret's length.

use anyhow::{Result, anyhow, ensure};
use serde::Deserialize;
use spin_sdk::http::body::IncomingBodyExt as _;
use spin_sdk::http::{EmptyBody, IntoResponse, Request, StatusCode, send};
use spin_sdk::{http_service, variables};
use token_broker::identity::credentials::get_token;
use token_broker::identity::types::{Error, Failure};

spin_sdk::dependencies!();

#[http_service]
async fn handle(_: Request) -> impl IntoResponse {
    match secret().await {
        Ok(Secret { value }) => {
            (StatusCode::OK, format!("a secret of {} characters\n", value.chars().count()))
        }
        Err(why) => (StatusCode::BAD_GATEWAY, format!("{why:#}\n")),
    }
}

async fn secret() -> Result<Secret> {
    let vault = variables::get("vault").await?;
    let token = get_token("https://vault.azure.net/.default".into()).await.map_err(line)?;
    let request = Request::get(format!("{vault}/secrets/MySecret?api-version=7.4"))
        .header("authorization", format!("{} {}", token.token_type, token.token))
        .body(EmptyBody::new())?;
    let answer = send(request).await?;
    ensure!(answer.status().is_success(), "{vault} says {}", answer.status());
    Ok(serde_json::from_slice(&answer.into_body().bytes().await?)?)
}

/// Why there is no token, and its remedy
fn line(error: Error) -> anyhow::Error {
    let failure = |Failure { message, remedy, .. }| match remedy {
        Some(remedy) => format!("{message}; fix: {remedy}"),
        None => message,
    };
    anyhow!(match error {
        Error::InvalidRequest(why) | Error::Misconfigured(why) | Error::Denied(why) | Error::Other(why) =>
            why,
        Error::Unavailable(failures) => failures.into_iter().map(failure).collect::<Vec<_>>().join("; "),
        Error::Rejected(why) | Error::Throttled(why) | Error::Transient(why) | Error::Protocol(why) =>
            failure(why),
    })
}

#[derive(Deserialize)]
struct Secret {
    value: String,
}
