//! The identity sources. Each is a file of its own with two pure functions, from a request to a call and from a response
//! to an answer; this file is what they have in common. `acquire/source_client.rs` holds the only loop around them.

pub(crate) mod app_service;
pub(crate) mod arc;
pub(crate) mod cloud_shell;
pub(crate) mod container_instances;
mod endpoint;
pub(crate) mod entra;
pub(crate) mod imds;
pub(crate) mod machine_learning;
pub mod names;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod service_error;
pub(crate) mod service_fabric;
mod source_error;
#[cfg(test)]
mod tests;
mod verify;

use std::rc::Rc;
use std::time::Duration;

pub(crate) use self::app_service::AppService;
pub(crate) use self::arc::Arc;
pub(crate) use self::cloud_shell::CloudShell;
pub(crate) use self::container_instances::ContainerInstances;
pub(crate) use self::endpoint::Endpoint;
pub(crate) use self::entra::{Certificate, Entra, MAX_PEM};
pub use self::imds::IMDS_URL;
pub(crate) use self::imds::Imds;
pub(crate) use self::machine_learning::MachineLearning;
pub(crate) use self::service_fabric::ServiceFabric;
pub(crate) use self::verify::{TokenCheck, verify};

use self::request::OutgoingRequest;
use self::response::{CallSummary, RoundTrip};
pub(crate) use self::source_error::{RetryClass, SourceError};
use crate::model::{Body, Error, Failure, Id, Identity, Secret, SendError, SendErrorKind, Token};
use crate::policy::{AdmittedRequest, CacheKey};
use crate::settings::variables::{CLIENT_SECRET, IDENTITY_HEADER, MSI_SECRET, TIMEOUT_MS};
use crate::settings::{Credential, SettingNames, Settings, is_quoted};
use crate::wire::{Field, redacted};

/// A place that gives tokens, ready to be asked.
#[derive(Debug)]
pub(crate) enum Source {
    Entra(Entra),
    ServiceFabric(ServiceFabric),
    ContainerInstances(ContainerInstances),
    AppService(AppService),
    MachineLearning(MachineLearning),
    CloudShell(CloudShell),
    Arc(Arc),
    Imds(Imds),
}

/// The set of sources is closed, so they are told apart by `match`: a trait object would make their answers boxes.
macro_rules! each {
    ($of:expr, $source:ident => $call:expr) => {
        match $of {
            Source::Entra($source) => $call,
            Source::ServiceFabric($source) => $call,
            Source::ContainerInstances($source) => $call,
            Source::AppService($source) => $call,
            Source::MachineLearning($source) => $call,
            Source::CloudShell($source) => $call,
            Source::Arc($source) => $call,
            Source::Imds($source) => $call,
        }
    };
}

/// What a source is called, and the variables that it looks at.
#[derive(Debug)]
pub(crate) struct SourceInfo {
    pub(crate) name: &'static str,
    /// The class of Azure's libraries that it is part of, as `AZURE_TOKEN_CREDENTIALS` names it.
    pub(crate) credential: Credential,
    /// It is here if all of them are set.
    pub(crate) needs: &'static [&'static str],
    pub(crate) takes: &'static [&'static str],
    /// Where to look when it does not answer as it should: the end of a sentence.
    pub(crate) health: fn(&SettingNames) -> String,
}

/// What one call is made of.
#[derive(Clone, Copy)]
pub(crate) struct SourceCall<'a> {
    pub(crate) request: &'a AdmittedRequest,
    /// What the asker proves itself with, where that is not part of the configuration.
    pub(crate) proof: Option<&'a Secret>,
    /// The token that is held, when claims say that it is of no use any more.
    pub(crate) refused: Option<&'a Token>,
    pub(crate) names: &'a SettingNames,
}

