//! Reads a Key Vault secret and answers with its length. Of tokens it knows nothing: they are put on its requests.

use anyhow::{Result, bail};
use serde::Deserialize;
use spin_sdk::http::body::IncomingBodyExt as _;
use spin_sdk::http::{IntoResponse, Request, StatusCode, get};
use spin_sdk::{http_service, variables};

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
    let answer = get(format!("{vault}/secrets/MySecret?api-version=7.4")).await?;
    let status = answer.status();
    // An answer in the place of the vault's says why there is no token.
    let by = if answer.headers().contains_key("x-token-broker") { "the broker" } else { &vault };
    let by = by.to_owned();
    let body = answer.into_body().bytes().await?;
    if !status.is_success() {
        bail!("{by} says {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(serde_json::from_slice(&body)?)
}

#[derive(Deserialize)]
struct Secret {
    value: String,
}
