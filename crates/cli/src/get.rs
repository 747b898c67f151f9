//! `token-broker get`

use std::io::IsTerminal as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use token_broker::fingerprint;
use token_broker_host::{AccessToken, Instance, Verdict};

use crate::args::Get;
use crate::claims::Claims;
use crate::failure::Failed;
use crate::{prepare, print};

pub(crate) async fn run(args: &Get) -> Result<(), Failed> {
    let request = args.identity.request(&args.scope)?;
    let mut broker = prepare::broker().await?;
    let token = broker.request_token(&request).await??;
    if args.raw {
        return print(&raw(&token));
    }
    let source = source_of_last_token(&mut broker).await?;
    print(&if args.json { to_json(&token, &source) } else { describe(&token, &args.scope, &source) })
}

/// A description of a token, without the token.
pub(crate) fn describe(token: &AccessToken, scope: &str, source: &str) -> String {
    let claims = Claims::of(token.token()).unwrap_or_default();
    let audience = claims.audience().unwrap_or_else(|| scope.to_owned());
    let identity = claims.identity().unwrap_or_else(|| "not in the token".to_owned());
    format!(
        "audience     {audience}\nidentity     {identity}\nsource       {source}\nexpires      {}\nfingerprint  {}\n",
        date(token.expires_on()),
        fingerprint(token.token())
    )
}

/// The source of the last token, from the report: the token itself does not name it.
pub(crate) async fn source_of_last_token(broker: &mut Instance) -> Result<String, Failed> {
    let reports = broker.explain().await?;
    let used = reports.into_iter().find(|report| report.verdict == Verdict::Used);
    Ok(used.map_or_else(|| "unknown".to_owned(), |report| report.source))
}

fn to_json(token: &AccessToken, source: &str) -> String {
    let answer = json!({
        "accessToken": token.token(),
        "tokenType": token.token_type(),
        "expiresOn": token.expires_on(),
        "refreshOn": token.refresh_on(),
        "source": source,
    });
    format!("{answer}\n")
}

/// The token alone for a pipe, with a newline for a terminal.
fn raw(token: &AccessToken) -> String {
    let end = if std::io::stdout().is_terminal() { "\n" } else { "" };
    format!("{}{end}", token.token())
}

fn date(seconds: u64) -> String {
    let date =
        i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let date = date.and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_else(|| seconds.to_string());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let minutes = seconds.saturating_sub(now) / 60;
    format!("{date} (in {} h {} min)", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_that_no_calendar_has_is_shown_in_seconds() {
        assert!(date(1_760_000_000).starts_with("2025-10-09T08:53:20Z"));
        assert!(date(u64::MAX).starts_with("18446744073709551615"));
    }
}
