//! The identity endpoint of an Azure Arc-enabled server. Its agent names a file that only trusted users of the machine
//! can read, and expects the content of the file as the credential.
//!
//! <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use std::borrow::Cow;

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal, RoundTrip};
use super::{
    Endpoint, Prerequisite, Protocol, RetryClass, Role, Source, SourceCall, SourceError, SourceInfo,
    half_configured, identity_parameter, response,
};
use crate::model::{Body, Error, Failure, Identity, Secret, Token};
use crate::policy::CacheKey;
use crate::settings::variables::{CLIENT_ID, IDENTITY_ENDPOINT, IDENTITY_HEADER, IMDS_ENDPOINT};
use crate::settings::{Credential, Settings};
use crate::wire::LooseText;

/// The agent's endpoint: configured by two variables, or found by a file of the agent.
#[derive(Debug)]
pub(crate) struct Arc {
    endpoint: Endpoint,
    is_configured: bool,
}

pub(crate) const SOURCE: SourceInfo = SourceInfo {
    name: "azure-arc",
    credential: Credential::ManagedIdentity,
    role: Role::Machine,
    required: &[IDENTITY_ENDPOINT, IMDS_ENDPOINT],
    optional: &[CLIENT_ID],
    detect: |settings| Ok(Arc::detect(settings)?.map(Source::Arc)),
    health: |_| "`azcmagent check` and `systemctl status himdsd` show the state of the agent".to_owned(),
};

/// A file that every Arc-enabled Linux machine has.
pub(crate) const AGENT: &str = "/opt/azcmagent/bin/himds";

/// The agent's directory of key files on Linux.
const KEYS: &str = "/var/opt/azcmagent/tokens/";

/// The longest key that Azure's libraries read, in bytes.
pub(crate) const MAX_KEY: usize = 4096;

impl Arc {
    /// The endpoint of the settings. Without its variables, the prerequisite is the file [`AGENT`].
    ///
    /// # Errors
    /// [`Error::Misconfigured`] as [`Endpoint::parse`], and for `IMDS_ENDPOINT` alone.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        if settings.is_set(IMDS_ENDPOINT) && !settings.is_set(IDENTITY_ENDPOINT) {
            return Err(half_configured(settings, IMDS_ENDPOINT, IDENTITY_ENDPOINT));
        }
        let pair = (settings.get(IDENTITY_ENDPOINT), settings.get(IMDS_ENDPOINT));
        let (text, is_configured) = match pair {
            (Some(endpoint), Some(_)) if !settings.is_set(IDENTITY_HEADER) => (endpoint, true),
            _ => (DEFAULT, false),
        };
        // The agent listens on IPv4 only, and the key must not be sent to another address of `localhost`.
        let endpoint = Endpoint::parse(settings, IDENTITY_ENDPOINT, text)?.on_ipv4_loopback();
        Ok(Some(Self { endpoint, is_configured }))
    }
}

impl Protocol for Arc {
    fn info(&self) -> &'static SourceInfo {
        &SOURCE
    }

    fn url(&self, _: &CacheKey) -> Cow<'_, str> {
        self.endpoint.as_str().into()
    }

    fn prerequisite(&self) -> Prerequisite<'_> {
        if self.is_configured { Prerequisite::Nothing } else { Prerequisite::Presence(AGENT) }
    }

    fn request<'a>(&'a self, call: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let key = call.request.key();
        let mut query = vec![("api-version", "2020-06-01".into()), ("resource", key.audience().into())];
        query.extend(identity_parameter(key.identity(), "msi_res_id"));
        let request = OutgoingRequest::get(self.endpoint.with_query(&query))
            .header("metadata", HeaderValue::from_static("true"));
        match call.credential.and_then(basic) {
            Some(credential) => request.header("authorization", credential),
            None => request,
        }
    }

    fn refused(&self, _: &CallSummary<'_>, refusal: Refusal<'_>) -> SourceError {
        refusal.not_found_by_code_is_final().error(remedy)
    }

    fn read(
        &self,
        call: &SourceCall<'_>,
        summary: &CallSummary<'_>,
        response: &http::Response<Body>,
        round_trip: RoundTrip,
    ) -> Result<Token, SourceError> {
        let status = response.status().as_u16();
        if status == 401 && call.credential.is_none() {
            return Err(challenge(summary, response));
        }
        let token = response::read(summary, response, round_trip, &|refusal| self.refused(summary, refusal))?;
        if call.credential.is_none() {
            let answer =
                format!("got {status} and a token without a challenge, which Arc's agent never sends");
            return Err(summary.protocol(Some(status), &answer));
        }
        match echoes(response, call.request.key()) {
            true => Ok(token),
            false => Err(SourceError::Failed(Error::Protocol(unconfirmed(summary)))),
        }
    }
}

fn remedy(refusal: &Refusal<'_>) -> String {
    let remedy = match refusal.status {
        401 | 403 => {
            "check that the agent runs, `azcmagent show`; it did not accept the content of its own key file"
        }
        _ => {
            "check the machine's identities, `az connectedmachine show -g <group> -n <machine> --query identity`"
        }
    };
    remedy.to_owned()
}

fn unconfirmed(summary: &CallSummary<'_>) -> Failure {
    let answer =
        "got a token without its identity, as from an agent that supports only the system-assigned identity";
    let remedy = "update the Connected Machine agent; `azcmagent version` prints its version";
    Failure { remedy: Some(remedy.to_owned()), ..summary.failure(answer) }
}

