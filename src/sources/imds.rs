//! The Instance Metadata Service of virtual machines, scale sets, AKS nodes and Linux container instances.
//!
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>

use std::time::Duration;

use http::HeaderValue;

use secrecy::ExposeSecret as _;

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal, RoundTrip};
use super::service_error::Form;
use super::{
    Endpoint, RetryClass, SourceCall, SourceError, SourceInfo, identity_parameter, in_a_command, response,
};
use crate::model::{Body, Error, Failure, Identity, Token};
use crate::settings::variables::{CLIENT_ID, POD_IDENTITY_HOST, TOKEN_CREDENTIALS};
use crate::settings::{Credential, Settings};

/// IMDS at the address that every Azure machine has, or where `AZURE_POD_IDENTITY_AUTHORITY_HOST` says.
#[derive(Debug)]
pub(crate) struct Imds {
    endpoint: Endpoint,
    /// Whether the configuration says that it is there.
    is_named: bool,
}

pub(crate) const SOURCE: SourceInfo = SourceInfo {
    name: "imds",
    credential: Credential::ManagedIdentity,
    needs: &[],
    takes: &[POD_IDENTITY_HOST, CLIENT_ID, TOKEN_CREDENTIALS],
    health: |names| {
        format!(
            "check that this machine reaches IMDS directly, without a proxy, a firewall or a network policy between; {} moves \
             the address that is asked",
            names.of(POD_IDENTITY_HOST)
        )
    },
};

/// The URL of IMDS, the same on every Azure machine.
pub const IMDS_URL: &str = "http://169.254.169.254";

/// A machine without IMDS shows it by not connecting; one with it connects at once, however slow its answer is.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(1);

impl Imds {
    /// The endpoint, which every machine may have.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] as [`Endpoint::parse`].
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        let named = settings.get(POD_IDENTITY_HOST);
        let base = named.unwrap_or(IMDS_URL);
        let endpoint = Endpoint::parse(settings, POD_IDENTITY_HOST, base)?.join(PATH);
        Ok(Some(Self { endpoint, is_named: named.is_some() }))
    }

    pub(crate) fn is_named(&self) -> bool {
        self.is_named
    }

    pub(crate) fn asked<'a>(&'a self, ask: &SourceCall<'a>) -> CallSummary<'a> {
        CallSummary::new(&SOURCE, self.endpoint.as_str(), ask, None)
    }

    pub(crate) fn call<'a>(&'a self, ask: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let key = ask.request.key();
        let mut query = vec![("api-version", "2018-02-01".into()), ("resource", key.audience().into())];
        query.extend(identity_parameter(key.identity(), "msi_res_id"));
        OutgoingRequest::get(self.endpoint.with_query(&query))
            .header("metadata", HeaderValue::from_static("true"))
    }

    pub(crate) fn parse(
        &self,
        ask: &SourceCall<'_>,
        response: &http::Response<Body>,
        exchange: RoundTrip,
    ) -> Result<Token, SourceError> {
        let asked = self.asked(ask);
        let status = response.status().as_u16();
        let is_empty = response.body().expose_secret().is_empty();
        if status == 200 && !is_empty && !response::is_labelled_json(response) && !response::is_json(response)
        {
            return Err(SourceError::Absent(absent(
                &asked,
                "got 200 with a body that is not JSON: something else answers there",
            )));
        }
        response::read(&asked, response, exchange, |refusal| refused(&asked, refusal))
    }
}

fn refused(asked: &CallSummary<'_>, refusal: Refusal<'_>) -> SourceError {
    let (key, status) = (asked.key, refusal.status);
    if status == 403 && refusal.says("unreachable") {
        // What Docker Desktop answers in the place of IMDS.
        return SourceError::Absent(absent(asked, "got 403: a proxy cannot reach it"));
    }
    if status < 500 && status != 429 && refusal.form() == Form::Markup {
        // The metadata service of another cloud, or a proxy's page.
        return SourceError::Absent(absent(
            asked,
            &format!("got {status} with a web page: something else answers there"),
        ));
    }
    let has_no_identity = IDENTITY_MISSING.iter().any(|words| refusal.says(words));
    let declines = has_no_identity && matches!(status, 400 | 404) && key.identity().id().is_none();
    let refusal = if has_no_identity { refusal.not_found_is_final() } else { refusal };
    match refusal.error(|refusal| remedy(asked, refusal)) {
        SourceError::Failed(Error::Rejected(failure)) if declines => SourceError::Declined(failure),
        SourceError::Retry(failure, _) if status == 410 => SourceError::Retry(failure, RetryClass::Upgrading),
        other => other,
    }
}

/// The failure of an IMDS that is not there.
pub(crate) fn absent(asked: &CallSummary<'_>, came_back: &str) -> Failure {
    let remedy = "run this on an Azure VM, or configure the identity that this platform has; \
                  `token-broker explain` shows what is looked for";
    Failure { remedy: Some(remedy.to_owned()), ..asked.failure(came_back) }
}

fn remedy(asked: &CallSummary<'_>, refusal: &Refusal<'_>) -> String {
    let (key, client_id, health) = (asked.key, refusal.setting(CLIENT_ID), asked.health());
    let property = match key.identity() {
        Identity::Default | Identity::SystemAssigned => None,
        Identity::ClientId(id) => Some(("clientId", in_a_command(id))),
        Identity::ObjectId(id) => Some(("principalId", in_a_command(id))),
        Identity::ResourceId(id) => Some(("id", in_a_command(id))),
    };
    let has_no_identity = IDENTITY_MISSING.iter().any(|words| refusal.says(words));
    match property {
        _ if refusal.says("multiple user assigned identities") => format!(
            "name the one to use: set {client_id} to the clientId that \
             `az vm identity show -g <group> -n <vm>` lists"
        ),
        _ if refusal.says("resource principal") || refusal.says("invalid_resource") => format!(
            "check the audience {}: no such application is known in the tenant; it is spelled as the service's \
             documentation says, and some end with a slash",
            key.audience()
        ),
        _ if refusal.says("metadata header") => {
            format!("see which proxy drops the header `Metadata: true` that the broker sends; {health}")
        }
        _ if refusal.form() == Form::PlainText && !has_no_identity => format!(
            "see what answers in the place of IMDS, which itself refuses in JSON: a proxy, or on AKS the retired pod \
             identity (`kubectl get azureidentitybinding -A`), after which comes workload identity; {health}"
        ),
        _ if refusal.status != 400 && !has_no_identity => {
            format!("see what stands between this machine and IMDS, which itself refuses with 400; {health}")
        }
        Some((property, id)) => format!(
            "assign the identity to this machine, `az vm identity assign -g <group> -n <vm> --identities \
             <resource id>`, where `az identity list --query \"[?{property}=='{id}'].id\"` finds it; or correct the id \
             in the request or in {client_id}"
        ),
        None => format!(
            "give this machine an identity: `az vm identity assign -g <group> -n <vm>` (a container group: \
             `az container create --assign-identity`), or name a user-assigned one in {client_id}"
        ),
    }
}

/// What IMDS and the endpoints in its place say where an identity is not assigned, in lower case.
const IDENTITY_MISSING: [&str; 2] = ["identity not found", "defaultidentitynotdefined"];

const PATH: &str = "/metadata/identity/oauth2/token";
