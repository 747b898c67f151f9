//! `token-broker explain`

use std::fmt::Write as _;
use std::future;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use token_broker::variables::ALLOWED_SCOPES;
use token_broker_host::{Decision, Error, Proxies, RawRequest, SourceReport};
use tokio::sync::Notify;

use crate::args::{Explain, ReportOutput};
use crate::failure::{Failed, failure_to_json, one_line};
use crate::output::{Answer, lines};
use crate::prepare::Setup;
use crate::{get, print};

pub(crate) async fn run(args: &Explain, setup: &Setup) -> Result<(), Failed> {
    let request = args.request.request(&args.scope)?;
    if !args.attempt {
        return without_sending(args.output, setup).await;
    }
    let mut broker = setup.with_timeout(&args.timeout).instance().await?;
    let answer = setup.waiting(broker.request_token(&request)).await?;
    let reports = broker.explain().await?;
    let source = get::source_of_last_token(&reports);
    let token = answer.as_ref().ok().map(|token| Answer { token, scope: &args.scope, source: &source });
    print(in_format(args.output, &reports, &Proxies::inherit()?, token.as_ref()))?;
    Ok(answer.map(drop)?)
}

/// Reports, and then fails as each call for a token would that fails before it sends anything.
async fn without_sending(output: ReportOutput, setup: &Setup) -> Result<(), Failed> {
    let sends = Arc::new(Notify::new());
    let sent = Arc::clone(&sends);
    let never = move |_: &http::request::Parts| {
        sent.notify_one();
        Decision::Answer(Box::new(|_| Box::pin(future::pending())))
    };
    let mut broker = setup.instance_with(never).await?;
    print(in_format(output, &broker.explain().await?, &Proxies::inherit()?, None))?;
    let scopes = vec![allowed_scope()];
    let request = RawRequest { scopes, ..RawRequest::default() };
    tokio::select! {
        answer = broker.request_token(&request) => match answer? {
            // Another identity may be allowed.
            Ok(_) | Err(Error::Denied(_)) => Ok(()),
            Err(error) => Err(error.into()),
        },
        () = sends.notified() => Ok(()),
    }
}

/// A scope that the configuration allows.
fn allowed_scope() -> String {
    let allowed = std::env::var(ALLOWED_SCOPES).unwrap_or_default();
    allowed.split_whitespace().next().unwrap_or(Explain::DEFAULT_SCOPE).to_owned()
}

fn in_format(
    output: ReportOutput,
    reports: &[SourceReport],
    proxies: &Proxies,
    token: Option<&Answer<'_>>,
) -> String {
    match output {
        ReportOutput::Json => lines(&to_json(reports, proxies, token)),
        ReportOutput::Text => {
            let reports = reports.iter().enumerate().map(|(nth, report)| describe(nth + 1, report, proxies));
            reports.chain(token.map(Answer::describe)).collect::<Vec<_>>().join("\n")
        }
    }
}

fn to_json(reports: &[SourceReport], proxies: &Proxies, token: Option<&Answer<'_>>) -> Value {
    let sources: Vec<_> = reports.iter().map(|report| report_to_json(report, proxies)).collect();
    json!({ "sources": sources, "token": token.map(Answer::to_json) })
}

fn report_to_json(report: &SourceReport, proxies: &Proxies) -> Value {
    let variables: Map<_, _> =
        report.variables.iter().map(|(name, is_set)| (name.clone(), (*is_set).into())).collect();
    json!({
        "source": report.source,
        "verdict": report.verdict.as_str(),
        "reason": report.reason,
        "wouldSend": report.would_send,
        "proxy": proxy_of(report, proxies),
        "variables": variables,
        "lastFailure": report.last_failure.as_ref().map(failure_to_json),
    })
}

fn describe(nth: usize, report: &SourceReport, proxies: &Proxies) -> String {
    let verdict = report.verdict.as_str();
    let mut text = format!("{nth}. {}: {verdict}\n   {}\n", report.source, one_line(&report.reason));
    let mut line = |name: &str, value: &str| _ = writeln!(text, "   {name:<12} {}", one_line(value));
    if let Some(request) = &report.would_send {
        line("would send", request);
    }
    if let Some(proxy) = proxy_of(report, proxies) {
        line("by proxy", &proxy);
    }
    for (name, is_set) in &report.variables {
        line(if *is_set { "set" } else { "not set" }, name);
    }
    if let Some(failure) = &report.last_failure {
        line("last failure", &failure.to_string());
    }
    text
}

/// The proxy on the way of the request that a source would send.
fn proxy_of(report: &SourceReport, proxies: &Proxies) -> Option<String> {
    proxies.on_the_way_to(report.would_send.as_deref()?.split_whitespace().nth(1)?)
}

#[cfg(test)]
mod tests {
    use token_broker_host::{Failure, Verdict};

    use super::*;

    #[test]
    fn a_report_names_the_request_the_variables_and_the_last_failure() {
        let mut report = SourceReport::new("imds", Verdict::Failed, "it was asked last");
        report.would_send = Some("GET http://169.254.169.254/x".to_owned());
        report.variables = vec![("AZURE_CLIENT_ID".to_owned(), false)];
        report.last_failure = Some(Failure::new("imds", "no\nanswer"));
        assert_eq!(
            describe(1, &report, &Proxies::default()),
            "1. imds: failed\n   it was asked last\n   would send   GET http://169.254.169.254/x\n   \
             not set      AZURE_CLIENT_ID\n   last failure imds: no answer\n"
        );
        let json = to_json(&[report], &Proxies::default(), None);
        assert_eq!(json["sources"][0]["verdict"], "failed");
        assert_eq!(json["sources"][0]["variables"]["AZURE_CLIENT_ID"], false);
        assert_eq!(json["sources"][0]["lastFailure"]["message"], "no\nanswer");
    }
}
