//! The identity sources: a file each, which implements [`Protocol`], and a line in the list below. The only loop around
//! them is in `acquire/source_client.rs`.

pub(crate) mod app_service;
pub(crate) mod arc;
mod assertion;
pub(crate) mod cloud_shell;
pub(crate) mod container_instances;
mod endpoint;
pub(crate) mod entra;
pub(crate) mod imds;
mod issuer;
pub(crate) mod machine_learning;
pub mod names;
mod protocol;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod service_error;
pub(crate) mod service_fabric;
mod source_error;
#[cfg(test)]
mod tests;
mod verify;

use std::ops::Deref;
use std::rc::Rc;

use self::app_service::AppService;
use self::arc::Arc;
pub(crate) use self::assertion::Assertion;
use self::cloud_shell::CloudShell;
use self::container_instances::ContainerInstances;
pub(crate) use self::endpoint::Endpoint;
pub(crate) use self::entra::{Certificate, Entra, MAX_PEM};
pub use self::imds::IMDS_URL;
pub(crate) use self::imds::{CONNECT_LIMIT, Imds};
use self::issuer::Issuer;
use self::machine_learning::MachineLearning;
pub(crate) use self::protocol::Protocol;
use self::response::{CallSummary, RoundTrip};
use self::service_fabric::ServiceFabric;
pub(crate) use self::source_error::{RetryClass, SourceError};
pub(crate) use self::verify::{TokenCheck, verify};
use crate::model::{Body, Error, Failure, Id, Identity, Secret, SendError, SendErrorKind, Token};
use crate::policy::{AdmittedRequest, CacheKey, Purpose};
use crate::settings::variables::{CLIENT_SECRET, TIMEOUT_MS};
use crate::settings::{Credential, SettingNames, Settings, is_quoted};
use crate::wire::{Field, redacted};

/// Defines [`Source`] and [`SOURCES`] from one list, so that no source can be missing in the chain.
macro_rules! sources {
    ($($kind:ident: $infos:expr;)+) => {
        /// A configured source.
        #[derive(Debug)]
        pub(crate) enum Source {
            $($kind($kind),)+
        }

        /// The sources in the order in which they are tried.
        pub(crate) const SOURCES: &[&[&SourceInfo]] = &[$($infos,)+];

        impl Deref for Source {
            type Target = dyn Protocol;

            fn deref(&self) -> &Self::Target {
                match self {
                    $(Self::$kind(source) => source,)+
                }
            }
        }
    };
}

sources! {
    Entra: &entra::SOURCES;
    Issuer: &[&issuer::SOURCE];
    ServiceFabric: &[&service_fabric::SOURCE];
    ContainerInstances: &[&container_instances::SOURCE];
    AppService: &[&app_service::SOURCE];
    MachineLearning: &[&machine_learning::SOURCE];
    CloudShell: &[&cloud_shell::SOURCE];
    Arc: &[&arc::SOURCE];
    Imds: &[&imds::SOURCE];
}

/// The description of a source.
#[derive(Debug)]
pub(crate) struct SourceInfo {
    pub(crate) name: &'static str,
    /// The credential class of Azure's libraries to which it belongs, as in `AZURE_TOKEN_CREDENTIALS`.
    pub(crate) credential: Credential,
    pub(crate) role: Role,
    /// The variables without which it is not configured.
    pub(crate) required: &'static [&'static str],
    /// The other variables that it reads.
    pub(crate) optional: &'static [&'static str],
    /// The source of the settings, if they configure it.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for invalid settings.
    pub(crate) detect: fn(&Settings) -> Result<Option<Source>, Error>,
    /// The advice for a source that does not answer as expected, as the end of a sentence.
    pub(crate) health: fn(&SettingNames) -> String,
}

/// The requests that a source serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has tokens of app registrations.
    App,
    /// It has tokens of the identities of this machine, for consumers and as client assertions of app registrations.
    Machine,
    /// It has client assertions only.
    Issuer,
}

impl Role {
    pub(crate) fn serves(self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Consumer => self != Self::Issuer,
            Purpose::IdentityAssertion => self == Self::Machine,
            Purpose::IssuerAssertion => self == Self::Issuer,
        }
    }
}

/// One call of a source.
#[derive(Clone, Copy)]
pub(crate) struct SourceCall<'a> {
    pub(crate) request: &'a AdmittedRequest,
    /// The credential that was obtained for the call: a client assertion, or the key of Arc's agent.
    pub(crate) credential: Option<&'a Secret>,
    /// The cached token, if claims tell that it was refused.
    pub(crate) refused: Option<&'a Token>,
    pub(crate) names: &'a SettingNames,
}

