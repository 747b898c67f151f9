//! The protocol of 2017-09-01, which App Service spoke and Azure Machine Learning speaks.

use std::num::NonZeroU64;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Call, IdKind, Identity, Issued, Platform, Reply, Selector};

/// One of the two services that speak this version
pub(super) struct Service<'a> {
    pub(super) secret: &'a str,
    pub(super) lifetime: NonZeroU64,
    pub(super) expires_on: fn(u64) -> Value,
    pub(super) refusal: fn(StatusCode, Mistake<'_>) -> Reply,
}

/// A mistake of a request
#[derive(Clone, Copy)]
pub(super) enum Mistake<'a> {
    /// It shows this secret, or an empty one
    Secret(&'a str),
    /// There is no such identity
    Identity,
    Other(&'a str),
}

impl Service<'_> {
    pub(super) fn answer(&self, platform: &Platform, call: &Call) -> Reply {
        self.token(platform, call).map_or_else(|refusal| refusal, |issued| self.success(&issued))
    }

    fn token(&self, platform: &Platform, call: &Call) -> Result<Issued, Reply> {
        self.check_caller(call)?;
        self.check_version(call)?;
        let resource = call
            .required("resource")
            .ok_or_else(|| self.bad_request("The resource parameter is missing."))?;
        let identity = self.choose(platform, call)?;
        platform.check_audience(resource).map_err(|why| self.bad_request(&why))?;
        platform.issue_to(identity, call, resource, self.lifetime)
    }

    fn check_caller(&self, call: &Call) -> Result<(), Reply> {
        if call.method != Method::GET {
            return Err((self.refusal)(
                StatusCode::METHOD_NOT_ALLOWED,
                Mistake::Other("Only GET is allowed."),
            ));
        }
        match call.header("secret").unwrap_or_default() {
            secret if secret == self.secret => Ok(()),
            other => Err((self.refusal)(StatusCode::UNAUTHORIZED, Mistake::Secret(other))),
        }
    }

    fn check_version(&self, call: &Call) -> Result<(), Reply> {
        match call.parameter("api-version") {
            Some(API_VERSION) => Ok(()),
            Some(_) => Err(self.bad_request("The api-version is not supported: use 2017-09-01.")),
            None => Err(self.bad_request("The api-version parameter is missing.")),
        }
    }

    /// This version knows `clientid` alone: a `client_id` or an empty value is ignored.
    fn choose<'a>(&self, platform: &'a Platform, call: &Call) -> Result<&'a Identity, Reply> {
        match call.parameter("clientid").filter(|id| !id.is_empty()) {
            None => platform.config.system_assigned(),
            Some(id) => platform.config.selected(Selector { kind: IdKind::Client, id }),
        }
        .ok_or_else(|| (self.refusal)(StatusCode::BAD_REQUEST, Mistake::Identity))
    }

    fn success(&self, issued: &Issued) -> Reply {
        Reply::ok(json!({
            "access_token": issued.token,
            "expires_on": (self.expires_on)(issued.claims.exp),
            "resource": issued.claims.aud,
            "token_type": "Bearer",
        }))
        .issued_to(&issued.subject)
    }

    fn bad_request(&self, message: &str) -> Reply {
        (self.refusal)(StatusCode::BAD_REQUEST, Mistake::Other(message))
    }
}

const API_VERSION: &str = "2017-09-01";
