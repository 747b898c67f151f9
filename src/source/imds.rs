//! The Instance Metadata Service of virtual machines, scale sets, AKS nodes and Linux container instances.
//!
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>

use std::time::Duration;

use http::HeaderValue;
use secrecy::ExposeSecret as _;

use crate::answer::{self, Answer, Asked, Exchange};
use crate::call::Call;
use crate::config::{CLIENT_ID, POD_IDENTITY_HOST, Settings, TOKEN_CREDENTIALS};
use crate::endpoint::Endpoint;
use crate::error::{Error, Failure};
use crate::host::Body;
use crate::policy::Key;
use crate::request::Identity;
use crate::retry::Class;
use crate::source::{About, Ask, Credential, identity_parameter, in_a_command};

/// IMDS at the address that every Azure machine has, or where `AZURE_POD_IDENTITY_AUTHORITY_HOST` says.
#[derive(Debug)]
pub(crate) struct Imds {
    endpoint: Endpoint,
    /// Whether the configuration says that it is there.
    is_named: bool,
}

pub(crate) const SOURCE: About = About {
    name: "imds",
    credential: Credential::ManagedIdentity,
    needs: &[],
    takes: &[POD_IDENTITY_HOST, CLIENT_ID, TOKEN_CREDENTIALS],
};

/// A machine without IMDS shows it by not connecting; one with it connects at once, however slow its answer is.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(1);

impl Imds {
    /// The endpoint, which every machine may have.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] as [`Endpoint::parse`].
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        let named = settings.get(POD_IDENTITY_HOST);
        let base = named.unwrap_or("http://169.254.169.254");
        let endpoint = Endpoint::parse(settings, POD_IDENTITY_HOST, base)?.join(PATH);
        Ok(Some(Self { endpoint, is_named: named.is_some() }))
    }

    pub(crate) fn is_named(&self) -> bool {
        self.is_named
    }

    pub(crate) fn asked<'a>(&'a self, ask: &Ask<'a>) -> Asked<'a> {
        Asked::new(SOURCE.name, self.endpoint.as_str(), ask, None)
    }

    pub(crate) fn call<'a>(&'a self, ask: &Ask<'a>) -> Call<'a> {
        let key = ask.demand.key();
        let mut query = vec![("api-version", "2018-02-01".into()), ("resource", key.audience().into())];
        query.extend(identity_parameter(key.identity(), "msi_res_id"));
        Call::get(self.endpoint.with_query(&query)).header("metadata", HeaderValue::from_static("true"))
    }

    pub(crate) fn parse(&self, ask: &Ask<'_>, response: &http::Response<Body>, exchange: Exchange) -> Answer {
        let asked = self.asked(ask);
        let status = response.status().as_u16();
        if status == 403 && says(response, "unreachable") {
            // What Docker Desktop answers in the place of IMDS.
            return Answer::Absent(absent(&asked, "got 403: a proxy cannot reach it"));
        }
        let is_empty = response.body().expose_secret().is_empty();
        if status == 200 && !is_empty && !answer::is_labelled_json(response) && !answer::is_json(response) {
            return Answer::Absent(absent(
                &asked,
                "got 200 with a body that is not JSON: something else answers there",
            ));
        }
        match answer::read(&asked, response, exchange) {
            Answer::Again(failure, _) if status == 410 => Answer::Again(failure, Class::Upgrading),
            Answer::Final(Error::Rejected(failure)) => refused(ask.demand.key(), response, failure),
            other => other,
        }
    }
}

fn refused(key: &Key, response: &http::Response<Body>, failure: Failure) -> Answer {
    let failure = Failure { remedy: Some(remedy(key, response)), ..failure };
    let none_asked_for = key.identity().id().is_none();
    if failure.status == Some(400) && none_asked_for && says(response, "identity not found") {
        Answer::Declined(failure)
    } else {
        Answer::Final(Error::Rejected(failure))
    }
}

/// The failure of an IMDS that is not there.
pub(crate) fn absent(asked: &Asked<'_>, came_back: &str) -> Failure {
    let remedy = "run this on an Azure VM, or configure the identity that this platform has; \
                  `token-broker explain` shows what is looked for";
    Failure { remedy: Some(remedy.to_owned()), ..asked.failure(came_back) }
}

fn remedy(key: &Key, response: &http::Response<Body>) -> String {
    let property = match key.identity() {
        Identity::Default | Identity::SystemAssigned => None,
        Identity::ClientId(id) => Some(("clientId", in_a_command(id))),
        Identity::ObjectId(id) => Some(("principalId", in_a_command(id))),
        Identity::ResourceId(id) => Some(("id", in_a_command(id))),
    };
    match property {
        _ if response.status().as_u16() != 400 => format!(
            "see what stands between this machine and IMDS, which itself refuses with 400: a proxy, a firewall or a \
             network policy of the cluster; {POD_IDENTITY_HOST} moves the address that is asked"
        ),
        _ if says(response, "multiple user assigned identities") => format!(
            "name the one to use: set {CLIENT_ID} to the clientId that \
             `az vm identity show -g <group> -n <vm>` lists"
        ),
        _ if says(response, "resource principal") || says(response, "invalid_resource") => format!(
            "check the audience {}: no such application is known in the tenant; it is spelled as the service's \
             documentation says, and some end with a slash",
            key.audience()
        ),
        Some((property, id)) => format!(
            "assign the identity to this machine, `az vm identity assign -g <group> -n <vm> --identities \
             <resource id>`, where `az identity list --query \"[?{property}=='{id}'].id\"` finds it; or correct the id \
             in the request or in {CLIENT_ID}"
        ),
        None => format!(
            "give this machine an identity: `az vm identity assign -g <group> -n <vm>`, \
             or name a user-assigned one in {CLIENT_ID}"
        ),
    }
}

/// Whether a body holds a text, in any case. What it holds besides is not looked at.
fn says(response: &http::Response<Body>, text: &str) -> bool {
    let body = response.body().expose_secret();
    body.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()))
}

const PATH: &str = "/metadata/identity/oauth2/token";