/// The prerequisite of a call.
#[derive(Debug)]
pub(crate) enum Prerequisite<'a> {
    Nothing,
    /// The token in this file.
    TokenFile(&'a Entra, &'a str),
    /// The token of this variable.
    Variable(&'a Entra, &'a Assertion),
    /// An assertion signed with this certificate's key.
    Signature(&'a Entra, &'a Certificate),
    /// The token of another source.
    Token(&'a Rc<AdmittedRequest>),
    /// The existence of this file.
    Presence(&'static str),
}

/// Whether a source answers for one machine only: all but Entra do.
pub(crate) fn is_machine_local(name: &str) -> bool {
    entra::SOURCES.iter().all(|source| source.name != name)
}

impl Source {
    /// Checks that the source serves a request.
    ///
    /// # Errors
    /// As [`Protocol::check`], and [`Error::InvalidRequest`] for a token on behalf of a user.
    pub(crate) fn accepts(&self, call: &SourceCall<'_>) -> Result<(), SourceError> {
        if call.request.key().is_for_user() && !self.serves_users() {
            return Err(SourceError::Failed(Error::invalid_request(
                "a managed identity cannot act on behalf of a user",
                format_args!(
                    "omit the user assertion, or configure an app registration with {CLIENT_SECRET}, a certificate or a \
                     federated credential"
                ),
            )));
        }
        self.check(call)
    }

    /// Reads a response.
    ///
    /// # Errors
    /// A [`SourceError`] if it has no token.
    pub(crate) fn parse(
        &self,
        call: &SourceCall<'_>,
        response: &http::Response<Body>,
        round_trip: RoundTrip,
    ) -> Result<Token, SourceError> {
        let summary = self.summary(call);
        match (self.read(call, &summary, response, round_trip), self.quoted_secret()) {
            (Err(SourceError::Failed(Error::Rejected(failure))), Some(variable)) => {
                Err(SourceError::Failed(Error::Rejected(with_quotes(failure, call.names.of(variable)))))
            }
            (result, _) => result,
        }
    }

    /// The variable of the source's secret, if the secret is enclosed in quotes.
    fn quoted_secret(&self) -> Option<&'static str> {
        self.secret().filter(|(_, secret)| is_quoted(secret)).map(|(variable, _)| variable)
    }

    /// The error for a request without a response. `is_present`: the source is known to be on this machine.
    pub(crate) fn send_failed(
        &self,
        call: &SourceCall<'_>,
        error: &SendError,
        is_present: bool,
    ) -> SourceError {
        let summary = self.summary(call);
        let detail = redacted(&error.detail, &summary.secrets);
        let retry = |fault: &str| {
            let remedy = Some(unreachable_remedy(&summary, error.kind));
            let failure = Failure { remedy, ..summary.failure(&format!("{fault}: {detail}")) };
            SourceError::Retry(failure, RetryClass::Busy)
        };
        match error.kind {
            SendErrorKind::NotConnected if self.may_be_absent() && !is_present => SourceError::Absent(
                absent(&summary, &format!("got no connection: {detail}"), self.absent_remedy()),
            ),
            SendErrorKind::NotConnected => retry("got no connection"),
            SendErrorKind::TimedOut => retry("got no answer in time"),
            SendErrorKind::Broken => retry("lost the connection"),
            SendErrorKind::Untrusted => {
                let fault = format!("did not trust its certificate: {detail}; nothing was sent");
                let remedy = Some(self.untrusted_remedy().to_owned());
                self.untrusted(&summary, Failure { remedy, ..summary.failure(&fault) })
            }
            SendErrorKind::Truncated => {
                summary.incomplete(None, &format!("got an incomplete answer: {detail}"))
            }
            SendErrorKind::TooLarge => {
                summary.protocol(None, &format!("got an answer of more than {MAX_BODY} bytes"))
            }
            SendErrorKind::Unsendable => SourceError::Failed(Error::Other(format!(
                "the host cannot send the request to {}: {detail}; fix: report it, with the host and its version",
                summary.endpoint
            ))),
            SendErrorKind::Unconfigured => SourceError::Failed(Error::misconfigured(
                format_args!("the host cannot reach {}: {detail}", summary.endpoint),
                "correct the host's configuration: its log names the proxy (TOKEN_BROKER_LOG=error)",
            )),
            SendErrorKind::Forbidden => SourceError::Failed(Error::misconfigured(
                format_args!("the host does not allow the broker to send to {}: {detail}", summary.endpoint),
                "allow that address: by `allowed_outbound_hosts` in Spin, by a cluster of the filter in Envoy; \
                 to `token-broker run` give the component alone, without a broker composed into it",
            )),
        }
    }
}