fn challenge(summary: &CallSummary<'_>, response: &http::Response<Body>) -> SourceError {
    let header = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    match header.map(key_file) {
        Some(Ok(path)) => SourceError::Retry(
            summary.failure("got 401 with a challenge"),
            RetryClass::KeyFile(path.to_owned()),
        ),
        Some(Err(why)) => {
            let challenge = header.map(|challenge| summary.quoted(challenge)).unwrap_or_default();
            summary.protocol(Some(401), &format!("got 401 with the challenge {challenge}, which {why}"))
        }
        None => summary.protocol(Some(401), "got 401 without a challenge"),
    }
}

/// The key file of a challenge, `Basic realm=<path>`. Only the agent's own files are accepted: another server on the
/// agent's port could otherwise obtain any file of the machine.
///
/// # Errors
/// The fault of the challenge, as the end of a sentence.
fn key_file(challenge: &str) -> Result<&str, String> {
    let (scheme, parameter) = challenge.trim().split_once(' ').ok_or("names no file")?;
    let (name, path) = parameter.trim().split_once('=').ok_or("names no file")?;
    if !scheme.eq_ignore_ascii_case("basic") || !name.trim().eq_ignore_ascii_case("realm") {
        return Err("is not `Basic realm=`".to_owned());
    }
    let path = path.trim().trim_matches('"');
    let outside = || format!("names a file outside of the agent's directory {KEYS}");
    let name = path.strip_prefix(KEYS).ok_or_else(outside)?;
    if !name.ends_with(".key") || name.len() > 255 || name.starts_with('.') {
        return Err("names a file that is not a key".to_owned());
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')) {
        return Err(outside());
    }
    Ok(path)
}

/// Whether a text is a key: printable ASCII, which a header can carry.
pub(crate) fn is_key(text: &Secret) -> bool {
    let text = text.expose_secret();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The key as a header, unchanged from the file.
fn basic(key: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Basic {}", key.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether a response confirms that the token is for the requested user-assigned identity. An agent without support for
/// such identities ignores the parameter, and answers with the token of the system-assigned identity.
fn echoes(response: &http::Response<Body>, key: &CacheKey) -> bool {
    let echo: Echo = serde_json::from_slice(response.body().expose_secret()).unwrap_or_default();
    let (requested, echoed) = match key.identity() {
        Identity::Default | Identity::SystemAssigned => return true,
        Identity::ClientId(id) => (id, [echo.client_id, LooseText::Absent]),
        Identity::ObjectId(id) => (id, [echo.object_id, LooseText::Absent]),
        Identity::ResourceId(id) => (id, [echo.msi_res_id, echo.mi_res_id]),
    };
    let mut ids = echoed.into_iter().filter_map(LooseText::into_option).peekable();
    ids.peek().is_some() && ids.all(|id| id.eq_ignore_ascii_case(requested.as_str()))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Echo {
    client_id: LooseText,
    object_id: LooseText,
    msi_res_id: LooseText,
    mi_res_id: LooseText,
}

pub(crate) const KEY_REMEDY: &str = "let the broker read the agent's keys: its user must be in the group himds, \
                                     `usermod -aG himds <user>`, and its host must give it access to the directory";

const DEFAULT: &str = "http://127.0.0.1:40342/metadata/identity/oauth2/token";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_file_of_a_challenge_is_one_of_the_agents_own() {
        let path = "/var/opt/azcmagent/tokens/0-a_B.key";
        for challenge in [
            format!("Basic realm={path}"),
            format!("basic Realm=\"{path}\""),
            format!("  Basic  realm = {path} "),
        ] {
            assert_eq!(key_file(&challenge), Ok(path), "{challenge}");
        }
    }

    #[test]
    fn a_challenge_for_any_other_file_is_refused() {
        for challenge in
            ["", "Basic", "Basic ", "Basic realm", "Basic realm=/etc/passwd", "Basic realm=/tmp/a.key"]
        {
            assert!(key_file(challenge).is_err(), "{challenge}");
        }
        assert!(key_file("Basic realm=path/to/secret.key").is_err());
        for (start, file) in [
            ("Bearer realm=", "/a.key"),
            ("Basic charset=", "/a.key"),
            ("Basic realm=", "/a.pem"),
            ("Basic realm=", "/.key"),
            ("Basic realm=", "/../../../../etc/x.key"),
            ("Basic realm=", "/sub/a.key"),
            ("Basic realm=", "/..\\a.key"),
            ("Basic realm=", "/a.key, Basic realm=/etc/x.key"),
            ("Basic realm=", "x/a.key"),
        ] {
            let challenge = format!("{start}/var/opt/azcmagent/tokens{file}");
            assert!(key_file(&challenge).is_err(), "{challenge}");
        }
    }

    #[test]
    fn the_agents_localhost_is_its_ipv4_loopback() {
        let pairs =
            [(IDENTITY_ENDPOINT, "http://localhost:40342/x"), (IMDS_ENDPOINT, "http://localhost:40342")];
        let arc = Arc::detect(&crate::tests::settings(&pairs)).unwrap().unwrap();
        assert_eq!(arc.endpoint.as_str(), "http://127.0.0.1:40342/x");
        assert!(arc.is_configured);
    }
}
