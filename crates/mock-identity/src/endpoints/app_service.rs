//! The identity endpoint of App Service, Functions and Container Apps, version 2019-08-01.

use http::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::{Call, Endpoint, Environment, IdKind, Identity, Issued, Platform, Reply, Setup, Spec};
use crate::sections::AppServiceHost;

pub(crate) const SPEC: Spec = Spec {
    paths: &["msi/token"],
    answer,
    failure: |_, _, status| failure(status),
    setups: &[Setup {
        title: "Managed identity of App Service, Functions and Container Apps, for every Azure SDK and token-broker",
        needs: "",
        environment,
    }],
    ..Spec::of(Endpoint::AppService)
};

fn environment(platform: &Platform) -> Environment {
    let endpoint = format!("{}/msi/token", platform.addresses.plain);
    let mut environment = vec![
        ("IDENTITY_ENDPOINT", endpoint.clone()),
        ("IDENTITY_HEADER", platform.config.app_service.identity_header.clone()),
    ];
    if platform.config.app_service.host == AppServiceHost::ContainerApps {
        // Of the older protocol the endpoint alone, which is the same: a client that takes it for Cloud Shell gets 405.
        environment.push(("MSI_ENDPOINT", endpoint));
    }
    environment
}

fn answer(platform: &Platform, call: &Call) -> Reply {
    token(platform, call).unwrap_or_else(|refusal| match platform.config.app_service.host {
        AppServiceHost::AppService => refusal.of_app_service(),
        AppServiceHost::ContainerApps => refusal.of_container_apps(),
        AppServiceHost::Automation => refusal.of_automation(),
    })
}

fn failure(status: StatusCode) -> Reply {
    // The misspelling is on the wire, and clients look for it.
    Refusal::new(status, "An unexpected error occured while fetching the AAD Token.").of_app_service()
}

fn token(platform: &Platform, call: &Call) -> Result<Reply, Refusal> {
    check_caller(platform, call)?;
    if platform.config.app_service.host != AppServiceHost::Automation {
        check_version(call)?;
    }
    let resource =
        call.required("resource").ok_or_else(|| bad_request("The resource parameter is missing."))?;
    let identity = choose(platform, call)?;
    platform.check_audience(resource).map_err(|why| bad_request(&why))?;
    let lifetime = platform.config.app_service.token_lifetime_seconds;
    let issued = platform.issue_to(identity, call, resource, lifetime);
    let issued = issued.map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no token"))?;
    Ok(success(&issued))
}

fn check_caller(platform: &Platform, call: &Call) -> Result<(), Refusal> {
    if call.method != Method::GET {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Only GET is allowed."));
    }
    match call.header("x-identity-header") {
        Some(value) if value == platform.config.app_service.identity_header => Ok(()),
        _ => Err(Refusal::new(StatusCode::UNAUTHORIZED, "The X-IDENTITY-HEADER is missing or wrong.")),
    }
}

fn check_version(call: &Call) -> Result<(), Refusal> {
    match call.parameter("api-version") {
        Some(API_VERSION) => Ok(()),
        Some(_) => Err(bad_request("The api-version is not supported: use 2019-08-01.")),
        None => Err(bad_request("The api-version parameter is missing.")),
    }
}

fn choose<'a>(platform: &'a Platform, call: &Call) -> Result<&'a Identity, Refusal> {
    let selector = call
        .selector(&SELECTORS)
        .map_err(|_| bad_request("Only one of client_id, principal_id and mi_res_id can be specified."))?;
    match selector {
        None => platform.config.system_assigned().ok_or_else(|| no_identity(platform, "")),
        Some(selector) => {
            platform.config.selected(selector).ok_or_else(|| no_identity(platform, NO_USER_ASSIGNED))
        }
    }
}

/// App Service says nothing of a system-assigned identity that is not there.
fn no_identity(platform: &Platform, of_app_service: &str) -> Refusal {
    bad_request(match platform.config.app_service.host {
        AppServiceHost::AppService | AppServiceHost::ContainerApps => of_app_service,
        AppServiceHost::Automation => "No managed identity was found for Automation account mock",
    })
}

fn success(issued: &Issued) -> Reply {
    let reply = Reply::ok(json!({
        "access_token": issued.token,
        "client_id": issued.claims.appid,
        "expires_on": issued.claims.exp.to_string(),
        "resource": issued.claims.aud,
        "token_type": "Bearer",
    }));
    traced(reply.in_chunks().issued_to(&issued.subject), &Uuid::new_v4().to_string())
}

/// An error, with words that may be empty
struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, message: &str) -> Self {
        Self { status, message: message.to_owned() }
    }

    fn of_app_service(self) -> Reply {
        let Self { status, message } = self;
        let id = Uuid::new_v4().to_string();
        let mut reply = Reply::json(
            status,
            json!({ "statusCode": status.as_u16(), "message": message, "correlationId": id }),
        );
        if message.is_empty() {
            reply.body = String::new();
        }
        traced(reply.in_chunks(), &id)
    }

    /// A caller without the header gets 403 without a reason.
    fn of_container_apps(self) -> Reply {
        let id = Uuid::new_v4().to_string();
        match self.status {
            StatusCode::UNAUTHORIZED => traced(Reply::empty(StatusCode::FORBIDDEN), &id),
            StatusCode::METHOD_NOT_ALLOWED => traced(Reply::empty(self.status), &id),
            _ => self.of_app_service(),
        }
    }

    fn of_automation(self) -> Reply {
        Reply::json(self.status, json!({ "Message": self.message }))
    }
}

/// `reply` with the headers of their common server
pub(super) fn traced(reply: Reply, correlation_id: &str) -> Reply {
    reply.with_all(&[("server", "Kestrel"), ("x-correlation-id", correlation_id)])
}

fn bad_request(message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, message)
}

const NO_USER_ASSIGNED: &str =
    "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.";

/// `msi_res_id` is not among them: App Service ignores it and answers for the system-assigned identity.
const SELECTORS: [(&str, IdKind); 4] = [
    ("client_id", IdKind::Client),
    ("object_id", IdKind::Object),
    ("principal_id", IdKind::Object),
    ("mi_res_id", IdKind::Resource),
];

const API_VERSION: &str = "2019-08-01";
