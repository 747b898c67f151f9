//! The token endpoint of a job of Azure Pipelines, for one of the service connections that the job's stage names.
//!
//! <https://learn.microsoft.com/rest/api/azure/devops/distributedtask/oidctoken/create>

use http::{Method, StatusCode, header::CONTENT_LENGTH};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Endpoint, Environment, Platform, Reply, Setup, Spec};
use crate::{date, federation::Workload, issuer::unix_now, sections::AzurePipelinesConfig};

pub(crate) const SPEC: Spec = Spec {
    paths: &["*/*/_apis/distributedtask/hubs/*/plans/*/jobs/*/oidctoken", SIGN_IN],
    answer,
    failure: |_, _, status| traced(failure(status)),
    setups: &[Setup {
        title: "A job of Azure Pipelines that maps its access token, for AzurePipelinesCredential of the Azure SDKs",
        needs: "[azure-pipelines] in the configuration",
        environment,
    }],
    ..Spec::of(Endpoint::AzurePipelines)
};

pub(super) fn environment(platform: &Platform) -> Environment {
    let Some(config) = &platform.config.azure_pipelines else { return Vec::new() };
    let connection = config.service_connections.first().map(|connection| connection.id.clone());
    let mut environment = vec![
        ("SYSTEM_OIDCREQUESTURI", format!("{}{PATH}", platform.addresses.secure_if_any())),
        ("SYSTEM_ACCESSTOKEN", config.access_token.clone()),
    ];
    environment.extend(connection.map(|id| ("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", id)));
    environment
}

/// The issuer and the subject of the tokens for the first service connection
pub(super) fn trusted(platform: &Platform) -> Option<(&str, &str)> {
    let config = platform.config.azure_pipelines.as_ref()?;
    identity(config, Some(config.service_connections.first()?.id.as_str()))
}

fn answer(platform: &Platform, call: &Call) -> Reply {
    let Some(config) = &platform.config.azure_pipelines else {
        return Reply::text(StatusCode::NOT_FOUND, "no job here: configure one with [azure-pipelines]");
    };
    traced(token(platform, config, call).unwrap_or_else(|refusal| refusal))
}

fn failure(status: StatusCode) -> Reply {
    match status {
        StatusCode::UNAUTHORIZED => unauthorized(NOT_AUTHORIZED),
        StatusCode::BAD_REQUEST => not_referenced("00000000-0000-0000-0000-000000000000"),
        StatusCode::METHOD_NOT_ALLOWED => wrong_method(&Method::GET),
        _ => error(status, "ServiceUnavailableException", "The service is unavailable."),
    }
}

fn token(platform: &Platform, config: &AzurePipelinesConfig, call: &Call) -> Result<Reply, Reply> {
    if call.segments() == [SIGN_IN] {
        return Ok(sign_in_page(StatusCode::OK));
    }
    check_length(call)?;
    check_caller(config, call)?;
    if call.method != Method::POST {
        return Err(wrong_method(&call.method));
    }
    check_version(call)?;
    let connection = call.required("serviceConnectionId");
    let (issuer, subject) =
        identity(config, connection).ok_or_else(|| not_referenced(connection.unwrap_or_default()))?;
    let claims = json!({ "jti": Uuid::new_v4().to_string() });
    let workload = Workload { issuer, subject, audience: AUDIENCE, more: claims };
    let token = workload.token(platform, call, (BACKDATED, config.token_lifetime_seconds))?;
    Ok(json_reply(StatusCode::OK, json!({ "oidcToken": token })).issued_to(subject))
}

/// The issuer and the subject of the token for a service connection, if the job may use it, or for none
fn identity<'a>(config: &'a AzurePipelinesConfig, connection: Option<&str>) -> Option<(&'a str, &'a str)> {
    let Some(id) = connection else { return Some((&config.issuer, &config.subject)) };
    let found = config.service_connections.iter().find(|held| held.id.eq_ignore_ascii_case(id))?;
    Some((found.issuer.as_ref().unwrap_or(&config.issuer), &found.subject))
}

/// The server in front refuses a POST that does not say how long its body is, even if it has none.
fn check_length(call: &Call) -> Result<(), Reply> {
    if call.method != Method::POST || call.in_chunks || call.headers.contains_key(CONTENT_LENGTH) {
        return Ok(());
    }
    let page = "<h2>Length Required</h2>\n<hr><p>HTTP Error 411. The request must be chunked or have a content length.</p>\n";
    Err(Reply::html(StatusCode::LENGTH_REQUIRED, page))
}

/// Who does not forbid it is led to the page for people.
fn check_caller(config: &AzurePipelinesConfig, call: &Call) -> Result<(), Reply> {
    let is_known = call.bearer().is_some_and(|token| token == config.access_token);
    let is_anonymous = call.header("authorization").is_none();
    let is_program =
        call.header("x-tfs-fedauthredirect").is_some_and(|value| value.eq_ignore_ascii_case("suppress"));
    match (is_program, is_anonymous) {
        _ if is_known => Ok(()),
        (true, true) => Err(unauthorized(ANONYMOUS)),
        (true, false) => Err(unauthorized(NOT_AUTHORIZED)),
        (false, true) => Err(redirection(call)),
        (false, false) => Err(sign_in_page(StatusCode::NON_AUTHORITATIVE_INFORMATION)),
    }
}

