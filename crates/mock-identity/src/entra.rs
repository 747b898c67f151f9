//! The token endpoint of Entra ID, and that of AD FS: client credentials and on-behalf-of.

mod assertion;
mod client;
mod environment;
mod header;
mod on_behalf_of;
mod refusal;
mod request;
mod scope;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    call::Call,
    claims::{Grant, Holder},
    issuer::Issued,
    platform::Platform,
    reply::Reply,
};
use on_behalf_of::OnBehalfOf;
use refusal::{Code, Refusal};
use request::TokenRequest;

pub(super) use environment::{managed_identity, of_certificate, of_federated_token, of_secret};
pub(super) use header::of_discovery;
pub(super) use on_behalf_of::user_token;
pub(super) use refusal::{invalid_tenant, relayed_unknown_resource, unknown_resource};

pub(super) fn answer(platform: &Platform, call: &Call) -> Reply {
    token(platform, call).unwrap_or_else(|refusal| refusal.reply(call))
}

/// What it says with a status that a fault asks for
pub(super) fn failure(call: &Call, status: StatusCode) -> Reply {
    refusal::scripted(status).reply(call)
}

fn token(platform: &Platform, call: &Call) -> Result<Reply, Refusal> {
    let request = TokenRequest::read(platform, call)?;
    match request.required("grant_type")? {
        "client_credentials" => client_credentials(platform, &request),
        JWT_BEARER => on_behalf_of(platform, &request),
        other => Err(Refusal::new(
            Code::UNSUPPORTED_GRANT,
            format!("The app requested an unsupported grant type '{other}'."),
        )),
    }
}

/// An app asks for itself.
fn client_credentials(platform: &Platform, request: &TokenRequest<'_>) -> Result<Reply, Refusal> {
    let (app, proof) = client::authenticate(platform, request)?;
    let resource = scope::of_app(request.required("scope")?)?;
    let issued = issue(platform, request, Holder::App(app, proof), resource)?;
    Ok(reply(platform, request, &issued, json!({})))
}

/// An app asks for the user who has called it.
fn on_behalf_of(platform: &Platform, request: &TokenRequest<'_>) -> Result<Reply, Refusal> {
    let (app, proof) = client::authenticate(platform, request)?;
    let OnBehalfOf { user, delegated } = on_behalf_of::read(platform, request, app)?;
    let scopes = delegated.names.join(" ");
    let holder = Holder::User { user, client_id: &app.client_id, proof, scopes: &scopes };
    let issued = issue(platform, request, holder, delegated.resource)?;
    let mut more = json!({ "scope": delegated.written() });
    if request.field("client_info") == Some("1") {
        more["client_info"] = client_info(&issued).into();
    }
    Ok(reply(platform, request, &issued, more))
}

fn issue(
    platform: &Platform,
    request: &TokenRequest<'_>,
    holder: Holder<'_>,
    audience: &str,
) -> Result<Issued, Refusal> {
    if !platform.config.knows_audience(audience) {
        return Err(Refusal::new(Code::UNKNOWN_RESOURCE, unknown_resource(audience, request.tenant)));
    }
    let grant = Grant {
        holder,
        tenant_id: request.tenant,
        audience,
        lifetime: platform.config.entra.token_lifetime_seconds.get(),
        capabilities: request.capabilities()?,
    };
    platform
        .issue(request.call, grant)
        .map_err(|_| Refusal::new(Code::UNAVAILABLE, "The token could not be signed.".to_owned()))
}

fn reply(platform: &Platform, request: &TokenRequest<'_>, issued: &Issued, more: Value) -> Reply {
    let mut body = json!({
        "token_type": "Bearer",
        "expires_in": issued.expires_in(),
        "access_token": issued.token,
    });
    // AD FS has neither.
    if !request.is_adfs() {
        body["ext_expires_in"] = issued.expires_in().into();
        if let Some(seconds) = platform.config.entra.refresh_in_seconds {
            body["refresh_in"] = seconds.get().into();
        }
    }
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    let reply = Reply::json(StatusCode::OK, &body).issued_to(&issued.holder);
    header::of_token(reply, request.call, &Uuid::new_v4().to_string(), None)
}

/// Who the user is, in a form that clients' caches want
fn client_info(issued: &Issued) -> String {
    let info = json!({ "uid": issued.claims.oid, "utid": issued.claims.tid });
    BASE64_URL_SAFE_NO_PAD.encode(info.to_string())
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
