//! On-behalf-of: an app shows the token with which a user has called it, and gets one for a service behind it.

use anyhow::Result;

use super::super::{
    app::{App, User},
    claims::{Holder, Proof, TokenClaims},
    issuer::Refused,
    platform::Platform,
};
use super::{
    Code, Refusal, TokenRequest,
    scope::{self, Delegated},
};

/// Who asks by way of an app, and what for
pub(super) struct OnBehalfOf<'a> {
    pub(super) user: &'a User,
    pub(super) delegated: Delegated<'a>,
}

pub(super) fn read<'a>(
    platform: &'a Platform,
    request: &TokenRequest<'a>,
    app: &App,
) -> Result<OnBehalfOf<'a>, Refusal> {
    if request.required("requested_token_use")? != "on_behalf_of" {
        let message = "The value of the parameter 'requested_token_use' must be 'on_behalf_of'.";
        return Err(Refusal::new(Code::BAD_REQUEST, message));
    }
    let claims = check_token(platform, request.required("assertion")?, app)?;
    if claims.tid != request.tenant {
        return Err(invalid("The assertion was issued by another tenant."));
    }
    if claims.idtyp != "user" {
        let message =
            format!("Application '{}' is not allowed to make application on-behalf-of calls.", app.client_id);
        return Err(Refusal::new(Code::APP_ONLY_ASSERTION, message));
    }
    let user = platform.config.users.iter().find(|user| user.object_id == claims.oid).ok_or_else(|| {
        Refusal::new(Code::UNKNOWN_USER, "The user account does not exist in the directory.")
    })?;
    Ok(OnBehalfOf { user, delegated: scope::of_user(request.required("scope")?)? })
}

/// The token of a user who calls `app`
pub(in super::super) fn user_token(platform: &Platform, user: &User, app: &App) -> Result<String> {
    let audience = audiences(app).swap_remove(0);
    let scopes = "user_impersonation";
    let holder = Holder::User { user, client_id: &app.client_id, proof: Proof::Secret, scopes };
    let grant = platform.grant(holder, &audience, platform.config.entra.token_lifetime_seconds);
    Ok(platform.issuer.issue(&grant)?.token)
}

fn check_token(platform: &Platform, token: &str, app: &App) -> Result<TokenClaims, Refusal> {
    let mut refused = Refused::Invalid;
    for audience in audiences(app) {
        match platform.issuer.verify(token, &audience) {
            Ok(claims) => return Ok(claims),
            Err(error) => refused = error,
        }
    }
    Err(match refused {
        Refused::Invalid => invalid("The provided assertion failed signature validation."),
        Refused::Audience { .. } => {
            invalid("Assertion audience does not match the Client app presenting the assertion.")
        }
        Refused::Expired => Refusal::new(
            Code::USER_ASSERTION_EXPIRED,
            "Assertion is not within its valid time range. Ensure that the access token is not expired before using \
             it for user assertion, or request a new token.",
        ),
    })
}

/// The names by which tokens are meant for an app: its default URI, and its bare id
fn audiences(app: &App) -> Vec<String> {
    vec![format!("api://{}", app.client_id), app.client_id.clone()]
}

fn invalid(reason: &str) -> Refusal {
    Refusal::new(Code::ASSERTION_INVALID, format!("Assertion failed. [Reason - {reason}]"))
}
