//! The identity endpoint of an Azure Arc-enabled server: its agent names a file that only the machine's trusted users
//! can read, and expects its content.
//!
//! <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::request::OutgoingRequest;
use super::response::{CallSummary, Refusal, RoundTrip};
use super::{
    Endpoint, Prerequisite, RetryClass, SourceCall, SourceError, SourceInfo, half, identity_parameter,
    response,
};
use crate::model::{Body, Error, Failure, Identity, Secret, Token};
use crate::policy::CacheKey;
use crate::settings::variables::{CLIENT_ID, IDENTITY_ENDPOINT, IDENTITY_HEADER, IMDS_ENDPOINT};
use crate::settings::{Credential, Settings};
use crate::wire::LooseText;

/// The agent's endpoint, named by two variables or known by the agent's own file.
#[derive(Debug)]
pub(crate) struct Arc {
    endpoint: Endpoint,
    named: bool,
}

pub(crate) const SOURCE: SourceInfo = SourceInfo {
    name: "azure-arc",
    credential: Credential::ManagedIdentity,
    needs: &[IDENTITY_ENDPOINT, IMDS_ENDPOINT],
    takes: &[CLIENT_ID],
    health: |_| "`azcmagent check` and `systemctl status himdsd` show how the agent is".to_owned(),
};

/// A file that every Arc-enabled Linux machine has.
pub(crate) const AGENT: &str = "/opt/azcmagent/bin/himds";

/// Where the agent puts its keys on Linux, which is where guests run.
const KEYS: &str = "/var/opt/azcmagent/tokens/";

/// The longest key that Azure's libraries read, in bytes.
pub(crate) const MAX_KEY: usize = 4096;

impl Arc {
    /// The endpoint. Without its variables it is there if [`AGENT`] is.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] as [`Endpoint::parse`], and for `IMDS_ENDPOINT` alone.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        if settings.is_set(IMDS_ENDPOINT) && !settings.is_set(IDENTITY_ENDPOINT) {
            return Err(half(settings, IMDS_ENDPOINT, IDENTITY_ENDPOINT));
        }
        let pair = (settings.get(IDENTITY_ENDPOINT), settings.get(IMDS_ENDPOINT));
        let (text, named) = match pair {
            (Some(endpoint), Some(_)) if !settings.is_set(IDENTITY_HEADER) => (endpoint, true),
            _ => (DEFAULT, false),
        };
        // The agent listens on IPv4 only, and the key must not go wherever else `localhost` points.
        let endpoint = Endpoint::parse(settings, IDENTITY_ENDPOINT, text)?.on_ipv4_loopback();
        Ok(Some(Self { endpoint, named }))
    }

    pub(crate) fn need(&self) -> Prerequisite<'static> {
        if self.named { Prerequisite::Nothing } else { Prerequisite::Presence(AGENT) }
    }

    pub(crate) fn asked<'a>(&'a self, ask: &SourceCall<'a>) -> CallSummary<'a> {
        CallSummary::new(&SOURCE, self.endpoint.as_str(), ask, None)
    }

    pub(crate) fn call<'a>(&'a self, ask: &SourceCall<'a>) -> OutgoingRequest<'a> {
        let key = ask.request.key();
        let mut query = vec![("api-version", "2020-06-01".into()), ("resource", key.audience().into())];
        query.extend(identity_parameter(key.identity(), "msi_res_id"));
        let call = OutgoingRequest::get(self.endpoint.with_query(&query))
            .header("metadata", HeaderValue::from_static("true"));
        match ask.proof.and_then(basic) {
            Some(proof) => call.header("authorization", proof),
            None => call,
        }
    }

    pub(crate) fn parse(
        &self,
        ask: &SourceCall<'_>,
        response: &http::Response<Body>,
        exchange: RoundTrip,
    ) -> Result<Token, SourceError> {
        let asked = self.asked(ask);
        let status = response.status().as_u16();
        if status == 401 && ask.proof.is_none() {
            return Err(challenge(&asked, response));
        }
        let token = response::read(&asked, response, exchange, |refusal| {
            refusal.not_found_by_code_is_final().error(remedy)
        })?;
        if ask.proof.is_none() {
            let came_back =
                format!("got {status} and a token without a challenge, which Arc's agent gives to nobody");
            return Err(asked.protocol(Some(status), &came_back));
        }
        match echoes(response, ask.request.key()) {
            true => Ok(token),
            false => Err(SourceError::Failed(Error::Protocol(unconfirmed(&asked)))),
        }
    }
}

