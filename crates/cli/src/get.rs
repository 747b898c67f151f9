//! `token-broker get`

use token_broker_host::{AccessToken, RawRequest, SourceReport, Verdict, log_line};

use crate::args::Get;
use crate::claims::Claims;
use crate::failure::Failed;
use crate::output::Answer;
use crate::prepare::Setup;
use crate::print;

pub(crate) async fn run(args: &Get, setup: &Setup) -> Result<(), Failed> {
    let request = args.request.request(&args.scope)?;
    let mut broker = setup.with_timeout(&args.timeout).instance().await?;
    let token = setup.waiting(broker.request_token(&request)).await??;
    let source = source_of_last_token(&broker.explain().await?);
    let warnings = [args.deprecation().map(str::to_owned), ignored_tenant(&request, &token)];
    warnings.iter().flatten().for_each(|warning| log_line(&format!("warning: {warning}")));
    let answer = Answer { token: &token, scope: &args.scope, source: &source };
    print(answer.in_format(args.output())?)
}

/// The warning for a token of another tenant than the requested one: a managed identity ignores the request.
pub(crate) fn ignored_tenant(request: &RawRequest, token: &AccessToken) -> Option<String> {
    let requested = request.tenant_id.as_deref()?;
    let tenant = Claims::of(token.token())?.tenant()?;
    // A domain cannot be compared with an id.
    let differs = requested.len() == tenant.len() && !requested.eq_ignore_ascii_case(&tenant);
    differs.then(|| {
        format!(
            "the token is of the tenant {tenant}: a managed identity has no token of another tenant; \
             fix: leave out --tenant, or use an app registration"
        )
    })
}

/// The source of the last token, from the report: the token itself does not name it.
pub(crate) fn source_of_last_token(reports: &[SourceReport]) -> String {
    let used = reports.iter().find(|report| report.verdict == Verdict::Used);
    used.map_or_else(|| "unknown".to_owned(), |report| report.source.clone())
}
