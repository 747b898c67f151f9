//! The token endpoint of Entra ID, and that of AD FS: client credentials and on-behalf-of.

mod assertion;
mod client;
mod environment;
mod header;
mod on_behalf_of;
mod request;
mod scope;

use std::path::Path;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Endpoint, Issued, Listener, Platform, Reply, Setup, Spec};
use crate::{
    claims::{Grant, Subject},
    entra_error::{self, Code, EntraError},
};
pub use environment::Credential;
use request::TokenRequest;

pub(super) use assertion::reviewed_subject;
pub(crate) use environment::environment;
pub(super) use header::of_discovery;
pub(crate) use on_behalf_of::user_token;

pub(crate) const SPEC: Spec = Spec {
    // A client secret must not travel without TLS.
    listeners: &[Listener::Tls],
    paths: &["*/oauth2/v2.0/token", "adfs/oauth2/token"],
    refuses_chunks: true,
    answer,
    failure: |_, call, status| refusal(&entra_error::scripted(status), call),
    setups: &[
        Setup {
            title: "Entra ID, an app with a secret (trust the authority of the TLS listener, see --tls-ca-out)",
            needs: NEEDS,
            environment: |platform| environment(platform, Credential::Secret),
        },
        Setup {
            title: "Entra ID, an app with a certificate (curl URL/admin/client-certificate > client.pem)",
            needs: NEEDS,
            environment: |platform| environment(platform, Credential::Certificate(Path::new("client.pem"))),
        },
        Setup {
            title: "Entra ID, an app that trusts a Kubernetes cluster (curl URL/admin/federated-token/APP > token)",
            needs: NEEDS,
            environment: |platform| environment(platform, Credential::FederatedToken(Path::new("token"))),
        },
        Setup {
            title: "Entra ID, an app that trusts a managed identity, for token-broker",
            needs: NEEDS,
            environment: |platform| environment(platform, Credential::ManagedIdentity),
        },
        Setup {
            title: "Entra ID, an app that trusts a job of GitHub Actions, for token-broker",
            needs: NEEDS,
            environment: |platform| environment(platform, Credential::GithubActions),
        },
        Setup {
            title: "Entra ID, an app that trusts a job of Azure Pipelines, for token-broker",
            needs: NEEDS,
            environment: |platform| environment(platform, Credential::AzurePipelines),
        },
        Setup {
            title: "Entra ID, an app that trusts a machine of Google Cloud, for token-broker",
            needs: NEEDS,
            environment: |platform| environment(platform, Credential::GcpMetadata),
        },
    ],
    ..Spec::of(Endpoint::Entra)
};

fn answer(platform: &Platform, call: &Call) -> Reply {
    token(platform, call).unwrap_or_else(|error| refusal(&error, call))
}

fn refusal(error: &EntraError, call: &Call) -> Reply {
    let trace = Uuid::new_v4().to_string();
    header::of_token(error.reply(call, &trace), call, &trace, Some(error.number()))
}

fn token(platform: &Platform, call: &Call) -> Result<Reply, EntraError> {
    let request = TokenRequest::read(platform, call)?;
    match request.required("grant_type")? {
        "client_credentials" => client_credentials(platform, &request),
        JWT_BEARER => on_behalf_of(platform, &request),
        other => Err(unsupported(other)),
    }
}

/// The exchange of an assertion for a managed identity, after a cluster's token proxy has checked the assertion
pub(super) fn exchange(platform: &Platform, call: &Call) -> Reply {
    bound(platform, call).unwrap_or_else(|error| refusal(&error, call))
}

fn bound(platform: &Platform, call: &Call) -> Result<Reply, EntraError> {
    let request = TokenRequest::read(platform, call)?;
    let grant = request.required("grant_type")?;
    if grant != "client_credentials" {
        return Err(unsupported(grant));
    }
    let client_id = request.required("client_id")?;
    let mut identities = platform.config.user_assigned();
    let identity = identities.find(|identity| identity.client_id.eq_ignore_ascii_case(client_id));
    let identity = identity.ok_or_else(|| request.unknown_app(client_id))?;
    let resource = scope::of_app(request.required("scope")?)?;
    let issued = issue(platform, &request, Subject::identity(identity), resource)?;
    Ok(reply(platform, &request, &issued, json!({})))
}

fn unsupported(grant: &str) -> EntraError {
    Code::UNSUPPORTED_GRANT.because(format!("The app requested an unsupported grant type '{grant}'."))
}

/// An app asks for itself.
fn client_credentials(platform: &Platform, request: &TokenRequest<'_>) -> Result<Reply, EntraError> {
    let (app, proof) = client::authenticate(platform, request)?;
    let resource = scope::of_app(request.required("scope")?)?;
    let issued = issue(platform, request, Subject::app(app, proof), resource)?;
    Ok(reply(platform, request, &issued, json!({})))
}

/// An app asks on behalf of the user who has called it.
fn on_behalf_of(platform: &Platform, request: &TokenRequest<'_>) -> Result<Reply, EntraError> {
    let (app, proof) = client::authenticate(platform, request)?;
    let (user, delegated) = on_behalf_of::read(platform, request, app)?;
    let scopes = delegated.names.join(" ");
    let subject = Subject::user(user, &app.client_id, proof, &scopes);
    let issued = issue(platform, request, subject, delegated.resource)?;
    let mut more = json!({ "scope": delegated.written() });
    if request.field("client_info") == Some("1") {
        more["client_info"] = client_info(&issued).into();
    }
    Ok(reply(platform, request, &issued, more))
}

fn issue(
    platform: &Platform,
    request: &TokenRequest<'_>,
    subject: Subject<'_>,
    audience: &str,
) -> Result<Issued, EntraError> {
    if !platform.config.knows_audience(audience) {
        return Err(Code::UNKNOWN_RESOURCE.because(entra_error::unknown_resource(audience, request.tenant)));
    }
    let grant = Grant {
        subject,
        tenant_id: request.tenant,
        audience,
        lifetime: platform.config.entra.token_lifetime_seconds.get(),
        capabilities: request.capabilities()?,
    };
    platform
        .issue(request.call, grant)
        .map_err(|_| Code::UNAVAILABLE.because("The token could not be signed.".to_owned()))
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
    let reply = Reply::json(StatusCode::OK, &body).issued_to(&issued.subject);
    header::of_token(reply, request.call, &Uuid::new_v4().to_string(), None)
}

/// The ids of the user, for the caches of clients
fn client_info(issued: &Issued) -> String {
    let info = json!({ "uid": issued.claims.oid, "utid": issued.claims.tid });
    BASE64_URL_SAFE_NO_PAD.encode(info.to_string())
}

const NEEDS: &str = "--listen-tls, and such an app in the configuration";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
