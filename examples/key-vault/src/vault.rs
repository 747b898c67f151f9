//! Key Vault's one operation that is needed here.

use serde::Deserialize;

use crate::http_get::{self, Answer};
use crate::settings::Vault;

/// A secret as the vault keeps it
#[derive(Deserialize)]
pub(crate) struct Secret {
    pub(crate) value: String,
}

/// The newest version of a secret
pub(crate) async fn secret(vault: &Vault, name: &str) -> Result<Secret, String> {
    let path = format!("/secrets/{name}?api-version=7.4");
    let mut answer = ask(vault, &path).await?;
    if answer.status == 401 {
        // Whatever the vault holds against this token, a new one is the only thing to try.
        token_broker_client::forget(&vault.scope());
        answer = ask(vault, &path).await?;
    }
    let asked = format!("GET {}://{}{path}", vault.scheme, vault.authority);
    match answer.status {
        200 => {
            serde_json::from_slice(&answer.body).map_err(|_| format!("{asked}: 200 without a secret in it"))
        }
        status => Err(format!("{asked}: {status}{}{}", words(&answer.body), remedy(status))),
    }
}

async fn ask(vault: &Vault, path: &str) -> Result<Answer, String> {
    let token = token_broker_client::token(&vault.scope()).await.map_err(|error| error.to_string())?;
    http_get::get(vault, path, &token.authorization()).await
}

/// What the vault says for itself, if it says it as Key Vault does
fn words(body: &[u8]) -> String {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { error }) => format!(" {}: {}", error.code, error.message.escape_debug()),
        Err(_) => String::new(),
    }
}

fn remedy(status: u16) -> &'static str {
    match status {
        401 => "; to mend it: use the vault's tenant, which is not this token's",
        403 => {
            "; to mend it: give the identity the role \"Key Vault Secrets User\" on the vault: az role assignment create"
        }
        404 => "; to mend it: az keyvault secret list shows the names",
        429 | 500.. => "; try again later",
        _ => "",
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: Words,
}

#[derive(Deserialize)]
struct Words {
    code: String,
    message: String,
}
