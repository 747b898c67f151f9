//! The options of a request for a token.

use clap::Args as ClapArgs;
use token_broker::wire::from_base64url;
use token_broker_host::{Error, Identity, RawRequest};

#[derive(Debug, ClapArgs)]
pub(crate) struct RequestOptions {
    #[command(flatten)]
    identity: IdentityOptions,
    /// Tenant of the token, an id or a domain, instead of AZURE_TENANT_ID; for app registrations
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Claims of a challenge: the value of `claims` in WWW-Authenticate as it is, or the JSON in it
    #[arg(long, value_name = "CLAIMS")]
    claims: Option<String>,
    /// Ask for a token that can be revoked before it expires (continuous access evaluation)
    #[arg(long)]
    cae: bool,
}

/// The identity of the token. Default: the one that TOKEN_BROKER_FEDERATED_CLIENT_ID names, else AZURE_CLIENT_ID, else
/// the system-assigned one.
#[derive(Debug, ClapArgs)]
#[group(multiple = false)]
struct IdentityOptions {
    /// The system-assigned identity, also where AZURE_CLIENT_ID is set
    #[arg(long)]
    system_assigned: bool,
    /// Client id (a GUID) of a user-assigned identity
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Object id (a GUID) of a user-assigned identity
    #[arg(long, value_name = "ID")]
    object_id: Option<String>,
    /// Resource id (/subscriptions/...) of a user-assigned identity
    #[arg(long, value_name = "ID")]
    resource_id: Option<String>,
}

impl RequestOptions {
    /// # Errors
    /// The id or the claims are malformed.
    pub(crate) fn request(&self, scope: &str) -> Result<RawRequest, Error> {
        Ok(RawRequest {
            scopes: vec![scope.to_owned()],
            identity: self.identity.identity()?,
            tenant_id: self.tenant.clone(),
            claims: self.claims.as_deref().map(decoded).transpose()?,
            enable_cae: self.cae,
            ..RawRequest::default()
        })
    }
}

impl IdentityOptions {
    fn identity(&self) -> Result<Identity, Error> {
        match (&self.client_id, &self.object_id, &self.resource_id) {
            (Some(id), _, _) => Identity::client_id(id),
            (_, Some(id), _) => Identity::object_id(id),
            (_, _, Some(id)) => Identity::resource_id(id),
            (None, None, None) if self.system_assigned => Ok(Identity::SystemAssigned),
            (None, None, None) => Ok(Identity::Default),
        }
    }
}

/// Claims as JSON. A challenge has them in base64, of either alphabet, with or without padding.
fn decoded(claims: &str) -> Result<String, Error> {
    let claims = claims.trim();
    if claims.starts_with('{') {
        return Ok(claims.to_owned());
    }
    let json = from_base64url(&claims.replace('+', "-").replace('/', "_"));
    let json = json.and_then(|json| String::from_utf8(json).ok()).filter(|json| json.starts_with('{'));
    json.ok_or_else(|| {
        let fix = "pass on the value of `claims` in the challenge, or the JSON object in it";
        Error::invalid_request("--claims is neither a JSON object nor base64 of one", fix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_taken_as_json_and_in_every_base64() {
        let json = r#"{"access_token":{"nbf":{"essential":true,"value":"1?>"}}}"#;
        let padded = "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxPz4ifX19";
        for claims in [json, padded, &format!(" {json}\n")] {
            assert_eq!(decoded(claims).unwrap(), json, "{claims}");
        }
        assert_eq!((decoded("e30=").unwrap(), decoded("e30").unwrap()), ("{}".to_owned(), "{}".to_owned()));
        for wrong in ["", "no claims", "/w==", "[]", "W10"] {
            assert_eq!(decoded(wrong).map_err(|error| error.kind()), Err("invalid-request"), "{wrong}");
        }
    }
}