/// What a source needs before it can be called.
#[derive(Debug)]
pub(crate) enum Prerequisite<'a> {
    Nothing,
    /// The token in this file.
    TokenFile(&'a Entra, &'a str),
    /// An assertion signed with this certificate's key.
    Signature(&'a Entra, &'a Certificate),
    /// A managed identity's token.
    ManagedIdentity(&'a Rc<AdmittedRequest>),
    /// The knowledge that this file is there.
    Presence(&'static str),
}

/// Whether a source, by its name, speaks for one machine: all do but Entra.
pub(crate) fn is_of_the_machine(name: &str) -> bool {
    entra::SOURCES.iter().all(|source| source.name != name)
}

impl Source {
    pub(crate) fn asked<'a>(&'a self, ask: &SourceCall<'a>) -> CallSummary<'a> {
        each!(self, source => source.asked(ask))
    }

    /// Whether the source is one for this request.
    ///
    /// # Errors
    /// [`SourceError::Declined`] if another may be, [`Error::InvalidRequest`] if what is asked for does not exist here,
    /// [`Error::Misconfigured`] if the platform left out whom the source is for.
    pub(crate) fn takes(&self, ask: &SourceCall<'_>) -> Result<(), SourceError> {
        if let Self::Entra(entra) = self {
            return entra.takes(ask);
        }
        if ask.request.key().is_for_user() {
            return Err(SourceError::Failed(Error::invalid_request(
                "a managed identity cannot act on behalf of a user",
                format_args!(
                    "leave the user assertion out, or configure an app registration with {CLIENT_SECRET}, a certificate or a \
                     federated credential"
                ),
            )));
        }
        match self {
            Self::ServiceFabric(source) => source.takes(ask),
            Self::ContainerInstances(source) => source.takes(ask.request.key()),
            Self::MachineLearning(source) => source.takes(ask.request.key()),
            Self::CloudShell(source) => source.takes(ask.request.key()),
            Self::Entra(_) | Self::AppService(_) | Self::Arc(_) | Self::Imds(_) => Ok(()),
        }
    }

    pub(crate) fn need(&self) -> Prerequisite<'_> {
        match self {
            Self::Entra(entra) => entra.need(),
            Self::Arc(arc) => arc.need(),
            Self::ServiceFabric(_)
            | Self::ContainerInstances(_)
            | Self::AppService(_)
            | Self::MachineLearning(_)
            | Self::CloudShell(_)
            | Self::Imds(_) => Prerequisite::Nothing,
        }
    }

    pub(crate) fn call<'a>(&'a self, ask: &SourceCall<'a>) -> OutgoingRequest<'a> {
        each!(self, source => source.call(ask))
    }

    pub(crate) fn parse(
        &self,
        ask: &SourceCall<'_>,
        response: &http::Response<Body>,
        exchange: RoundTrip,
    ) -> Result<Token, SourceError> {
        let result = each!(self, source => source.parse(ask, response, exchange));
        match (result, self.quoted_secret()) {
            (Err(SourceError::Failed(Error::Rejected(failure))), Some(variable)) => {
                Err(SourceError::Failed(Error::Rejected(quoted(failure, ask.names.of(variable)))))
            }
            (result, _) => result,
        }
    }

    /// The variable of its secret, if that has quotes around it.
    fn quoted_secret(&self) -> Option<&'static str> {
        let (variable, secret) = match self {
            Self::Entra(source) => source.secret()?,
            Self::ServiceFabric(source) => (IDENTITY_HEADER, source.secret()?),
            Self::ContainerInstances(source) => (IDENTITY_HEADER, source.secret()?),
            Self::AppService(source) => (IDENTITY_HEADER, source.secret()?),
            Self::MachineLearning(source) => (MSI_SECRET, source.secret()?),
            Self::CloudShell(_) | Self::Arc(_) | Self::Imds(_) => return None,
        };
        is_quoted(secret).then_some(variable)
    }

    /// What it means that there is no HTTP answer. `patient`: the source is known to be here.
    pub(crate) fn unanswered(&self, ask: &SourceCall<'_>, error: &SendError, patient: bool) -> SourceError {
        let asked = self.asked(ask);
        let detail = redacted(&error.detail, &asked.secrets);
        let again = |what: &str| {
            let remedy = Some(unreached(&asked, error.kind));
            let failure = Failure { remedy, ..asked.failure(&format!("{what}: {detail}")) };
            SourceError::Retry(failure, RetryClass::Busy)
        };
        match error.kind {
            SendErrorKind::NotConnected if self.may_be_absent() && !patient => {
                SourceError::Absent(imds::absent(&asked, &format!("got no connection: {detail}")))
            }
            SendErrorKind::NotConnected => again("got no connection"),
            SendErrorKind::TimedOut => again("got no answer in time"),
            SendErrorKind::Broken => again("lost the connection"),
            SendErrorKind::Untrusted => untrusted(&asked, &detail, self.trusted_by()),
            SendErrorKind::Truncated => {
                asked.incomplete(None, &format!("got an answer without its end: {detail}"))
            }
            SendErrorKind::TooLarge => {
                asked.protocol(None, &format!("got an answer of more than {MAX_BODY} bytes"))
            }
            SendErrorKind::Unsendable => SourceError::Failed(Error::Other(format!(
                "the host cannot make the request to {}: {detail}; fix: report it, with the host and its version",
                asked.endpoint
            ))),
            SendErrorKind::Forbidden => SourceError::Failed(Error::misconfigured(
                format_args!("the host does not let the broker send to {}: {detail}", asked.endpoint),
                "allow that address: by `allowed_outbound_hosts` in Spin, by a cluster of the filter in Envoy",
            )),
        }
    }

    /// Whether nothing but an answer shows that the source is here. An endpoint that the configuration names is: it may
    /// not be up yet.
    fn may_be_absent(&self) -> bool {
        matches!(self, Self::Imds(imds) if !imds.is_named())
    }

    /// What to do about a certificate that is not trusted.
    fn trusted_by(&self) -> &'static str {
        match self {
            Self::ServiceFabric(_) => {
                "restart the application: IDENTITY_SERVER_THUMBPRINT is renewed with the cluster's certificate"
            }
            _ => {
                "see which certificate is there, `openssl s_client -connect <host>:443`; one of a private authority is \
                 trusted if the host is given that authority, the command by SSL_CERT_FILE"
            }
        }
    }

    /// How long a connection may take to be made, within `total`.
    pub(crate) fn connect_limit(&self, total: Duration) -> Duration {
        if matches!(self, Self::Imds(_)) { imds::CONNECT_LIMIT.min(total) } else { total }
    }
}

