//! `token-broker explain`

use std::fmt::Write as _;
use std::path::Path;

use token_broker_host::{Error, Failure, SourceReport, Verdict};

use crate::args::Explain;
use crate::failure::{Failed, one_line};
use crate::{get, prepare, print};

pub(crate) async fn run(args: &Explain) -> Result<(), Failed> {
    let request = args.identity.request(&args.scope)?;
    let mut broker = prepare::broker().await?;
    if !args.attempt {
        let reports = broker.explain().await?;
        print(&describe_all(&reports))?;
        return Ok(broker.config_error().map_or_else(|| predicted(&reports), |error| Err(error.clone()))?);
    }
    let answer = broker.request_token(&request).await?;
    print(&describe_all(&broker.explain().await?))?;
    let token = answer?;
    let source = get::source_of_last_token(&mut broker).await?;
    print(&format!("\n{}", get::describe(&token, &args.scope, &source)))
}

/// # Errors
/// The error of every call for a token, as far as the configuration decides it. The answer of a source is unknown.
fn predicted(reports: &[SourceReport]) -> Result<(), Error> {
    let Some(report) = reports.iter().find(|report| ends_the_chain(report)) else {
        return Err(unavailable(reports, "set the variables of the source that this platform has"));
    };
    if report.verdict != Verdict::Misconfigured {
        return Ok(());
    }
    Err(match report.reason.split_once(": ") {
        Some(("misconfigured", why)) => Error::Misconfigured(why.to_owned()),
        // An id that AZURE_CLIENT_ID names, of a source that takes none.
        Some(("invalid-request", why)) => Error::InvalidRequest(why.to_owned()),
        // The source is configured, and this host cannot use it.
        _ => unavailable(
            std::slice::from_ref(report),
            "use a host with this source, or configure another source",
        ),
    })
}

/// Whether it ends the chain: no source after it is asked.
fn ends_the_chain(report: &SourceReport) -> bool {
    match report.reason.strip_prefix(NEEDS_FILE) {
        Some(file) => Path::new(file).exists(),
        None => report.verdict != Verdict::NotConfigured,
    }
}

fn unavailable(reports: &[SourceReport], fix: &str) -> Error {
    let declined = |report: &SourceReport| Failure::new(report.source.clone(), report.reason.clone());
    let mut failures: Vec<_> = reports.iter().map(declined).collect();
    if let Some(last) = failures.last_mut() {
        last.remedy = Some(fix.to_owned());
    }
    Error::Unavailable(failures)
}

fn describe_all(reports: &[SourceReport]) -> String {
    reports.iter().enumerate().map(|(nth, report)| describe(nth + 1, report)).collect::<Vec<_>>().join("\n")
}

fn describe(nth: usize, report: &SourceReport) -> String {
    let verdict = report.verdict.as_str();
    let mut text = format!("{nth}. {}: {verdict}\n   {}\n", report.source, one_line(&report.reason));
    let mut line = |name: &str, value: &str| _ = writeln!(text, "   {name:<12} {}", one_line(value));
    if let Some(request) = &report.would_send {
        line("would send", request);
    }
    for (name, is_set) in &report.variables {
        line(if *is_set { "set" } else { "not set" }, name);
    }
    if let Some(failure) = &report.last_failure {
        line("last failure", &failure.to_string());
    }
    text
}

/// The report's words for a source that needs a file, Arc's agent.
const NEEDS_FILE: &str = "will be tried if there is a file ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_source_that_would_be_asked_decides_whether_a_call_fails() {
        let report = |verdict, reason: &str| SourceReport::new("s", verdict, reason);
        let absent = report(Verdict::NotConfigured, "X is not set");
        let broken = report(Verdict::Misconfigured, "misconfigured: X must be a URL");
        let unusable = report(Verdict::Misconfigured, "the host does not pin");
        let refused = report(Verdict::Misconfigured, "invalid-request: it has one identity: its own");
        let ready = report(Verdict::Ready, "will be tried if no source before it answers");
        let agent = |file: &str| report(Verdict::Ready, &format!("{NEEDS_FILE}{file}"));
        for (reports, kind) in [
            (vec![&absent, &ready], None),
            (vec![&absent, &ready, &broken], None),
            (vec![&agent("/"), &broken], None),
            (vec![&agent("/no/such/agent"), &broken], Some("misconfigured")),
            (vec![&absent, &broken, &ready], Some("misconfigured")),
            (vec![&absent, &unusable, &ready], Some("unavailable")),
            (vec![&absent, &refused, &ready], Some("invalid-request")),
            (vec![&absent], Some("unavailable")),
        ] {
            let reports: Vec<_> = reports.into_iter().cloned().collect();
            assert_eq!(predicted(&reports).err().map(|error| error.kind()), kind, "{reports:?}");
        }
    }

    #[test]
    fn a_report_names_the_request_the_variables_and_the_last_failure() {
        let mut report = SourceReport::new("imds", Verdict::Failed, "it was asked last");
        report.would_send = Some("GET http://169.254.169.254/x".to_owned());
        report.variables = vec![("AZURE_CLIENT_ID".to_owned(), false)];
        report.last_failure = Some(Failure::new("imds", "no\nanswer"));
        assert_eq!(
            describe(1, &report),
            "1. imds: failed\n   it was asked last\n   would send   GET http://169.254.169.254/x\n   \
             not set      AZURE_CLIENT_ID\n   last failure imds: no answer\n"
        );
    }
}