fn remedy(refusal: &Refusal<'_>) -> String {
    let remedy = match refusal.status {
        401 | 403 => {
            "see that the agent runs, `azcmagent show`; it did not accept the content of its own key file"
        }
        _ => {
            "see which identities the machine has, `az connectedmachine show -g <group> -n <machine> --query identity`"
        }
    };
    remedy.to_owned()
}

fn unconfirmed(asked: &CallSummary<'_>) -> Failure {
    let came_back = "got a token and no word of whose it is: \
                     an agent that knows only the system-assigned identity answers so";
    let remedy = "update the Connected Machine agent, `azcmagent version` tells which one it is";
    Failure { remedy: Some(remedy.to_owned()), ..asked.failure(came_back) }
}

fn challenge(asked: &CallSummary<'_>, response: &http::Response<Body>) -> SourceError {
    let header = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    match header.map(key_file) {
        Some(Ok(path)) => SourceError::Retry(
            asked.failure("got 401 with a challenge"),
            RetryClass::KeyFile(path.to_owned()),
        ),
        Some(Err(why)) => {
            let challenge = header.map(|challenge| asked.quoted(challenge)).unwrap_or_default();
            asked.protocol(Some(401), &format!("got 401 with the challenge {challenge}, which {why}"))
        }
        None => asked.protocol(Some(401), "got 401 without a challenge"),
    }
}

/// The file that a challenge names: `Basic realm=<path>`. Whoever answers on the agent's port could else have any file
/// of the machine sent to it.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
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

/// Whether a text can go into the header as it is.
pub(crate) fn is_key(text: &Secret) -> bool {
    let text = text.expose_secret();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The key as a header, byte for byte as it is in the file.
fn basic(key: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Basic {}", key.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether an answer says that the token is that of the user-assigned identity asked for. An agent that does not know
/// such identities ignores the parameter and answers with the system-assigned one's.
fn echoes(response: &http::Response<Body>, key: &CacheKey) -> bool {
    let echo: Echo = serde_json::from_slice(response.body().expose_secret()).unwrap_or_default();
    let (wanted, echoed) = match key.identity() {
        Identity::Default | Identity::SystemAssigned => return true,
        Identity::ClientId(id) => (id, [echo.client_id, LooseText::Absent]),
        Identity::ObjectId(id) => (id, [echo.object_id, LooseText::Absent]),
        Identity::ResourceId(id) => (id, [echo.msi_res_id, echo.mi_res_id]),
    };
    let mut said = echoed.into_iter().filter_map(LooseText::into_option).peekable();
    said.peek().is_some() && said.all(|text| text.eq_ignore_ascii_case(wanted.as_str()))
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
                                     `usermod -aG himds <user>`, and its host must show it the directory";

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
        for challenge in [
            "",
            "Basic",
            "Basic ",
            "Basic realm",
            "Bearer realm=/var/opt/azcmagent/tokens/a.key",
            "Basic charset=/var/opt/azcmagent/tokens/a.key",
            "Basic realm=/etc/passwd",
            "Basic realm=path/to/secret.key",
            "Basic realm=/tmp/a.key",
            "Basic realm=/var/opt/azcmagent/tokens/a.pem",
            "Basic realm=/var/opt/azcmagent/tokens/.key",
            "Basic realm=/var/opt/azcmagent/tokens/../../../../etc/x.key",
            "Basic realm=/var/opt/azcmagent/tokens/sub/a.key",
            "Basic realm=/var/opt/azcmagent/tokens/..\\a.key",
            "Basic realm=/var/opt/azcmagent/tokens/a.key, Basic realm=/etc/x.key",
            "Basic realm=/var/opt/azcmagent/tokensx/a.key",
        ] {
            assert!(key_file(challenge).is_err(), "{challenge}");
        }
    }

    #[test]
    fn the_agents_localhost_is_its_ipv4_loopback() {
        let pairs =
            [(IDENTITY_ENDPOINT, "http://localhost:40342/x"), (IMDS_ENDPOINT, "http://localhost:40342")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let arc = Arc::detect(&Settings::from_pairs(pairs)).unwrap().unwrap();
        assert_eq!(arc.endpoint.as_str(), "http://127.0.0.1:40342/x");
        assert!(arc.named);
    }
}
