//! The platforms whose issuers are known: the variables that each of them sets, its request, and its remedies.

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::Issuer;
use crate::model::Error;
use crate::settings::named_variables::named_at_end;
use crate::settings::variables::{
    ASSERTION, ASSERTION_AUDIENCE, ASSERTION_FIELD, ASSERTION_HEADERS, ASSERTION_METHOD, ASSERTION_URL,
    ASSERTION_VARIABLE, GCP_HOST, GCP_NAME, GITHUB_TOKEN, GITHUB_URL, PIPELINES_CONNECTION, PIPELINES_TOKEN,
    PIPELINES_URL,
};
use crate::settings::{SettingNames, Settings};
use crate::sources::Endpoint;
use crate::sources::response::Refusal;

/// The origin of a client assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    /// GitHub Actions, and Forgejo and Gitea, which have the same contract.
    ///
    /// <https://docs.github.com/actions/reference/security/oidc>
    GitHub,
    /// Azure Pipelines.
    ///
    /// <https://learn.microsoft.com/rest/api/azure/devops/distributedtask/oidctoken/create>
    AzurePipelines,
    /// Google Cloud's metadata server.
    ///
    /// <https://cloud.google.com/compute/docs/instances/verifying-instance-identity>
    Gcp,
    /// Any other issuer, whose request the settings describe.
    Url,
    /// A variable, which the platform sets once.
    Variable,
}

impl Platform {
    const ALL: [Self; 5] = [Self::GitHub, Self::AzurePipelines, Self::Gcp, Self::Url, Self::Variable];

    /// The platform of the settings. The platforms' own variables alone select none: a job may have them for another
    /// program.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for an unknown platform, for settings of another one, and for those without a platform.
    pub(crate) fn detect(settings: &Settings) -> Result<Option<Self>, Error> {
        let Some(text) = settings.get(ASSERTION) else {
            return match OWN.into_iter().find(|name| settings.is_set(name)) {
                Some(set) => Err(Error::misconfigured(
                    format_args!("{} is set and {ASSERTION} is not", settings.name(set)),
                    format_args!("set {ASSERTION} to {NAMES}, or unset the other"),
                )),
                None => Ok(None),
            };
        };
        let platform = Self::ALL
            .into_iter()
            .find(|platform| platform.name() == text)
            .ok_or_else(|| settings.refused(ASSERTION, "does not name a platform", NAMES))?;
        match OWN.into_iter().find(|name| settings.is_set(name) && !platform.own().contains(name)) {
            None => Ok(Some(platform)),
            Some(other) => Err(Error::misconfigured(
                format_args!(
                    "{} has no effect with {} {text}",
                    settings.name(other),
                    settings.name(ASSERTION)
                ),
                "unset it",
            )),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::AzurePipelines => "azure-pipelines",
            Self::Gcp => "gcp",
            Self::Url => "url",
            Self::Variable => "variable",
        }
    }

    /// The broker's own variables that it reads.
    fn own(self) -> &'static [&'static str] {
        match self {
            Self::GitHub | Self::Gcp => &[ASSERTION_AUDIENCE],
            Self::AzurePipelines => &[],
            Self::Url => {
                &[ASSERTION_AUDIENCE, ASSERTION_URL, ASSERTION_METHOD, ASSERTION_HEADERS, ASSERTION_FIELD]
            }
            Self::Variable => &[ASSERTION_VARIABLE],
        }
    }

    /// The issuer of the settings; none for a variable.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] for variables that are missing or invalid.
    pub(super) fn issuer(self, settings: &Settings) -> Result<Option<Issuer>, Error> {
        match self {
            Self::GitHub => github(settings),
            Self::AzurePipelines => azure_pipelines(settings),
            Self::Gcp => gcp(settings),
            Self::Url => other(settings),
            Self::Variable => return Ok(None),
        }
        .map(Some)
    }

    /// The remedy for a refusal.
    pub(super) fn remedy(self, refusal: &Refusal<'_>, names: &SettingNames) -> String {
        match (self, refusal.status) {
            (_, 405) => format!(
                "check that {} names the platform of this machine: GitHub's endpoint takes GET, that of Azure Pipelines \
                 POST",
                names.of(ASSERTION)
            ),
            (Self::GitHub, 400) if refusal.mentions("audience") => format!(
                "unset {}: an app registration trusts the audience `api://AzureADTokenExchange`, or that of its cloud",
                names.of(ASSERTION_AUDIENCE)
            ),
            (Self::GitHub, _) => format!(
                "run the broker in the job that got {}, which ends with the job, and give that job \
                 `permissions: id-token: write`",
                names.of(GITHUB_TOKEN)
            ),
            (Self::AzurePipelines, _) if refusal.mentions("service connection") => format!(
                "name the service connection in the stage that runs the broker, as `azureSubscription` of a task, and check \
                 {}: project settings, Service connections, the id in the address",
                names.of(PIPELINES_CONNECTION)
            ),
            (Self::AzurePipelines, _) => sign_in(names),
            (Self::Gcp, 404) => "give the machine a service account: `gcloud compute instances set-service-account <name> \
                                 --service-account <account>`; on GKE annotate the pod's Kubernetes service account"
                .to_owned(),
            (Self::Gcp, 403) => "find the proxy that removes the header `Metadata-Flavor: Google` or adds \
                                 `X-Forwarded-For`"
                .to_owned(),
            (Self::Gcp | Self::Url | Self::Variable, _) => format!(
                "check the request with the documentation of the issuer; `token-broker explain` shows it, and {} the form",
                names.of(ASSERTION)
            ),
        }
    }

    /// The remedy for a page instead of an answer, if the platform has its own.
    pub(super) fn page_remedy(self, names: &SettingNames) -> Option<String> {
        (self == Self::AzurePipelines).then(|| sign_in(names))
    }
}

