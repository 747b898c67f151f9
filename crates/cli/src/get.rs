//! `token-broker get`

use token_broker_host::{SourceReport, Verdict, log_line};

use crate::args::Get;
use crate::failure::Failed;
use crate::output::Answer;
use crate::prepare::Setup;
use crate::print;

pub(crate) async fn run(args: &Get, setup: &Setup) -> Result<(), Failed> {
    let request = args.request.request(&args.scope)?;
    let mut broker = setup.with_timeout(&args.timeout).instance().await?;
    let token = setup.waiting(broker.request_token(&request)).await??;
    let source = source_of_last_token(&broker.explain().await?);
    let tenant = request.tenant_id.as_deref();
    let answer = Answer { token: &token, scope: &args.scope, tenant, source: &source };
    let warnings = args.deprecation().map(str::to_owned).into_iter().chain(answer.of_another_tenant());
    warnings.for_each(|warning| log_line(&format!("warning: {warning}")));
    print(answer.in_format(args.output())?)
}

/// The source of the last token, from the report: the token itself does not name it.
pub(crate) fn source_of_last_token(reports: &[SourceReport]) -> String {
    let used = reports.iter().find(|report| report.verdict == Verdict::Used);
    used.map_or_else(|| "unknown".to_owned(), |report| report.source.clone())
}