fn unreached(asked: &CallSummary<'_>, kind: SendErrorKind) -> String {
    let limit = match kind {
        SendErrorKind::TimedOut => format!("; {} is how long a try may take", asked.names.of(TIMEOUT_MS)),
        _ => String::new(),
    };
    format!("check that the broker's host reaches {}; {}{limit}", asked.endpoint, asked.health())
}

/// No other try makes a certificate better, and whoever shows it may be somebody else.
fn untrusted(asked: &CallSummary<'_>, detail: &str, remedy: &str) -> SourceError {
    let failure = asked.failure(&format!("did not trust its certificate: {detail}; nothing was sent"));
    SourceError::Failed(Error::Protocol(Failure { remedy: Some(remedy.to_owned()), ..failure }))
}

/// A refusal whose most likely cause is that a secret was sent with the quotes of an env file.
fn quoted(failure: Failure, variable: &str) -> Failure {
    let mut remedy = format!(
        "{variable} has quotes around it, which were sent as a part of it: leave them out, as `docker --env-file` and \
         systemd's EnvironmentFile differ in whether they do"
    );
    if let Some(other) = &failure.remedy {
        remedy = format!("{remedy}; else {other}");
    }
    Failure { remedy: Some(remedy), ..failure }
}

/// The parameter that names a user-assigned identity; `resource_id` is what the endpoint calls a resource id.
fn identity_parameter<'a>(identity: &'a Identity, resource_id: &'static str) -> Option<Field<'a>> {
    match identity {
        Identity::Default | Identity::SystemAssigned => None,
        Identity::ClientId(id) => Some(("client_id", id.as_str().into())),
        Identity::ObjectId(id) => Some(("object_id", id.as_str().into())),
        Identity::ResourceId(id) => Some((resource_id, id.as_str().into())),
    }
}

/// # Errors
/// [`Error::InvalidRequest`] if a user-assigned identity is asked for where there is none.
fn only_its_own_identity(key: &CacheKey, place: &str, remedy: &str) -> Result<(), SourceError> {
    if key.identity().id().is_none() {
        return Ok(());
    }
    let identity = key.identity();
    let what = format_args!("{place} has one identity of its own and cannot be asked for {identity}");
    Err(SourceError::Failed(Error::invalid_request(what, remedy)))
}

/// # Errors
/// [`Error::Misconfigured`] if no header can carry the value of a variable.
fn secret_header(variable: &str, value: &str) -> Result<http::HeaderValue, Error> {
    // A header's value has no white space around it (RFC 9110, 5.5).
    match http::HeaderValue::from_str(value) {
        Ok(mut secret) if value.trim() == value => {
            secret.set_sensitive(true);
            Ok(secret)
        }
        _ => Err(Error::misconfigured(
            format_args!(
                "{variable} has a character that no header can carry, or a space at its beginning or end"
            ),
            "pass it on as the platform sets it",
        )),
    }
}

/// What to do about a 405: who answers takes another method or path.
fn not_the_endpoint(variable: &str) -> String {
    format!(
        "{variable} does not name an endpoint for tokens: pass it on as the platform set it, path and all"
    )
}

/// # Errors
/// [`Error::Misconfigured`]: one variable of a pair says that the other is missing.
fn half(settings: &Settings, set: &str, missing: &str) -> Error {
    let (set, missing) = (settings.name(set), settings.name(missing));
    Error::misconfigured(
        format_args!("{set} is set and {missing} is not"),
        "the platform sets both: pass both on, or neither",
    )
}

/// An id as it may stand in a command that an operator copies: a consumer's text is not pasted into a shell.
pub(crate) fn in_a_command(id: &Id) -> &str {
    let (text, plain) = (id.as_str(), |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-');
    if text.bytes().all(plain) && !text.starts_with('-') { text } else { "<id>" }
}

/// Four times the largest token that Entra issues, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;
