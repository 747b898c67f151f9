//! The formats of a token.

use std::env;
use std::io::IsTerminal as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use token_broker::fingerprint;
use token_broker_host::{AccessToken, Error};

use crate::args::Output;
use crate::claims::Claims;

/// A token, and what the command knows about it.
pub(crate) struct Answer<'a> {
    pub(crate) token: &'a AccessToken,
    pub(crate) scope: &'a str,
    pub(crate) source: &'a str,
}

impl Answer<'_> {
    /// # Errors
    /// `KUBERNETES_EXEC_INFO` asks for an unknown version of `ExecCredential`.
    pub(crate) fn in_format(&self, output: Output) -> Result<String, Error> {
        Ok(match output {
            Output::Text => self.describe(),
            Output::Json => lines(&self.to_json()),
            Output::Token => self.alone(),
            Output::Az => lines(&self.as_az()),
            Output::ExecCredential => lines(&self.as_exec_credential()?),
            Output::Header => format!("Authorization: {} {}\n", self.token.token_type(), self.token.token()),
            Output::JsonWithToken => format!("{}\n", self.to_json_with_token()),
        })
    }

    /// A description, without the token.
    pub(crate) fn describe(&self) -> String {
        let claims = self.claims();
        let audience = claims.audience().unwrap_or_else(|| self.scope.to_owned());
        let identity = claims.identity().unwrap_or_else(|| "not in the token".to_owned());
        format!(
            "audience     {audience}\nidentity     {identity}\nsource       {}\nexpires      {}\nfingerprint  {}\n",
            self.source,
            with_time_left(self.token.expires_on()),
            fingerprint(self.token.token())
        )
    }

    /// Everything known, without the token.
    pub(crate) fn to_json(&self) -> Value {
        let claims = self.claims();
        json!({
            "scope": self.scope,
            "audience": claims.audience(),
            "clientId": claims.client_id(),
            "objectId": claims.object_id(),
            "resourceId": claims.resource_id(),
            "tenant": claims.tenant(),
            "source": self.source,
            "tokenType": self.token.token_type(),
            "expiresOn": date(self.token.expires_on()),
            "expires_on": self.token.expires_on(),
            "refreshOn": self.token.refresh_on().map(date),
            "fingerprint": fingerprint(self.token.token()),
        })
    }

    /// The token alone for a pipe, with a newline for a terminal.
    fn alone(&self) -> String {
        let end = if std::io::stdout().is_terminal() { "\n" } else { "" };
        format!("{}{end}", self.token.token())
    }

    /// Of the Azure CLI's fields only `subscription` is missing, which it has for a login to one.
    fn as_az(&self) -> Value {
        json!({
            "accessToken": self.token.token(),
            "expiresOn": local_date(self.token.expires_on()),
            "expires_on": self.token.expires_on(),
            "tenant": self.claims().tenant(),
            "tokenType": self.token.token_type(),
        })
    }

    /// <https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>
    fn as_exec_credential(&self) -> Result<Value, Error> {
        Ok(json!({
            "apiVersion": exec_api_version(env::var(EXEC_INFO).ok().as_deref())?,
            "kind": "ExecCredential",
            "status": {
                "token": self.token.token(),
                "expirationTimestamp": date(self.token.expires_on()),
            },
        }))
    }

    fn to_json_with_token(&self) -> Value {
        json!({
            "accessToken": self.token.token(),
            "tokenType": self.token.token_type(),
            "expiresOn": self.token.expires_on(),
            "refreshOn": self.token.refresh_on(),
            "source": self.source,
        })
    }

    fn claims(&self) -> Claims {
        Claims::of(self.token.token()).unwrap_or_default()
    }
}

/// JSON over several lines, as `az` prints it.
pub(crate) fn lines(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The version that the kubeconfig asks for: clients refuse another one.
fn exec_api_version(info: Option<&str>) -> Result<String, Error> {
    let Some(info) = info.filter(|info| !info.is_empty()) else { return Ok(EXEC_VERSIONS[0].to_owned()) };
    let info: Option<Value> = serde_json::from_str(info).ok();
    let version = info.as_ref().and_then(|info| info["apiVersion"].as_str());
    version.filter(|version| EXEC_VERSIONS.contains(version)).map(str::to_owned).ok_or_else(|| {
        let what = format_args!("{EXEC_INFO} has no apiVersion that this command knows");
        Error::misconfigured(
            what,
            format_args!("write `apiVersion: {}` into the kubeconfig", EXEC_VERSIONS[0]),
        )
    })
}

/// A date in UTC, or the number of seconds if no calendar has it.
fn date(seconds: u64) -> String {
    let date = utc(seconds).and_then(|date| date.format(&Rfc3339).ok());
    date.unwrap_or_else(|| seconds.to_string())
}

/// The Azure CLI's form: local time without a zone.
fn local_date(seconds: u64) -> String {
    let Some(utc) = utc(seconds) else { return seconds.to_string() };
    let local = utc.to_offset(UtcOffset::local_offset_at(utc).unwrap_or(UtcOffset::UTC));
    let (hour, minute, second) = local.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02}.000000", local.date())
}

fn utc(seconds: u64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()
}

fn with_time_left(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let minutes = seconds.saturating_sub(now) / 60;
    format!("{} (in {} h {} min)", date(seconds), minutes / 60, minutes % 60)
}

/// Where Kubernetes clients put the ExecCredential that they want to be filled.
const EXEC_INFO: &str = "KUBERNETES_EXEC_INFO";
const EXEC_VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_that_no_calendar_has_is_shown_in_seconds() {
        assert!(with_time_left(1_760_000_000).starts_with("2025-10-09T08:53:20Z"));
        assert_eq!((date(u64::MAX), local_date(u64::MAX)), (u64::MAX.to_string(), u64::MAX.to_string()));
    }

    #[test]
    fn the_version_of_an_exec_credential_is_the_one_that_the_client_asks_for() {
        let of = |info| exec_api_version(info).map_err(|error| error.kind());
        let beta = r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential"}"#;
        for unset in [None, Some("")] {
            assert_eq!(of(unset).unwrap(), EXEC_VERSIONS[0]);
        }
        assert_eq!(of(Some(beta)).unwrap(), EXEC_VERSIONS[1]);
        for unknown in ["no JSON", "{}", r#"{"apiVersion":"client.authentication.k8s.io/v1alpha1"}"#] {
            assert_eq!(of(Some(unknown)), Err("misconfigured"), "{unknown}");
        }
    }
}
