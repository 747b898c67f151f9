//! The token endpoint of a job of GitHub Actions, of which the job's environment has the URL and a bearer token.
//!
//! <https://docs.github.com/actions/reference/security/oidc>

use http::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::{Call, Endpoint, Environment, Platform, Reply, Setup, Spec};
use crate::{federation::Workload, sections::GithubActionsConfig};

pub(crate) const SPEC: Spec = Spec {
    // The second segment is empty, as in reality.
    paths: &["*//idtoken/*/*"],
    answer,
    failure: |_, _, status| failure(status),
    setups: &[Setup {
        title: "A job of GitHub Actions with `permissions: id-token: write`, for @actions/core and others",
        needs: "[github-actions] in the configuration",
        environment,
    }],
    ..Spec::of(Endpoint::GithubActions)
};

pub(super) fn environment(platform: &Platform) -> Environment {
    let Some(config) = &platform.config.github_actions else { return Vec::new() };
    let url = format!("{}{PATH}", platform.addresses.secure_if_any());
    vec![
        ("ACTIONS_ID_TOKEN_REQUEST_URL", url),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", config.request_token.clone()),
    ]
}

/// The issuer and the subject of its tokens
pub(super) fn trusted(platform: &Platform) -> Option<(&str, &str)> {
    let config = platform.config.github_actions.as_ref()?;
    Some((ISSUER, &config.subject))
}

fn answer(platform: &Platform, call: &Call) -> Reply {
    match &platform.config.github_actions {
        Some(config) => token(platform, config, call).unwrap_or_else(|refusal| refusal),
        None => Reply::text(StatusCode::NOT_FOUND, "no job here: configure one with [github-actions]"),
    }
}

fn failure(status: StatusCode) -> Reply {
    let words = match status {
        StatusCode::FORBIDDEN => "Can't issue ID_TOKEN for job in 'Pending' state",
        StatusCode::UNAUTHORIZED => "token has invalid claims: token is expired",
        StatusCode::TOO_MANY_REQUESTS => "too many requests",
        _ => "the service is unavailable",
    };
    refusal(status, words)
}

fn token(platform: &Platform, config: &GithubActionsConfig, call: &Call) -> Result<Reply, Reply> {
    if call.method != Method::GET {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed").with("allow", "GET"));
    }
    match call.bearer() {
        Some(token) if token == config.request_token => {}
        Some(_) => return Err(refusal(StatusCode::UNAUTHORIZED, "token signature is invalid")),
        None => return Err(refusal(StatusCode::UNAUTHORIZED, "the bearer token is missing")),
    }
    // It is in the URL that the job is given: a client that drops it has replaced the query instead of adding to it.
    if call.parameter("api-version") != Some("2.0") {
        return Err(refusal(StatusCode::BAD_REQUEST, "the api-version is missing or not supported"));
    }
    let owner = owner(config);
    let default = format!("https://github.com/{owner}");
    let audience = call.required("audience").unwrap_or(&default);
    if !is_allowed(audience, config) {
        let words = format!("Can't issue ID_TOKEN for audience '{audience}'");
        return Err(refusal(StatusCode::BAD_REQUEST, &words));
    }
    let claims = json!({
        "event_name": "push",
        "jti": Uuid::new_v4().to_string(),
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "repository": config.repository,
        "repository_owner": owner,
        "runner_environment": "github-hosted",
    });
    let workload = Workload { issuer: ISSUER, subject: &config.subject, audience, more: claims };
    let token = workload.token(platform, call, (BACKDATED, config.token_lifetime_seconds))?;
    Ok(Reply::ok(json!({ "count": token.len(), "value": token })).issued_to(&config.subject))
}

/// Every audience but GitHub's own, of which the job's owner and repository are allowed: it looks for `github.com` anywhere in
/// the text, as was found out by trying in 2026
fn is_allowed(audience: &str, config: &GithubActionsConfig) -> bool {
    let audience = audience.to_ascii_lowercase();
    let Some((_, path)) = audience.split_once("github.com") else { return true };
    let repository = format!("/{}", config.repository.to_ascii_lowercase());
    let owner = format!("/{}", owner(config).to_ascii_lowercase());
    let root = path.strip_suffix('/').unwrap_or(path);
    ["", &owner, &repository].contains(&root) || path.starts_with(&format!("{repository}/"))
}

fn owner(config: &GithubActionsConfig) -> &str {
    config.repository.split('/').next().unwrap_or_default()
}

/// The form of the service that has answered since 2024
fn refusal(status: StatusCode, words: &str) -> Reply {
    let body =
        json!({ "source": "actions-run-service", "statusCode": status.as_u16(), "errorMessage": words });
    Reply::json(status, body)
}

const ISSUER: &str = "https://token.actions.githubusercontent.com";
const PATH: &str =
    "/63//idtoken/3f0d7e43-0000-4000-8000-000000000001/16e10cd4-0000-5000-8000-000000000002?api-version=2.0";
/// Its tokens are valid since ten minutes.
const BACKDATED: u64 = 600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MockConfig;

    #[test]
    fn github_issues_for_no_other_part_of_itself() {
        let config = MockConfig::default().github_actions.unwrap();
        for allowed in [
            "api://AzureADTokenExchange",
            "sts.amazonaws.com",
            "https://github.example.com/apps/x",
            "https://github.com",
            "https://GITHUB.com/Contoso/",
            "https://github.com/contoso/shop",
            "https://github.com/contoso/shop/tree/main?plain=1",
            "https://api.github.com/",
        ] {
            assert!(is_allowed(allowed, &config), "{allowed}");
        }
        for refused in [
            "https://github.com/fabrikam",
            "https://github.com/apps/x",
            "https://github.com/contoso/other",
            "https://github.com/contoso/shop?tab=readme",
            "https://github.com/contoso/shop.git",
            "https://github.com.example.com",
            "prefix https://github.com/contoso suffix",
            "https://api.github.com/repos/contoso/shop",
        ] {
            assert!(!is_allowed(refused, &config), "{refused}");
        }
    }
}
