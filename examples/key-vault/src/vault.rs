//! Key Vault's one operation that is needed here, and how to get the token that a vault wants.

use http::uri::Authority;
use serde::Deserialize;
use token_broker::Challenge;
use token_broker_client::TokenRequest;

use crate::Failed;
use crate::http_get::{self, Answer};
use crate::settings::Vault;

/// A secret as the vault keeps it
#[derive(Deserialize)]
pub(crate) struct Secret {
    pub(crate) value: String,
}

/// The newest version of a secret
pub(crate) async fn secret(vault: &Vault, name: &str) -> Result<Secret, Failed> {
    let path = format!("/secrets/{name}?api-version=7.4");
    // The vault says which token it takes before it is shown one: the audience differs from cloud to cloud.
    let mut answer = http_get::get(vault, &path, None).await?;
    if answer.status == 401 {
        let challenge = wanted(vault, &answer)?;
        let scope = scope(vault, &challenge)?;
        let request = token_request(&scope, challenge.tenant()?);
        answer = ask(vault, &path, request.clone()).await?;
        if answer.status == 401 {
            answer = ask(vault, &path, renewed(request, &scope, &wanted(vault, &answer)?)?).await?;
        }
    }
    read(vault, &path, &answer)
}

/// What the vault says that it wants instead
fn wanted(vault: &Vault, refusal: &Answer) -> Result<Challenge, Failed> {
    Challenge::bearer(&refusal.challenges)
        .map_err(|why| format!("{}: 401{}: {why}", vault.authority, words(&refusal.body)).into())
}

/// What the vault wants a token for, if that is its own domain: a token for another service is not for its eyes.
fn scope(vault: &Vault, challenge: &Challenge) -> Result<String, Failed> {
    // One on this machine, for tests, has a name in nobody's domain and stands for a vault of the public cloud.
    let stand_in = Authority::from_static("loopback.vault.azure.net");
    let service = if vault.is_on_loopback() { &stand_in } else { &vault.authority };
    Ok(challenge.scope_for(service)?)
}

/// A request for a token that may be revoked before its end, because that is answered below
fn token_request(scope: &str, tenant: Option<String>) -> TokenRequest {
    let request = TokenRequest::new(scope).continuously_evaluated();
    match tenant {
        Some(tenant) => request.tenant(tenant),
        None => request,
    }
}

/// The same for a new token: with the claims that the refused one lacks, if that is why it was refused
fn renewed(request: TokenRequest, scope: &str, challenge: &Challenge) -> Result<TokenRequest, Failed> {
    Ok(match challenge.claims()? {
        Some(claims) => request.claims(claims),
        None => {
            token_broker_client::forget(scope);
            request
        }
    })
}

async fn ask(vault: &Vault, path: &str, request: TokenRequest) -> Result<Answer, Failed> {
    let token = token_broker_client::request(request).await?;
    Ok(http_get::get(vault, path, Some(&token.authorization())).await?)
}

fn read(vault: &Vault, path: &str, answer: &Answer) -> Result<Secret, Failed> {
    let asked = format!("GET {}://{}{path}", vault.scheme, vault.authority);
    match answer.status {
        200 => serde_json::from_slice(&answer.body)
            .map_err(|_| format!("{asked}: 200 without a secret in it").into()),
        status => Err(format!("{asked}: {status}{}{}", words(&answer.body), remedy(status)).into()),
    }
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