/// The failure of a source that is not present.
fn absent(summary: &CallSummary<'_>, answer: &str, remedy: &str) -> Failure {
    Failure { remedy: Some(remedy.to_owned()), ..summary.failure(answer) }
}

fn unreachable_remedy(summary: &CallSummary<'_>, kind: SendErrorKind) -> String {
    let limit = match kind {
        SendErrorKind::TimedOut => format!("; {} is the timeout of a request", summary.names.of(TIMEOUT_MS)),
        _ => String::new(),
    };
    let proxy = match summary.names.ignored_proxy().filter(|_| summary.endpoint.starts_with("https:")) {
        Some(variable) => format!(
            "{variable} is set, and the host of this component does not use it: allow the connection without the proxy, or \
             get the token from `token-broker serve`, which uses it; "
        ),
        None => String::new(),
    };
    format!("{proxy}check that the broker's host reaches {}; {}{limit}", summary.endpoint, summary.health())
}

/// A refusal whose most likely cause is that the quotes of an env file were sent as part of the secret.
fn with_quotes(failure: Failure, variable: &str) -> Failure {
    let mut remedy = format!(
        "{variable} has quotes around it, which were sent as part of the secret: remove them, as `docker --env-file` and \
         systemd's EnvironmentFile treat them differently"
    );
    if let Some(other) = &failure.remedy {
        remedy = format!("{remedy}; else {other}");
    }
    Failure { remedy: Some(remedy), ..failure }
}

/// The parameter that names a user-assigned identity. `resource_id` is the endpoint's name of the one for a resource
/// id.
fn identity_parameter<'a>(identity: &'a Identity, resource_id: &'static str) -> Option<Field<'a>> {
    match identity {
        Identity::Default | Identity::SystemAssigned => None,
        Identity::ClientId(id) => Some(("client_id", id.as_str().into())),
        Identity::ObjectId(id) => Some(("object_id", id.as_str().into())),
        Identity::ResourceId(id) => Some((resource_id, id.as_str().into())),
    }
}

/// # Errors
/// [`Error::InvalidRequest`] for a user-assigned identity, on a platform that has none.
fn refuse_user_assigned(key: &CacheKey, platform: &str, remedy: &str) -> Result<(), SourceError> {
    if key.identity().id().is_none() {
        return Ok(());
    }
    let identity = key.identity();
    let text = format_args!("{platform} has a single identity, and {identity} was requested");
    Err(SourceError::Failed(Error::invalid_request(text, remedy)))
}

/// A secret of the settings that goes into a header.
#[derive(Debug)]
struct SecretHeader {
    variable: &'static str,
    value: http::HeaderValue,
}

impl SecretHeader {
    /// # Errors
    /// [`Error::Misconfigured`] for a text that cannot be sent in a header.
    fn parse(settings: &Settings, variable: &'static str, text: &str) -> Result<Self, Error> {
        // A header's value has no white space around it (RFC 9110, 5.5).
        match http::HeaderValue::from_str(text) {
            Ok(mut value) if text.trim() == text => {
                value.set_sensitive(true);
                Ok(Self { variable, value })
            }
            _ => Err(Error::misconfigured(
                format_args!(
                    "{} has a character that no header can carry, or a space at its beginning or end",
                    settings.name(variable)
                ),
                "pass it on unchanged from the platform",
            )),
        }
    }

    fn secret(&self) -> Option<(&'static str, &str)> {
        Some((self.variable, self.value.to_str().ok()?))
    }
}

/// The remedy for a 405: the server expects another method or path.
fn wrong_endpoint(variable: &str) -> String {
    format!(
        "{variable} is not the URL of a token endpoint: pass it on unchanged, with its path, from the platform"
    )
}

/// [`Error::Misconfigured`] for a pair of variables of which one is missing.
fn half_configured(settings: &Settings, set: &str, missing: &str) -> Error {
    let (set, missing) = (settings.name(set), settings.name(missing));
    Error::misconfigured(
        format_args!("{set} is set and {missing} is not"),
        "the platform sets both: pass both on, or neither",
    )
}

/// An id for a command that an operator copies; a placeholder for an id with characters that a shell could interpret.
pub(crate) fn for_command(id: &Id) -> &str {
    let (text, plain) = (id.as_str(), |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-');
    if text.bytes().all(plain) && !text.starts_with('-') { text } else { "<id>" }
}

/// The largest response body, in bytes: four times the largest token of Entra.
pub(crate) const MAX_BODY: usize = 64 * 1024;
