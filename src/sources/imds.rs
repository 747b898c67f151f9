//! The Instance Metadata Service of virtual machines, scale sets, AKS nodes and Linux container instances.
//!
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderValue;

use secrecy::ExposeSecret as _;

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal, RoundTrip};
use super::service_error::Form;
use super::{
    Endpoint, Protocol, RetryClass, Role, Source, SourceCall, SourceError, SourceInfo, for_command,
    identity_parameter, response,
};
use crate::model::{Body, Error, Failure, Identity, Token};
use crate::policy::CacheKey;
use crate::settings::variables::{CLIENT_ID, POD_IDENTITY_HOST, TOKEN_CREDENTIALS};
use crate::settings::{Credential, Settings};

/// IMDS at its link-local address, or at that of `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
#[derive(Debug)]
pub(crate) struct Imds {
    endpoint: Endpoint,
    /// Whether the configuration names the endpoint.
    is_named: bool,
}

pub(crate) const SOURCE: SourceInfo = SourceInfo {
    name: "imds",
    credential: Credential::ManagedIdentity,
    role: Role::Machine,
    required: &[],
    optional: &[POD_IDENTITY_HOST, CLIENT_ID, TOKEN_CREDENTIALS],
    detect: |settings| Ok(Imds::detect(settings)?.map(Source::Imds)),
    health: |names| {
        format!(
            "check that this machine reaches IMDS directly, without a proxy, a firewall or a network policy; {} changes the \
             address",
            names.of(POD_IDENTITY_HOST)
        )
    },
};

/// The URL of IMDS, the same on every Azure machine.
pub const IMDS_URL: &str = "http://169.254.169.254";

/// The time to establish a connection. IMDS accepts connections at once, however slow its answers are, so a longer wait
/// only delays a machine without IMDS.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(1);

impl Imds {
    /// The endpoint of the settings, or the default one.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] as [`Endpoint::parse`].
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        let named = settings.get(POD_IDENTITY_HOST);
        let base = named.unwrap_or(IMDS_URL);
        let endpoint = Endpoint::parse(settings, POD_IDENTITY_HOST, base)?.join(PATH);
        Ok(Some(Self { endpoint, is_named: named.is_some() }))
    }
}

impl Protocol for Imds {
    fn info(&self) -> &'static SourceInfo {
        &SOURCE
    }

    fn url(&self, _: &CacheKey) -> Cow<'_, str> {
        self.endpoint.as_str().into()
    }

    fn may_be_absent(&self) -> bool {
        !self.is_named
    }

    fn absent_remedy(&self) -> &'static str {
        ABSENT
    }

    fn connect_limit(&self) -> Duration {
        CONNECT_LIMIT
    }

    fn request<'a>(&'a self, call: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let key = call.request.key();
        let mut query = vec![("api-version", "2018-02-01".into()), ("resource", key.audience().into())];
        query.extend(identity_parameter(key.identity(), "msi_res_id"));
        OutgoingRequest::get(self.endpoint.with_query(&query))
            .header("metadata", HeaderValue::from_static("true"))
    }

    fn refused(&self, summary: &CallSummary<'_>, refusal: Refusal<'_>) -> SourceError {
        let (key, status) = (summary.key, refusal.status);
        if status == 403 && refusal.mentions("unreachable") {
            // Docker Desktop answers so.
            return SourceError::Absent(absent(summary, "got 403: a proxy cannot reach it"));
        }
        if status < 500 && status != 429 && refusal.form() == Form::Markup {
            // The metadata service of another cloud, or a proxy.
            return SourceError::Absent(absent(
                summary,
                &format!("got {status} with a web page, so it is not IMDS"),
            ));
        }
        let has_no_identity = IDENTITY_MISSING.iter().any(|words| refusal.mentions(words));
        let declines = has_no_identity && matches!(status, 400 | 404) && key.identity().id().is_none();
        let refusal = if has_no_identity { refusal.not_found_is_final() } else { refusal };
        match refusal.error(|refusal| remedy(summary, refusal)) {
            SourceError::Failed(Error::Rejected(failure)) if declines => SourceError::Declined(failure),
            SourceError::Retry(failure, _) if status == 410 => {
                SourceError::Retry(failure, RetryClass::Upgrading)
            }
            other => other,
        }
    }

    fn read(
        &self,
        _: &SourceCall<'_>,
        summary: &CallSummary<'_>,
        response: &http::Response<Body>,
        round_trip: RoundTrip,
    ) -> Result<Token, SourceError> {
        let status = response.status().as_u16();
        let is_empty = response.body().expose_secret().is_empty();
        if status == 200 && !is_empty && !response::is_labelled_json(response) && !response::is_json(response)
        {
            return Err(SourceError::Absent(absent(
                summary,
                "got 200 with a body that is not JSON, so it is not IMDS",
            )));
        }
        response::read(summary, response, round_trip, &|refusal| self.refused(summary, refusal))
    }
}

fn absent(summary: &CallSummary<'_>, answer: &str) -> Failure {
    super::absent(summary, answer, ABSENT)
}

fn remedy(summary: &CallSummary<'_>, refusal: &Refusal<'_>) -> String {
    let (key, client_id, health) = (summary.key, refusal.setting(CLIENT_ID), summary.health());
    let property = match key.identity() {
        Identity::Default | Identity::SystemAssigned => None,
        Identity::ClientId(id) => Some(("clientId", for_command(id))),
        Identity::ObjectId(id) => Some(("principalId", for_command(id))),
        Identity::ResourceId(id) => Some(("id", for_command(id))),
    };
    let has_no_identity = IDENTITY_MISSING.iter().any(|words| refusal.mentions(words));
    match property {
        _ if refusal.mentions("multiple user assigned identities") => format!(
            "name the one to use: set {client_id} to the clientId that \
             `az vm identity show -g <group> -n <vm>` lists"
        ),
        _ if refusal.mentions("resource principal") || refusal.mentions("invalid_resource") => format!(
            "check the audience {}: the tenant has no such application; use the exact audience of the service's \
             documentation, in some cases with a trailing slash",
            key.audience()
        ),
        _ if refusal.mentions("metadata header") => {
            format!("find the proxy that removes the header `Metadata: true`; {health}")
        }
        _ if refusal.form() == Form::PlainText && !has_no_identity => format!(
            "check which server answers instead of IMDS, whose errors are JSON: a proxy, or on AKS the retired pod identity \
             (`kubectl get azureidentitybinding -A`), which workload identity replaces; {health}"
        ),
        _ if refusal.status != 400 && !has_no_identity => {
            format!(
                "check for a proxy between this machine and IMDS, which itself refuses with 400; {health}"
            )
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

/// The texts, in lower case, with which IMDS and compatible endpoints answer if an identity is not assigned.
const IDENTITY_MISSING: [&str; 2] = ["identity not found", "defaultidentitynotdefined"];

const ABSENT: &str = "run this on an Azure VM, or configure this platform's identity; `token-broker explain` shows the \
                      variables";

const PATH: &str = "/metadata/identity/oauth2/token";