fn check_version(call: &Call) -> Result<(), Reply> {
    match call.required("api-version") {
        Some(version) if VERSIONS.contains(&version) => Ok(()),
        Some(version) => {
            let words =
                format!("The requested REST API version of {version} is out of range for this server.");
            Err(error(StatusCode::BAD_REQUEST, "VssVersionOutOfRangeException", &words))
        }
        None => {
            let words = "No api-version was supplied for the \"POST\" request. The version must be supplied either as part \
                         of the Accept header (e.g. \"application/json; api-version=1.0\") or as a query parameter (e.g. \
                         \"?api-version=1.0\").";
            Err(error(StatusCode::BAD_REQUEST, "VssVersionNotSpecifiedException", words))
        }
    }
}

fn unauthorized(words: &str) -> Reply {
    let body = json!({
        "$id": "1",
        "innerException": null,
        "message": words,
        "typeName": "Microsoft.TeamFoundation.Framework.Server.UnauthorizedRequestException, \
                     Microsoft.TeamFoundation.Framework.Server",
        "typeKey": "UnauthorizedRequestException",
        "errorCode": 0,
        "eventId": 3000,
    });
    let challenge = r#"Bearer, Basic realm="https://dev.azure.com/", TFS-Federated"#;
    json_reply(StatusCode::UNAUTHORIZED, body).with("www-authenticate", challenge)
}

fn error(status: StatusCode, key: &str, words: &str) -> Reply {
    let namespace = "Microsoft.VisualStudio.Services.WebApi";
    let body = json!({
        "$id": "1",
        "innerException": null,
        "message": words,
        "typeName": format!("{namespace}.{key}, {namespace}"),
        "typeKey": key,
        "errorCode": 0,
        "eventId": 3000,
    });
    json_reply(status, body)
}

/// The text in the place of an object, with its length as the number of values
fn not_referenced(connection: &str) -> Reply {
    let words =
        format!("There is no explicit reference to service connection {connection} from current stage.");
    json_reply(StatusCode::BAD_REQUEST, json!({ "count": words.len(), "value": words }))
}

fn wrong_method(method: &Method) -> Reply {
    let words = format!("The requested resource does not support http method '{method}'.");
    let body = json!({ "count": 1, "value": { "Message": words } });
    json_reply(StatusCode::METHOD_NOT_ALLOWED, body).with("allow", "POST")
}

/// To the mock's own page: a client that follows must not leave for the real one
fn redirection(call: &Call) -> Reply {
    let url = format!("{}/{SIGN_IN}?realm=dev.azure.com&reply_to=", call.origin);
    let page = "<html><head><title>Object moved</title></head><body>\n<h2>Object moved to <a href=\"/_signin\">here</a>.</h2>\n\
                </body></html>\n";
    Reply::html(StatusCode::FOUND, page).with("location", &url)
}

fn sign_in_page(status: StatusCode) -> Reply {
    let page = "<!DOCTYPE html>\n<html lang=\"en-US\"><head><title>Azure DevOps Services | Sign In</title></head><body></body>\
                </html>\n";
    Reply::html(status, page)
}

fn json_reply(status: StatusCode, body: Value) -> Reply {
    Reply::json(status, body).with("content-type", "application/json; charset=utf-8; api-version=7.1")
}

/// With the ids that support asks for
fn traced(reply: Reply) -> Reply {
    let id = || Uuid::new_v4().to_string();
    let reference = format!(
        "Ref A: {:X} Ref B: AMS231020512019 Ref C: {}",
        Uuid::new_v4().simple(),
        date::of_front_door(unix_now())
    );
    reply
        .with("x-tfs-processid", &id())
        .with("activityid", &id())
        .with("x-vss-e2eid", &id())
        .with("x-msedge-ref", &reference)
}

/// Fixed by the service
const AUDIENCE: &str = "api://AzureADTokenExchange";
const SIGN_IN: &str = "_signin";
const PATH: &str = "/contoso/590cfd2a-0000-4000-8000-000000000001/_apis/distributedtask/hubs/build/plans/\
                    2e011469-0000-4000-8000-000000000002/jobs/5ee5fa9b-0000-4000-8000-000000000003/oidctoken";
const VERSIONS: [&str; 2] = ["7.1", "7.1-preview.1"];
const NOT_AUTHORIZED: &str =
    "TF400813: The user 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa' is not authorized to access this resource.";
const ANONYMOUS: &str =
    "TF400813: Resource not available for anonymous access. Client authentication required.";
/// Its tokens are valid since ten minutes.
const BACKDATED: u64 = 600;
