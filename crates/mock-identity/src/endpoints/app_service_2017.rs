//! The identity endpoint of App Service, version 2017-09-01.

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Endpoint, Environment, Platform, Reply, Setup, Spec};
use super::{
    app_service,
    msi_2017::{Mistake, Service},
};
use crate::{date, sections::DateForm};

pub(crate) const SPEC: Spec = Spec {
    paths: &["2017/msi/token"],
    answer,
    failure: |_, _, status| failure(status),
    setups: &[Setup { title: "App Service as of 2017", needs: "", environment }],
    ..Spec::of(Endpoint::AppService2017)
};

fn environment(platform: &Platform) -> Environment {
    vec![
        ("MSI_ENDPOINT", format!("{}/2017/msi/token", platform.addresses.plain)),
        ("MSI_SECRET", platform.config.app_service_2017.secret.clone()),
    ]
}

fn answer(platform: &Platform, call: &Call) -> Reply {
    let config = &platform.config.app_service_2017;
    let expires_on: fn(u64) -> Value = match config.dates {
        DateForm::Linux => |exp| date::on_linux(exp).into(),
        DateForm::Windows => |exp| date::on_windows(exp).into(),
    };
    let (secret, lifetime) = (&config.secret, config.token_lifetime_seconds);
    Service { secret, lifetime, expires_on, refusal }.answer(platform, call)
}

fn failure(status: StatusCode) -> Reply {
    if status != StatusCode::SERVICE_UNAVAILABLE {
        return refusal(status, Mistake::Other("An unexpected error occured while fetching the AAD Token."));
    }
    let correlation_id = Uuid::new_v4().to_string();
    let body = json!({
        "ExceptionMessage": "",
        "ErrorCode": "service_unavailable",
        "ServiceErrorCodes": null,
        "StatusCode": status.as_u16(),
        "Message": null,
        "CorrelationId": correlation_id,
    });
    app_service::traced(Reply::json(status, &body).in_chunks(), &correlation_id)
}

/// With capitals, unlike the later version
fn refusal(status: StatusCode, mistake: Mistake<'_>) -> Reply {
    let message = match mistake {
        Mistake::Secret(_) => "The secret header is missing or wrong.",
        Mistake::Identity => "No MSI found for specified ClientId/ResourceId.",
        Mistake::Other(message) => message,
    };
    let correlation_id = Uuid::new_v4().to_string();
    let body = json!({ "StatusCode": status.as_u16(), "Message": message, "CorrelationId": correlation_id });
    app_service::traced(Reply::json(status, &body).in_chunks(), &correlation_id)
}