fn github(settings: &Settings) -> Result<Issuer, Error> {
    let job = "give the job `permissions: id-token: write`, and pass both variables on to the broker";
    let (url, token) = (needed(settings, GITHUB_URL, job)?, needed(settings, GITHUB_TOKEN, job)?);
    let issuer = Issuer::get(Platform::GitHub, Endpoint::parse_issuer(settings, GITHUB_URL, url)?);
    Ok(Issuer {
        sends_audience: true,
        field: Some("value".to_owned()),
        ..issuer.with_bearer(settings, GITHUB_TOKEN, token)?
    })
}

fn azure_pipelines(settings: &Settings) -> Result<Issuer, Error> {
    let agent = "run the broker in a job of Azure Pipelines, and pass the variable on to it";
    let url = needed(settings, PIPELINES_URL, agent)?;
    let token = needed(settings, PIPELINES_TOKEN, MAPPING)?;
    let connection = "set it to the id of the service connection: project settings, Service connections, the id in the \
                      address; a task AzureCLI sets it";
    let connection = needed(settings, PIPELINES_CONNECTION, connection)?;
    let endpoint = Endpoint::parse_issuer(settings, PIPELINES_URL, url.trim_end_matches('/'))?;
    let issuer = Issuer::get(Platform::AzurePipelines, endpoint);
    let headers =
        vec![(HeaderName::from_static("x-tfs-fedauthredirect"), HeaderValue::from_static("Suppress"))];
    Issuer {
        is_post: true,
        parameters: vec![("api-version", "7.1".to_owned()), ("serviceConnectionId", connection.to_owned())],
        field: Some("oidcToken".to_owned()),
        headers,
        ..issuer
    }
    .with_bearer(settings, PIPELINES_TOKEN, token)
}

fn gcp(settings: &Settings) -> Result<Issuer, Error> {
    let named = settings.get(GCP_HOST);
    // The name of the server is resolved by DNS, which may be another party's.
    let host = named.filter(|host| !host.eq_ignore_ascii_case(GCP_NAME)).unwrap_or(GCP_ADDRESS);
    let endpoint = Endpoint::parse_host(settings, GCP_HOST, host)?.join(GCP_PATH);
    Ok(Issuer {
        headers: vec![(HeaderName::from_static("metadata-flavor"), HeaderValue::from_static("Google"))],
        sends_audience: true,
        may_be_absent: named.is_none(),
        ..Issuer::get(Platform::Gcp, endpoint)
    })
}

