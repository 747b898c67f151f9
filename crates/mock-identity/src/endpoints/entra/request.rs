//! A request for a token, read strictly: a form, by POST, of a known tenant, with no field twice.

use http::Method;
use serde_json::Value;

use crate::{
    app::App,
    call::Call,
    claims::ADFS,
    entra_error::{self, Code, EntraError},
    platform::Platform,
};

pub(super) struct TokenRequest<'a> {
    pub(super) call: &'a Call,
    /// As the configuration spells it
    pub(super) tenant: &'a str,
}

impl<'a> TokenRequest<'a> {
    pub(super) fn read(platform: &'a Platform, call: &'a Call) -> Result<Self, EntraError> {
        if call.method != Method::POST {
            let message =
                format!("The endpoint only accepts POST requests. Received a {} request.", call.method);
            return Err(Code::NOT_POST.because(message));
        }
        let tenant = tenant(platform, call)?;
        // A body of another type has no fields that Entra ID would read.
        let Some(form) = &call.form else {
            return Err(EntraError::missing("grant_type"));
        };
        match duplicate(form) {
            Some(name) => Err(Code::DUPLICATE_PARAMETER.because(format!(
                "The request is not properly formatted. The parameter '{name}' is duplicated."
            ))),
            None => Ok(Self { call, tenant }),
        }
    }

    /// A field, unless it is missing or empty
    pub(super) fn field(&self, name: &str) -> Option<&'a str> {
        self.call.field(name).filter(|value| !value.is_empty())
    }

    /// A field, or the refusal that says it is missing
    pub(super) fn required(&self, name: &str) -> Result<&'a str, EntraError> {
        self.field(name).ok_or_else(|| EntraError::missing(name))
    }

    /// The app that the request is from
    pub(super) fn app(&self, platform: &'a Platform) -> Result<&'a App, EntraError> {
        let client_id = self.required("client_id")?;
        platform.config.app(client_id, self.tenant).ok_or_else(|| self.unknown_app(client_id))
    }

    pub(super) fn unknown_app(&self, client_id: &str) -> EntraError {
        let message = format!(
            "Application with identifier '{client_id}' was not found in the directory '{}'. This can happen if the \
             application has not been installed by the administrator of the tenant or consented to by any user in \
             the tenant. You may have sent your authentication request to the wrong tenant.",
            self.tenant
        );
        Code::UNKNOWN_APP.because(message)
    }

    pub(super) fn is_adfs(&self) -> bool {
        self.tenant == ADFS
    }

    /// The URL that the request was sent to, for which an assertion must be meant
    pub(super) fn token_url(&self) -> String {
        format!("{}{}", self.call.origin, self.call.path)
    }

    /// The capabilities of the client: `xms_cc` in the claims of the request
    pub(super) fn capabilities(&self) -> Result<Vec<String>, EntraError> {
        let Some(claims) = self.field("claims") else {
            return Ok(Vec::new());
        };
        let claims: Value = serde_json::from_str(claims).map_err(|_| bad_claims())?;
        if !claims.is_object() {
            return Err(bad_claims());
        }
        let values = claims.pointer("/access_token/xms_cc/values").and_then(Value::as_array);
        Ok(values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
    }
}

fn tenant<'a>(platform: &'a Platform, call: &Call) -> Result<&'a str, EntraError> {
    let segments = call.segments();
    let asked = segments.first().copied().unwrap_or_default();
    // An AD FS has another path than a tenant of that name would have.
    let is_adfs = is_adfs(call);
    let known = platform.config.tenant_ids().find(|id| id.eq_ignore_ascii_case(asked));
    known
        .filter(|&id| (id == ADFS) == is_adfs)
        .ok_or_else(|| Code::UNKNOWN_TENANT.because(entra_error::unknown_tenant(asked)))
}

pub(super) fn is_adfs(call: &Call) -> bool {
    call.segments().len() == ADFS_SEGMENTS
}

fn duplicate(form: &[(String, String)]) -> Option<&str> {
    let mut seen = std::collections::BTreeSet::new();
    form.iter().map(|(name, _)| name.as_str()).find(|name| !seen.insert(*name))
}

fn bad_claims() -> EntraError {
    Code::BAD_REQUEST.because("The value of the parameter 'claims' is not valid JSON.")
}

/// `/adfs/oauth2/token`
const ADFS_SEGMENTS: usize = 3;
