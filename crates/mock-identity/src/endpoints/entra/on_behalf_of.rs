//! On-behalf-of: an app exchanges the token of the user who has called it for one for another service.

use anyhow::Result;
use serde_json::json;

use super::{
    TokenRequest,
    scope::{self, Delegated},
};
use crate::{
    app::{App, User, UserRefused},
    claims::{Proof, Subject, TokenClaims},
    date,
    entra_error::{Code, EntraError},
    issuer::{TokenError, unix_now},
    platform::Platform,
};

/// The user, and the scopes that the app asks for
pub(super) fn read<'a>(
    platform: &'a Platform,
    request: &TokenRequest<'a>,
    app: &App,
) -> Result<(&'a User, Delegated<'a>), EntraError> {
    if request.required("requested_token_use")? != "on_behalf_of" {
        let message = "The value of the parameter 'requested_token_use' must be 'on_behalf_of'.";
        return Err(Code::BAD_REQUEST.because(message));
    }
    let claims = check_token(platform, request.required("assertion")?, app)?;
    if claims.tid != request.tenant {
        return Err(invalid("The assertion was issued by another tenant."));
    }
    if claims.idtyp != "user" {
        let message =
            format!("Application '{}' is not allowed to make application on-behalf-of calls.", app.client_id);
        return Err(Code::APP_ONLY_ASSERTION.because(message));
    }
    let user = platform
        .config
        .users
        .iter()
        .find(|user| user.object_id == claims.oid)
        .ok_or_else(|| Code::UNKNOWN_USER.because("The user account does not exist in the directory."))?;
    let delegated = scope::of_user(request.required("scope")?)?;
    match user.refused {
        Some(refused) => Err(refusal_of(refused, app, delegated.resource)),
        None => Ok((user, delegated)),
    }
}

/// The error for a user whose configuration refuses on-behalf-of
fn refusal_of(refused: UserRefused, app: &App, resource: &str) -> EntraError {
    match refused {
        UserRefused::SecondFactor => Code::SECOND_FACTOR.because(format!(
            "Due to a configuration change made by your administrator, or because you moved to a new location, you \
             must use multi-factor authentication to access '{resource}'."
        ))
        .with(json!({ "suberror": "basic_action", "claims": REQUIRED_POLICY })),
        UserRefused::Consent => Code::NO_CONSENT.because(format!(
            "The user or administrator has not consented to use the application with ID '{}' named '{}'. Send an \
             interactive authorization request for this user and resource.",
            app.client_id, app.name
        ))
        .with(json!({ "suberror": "consent_required" })),
        UserRefused::SessionsRevoked => {
            let (issued, valid_from) = (date::in_full(unix_now()), date::in_full(unix_now()));
            Code::SESSIONS_REVOKED.because(format!(
                "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user \
                 might have changed or reset their password. The grant was issued on '{issued}' and the \
                 TokensValidFrom date (before which tokens are not valid) for this user is '{valid_from}'."
            ))
        }
    }
}

/// The token of a user who calls `app`
pub(crate) fn user_token(platform: &Platform, user: &User, app: &App) -> Result<String> {
    let audience = audiences(app).swap_remove(0);
    let subject = Subject::user(user, &app.client_id, Proof::Secret, "user_impersonation");
    let grant = platform.grant(subject, &audience, platform.config.entra.token_lifetime_seconds);
    Ok(platform.issuer.issue(&grant)?.token)
}

fn check_token(platform: &Platform, token: &str, app: &App) -> Result<TokenClaims, EntraError> {
    let mut refused = TokenError::Invalid;
    for audience in audiences(app) {
        match platform.issuer.verify(token, &audience) {
            Ok(claims) => return Ok(claims),
            Err(error) => refused = error,
        }
    }
    Err(match refused {
        TokenError::Invalid => invalid("The provided assertion failed signature validation."),
        TokenError::Audience { .. } => {
            invalid("Assertion audience does not match the Client app presenting the assertion.")
        }
        TokenError::Expired { at } => Code::USER_ASSERTION_EXPIRED.because(format!(
            "Assertion is not within its valid time range. Ensure that the access token is not expired before \
             using it for user assertion, or request a new token. Current time: {}, expiry time of assertion {}.",
            date::in_full(unix_now()),
            date::in_full(at)
        )),
    })
}

/// The names by which tokens are meant for an app: its default URI, and its bare id
fn audiences(app: &App) -> Vec<String> {
    vec![format!("api://{}", app.client_id), app.client_id.clone()]
}

fn invalid(reason: &str) -> EntraError {
    Code::ASSERTION_INVALID.because(format!("Assertion failed. [Reason - {reason}]"))
}

/// The claims that the app passes on to its client, for the next sign-in
const REQUIRED_POLICY: &str =
    r#"{"access_token":{"capolids":{"essential":true,"values":["00000000-0000-0000-0000-000000000005"]}}}"#;