fn other(settings: &Settings) -> Result<Issuer, Error> {
    let url = needed(settings, ASSERTION_URL, "set it to the URL of the issuer")?;
    let issuer = Issuer::get(Platform::Url, Endpoint::parse_issuer(settings, ASSERTION_URL, url)?);
    let is_post = match settings.get(ASSERTION_METHOD) {
        None | Some("GET") => false,
        Some("POST") => true,
        Some(_) => return Err(settings.refused(ASSERTION_METHOD, "is not a method", "`GET` or `POST`")),
    };
    let headers = settings.get(ASSERTION_HEADERS).unwrap_or_default();
    let mut headers = headers.lines().map(str::trim).filter(|line| !line.is_empty());
    headers.try_fold(
        Issuer {
            is_post,
            sends_audience: settings.is_set(ASSERTION_AUDIENCE),
            field: settings.get(ASSERTION_FIELD).map(str::to_owned),
            ..issuer
        },
        |issuer, line| issuer.with_header(settings, line),
    )
}

impl Issuer {
    fn get(platform: Platform, endpoint: Endpoint) -> Self {
        Self {
            platform,
            endpoint,
            is_post: false,
            headers: Vec::new(),
            secret: None,
            parameters: Vec::new(),
            sends_audience: false,
            field: None,
            may_be_absent: false,
        }
    }

    fn with_bearer(
        mut self,
        settings: &Settings,
        variable: &'static str,
        token: &str,
    ) -> Result<Self, Error> {
        let value = secret_value(settings, variable, "Bearer ", token)?;
        self.headers.push((AUTHORIZATION, value));
        self.secret = Some((variable, token.into()));
        Ok(self)
    }

    /// Adds a header of [`ASSERTION_HEADERS`].
    fn with_header(mut self, settings: &Settings, line: &str) -> Result<Self, Error> {
        let refuse = |why: &str| {
            settings.refused(
                ASSERTION_HEADERS,
                why,
                "headers, one a line, `Authorization: Bearer $NAME` for example, of which one contains a variable",
            )
        };
        let (name, value) = line.split_once(':').ok_or_else(|| refuse("has a line without a colon"))?;
        let name: HeaderName = name.trim().parse().map_err(|_| refuse("has an invalid name of a header"))?;
        let value = match named_at_end(value) {
            None => {
                let mut value = HeaderValue::from_str(value.trim())
                    .map_err(|_| refuse("has an invalid value of a header"))?;
                value.set_sensitive(true);
                value
            }
            Some(_) if self.secret.is_some() => return Err(refuse("names more than one variable")),
            Some((before, variable)) => {
                let token = settings
                    .get(variable)
                    .ok_or_else(|| refuse(&format!("names {variable}, which is not set")))?;
                self.secret = Some((ASSERTION_HEADERS, token.into()));
                secret_value(settings, variable, before.trim_start(), token)?
            }
        };
        self.headers.push((name, value));
        Ok(self)
    }
}

/// The value of a header with a secret at its end.
fn secret_value(
    settings: &Settings,
    variable: &str,
    before: &str,
    secret: &str,
) -> Result<HeaderValue, Error> {
    let is_visible = secret.bytes().all(|byte| byte.is_ascii_graphic());
    match HeaderValue::try_from(format!("{before}{secret}")) {
        Ok(mut value) if is_visible => {
            value.set_sensitive(true);
            Ok(value)
        }
        _ => Err(Error::misconfigured(
            format_args!("{} has a character that is not visible ASCII", settings.name(variable)),
            "pass it on unchanged from the platform",
        )),
    }
}

/// The value of a variable without which the platform's issuer cannot be asked.
fn needed<'a>(settings: &'a Settings, variable: &str, fix: &str) -> Result<&'a str, Error> {
    settings.get(variable).ok_or_else(|| {
        let platform = settings.get(ASSERTION).unwrap_or_default();
        Error::misconfigured(
            format_args!(
                "{} is {platform} and {} is not set",
                settings.name(ASSERTION),
                settings.name(variable)
            ),
            fix,
        )
    })
}

fn sign_in(names: &SettingNames) -> String {
    format!("Azure DevOps does not accept {}: {MAPPING}", names.of(PIPELINES_TOKEN))
}

/// The variables of the broker's own that describe an issuer.
const OWN: [&str; 6] = [
    ASSERTION_AUDIENCE,
    ASSERTION_URL,
    ASSERTION_METHOD,
    ASSERTION_HEADERS,
    ASSERTION_FIELD,
    ASSERTION_VARIABLE,
];
const NAMES: &str = "`github`, `azure-pipelines`, `gcp`, `url` or `variable`";
const MAPPING: &str = "map it in the step that runs the broker, `env: SYSTEM_ACCESSTOKEN: $(System.AccessToken)`, and use it in \
                       the same job";
const GCP_ADDRESS: &str = "169.254.169.254";
const GCP_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";
