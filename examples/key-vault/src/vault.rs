//! Key Vault's one operation that is needed here, and how to get the token that a vault wants.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use http::uri::{Authority, Uri};
use http::{Request, Response, StatusCode};
use serde::Deserialize;
use token_broker_client::TokenRequest;
use token_broker_egress::Challenge;

use crate::Failed;
use crate::settings::Vault;

/// A secret as the vault keeps it
#[derive(Deserialize)]
pub(crate) struct Secret {
    pub(crate) value: String,
}

/// A version of a secret, the latest if none is named
pub(crate) async fn secret(vault: &Vault, name: &str, version: Option<&str>) -> Result<Secret, Failed> {
    let path = match version {
        Some(version) => format!("/secrets/{name}/{version}?api-version={API}"),
        None => format!("/secrets/{name}?api-version={API}"),
    };
    // The vault says which token it takes before it is shown one: the audience differs from cloud to cloud.
    let mut answer = get(vault, &path, None).await?;
    if answer.status() == StatusCode::UNAUTHORIZED {
        let challenge = wanted(vault, &answer)?;
        let scope = scope(vault, &challenge)?;
        let request = token_request(&scope, challenge.tenant()?);
        answer = ask(vault, &path, request.clone()).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let request = renewed(request, &scope, &wanted(vault, &answer)?).await?;
            answer = ask(vault, &path, request).await?;
        }
    }
    read(vault, &path, &answer)
}

/// What the vault says that it wants instead
fn wanted(vault: &Vault, refusal: &Response<Bytes>) -> Result<Challenge, Failed> {
    Challenge::bearer(refusal.headers().get_all(WWW_AUTHENTICATE))
        .map_err(|why| format!("{}: 401{}: {why}", vault.authority, words(refusal.body())).into())
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
async fn renewed(request: TokenRequest, scope: &str, challenge: &Challenge) -> Result<TokenRequest, Failed> {
    Ok(match challenge.claims()? {
        Some(claims) => request.claims(claims),
        None => {
            token_broker_client::forget(scope).await;
            request
        }
    })
}

async fn ask(vault: &Vault, path: &str, request: TokenRequest) -> Result<Response<Bytes>, Failed> {
    let token = token_broker_client::request(request).await?;
    get(vault, path, Some(&token.authorization())).await
}

async fn get(vault: &Vault, path: &str, authorization: Option<&str>) -> Result<Response<Bytes>, Failed> {
    let uri = Uri::builder().scheme(vault.scheme.clone()).authority(vault.authority.clone());
    let mut request = Request::get(uri.path_and_query(path).build()?).header(ACCEPT, "application/json");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let answer = guest_http::send(request.body(Bytes::new())?).await;
    Ok(answer.map_err(|why| format!("{why}; fix: check KEY_VAULT_URL"))?)
}

fn read(vault: &Vault, path: &str, answer: &Response<Bytes>) -> Result<Secret, Failed> {
    let asked = format!("GET {}://{}{path}", vault.scheme, vault.authority);
    match answer.status() {
        StatusCode::OK => serde_json::from_slice(answer.body())
            .map_err(|_| format!("{asked}: 200 without a secret in it").into()),
        status => {
            let said = words(answer.body());
            Err(format!("{asked}: {}{said}{}", status.as_u16(), remedy(status.as_u16())).into())
        }
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
        401 => "; fix: use the vault's tenant, which is not this token's",
        403 => {
            "; fix: az role assignment create --role \"Key Vault Secrets User\" --assignee OBJECT_ID \
             --scope $(az keyvault show --name VAULT --query id --output tsv)"
        }
        404 => "; fix: az keyvault secret list --vault-name VAULT shows the names",
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

const API: &str = "7.4";
