//! `token-broker explain`

use std::fmt::Write as _;

use token_broker_host::SourceReport;

use crate::args::Explain;
use crate::failure::{Failed, one_line};
use crate::{get, prepare, print};

pub(crate) async fn run(args: &Explain) -> Result<(), Failed> {
    let request = args.identity.request(&args.scope)?;
    let mut broker = prepare::broker().await?;
    if !args.attempt {
        print(&describe_all(&broker.explain().await?))?;
        return broker.misconfigured().map_or(Ok(()), |error| {
            print(&format!("\nEvery call for a token fails here: {}\n", one_line(&error.to_string())))
        });
    }
    let answer = broker.request_token(&request).await?;
    print(&describe_all(&broker.explain().await?))?;
    let token = answer?;
    let source = get::source_of_last_token(&mut broker).await?;
    print(&format!("\n{}", get::describe(&token, &args.scope, &source)))
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

#[cfg(test)]
mod tests {
    use token_broker_host::{Failure, Verdict};

    use super::*;

    #[test]
    fn a_report_names_the_request_the_variables_and_the_last_failure() {
        let report = SourceReport {
            source: "imds".to_owned(),
            verdict: Verdict::Failed,
            reason: "it was asked last".to_owned(),
            would_send: Some("GET http://169.254.169.254/x".to_owned()),
            variables: vec![("AZURE_CLIENT_ID".to_owned(), false)],
            last_failure: Some(Failure {
                source: "imds".into(),
                message: "no\nanswer".into(),
                ..Failure::default()
            }),
        };
        assert_eq!(
            describe(1, &report),
            "1. imds: failed\n   it was asked last\n   would send   GET http://169.254.169.254/x\n   \
             not set      AZURE_CLIENT_ID\n   last failure imds: no answer\n"
        );
    }
}
