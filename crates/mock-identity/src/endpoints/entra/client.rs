//! Client authentication: by a secret or by a signed assertion, never by both.

use super::{
    JWT_BEARER, TokenRequest,
    assertion::{self, Assertion},
};
use crate::{
    app::App,
    claims::Proof,
    entra_error::{Code, EntraError},
    platform::Platform,
};

pub(super) fn authenticate<'a>(
    platform: &'a Platform,
    request: &TokenRequest<'a>,
) -> Result<(&'a App, Proof), EntraError> {
    let app = request.app(platform)?;
    match (request.field("client_secret"), request.field("client_assertion")) {
        (Some(secret), None) => check_secret(app, secret).map(|()| (app, Proof::Secret)),
        (None, Some(jwt)) => check_assertion(platform, request, app, jwt).map(|()| (app, Proof::Assertion)),
        (None, None) => Err(no_credential(request)),
        (Some(_), Some(_)) => Err(Code::BAD_REQUEST
            .because("The request must contain either 'client_secret' or 'client_assertion', not both.")),
    }
}

fn check_secret(app: &App, secret: &str) -> Result<(), EntraError> {
    match app.secrets.iter().find(|held| held.value == secret) {
        Some(held) if !held.expired => Ok(()),
        Some(_) => Err(Code::SECRET_EXPIRED.because(format!(
            "The provided client secret keys for app '{}' are expired. Visit the Azure portal to create new keys \
             for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added \
             security: https://aka.ms/certCreds.",
            app.client_id
        ))),
        None => Err(Code::WRONG_SECRET.because(format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
             value, not the client secret ID, for a secret added to app '{}'.",
            app.client_id
        ))),
    }
}

fn check_assertion(
    platform: &Platform,
    request: &TokenRequest<'_>,
    app: &App,
    jwt: &str,
) -> Result<(), EntraError> {
    if request.required("client_assertion_type")? != ASSERTION_TYPE {
        let message =
            format!("The value of the parameter 'client_assertion_type' must be '{ASSERTION_TYPE}'.");
        return Err(Code::BAD_REQUEST.because(message));
    }
    let assertion = Assertion::read(jwt)
        .ok_or_else(|| Code::JWT_MALFORMED.because("JWT token is invalid or malformed."))?;
    // Who signs for itself uses a certificate; AD FS knows no other way.
    if request.is_adfs() || assertion.is_issued_by(&app.client_id) {
        assertion::check_own(request, app, &assertion)
    } else {
        assertion::check_federated(platform, app, &assertion)
    }
}

fn no_credential(request: &TokenRequest<'_>) -> EntraError {
    if request.field("grant_type") == Some(JWT_BEARER) {
        return Code::NO_CREDENTIAL_OF_CLIENT.because(
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        );
    }
    Code::NO_CREDENTIAL.because(
        "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
    )
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
