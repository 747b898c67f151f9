//! The codes in which Entra says why there is no token, and what an operator can do about each.
//!
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>

use secrecy::ExposeSecret as _;
use serde::Deserialize;

use crate::config::AUTHORITY_HOST;
use crate::error::Failure;
use crate::host::Body;
use crate::lenient::Text;

/// What a refusal says besides what all endpoints say.
pub(crate) struct Refusal {
    pub(crate) code: Option<u32>,
    timestamp: Option<String>,
}

/// Whom and what a refusal is about, for its remedy.
pub(crate) struct About<'a> {
    /// As it may stand in a command.
    pub(crate) client_id: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) audience: &'a str,
    /// The command or variable that renews what the application proves itself with.
    pub(crate) proof: &'a str,
}

impl Refusal {
    pub(crate) fn read(response: &http::Response<Body>) -> Self {
        let body: Words = serde_json::from_slice(response.body().expose_secret()).unwrap_or_default();
        let code = body.error_description.into_option().as_deref().and_then(leading_code);
        Self { code, timestamp: body.timestamp.into_option().filter(|text| is_timestamp(text)) }
    }

    /// The assertion's time is over, or has not come.
    pub(crate) fn is_stale_assertion(&self) -> bool {
        self.code == Some(700_024)
    }

    /// A failure with Entra's own code, its time and what mends it.
    pub(crate) fn explain(self, failure: Failure, about: &About<'_>) -> Failure {
        let Some(code) = self.code else {
            // A proxy's words, or an AD FS's.
            let remedy = format!(
                "see that {AUTHORITY_HOST} names who is to answer, and what stands between; {}",
                about.proof
            );
            return Failure { remedy: Some(remedy), ..failure };
        };
        let at = self.timestamp.map(|time| format!(" (at {time})")).unwrap_or_default();
        Failure {
            code: Some(format!("AADSTS{code}")),
            message: format!("{}{at}", brief(&failure.message)),
            remedy: Some(remedy(code, about)),
            ..failure
        }
    }
}

/// `AADSTS700016: Application with identifier ...`
fn leading_code(description: &str) -> Option<u32> {
    let rest = description.trim_start().strip_prefix("AADSTS")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..digits)?.parse().ok()
}

/// What follows is told in fields of its own.
fn brief(message: &str) -> &str {
    message.split_once(" Trace ID:").map_or(message, |(before, _)| before.trim_end())
}

fn is_timestamp(text: &str) -> bool {
    text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_digit() || b"-:. TZ+".contains(&byte))
}

fn remedy(code: u32, about: &About<'_>) -> String {
    let About { client_id, tenant, audience, proof } = about;
    match code {
        700_016 | 7_000_229 => format!(
            "no app registration {client_id} is in the tenant {tenant}: correct the client id or the tenant id \
             (`az ad app list --filter \"appId eq '{client_id}'\"` tells whether the app is in the tenant that the \
             command is signed in to), or bring the app there: `az ad sp create --id {client_id}`"
        ),
        7_000_215 => format!(
            "AZURE_CLIENT_SECRET must be the secret's value, not its id; a new one: \
             `az ad app credential reset --id {client_id}`"
        ),
        7_000_222 => {
            format!("the client secret has expired; a new one: `az ad app credential reset --id {client_id}`")
        }
        700_027 => format!(
            "the app registration does not know this certificate: \
             `az ad app credential reset --id {client_id} --cert @certificate.pem --append`"
        ),
        700_024 => format!("the assertion's time is over or has not come: see that this machine's clock is right; {proof}"),
        70_021 | 700_211 | 700_212 | 700_213 => format!(
            "no federated credential of the app fits the assertion: issuer, subject and audience must be the same \
             letter by letter; `az ad app federated-credential list --id {client_id}` shows what is expected"
        ),
        90_002 | 900_023 => format!(
            "there is no tenant {tenant} in this cloud: `az account show --query tenantId` tells its id, and \
             AZURE_AUTHORITY_HOST names the cloud"
        ),
        50_001 | 500_011 => format!(
            "the tenant {tenant} has no service {audience}: spell the audience as the service's documentation does, or \
             bring the service there with `az ad sp create --id <its application id>`"
        ),
        70_011 | 1_002_012 => format!(
            "the scope must be an audience with /.default behind it; {audience} may not be one"
        ),
        65_001 => format!(
            "nobody has consented to {audience} for this app: `az ad app permission admin-consent --id {client_id}`"
        ),
        50_013 | 500_131 | 500_133 => format!(
            "the user assertion must be a token for the app {client_id}, by the same tenant, and still valid: pass on \
             the one that the user called with"
        ),
        50_076 | 50_079 | 53_000 | 53_003 => "the tenant's Conditional Access wants more of the user, or refuses this \
             place: pass the error on, so that the user can sign in anew, or see the sign-in log of the tenant"
            .to_owned(),
        7_000_112 | 7_000_218 => format!("see that the app {client_id} is enabled; {proof}"),
        _ => format!("https://login.microsoftonline.com/error?code={code} tells more; {proof}"),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Words {
    error_description: Text,
    timestamp: Text,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(body: &str) -> Failure {
        let response = http::Response::new(Body::from(body.as_bytes().to_vec()));
        let about = About { client_id: "app", tenant: "t", audience: "https://x", proof: "renew it" };
        let message =
            "got 400 invalid_client: AADSTS700016: no app.  Trace ID: 1 Correlation ID: 2".to_owned();
        Refusal::read(&response).explain(Failure { message, ..Failure::default() }, &about)
    }

    #[test]
    fn a_refusal_gets_entras_code_its_time_and_a_remedy() {
        let failure = explained(
            r#"{"error":"unauthorized_client","error_description":"AADSTS700016: x","timestamp":"2026-01-02 03:04:05Z"}"#,
        );
        assert_eq!(failure.code.as_deref(), Some("AADSTS700016"));
        assert_eq!(
            failure.message,
            "got 400 invalid_client: AADSTS700016: no app. (at 2026-01-02 03:04:05Z)"
        );
        assert!(failure.remedy.unwrap().contains("az ad sp create --id app"));
    }

    #[test]
    fn a_code_that_is_unknown_or_none_still_gives_a_remedy() {
        let unknown = explained(r#"{"error_description":"AADSTS12345: x"}"#);
        assert!(unknown.remedy.unwrap().contains("code=12345"));
        for body in
            ["", "{}", r#"{"error_description":"AADSTS: x"}"#, r#"{"error_description":"AADSTS99999999999"}"#]
        {
            let remedy = explained(body).remedy.unwrap();
            assert!(remedy.contains(AUTHORITY_HOST) && remedy.ends_with("renew it"), "{body}");
        }
    }

    #[test]
    fn codes_that_mean_the_same_have_the_same_remedy() {
        let remedy =
            |code: &str| explained(&format!(r#"{{"error_description":"AADSTS{code}: x"}}"#)).remedy.unwrap();
        // The app without a service principal in the tenant; the user's token at its end.
        assert_eq!(remedy("7000229"), remedy("700016"));
        assert_eq!(remedy("500133"), remedy("500131"));
    }

    #[test]
    fn a_timestamp_is_shown_only_if_it_is_one() {
        let failure = explained(r#"{"error_description":"AADSTS1: x","timestamp":"<script>"}"#);
        assert!(!failure.message.contains("script"));
    }
}
